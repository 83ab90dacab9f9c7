"""What programs write down about what they did, read back as rows of a history, one adapter for each format.

Invariant: what was begun is never absent. A sample that failed is a row with its error, one that was cut off
is `unfinished`, one without a usable score is `unscored`; and a log that cannot be read whole is told, and
read as far as it is whole. Logs are read one sample at a time, so that their size does not matter.
"""
