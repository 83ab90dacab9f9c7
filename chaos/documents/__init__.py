"""The documents that people write: from YAML text to a resolved experiment, or to all that is wrong."""
