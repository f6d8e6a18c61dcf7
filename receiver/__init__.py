"""The receiver of Senang.io's webhooks: what your code in `app/` may import, and nothing else.

    from receiver import Event, Session, advance, handles

Everything below this module is the engine. It may change from release to release; these names stay. UPGRADING.md says
what else is promised.
"""

from sqlalchemy.orm import Session

from receiver.advance import Tracked, advance
from receiver.assembly import create_app
from receiver.database.columns import Base, UtcDateTime
from receiver.protocol.envelope import Event
from receiver.registry import PermanentFailure, RetryLater, describes, handles, shows_message

__version__ = "1.0.0"

__all__ = [
    "Base",
    "Event",
    "PermanentFailure",
    "RetryLater",
    "Session",
    "Tracked",
    "UtcDateTime",
    "advance",
    "create_app",
    "describes",
    "handles",
    "shows_message",
]
