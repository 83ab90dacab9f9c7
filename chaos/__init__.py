"""Brownout: break environment and eval services on purpose, and tell whether their scores can be trusted."""

__version__ = "0.1.0"
