"""How gunicorn serves the receiver. GUNICORN_CMD_ARGS and the command line override what stands here."""

import gc
import os
import shutil
import ssl
import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path

gc.disable()  # until all is loaded: a fifth of the time would go into looking through what stays for good
sys.path.insert(0, str(Path(__file__).resolve().parent))

import structlog

from receiver import stopping
from receiver.config import DEFAULT_DATABASE, EXIT_CONFIGURATION, ConfigurationError, load_settings
from receiver.logs import configure_logging
from receiver.server import shared, signals, start
from receiver.server.embedded import embedded_worker
from receiver.settings.env_file import ENV_FILE, load_env_file

OWN_COUNTS = "senang-metrics-"
"""How a folder's name begins that was made here for the web workers' counts."""

load_env_file()
try:
    settings = load_settings()
except ConfigurationError as error:
    print(error, file=sys.stderr)
    raise SystemExit(EXIT_CONFIGURATION) from None

start.configured()
configure_logging(settings.environment, settings.log_level, settings.showing, settings.name)
if not os.environ.get("DATABASE_URL", "").strip():
    structlog.get_logger().info("database_by_default", database=DEFAULT_DATABASE)
start.say_doubts(settings)
start.say_open_files({".env": ENV_FILE, "TLS_KEYFILE": settings.tls_keyfile})
bind = ["127.0.0.1:8000"] if settings.port is None else start.addresses(settings.port)  # a platform sets PORT
workers = settings.web_processes
worker_class = start.WORKER_CLASS
worker_connections = 1000  # open connections of one process; more wait in the kernel
keepalive = settings.keep_alive_seconds  # a connection may be idle for so long
timeout = 30  # a worker whose main loop is silent for so long is replaced
graceful_timeout = int(settings.stop_seconds * stopping.REQUESTS)  # of running requests, after SIGTERM
control_socket_disable = True
logconfig_dict = {  # through the application's chain: JSON, masked
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": settings.log_level, "handlers": []},
    "loggers": {
        "gunicorn.error": {"level": settings.log_level, "handlers": [], "propagate": True},
        "gunicorn.access": {"level": settings.log_level, "handlers": [], "propagate": True},
    },
}
# Whether a request came by HTTPS is for receiver/forwarded.py alone to decide.
secure_scheme_headers: dict[str, str] = {}
access_log_format = "%(s)s %(b)s %(M)sms"  # for what the receiver has no line of: a stranger's words are not in it

if settings.tls_certfile:
    certfile, keyfile = settings.tls_certfile, settings.tls_keyfile

if settings.metrics_token and not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=OWN_COUNTS)


def ssl_context(_config, default_ssl_context_factory):
    """§3.2: TLS 1.2 and newer."""
    context = default_ssl_context_factory()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def on_starting(server):
    """Before anything is served."""
    os.environ["WEB_CONCURRENCY"] = str(server.cfg.workers)  # they share the connections, and read it by themselves
    ours = load_settings()
    if mistake := start.mistake(server.cfg) or start.database_mistake(
        ours, least=ours.least_connections, most=ours.connections
    ):
        start.refuse(mistake)
    shared.load()


def when_ready(server):
    """The master listens: start the worker beside the web workers."""
    if settings.embedded_worker:
        embedded_worker.start(stop_seconds=settings.stop_seconds)
    signals.stop_together(server, embedded_worker)


def on_reload(_server):
    """HUP: the web workers are replaced, and so is the embedded one."""
    shared.settle()
    embedded_worker.replace()


def on_exit(server):
    """The master stops: so does the embedded worker. Counts end with the master, or with the one that follows it."""
    embedded_worker.stop()
    counts = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
    if counts.name.startswith(OWN_COUNTS) and not server.reexec_pid:
        shutil.rmtree(counts, ignore_errors=True)


def pre_fork(server, worker):
    """Give the worker the lowest number that no living worker has: its counts go on in that number's files.

    By its process ID, as usual, each worker would leave files behind.
    """
    taken = {living.number for living in server.WORKERS.values()}
    worker.number = next(number for number in count(1) if number not in taken)


def post_fork(_server, worker):
    """Before the receiver, and what it counts, is loaded."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import values

        values.ValueClass = values.MultiProcessValue(lambda: worker.number)


def post_worker_init(worker):
    """Beside its work, each web worker writes its counts. The first one says what is wrong with the database."""
    import gevent

    from receiver.endless import endless
    from receiver.ingest.noting import keep_writing_counts
    from receiver.web.health import say_at_start

    gevent.spawn(endless, partial(keep_writing_counts, worker.wsgi), name="counts")
    if worker.number == 1:
        gevent.spawn(say_at_start, worker.wsgi)


def worker_exit(_server, worker):
    """Write the counts that this web worker still holds."""
    gc.unfreeze()  # or what is left would be torn down after the modules that it needs
    from receiver.ingest.intake import close_all
    from receiver.server import refusals

    refusals.lines().write_remaining()
    if getattr(worker, "wsgi", None) is not None:
        if intake := worker.wsgi.extensions.get("intake"):
            intake.write_remaining()
        close_all(worker.wsgi)
