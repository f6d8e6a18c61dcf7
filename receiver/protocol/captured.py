"""One POST as it came over the wire, not yet verified: what the doctor looks at.

Every header that can carry a signature is part of it, `Authorization` too: it is stored sealed. Cookies are not, nor
the credentials of a proxy: no sender signs there, and they may let somebody in.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

LEFT_OUT = ("cookie", "proxy-authorization")
"""Headers that are never kept, in lower case."""


@dataclass(frozen=True, repr=False)
class Captured:
    """A POST. `received_at` is None where it is unknown. Its repr hides the body, which is in clear text."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    received_at: datetime | None = None

    def header(self, name: str) -> str:
        """The value of the first header of this name, or nothing."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), "")

    def to_json(self) -> bytes:
        """JSON of all of it, the body in clear text too. Seal it before you store it."""
        document = {
            "url": self.url,
            "headers": self.headers,
            "body": base64.b64encode(self.body).decode(),
            "received_at": self.received_at and self.received_at.isoformat(),
        }
        return json.dumps(document).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Captured":
        """The POST that `to_json()` wrote."""
        document = json.loads(text)
        received_at = document["received_at"]
        return cls(
            document["url"],
            tuple((name, value) for name, value in document["headers"]),
            base64.b64decode(document["body"]),
            datetime.fromisoformat(received_at) if received_at else None,
        )


def kept_headers(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers that may be kept."""
    return tuple((name, value) for name, value in headers if name.lower() not in LEFT_OUT)
