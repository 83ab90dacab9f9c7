"""Everything that runs inside a Locust process; the one place where locust and gevent are imported."""
