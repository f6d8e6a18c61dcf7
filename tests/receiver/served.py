"""An app of this process at a port of its own, for tests that knock over the network and are not about processes.

A gunicorn takes seconds to start, this takes milliseconds. What a process does, and how gunicorn speaks HTTP, is shown
with `tests.receiver.processes`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler


class _Silent(WSGIRequestHandler):
    def log(self, *_arguments: object) -> None:
        pass


@contextmanager
def served(app: Flask, port: int = 0) -> Iterator[str]:
    """The webhook address of the app, which answers until the block ends."""
    server = ThreadedWSGIServer("127.0.0.1", port, app, _Silent)
    server.daemon_threads = False  # closing it waits for the answers that are under way
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/webhooks/senang"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
