"""A gate: limits that a run must keep with confidence, for a release or a pull request."""
