"""A static site from many runs: rows under equal conditions, and how far each one was checked."""
