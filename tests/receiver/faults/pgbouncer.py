"""The real PgBouncer in transaction mode, before the tests' PostgreSQL, and where one comes from.

The system's, or Debian's package where we may install one. Where there is none, the tests that need it are left out
with a line that says so; `.ci/run` takes that for a failure. Another setting of PgBouncer: a line in `_CONFIGURATION`.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy.engine import make_url

from receiver.testing.certificates import self_signed
from receiver.testing.waiting import eventually
from tests.receiver.debian import install
from tests.receiver.processes import free_port

POOL_SIZE = 2
_PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
_CONFIGURATION = """
[databases]
* = host={socket} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
{more}
"""


class PgBouncer:
    """A running pooler."""

    def __init__(self, port: int) -> None:
        self._port = port

    def url(self, direct_url: str) -> str:
        """The address of the same database, through the pooler."""
        through = make_url(direct_url).set(host="127.0.0.1", port=self._port, query={})
        return through.render_as_string(hide_password=False)


@contextmanager
def running_pgbouncer(direct_url: str, *more: str, tls: bool = False) -> Iterator[PgBouncer]:
    """A pooler for every database of the server that the URL names; `more` are further settings."""
    server = Path(str(make_url(direct_url).query["host"]))
    port = free_port()
    with TemporaryDirectory(prefix="senang-pgbouncer-") as folder:
        file = Path(folder) / "pgbouncer.ini"
        if tls:
            more += _tls(Path(folder))
        file.write_text(
            _CONFIGURATION.format(socket=server, port=port, size=POOL_SIZE, more="\n".join(more)), encoding="utf-8"
        )
        file.chmod(0o644)
        Path(folder).chmod(0o755)
        command = [_find(), "--quiet", str(file)]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **silent, **_as_owner_of(server))
        try:
            eventually(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, "PgBouncer did not start"
            yield PgBouncer(port)
        finally:
            process.kill()
            process.wait()


def _tls(folder: Path) -> tuple[str, ...]:
    certificate, key = self_signed(folder)
    key.chmod(0o644)  # PgBouncer runs as another user
    return f"client_tls_cert_file = {certificate}", f"client_tls_key_file = {key}", "client_tls_sslmode = require"


@cache
def _look_for_it() -> str | None:
    if shutil.which("pgbouncer", path=_PLACES) is None:
        install("pgbouncer")
    return shutil.which("pgbouncer", path=_PLACES)


def _find() -> str:
    found = _look_for_it()
    if found is None:
        pytest.skip("PgBouncer was not found: install the package pgbouncer")
    return found


def _as_owner_of(place: Path) -> dict[str, int]:
    """PgBouncer refuses to run as root; the server's own user may speak to it."""
    owner = place.stat()
    return {"user": owner.st_uid, "group": owner.st_gid} if os.geteuid() == 0 else {}


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
        return True
    return False
