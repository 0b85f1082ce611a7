"""Inspect AI, both ways: its providers as our targets, our targets and benchmarks as its models and tasks."""
