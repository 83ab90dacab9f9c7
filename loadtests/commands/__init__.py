"""Programs as load: a process of its own runs them, phase by phase, and writes their results as histories.

It speaks as a Locust worker does: its plan comes by a file, phases and the stop as lines on stdin, its
numbers go out by OTLP (the first report says that it is ready, the last one that all is complete), its rows
into a history. Neither gevent nor Locust is imported: what it does is to wait for processes.
"""
