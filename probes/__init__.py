"""Probes take readings: telemetry that services and load send, and histories that load writes."""
