"""Runs beside each other: what two of them share, and by how much their rates differ on it."""
