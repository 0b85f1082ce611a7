"""A small world, its renderer, and the models trained in it: safety ground truth without judges."""
