"""The demo services: a real environment service and a real eval service, small enough to start in seconds."""
