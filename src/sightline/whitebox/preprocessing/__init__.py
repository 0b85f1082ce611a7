"""Differentiable preprocessing: pictures in [0, 1] become the fields of a model's processor, in the graph."""
