"""Real routers that terminate TLS before gunicorn, and where they come from.

nginx, HAProxy and Caddy are the system's, or Debian's packages where we may install them. `python -m
tests.receiver.routers` says in one line which are missing, and what needs them is left out then; with `--bring` it
brings them. What a router tells the receiver about a client is a `Front`. To say another thing, add a field there and
a line to each configuration; another router is a function in `KINDS`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from receiver.testing.waiting import eventually
from tests.receiver.debian import install
from tests.receiver.processes import free_port, listens

PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "caddy": "caddy"}
"""Debian's package of each router."""
ABSENT = "nginx, HAProxy and Caddy were not all found: not all is tried behind them. `make chromium` brings them."
_PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, kw_only=True)
class Front:
    """A router, and what it tells the receiver about a client. It replaces X-Forwarded-Proto in any case."""

    kind: str = "nginx"
    appends: bool = False  # to the X-Forwarded-For that came; otherwise it replaces that
    inner: str = ""  # the address of a second router of the platform, which X-Forwarded-For ends with
    client_header: str = ""  # the header in which it names the client
    with_host: bool = True  # passes on the Host that was asked for, or the upstream's
    removes: tuple[str, ...] = ()  # headers of the client that go no further
    idle_seconds: int = 60  # how long it keeps an idle connection to the receiver


class Place(NamedTuple):
    """Where a router finds what it needs, and where it listens."""

    folder: Path
    certificate: Path
    key: Path
    upstream: int  # the receiver's port
    port: int  # of HTTPS, by HTTP/1.1 and 2
    plain: int  # of plain HTTP


@cache
def find(kind: str) -> str | None:
    """The path of the router's program, or None."""
    return shutil.which(kind, path=_PLACES)


def all_found() -> bool:
    """Whether every router is there."""
    return all(map(find, PACKAGES))


def bring() -> None:
    """Debian's packages, where we may install them. They are not started by their installation."""
    install(*(package for kind, package in PACKAGES.items() if find(kind) is None))
    find.cache_clear()


@contextmanager
def running(front: Front, folder: Path, upstream: int, certificate: tuple[Path, Path]) -> Iterator[Place]:
    """The router before the receiver at this port."""
    place = new_place(folder, upstream, certificate)
    with started(front.kind, place, KINDS[front.kind](front, place)):
        yield place


def new_place(folder: Path, upstream: int, certificate: tuple[Path, Path]) -> Place:
    """A folder of the router's own, and two free ports."""
    folder.mkdir()
    return Place(folder, *certificate, upstream, free_port(), free_port())


@contextmanager
def started(kind: str, place: Place, configuration: str) -> Iterator[None]:
    """A router with this configuration, which listens at the place's port for HTTPS."""
    file, log = place.folder / "configuration", place.folder / "log"
    file.write_text(configuration, encoding="utf-8")
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(kind, place.folder, file),
            env={"PATH": _PLACES, "HOME": str(place.folder)},
            stdout=output,
            stderr=output,
        )
    try:
        eventually(lambda: process.poll() is not None or listens(place.port))
        assert process.poll() is None, f"{kind} did not start: {log.read_text()}"
        yield
    finally:
        process.kill()
        process.wait()


def _command(kind: str, folder: Path, file: Path) -> list[str]:
    program = find(kind) or kind
    return {
        "nginx": [program, "-p", str(folder), "-c", str(file), "-e", "stderr"],
        "haproxy": [program, "-db", "-f", str(file)],
        "caddy": [program, "run", "--adapter", "caddyfile", "--config", str(file)],
    }[kind]


def nginx_around(servers: str, place: Place) -> str:
    """The whole configuration of an nginx that has these servers."""
    temporary = "\n  ".join(f"{name}_temp_path {place.folder}/{name};" for name in _TEMPORARY)
    return f"""
daemon off;
master_process off;
pid {place.folder}/nginx.pid;
events {{}}
http {{
  access_log off;
  {temporary}
{servers}
}}
"""


def caddy_around(sites: str, place: Place) -> str:
    """The whole configuration of a Caddy that has these sites, and asks nobody for a certificate."""
    return f"""
{{
  admin off
  auto_https off
  default_bind 127.0.0.1
  storage file_system {place.folder}
  servers {{
    protocols h1 h2
  }}
}}
{sites}
"""


def _nginx(front: Front, place: Place) -> str:
    listed = "$proxy_add_x_forwarded_for" if front.appends else "$remote_addr"
    fields = {"Connection": '""', "X-Forwarded-Proto": "$scheme", "X-Forwarded-For": f'"{listed}{_and(front.inner)}"'}
    if front.with_host:
        fields["Host"] = "$host"  # as most do, it loses the port
    if front.client_header:
        fields[front.client_header] = "$remote_addr"
    fields |= dict.fromkeys(front.removes, '""')
    lines = "\n      ".join(f"proxy_set_header {name} {value};" for name, value in fields.items())
    servers = f"""
  upstream receiver {{
    server 127.0.0.1:{place.upstream};
    keepalive 16;
    keepalive_timeout {front.idle_seconds}s;
  }}
  server {{
    listen 127.0.0.1:{place.port} ssl http2;
    listen 127.0.0.1:{place.plain};
    ssl_certificate {place.certificate};
    ssl_certificate_key {place.key};
    location / {{
      proxy_pass http://receiver;
      proxy_http_version 1.1;
      {lines}
    }}
  }}"""
    return nginx_around(servers, place)


def _and(address: str) -> str:
    return f", {address}" if address else ""


def _haproxy(front: Front, place: Place) -> str:
    both = place.folder / "both.pem"
    both.write_bytes(place.certificate.read_bytes() + place.key.read_bytes())
    lines = [f"del-header {name}" for name in front.removes]
    lines += [] if front.appends else ["del-header X-Forwarded-For"]
    lines += ["add-header X-Forwarded-For %[src]"]
    lines += [f"add-header X-Forwarded-For {front.inner}"] if front.inner else []
    lines += [f"set-header {front.client_header} %[src]"] if front.client_header else []
    lines += ["set-header X-Forwarded-Proto https if { ssl_fc }", "set-header X-Forwarded-Proto http unless { ssl_fc }"]
    rules = "\n  ".join(f"http-request {line}" for line in lines)
    return f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend https
  bind 127.0.0.1:{place.port} ssl crt {both} alpn h2,http/1.1
  bind 127.0.0.1:{place.plain}
  {rules}
  default_backend receiver
backend receiver
  server one 127.0.0.1:{place.upstream} pool-purge-delay {front.idle_seconds}s
"""


def _caddy(front: Front, place: Place) -> str:
    assert not front.appends, "Caddy appends for routers that it trusts, and then believes their X-Forwarded-Proto"
    assert not front.inner, "Caddy writes X-Forwarded-For itself"
    lines = [f"header_up {front.client_header} {{remote_host}}"] if front.client_header else []
    lines += [f"header_up -{name}" for name in front.removes]
    rules = "\n      ".join(lines)
    passes = f"""reverse_proxy 127.0.0.1:{place.upstream} {{
      {rules}
      transport http {{
        keepalive {front.idle_seconds}s
      }}
    }}"""
    sites = f"""
:{place.port} {{
    tls {place.certificate} {place.key}
    {passes}
}}
http://:{place.plain} {{
    {passes}
}}"""
    return caddy_around(sites, place)


KINDS: dict[str, Callable[[Front, Place], str]] = {"nginx": _nginx, "haproxy": _haproxy, "caddy": _caddy}
"""What makes each router's configuration."""


if __name__ == "__main__":
    if "--bring" in sys.argv:
        bring()
    if not all_found():
        print(ABSENT)
