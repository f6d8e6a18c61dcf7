"""How a stop is shared out: the platform kills what still runs STOP_SECONDS after its signal.

Everything gets its signal at the same time. Handlers end first, so that there is time to hand back what is unfinished.
"""

HANDLERS = 0.6
"""The share after which a running handler is interrupted. Its event is handed back, at no cost."""
WORKERS = 0.75
"""After which a worker process that is still there is killed, and its leases are ended."""
REQUESTS = 0.8
"""After which a web process that still answers a request is killed."""
WORKER_BESIDE = 0.9
"""After which gunicorn's master no longer waits for the worker beside it."""
