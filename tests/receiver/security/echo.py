"""What the application sees, said back: one answer for each request, with its method, path and body.

gunicorn serves it as it serves the receiver. The receiver's own answers don't tell what it has read.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Say what was read. The body under `/unread` is left where it is."""
    words = [environ["REQUEST_METHOD"], environ["PATH_INFO"]]
    if environ["PATH_INFO"] != "/unread" and (body := environ["wsgi.input"].read()):
        words.append(body.decode("latin-1"))
    seen = " ".join(words)
    logging.getLogger("echo").info("seen %s", words[1])
    answer = seen.encode("latin-1")
    start_response("200 OK", [("Content-Length", str(len(answer))), ("X-Seen", "1")])
    return [answer]
