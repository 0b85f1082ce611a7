"""What is in a benchmark's data before anything runs: columns, counts, samples, and everything to mend."""
