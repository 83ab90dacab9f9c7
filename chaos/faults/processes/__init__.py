"""Faults of processes: what is done to one, and how it is undone."""
