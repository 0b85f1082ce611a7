"""A study: the grid of targets, benchmarks, attacks and defenses, run in four resumable stages."""
