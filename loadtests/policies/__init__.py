"""What the players of episodes do and how long they think. Pure: no locust, no gevent, no sockets."""
