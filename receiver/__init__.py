"""The receiver of Senang.io's webhooks: what your code in `app/` may import, and nothing else.

    from receiver import Event, Session, advance, handles

Handlers: `handles`, `Event`, `Session`, `DataSchema`, `PermanentFailure`, `RetryLater`, `shows_message`.
Work outside the database: `follow_up` and `follows_up`.
Tables: `Base`, `Money`, `SealedText`, `UtcDateTime`, `Tracked` with `advance`, `describes` for what the pages say of a
row, and `erases` for a person who wants their data gone.
The app: `create_app`, `ConfigurationError`. Pages: `viewer_required`, `operator_required`, `csrf_exempt`.

`help(receiver.advance)` explains one. Everything below this module is the engine. It may change from release to
release; these names stay. UPGRADING.md says what else is promised. To add a name, write it into all three lists below.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a process that needs only the settings, such as gunicorn's master, imports none of these
    from sqlalchemy.orm import Session

    from receiver.assembly import create_app
    from receiver.config import ConfigurationError
    from receiver.database.columns import Base, Money, UtcDateTime
    from receiver.database.sealed_text import SealedText
    from receiver.follow_ups import follow_up
    from receiver.protocol.envelope import Event
    from receiver.registry import (
        PermanentFailure,
        RetryLater,
        describes,
        erases,
        follows_up,
        handles,
        shows_message,
    )
    from receiver.tracked import Tracked, advance
    from receiver.typed_data import DataSchema
    from receiver.web.auth import operator_required, viewer_required
    from receiver.web.forms import csrf_exempt

__version__ = "1.0.0"

__all__ = [
    "Base",
    "ConfigurationError",
    "DataSchema",
    "Event",
    "Money",
    "PermanentFailure",
    "RetryLater",
    "SealedText",
    "Session",
    "Tracked",
    "UtcDateTime",
    "advance",
    "create_app",
    "csrf_exempt",
    "describes",
    "erases",
    "follow_up",
    "follows_up",
    "handles",
    "operator_required",
    "shows_message",
    "viewer_required",
]

_HOMES = {
    "receiver.assembly": ("create_app",),
    "receiver.config": ("ConfigurationError",),
    "receiver.database.columns": ("Base", "Money", "UtcDateTime"),
    "receiver.database.sealed_text": ("SealedText",),
    "receiver.follow_ups": ("follow_up",),
    "receiver.protocol.envelope": ("Event",),
    "receiver.registry": (
        "PermanentFailure",
        "RetryLater",
        "describes",
        "erases",
        "follows_up",
        "handles",
        "shows_message",
    ),
    "receiver.tracked": ("Tracked", "advance"),
    "receiver.typed_data": ("DataSchema",),
    "receiver.web.auth": ("operator_required", "viewer_required"),
    "receiver.web.forms": ("csrf_exempt",),
    "sqlalchemy.orm": ("Session",),
}


if not TYPE_CHECKING:  # or mypy would believe that every name is there

    def __getattr__(name: str) -> object:
        """Import a name when somebody asks for it. Raises AttributeError for what is not of the public face."""
        for home, names in _HOMES.items():
            if name in names:
                globals()[name] = getattr(import_module(home), name)
                return globals()[name]
        raise AttributeError(f"{name} is not part of what receiver promises to keep: {', '.join(__all__)}")
