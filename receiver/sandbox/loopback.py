"""Receivers on this machine: a free port for one, and requests to one that don't go through a proxy."""

import socket
import urllib.request
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

HOSTS = ("127.0.0.1", "localhost", "::1")


def held_port(until_closed: ExitStack) -> int:
    """A port of 127.0.0.1 that the system gives to no other process while the block runs.

    A socket is bound to it, but does not listen. A server that sets SO_REUSEADDR may listen on it.
    """
    place = until_closed.enter_context(socket.socket())
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    return int(place.getsockname()[1])


def opener_for(url: str, *handlers: urllib.request.BaseHandler | type) -> urllib.request.OpenerDirector:
    """The opener for this address: it goes directly to this machine, and elsewhere as the environment says."""
    proxies = [urllib.request.ProxyHandler({})] if urlsplit(url).hostname in HOSTS else []
    return urllib.request.build_opener(*proxies, *handlers)


def is_ready(address: str) -> bool:
    """Whether the receiver at an address of this machine answers that it is ready."""
    with suppress(OSError), opener_for(address).open(f"{address}/readyz", timeout=30):
        return True
    return False
