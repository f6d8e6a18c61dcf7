"""How gunicorn serves the receiver: its workers, and a worker process beside them."""
