"""A real nginx that terminates TLS before gunicorn, and where one comes from.

The system's, or Debian's nginx-light where we may install it. `python -m tests.receiver.browser.nginx` says in one line
when there is none, and what needs it is left out then; with `--bring` it brings one. Another setting of nginx: a line
in `_CONFIGURATION`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from receiver.testing.waiting import eventually
from tests.receiver.processes import free_port, listens

ABSENT = "No nginx was found: the pages are not tried behind it. As root, `make test-browser` brings one."
_PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log /dev/null;
events {{}}
http {{
  access_log off;
  {temporary}
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  server {{
    listen 127.0.0.1:{port} ssl;
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-For $remote_addr;
      {host}
    }}
  }}
}}
"""


@cache
def find_nginx() -> str | None:
    """The path of an nginx, or None."""
    return shutil.which("nginx", path=_PLACES)


def bring_nginx() -> None:
    """Debian's package, where we may install it. It is not started by its installation."""
    if find_nginx() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "nginx-light"]):
            subprocess.run(["apt-get", "--quiet", *arguments], env=environment, check=False)
        find_nginx.cache_clear()


@contextmanager
def running_nginx(folder: Path, upstream: int, certificate: tuple[Path, Path], *, with_host: bool) -> Iterator[int]:
    """The port of an nginx before the upstream's. Without `with_host` it passes on the upstream's name as Host."""
    port = free_port()
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(
        _CONFIGURATION.format(
            folder=folder,
            port=port,
            upstream=upstream,
            certificate=certificate[0],
            key=certificate[1],
            temporary="\n  ".join(f"{name}_temp_path {folder}/{name};" for name in _TEMPORARY),
            host="proxy_set_header Host $host;" if with_host else "",  # as most do, it loses the port
        ),
        encoding="utf-8",
    )
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(
        [find_nginx() or "nginx", "-p", str(folder), "-c", str(file), "-e", "/dev/null"], **silent
    )
    try:
        eventually(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, "nginx did not start"
        yield port
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    if "--bring" in sys.argv:
        bring_nginx()
    if find_nginx() is None:
        print(ABSENT)
