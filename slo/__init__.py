"""Service-level objectives: what must hold, and whether it did. Pure: no input, no output, no clock."""
