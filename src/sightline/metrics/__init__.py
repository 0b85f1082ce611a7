"""Rates with intervals, differences, agreement of judges, and the summary of a run."""
