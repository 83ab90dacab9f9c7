"""Recorded requests: access logs (common and combined), HAR files, and JSON lines."""
