"""Sends in a process of its own, so that a channel that hangs holds up no event, and apprise costs no worker memory.

A worker starts it when something is to be told (`Alerting`). What it needs comes on its standard input, because an
address can hold a password, and everybody can read a command line. It ends by itself, within the channels' time limits.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from receiver.alerts.channels import Channel
from receiver.alerts.sending import Post, is_due, post_of, send_due
from receiver.alerts.watching import look_if_due
from receiver.database.engine import make_engine
from receiver.logs import configure_logging
from receiver.store.inbox import Inbox

PAUSE_SECONDS, PAUSE_WITHOUT_CHANNELS = 5.0, 3600.0
CODE = Path(__file__).parents[2]


class Alerting:
    """A worker's part in alerts. It remembers the process that it started, so that it starts one at a time."""

    def __init__(self) -> None:
        self._sending: subprocess.Popen[bytes] | None = None

    def __call__(self, inbox: Inbox, worker: str) -> float:
        """Look if a look is due, and let a process send what is to be told. Returns the seconds until the next turn."""
        if not inbox.settings.sends_alerts:
            return PAUSE_WITHOUT_CHANNELS
        look_if_due(inbox, worker)
        post = post_of(inbox)
        if (self._sending is None or self._sending.poll() is not None) and is_due(inbox.engine, post):
            self._sending = _start(inbox, post)
        return PAUSE_SECONDS


def _start(inbox: Inbox, post: Post) -> "subprocess.Popen[bytes]":
    settings = inbox.settings
    order = asdict(post) | {
        "database_url": settings.database_url,
        "logs": {"environment": settings.environment, "level": settings.log_level, "name": settings.name},
    }
    path = os.pathsep.join(filter(None, (str(CODE), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "receiver.alerts"],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    if process.stdin:
        with process.stdin as pipe:
            pipe.write(json.dumps(order).encode())
    return process


def run(order: str) -> None:
    """What the process does."""
    asked = json.loads(order)
    configure_logging(**asked["logs"])
    channels = tuple(Channel(**channel) for channel in asked["channels"])
    engine = make_engine(asked["database_url"])
    try:
        send_due(engine, Post(asked["receiver"], asked["ahead"], channels))
    finally:
        engine.dispose()
