"""Attacks that talk to the target: they rewrite, branch, escalate or try again from what it replies."""
