"""Who takes part: how each receiver is started, and that all have as many web processes. Ours come as they are shipped.

To add one: a file in bench/yardsticks/ that listens on PORT and stores in DATABASE_URL, and an entry here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.pages import SETTINGS
from receiver.testing.waiting import eventually
from tests.receiver.processes import ROOT, Receiver

SECRETS = {name: value for name, value in SETTINGS.items() if name != "LOG_LEVEL"}
ENVIRONMENT = SECRETS | {"SENANG_TIMESTAMP_TOLERANCE": "86400"}
PROCESSES = {"postgresql": 2, "sqlite": 1}
THREADS = 16
EMPTY = ("empty, gthread", "empty, gevent")
"""The faster of the two in a run is what "the empty view" means."""


@dataclass(frozen=True)
class Contender:
    """A receiver. What stands for the address and the number of processes in `command` is put in when it is started."""

    name: str
    command: str
    settings: Mapping[str, str] = field(default_factory=dict)
    stores: bool = True
    is_ours: bool = False


def _on_gunicorn(module: str, worker: str = f"gthread --threads {THREADS}") -> str:
    options = "--no-control-socket --log-level error --bind 127.0.0.1:{port} --workers {processes}"
    return f"gunicorn bench.yardsticks.{module}:app {options} --worker-class {worker}"


def _on_uvicorn(module: str) -> str:
    options = "--no-access-log --log-level error --host 127.0.0.1 --port {port} --workers {processes}"
    return f"uvicorn bench.yardsticks.{module}:app {options} --loop uvloop --http httptools"


_EMPTY = [
    Contender(EMPTY[0], _on_gunicorn("empty_flask"), stores=False),
    Contender(EMPTY[1], _on_gunicorn("empty_flask", "gevent"), stores=False),
]
_OURS = Contender("ours", "gunicorn wsgi:app", {"EMBEDDED_WORKER": "0"}, is_ours=True)
_GROUPS = {"GROUP_COMMIT": "1"}
_LATER = {"MASKING": "later"}
CONTENDERS = {
    "postgresql": [
        *_EMPTY,
        _OURS,
        Contender("ours, Flask's dispatch", _OURS.command, {**_OURS.settings, "FAST_LANE": "0"}, is_ours=True),
        Contender("tutorial", _on_gunicorn("tutorial")),
        Contender("ORM session", _on_gunicorn("orm")),
        Contender("FastAPI, same work", _on_uvicorn("fastapi_same")),
        Contender("FastAPI, same work, masking later", _on_uvicorn("fastapi_same"), _LATER),
        Contender("FastAPI, asyncpg", _on_uvicorn("fastapi_asyncpg")),
        Contender("FastAPI, asyncpg, masking later", _on_uvicorn("fastapi_asyncpg"), _LATER),
        Contender("FastAPI, asyncpg, group commit", _on_uvicorn("fastapi_asyncpg"), _GROUPS),
        Contender("FastAPI, asyncpg, group commit, masking later", _on_uvicorn("fastapi_asyncpg"), _GROUPS | _LATER),
    ],
    "sqlite": [*_EMPTY, _OURS],
}


@contextmanager
def started(contender: Contender, database: str, url: str, folder: Path) -> Iterator[tuple[Receiver, int]]:
    """The receiver, up and answering, and the root of its processes. Stopped at the end.

    Where others are started there is no gunicorn.conf.py: that one is ours alone.
    """
    environment = ENVIRONMENT | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT), **contender.settings}
    receiver = Receiver(environment, ROOT if contender.is_ours else folder)
    command = contender.command.format(port=receiver.port, processes=PROCESSES[database])
    try:
        process = receiver.start("-m", *command.split())
        eventually(lambda: process.poll() is not None or receiver.status("/"))
        if process.poll() is not None:
            raise ChildProcessError(f"{contender.name} did not start: {command}")
        yield receiver, process.pid
    finally:
        receiver.stop()
