"""What the embedded proxy costs, measured beside Toxiproxy, and whether it stays flat. Linux only.

No part of the package: nothing here is installed, and the tests need none of its binaries.
"""
