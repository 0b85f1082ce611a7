"""Trains the testbed's models from scratch: samples, losses, stages, plans, and the files that ship."""
