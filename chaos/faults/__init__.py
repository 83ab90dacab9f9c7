"""Faults: how each type becomes a toxic, how it is put in place, and how it is taken away again."""
