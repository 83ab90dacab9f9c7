"""Reports: pure functions from a verdict to text, and the live view of a run."""
