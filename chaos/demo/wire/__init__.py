"""The wire formats that the demo model speaks."""
