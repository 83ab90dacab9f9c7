"""Capacity: the highest rate at which the objectives hold, with and without a fault, and how sure that is."""
