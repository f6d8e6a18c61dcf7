"""What a captured delivery holds, read without knowing who sent it: its body's format, fields, headers and address.

Every step of the doctor looks at a `View`. To read another format of bodies, add it to `_payload()`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from receiver.protocol.captured import Captured
from receiver.protocol.content import Delivered
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.fields import SignedFields
from receiver.protocol.forms import parse_query
from receiver.protocol.json_body import leaves
from receiver.protocol.schemes import PATH, QUERY

MOST_LEAVES = 20_000


@dataclass(frozen=True, repr=False)
class View:
    """A captured delivery, and what is in it. It holds clear text.

    `texts` may be signed with it, though they are in no part of the request: an application key, a partner code.
    """

    captured: Captured
    texts: Sequence[str] = ()

    @cached_property
    def body_format(self) -> str:
        """One of BODY_FORMATS: what the content type says, or what the first byte says."""
        kind = self.captured.header("content-type").lower()
        if "form-urlencoded" in kind:
            return "form"
        start = self.captured.body.lstrip()[:1]
        return "form" if "json" not in kind and b"=" in self.captured.body and start not in (b"{", b"[") else "json"

    @cached_property
    def payload(self) -> dict[str, Any] | None:
        """The body as an object, with numbers as they were written. None when it is no object."""
        try:
            return self.fields("").payload
        except UnusablePayload:
            return None

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """The single values of the body by their dotted paths, in the order in which they were sent."""
        return dict(islice(leaves(self.payload), MOST_LEAVES)) if self.payload else {}

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What `verify()` gets: the headers in lower case, and the address under names that no header has."""
        url = urlsplit(self.captured.url)
        named = {name.lower(): value for name, value in self.captured.headers}
        return named | {PATH: url.path, QUERY: url.query}

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The parameters of the address."""
        return parse_query(urlsplit(self.captured.url).query)

    def fields(self, without: str) -> SignedFields:
        """The fields of the body but the signature."""
        if without not in self._fields:
            self._fields[without] = SignedFields(self.captured.body, without=without, body_format=self.body_format)
        return self._fields[without]

    @cached_property
    def _fields(self) -> dict[str, SignedFields]:
        return {}

    def delivered(self, without: str, message_id: str = "", timestamp: str = "") -> Delivered:
        """What a scheme's template is filled in from."""
        return Delivered(self.captured.body, self.headers, self.fields(without), message_id, timestamp)
