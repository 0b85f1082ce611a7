"""Measures the testbed's models: greedy answers, risks, curves over training, cards and charts."""
