"""gunicorn's gevent worker, which serves each connection with gunicorn's parser and our deadlines.

A greenlet costs little, so a thousand connections can wait for slow peers. But none may wait for ever: peer.py says how
long. When few connections are left, the longest idle ones are closed.

A worker that stops closes idle connections, and answers running requests with `Connection: close`.
"""

import gc
import signal
import sys
from contextlib import closing
from functools import partial
from typing import Any

import gevent
import structlog
from gevent import socket
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker

from receiver.endless import endless
from receiver.server import shared
from receiver.server.connection import Connection, look_after_peers
from receiver.server.peer import REQUEST_SECONDS

LOOK_SECONDS = 0.5
GARBAGE_THRESHOLD = 20_000
log = structlog.get_logger()


class Server(StreamServer):  # type: ignore[misc]  # gevent is not typed
    """Hands connections to the worker. A TLS handshake has a deadline too."""

    def __init__(
        self, listener: socket.socket, *, application: Any, environ: dict[str, Any], spawn: Pool, **given: Any
    ) -> None:
        ssl_args = {name: value for name, value in given.items() if name == "ssl_context"}
        super().__init__(listener, spawn=spawn, **ssl_args)
        self._application = application
        self._environ = {**environ, "SCRIPT_NAME": "", "wsgi.url_scheme": "https" if ssl_args else "http"}
        if environ["wsgi.multiprocess"]:
            self.max_accept = 1

    def init_socket(self) -> None:
        """Begin to listen."""
        super().init_socket()
        name, port = self.address[:2] if isinstance(self.address, tuple) else ("", "")
        self._environ |= {"SERVER_NAME": name, "SERVER_PORT": str(port)}

    def wrap_socket_and_handle(self, connection: socket.socket, address: Any) -> Any:
        """Shake hands, then handle the connection. A peer that fails the handshake is not an error of ours."""
        connection.settimeout(REQUEST_SECONDS)
        try:
            secured = self.wrap_socket(connection, **self.ssl_args)
        except OSError as error:
            log.info("tls_handshake_failed", reason=getattr(error, "reason", None) or type(error).__name__)
            return
        secured.settimeout(None)  # the handshake's time limit is over: it may be idle for longer
        with closing(secured):
            self.handle(secured, address)

    def handle(self, connection: socket.socket, address: Any) -> None:
        """Serve one connection to its end."""
        Connection(connection, address, self._application, self._environ).serve()


class WebWorker(GeventWorker):  # type: ignore[misc]  # gunicorn is not typed
    """The class that `worker_class` in gunicorn.conf.py names."""

    server_class = Server
    alive: bool
    keep_alive_seconds: float
    _looking: gevent.Greenlet | None = None

    def patch(self) -> None:
        """Let gevent patch Python, and tell psycopg about it.

        psycopg looks for gevent when it is imported. Where the database is PostgreSQL, the master has imported it
        before, with the settings. If nobody told it, it would wait for PostgreSQL in C, and the whole process would
        wait too.
        """
        gc.disable()  # until all is loaded
        super().patch()
        if waiting := sys.modules.get("psycopg.waiting"):
            waiting.wait, waiting._ready = waiting.wait_poll, waiting._ready_poll  # type: ignore[attr-defined]  # a module

    def init_signals(self) -> None:
        """Ctrl-C reaches every process of a terminal: it must not cut off the requests that are being answered."""
        super().init_signals()
        signal.signal(signal.SIGINT, self.handle_exit)
        signal.siginterrupt(signal.SIGINT, False)

    def load_wsgi(self) -> None:
        """Load the application. The garbage collector then skips what stays for good."""
        super().load_wsgi()
        shared.settle()
        gc.set_threshold(GARBAGE_THRESHOLD, 20, 100)

    def run(self) -> None:
        """Serve, and watch the peers. An error in a greenlet is logged like any other error."""
        self.keep_alive_seconds = self.cfg.keepalive
        Connection.worker = self
        gevent.get_hub().print_exception = _log_exception
        self._looking = self._look_on()
        super().run()

    def notify(self) -> None:
        """Tell the master once a second that this process is well. If the watch over peers has died, restart it."""
        if self._looking is not None and self._looking.dead:
            log.error("look_started_again")
            self._looking = self._look_on()
        super().notify()

    def count_request(self) -> None:
        """Stop after `max_requests`. The master then starts another worker."""
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.alive = False
            log.info("worker_restarts", reason="max_requests")

    def _look_on(self) -> gevent.Greenlet:
        return gevent.spawn(endless, partial(_look, self), name="look")


def _look(worker: WebWorker) -> bool:
    gevent.sleep(LOOK_SECONDS)
    look_after_peers(worker.worker_connections, stops=not worker.alive)
    return True


def _log_exception(_context: Any, kind: Any, error: Any, traceback: Any) -> None:
    """Log an error of a greenlet. gevent would print a plain traceback between the lines of JSON."""
    log.error("unexpected_error", exc_info=(kind, error, traceback))
