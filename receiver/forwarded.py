"""Who the client is, and whether it came by HTTPS, where routers stand in front of us.

These are separate questions, and a router may answer each in another way. Each has a setting of its own. A list such as
`X-Forwarded-For` grows at its end: each router adds what it saw. So we count from the end, as many as there are routers
of ours. Everything before that comes from the client, who can write what it likes. To read another header, add it to
`BehindRouters`.

The middleware stands in front of everything, so the fast lane and Flask read one rule. An answer that can't be used
changes nothing: the client is then whoever is connected to us, the router.
"""

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from receiver.config import Settings
from receiver.privacy.remembered import remembered

Environ = dict[str, Any]
REPEATED = "senang.repeated"
"""The names, in WSGI's form, of the X-Forwarded-* headers that came in several fields. Only our own server says it."""
FOR, PROTO, HOST = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST"


class BehindRouters:
    """WSGI in front of everything that asks who the client is."""

    def __init__(self, app: Callable[..., Iterable[bytes]], settings: Settings) -> None:
        self._app = app
        self._header = _environ_key(settings.client_address_header)
        self._for_hops, self._proto_hops = settings.forwarded_for_hops, settings.forwarded_proto_hops
        self._host_hops = settings.forwarded_host_hops
        self._needs_one_field = settings.platform is not None and settings.platform.needs_one_field

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Hand the request on as the client sent it to the first router of ours."""
        named = environ.get(self._header, "") if self._header else self._last(environ, FOR, self._for_hops)
        if address := _address(named):
            environ["REMOTE_ADDR"] = address
        if scheme := self._last(environ, PROTO, self._proto_hops):
            environ["wsgi.url_scheme"] = "https" if scheme.lower() == "https" else "http"
        if host := self._last(environ, HOST, self._host_hops):
            environ["HTTP_HOST"] = host
        return self._app(environ, start_response)

    def _last(self, environ: Environ, key: str, hops: int) -> str:
        """What the first of so many routers wrote. Empty where it is not there, or can't be told from the client's."""
        if not hops or key not in environ or (self._needs_one_field and key in environ.get(REPEATED, "")):
            return ""
        values: list[str] = environ[key].split(",")  # as it is: a client's quotation mark must not hide a comma
        return values[-hops].strip() if len(values) >= hops else ""


def _environ_key(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}" if header else ""


@remembered
def _address(text: str) -> str:
    """The IP address in the text, without its port. Empty where there is none."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    return "" if "%" in host else str(getattr(address, "ipv4_mapped", None) or address)
