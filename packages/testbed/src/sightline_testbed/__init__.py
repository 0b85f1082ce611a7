"""Weights of testbed models, as data: one folder per model, found by `sightline.testbed.weights`."""
