"""The keeper: a small process that owns what a conductor starts, and undoes it when that one dies."""
