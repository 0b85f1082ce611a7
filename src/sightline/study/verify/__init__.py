"""`sightline verify`: integrity of a run's files, and what its attacks' effect survives."""
