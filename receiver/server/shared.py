"""What gunicorn's master loads before it forks: all of its processes share it, so each starts sooner and is smaller.

To load more here, add it to `SHARED`. gevent changes Python in a web worker, after the fork. So nothing may be loaded
here that keeps a lock, a queue or a thread pool of its own, or the class of one: gevent can't change it any more, and
one request that waits for it would hold up all others.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

SHARED = (
    "flask",
    "flask_login",
    "flask_wtf.csrf",
    "jinja2",
    "markupsafe",
    "secure",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "receiver.actions.bulk",
    "receiver.follow_ups",
    "receiver.ingest.rows",
    "receiver.protocol.signatures",
    "receiver.queries.failures",
    "receiver.queries.health",
    "receiver.queries.overview",
    "receiver.queries.subject",
    "receiver.store.models",
    "receiver.tracked",
    "receiver.typed_data",
)


def load() -> None:
    """Load it, and let the garbage collector pass over it: what is not touched stays shared."""
    for name in SHARED:
        import_module(name)
    settle()


def settle() -> None:
    """What was loaded while the garbage collector was off stays for good."""
    gc.collect()
    gc.freeze()
    gc.enable()


@contextmanager
def loading() -> Iterator[None]:
    """In the block the garbage collector is off, and afterwards it passes over what was loaded.

    Else a short command would look through what stays for good, at the start and once more at its end. A process of
    gunicorn's has turned the garbage collector off before, and turns it on with `settle()`.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
