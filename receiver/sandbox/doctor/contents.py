"""What a sender may sign, the likely first: one function for each kind of content, in the order of `LEVELS`.

Each yields candidates when it is asked for the next one, so the caller can look at the time in between. To widen the
search, add a function to `LEVELS`. `SignatureScheme` must be able to express what it yields.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import permutations, product

from receiver.protocol.content import content_pieces
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.schemes import BODY_DIGESTS, FIELD_ESCAPES, FIELD_ORDERS, SignatureScheme
from receiver.sandbox.doctor.places import Place, Stamp, addresses, message_ids, stamps
from receiver.sandbox.doctor.view import View

USUAL_JOINERS = (".", ":", "", "\n")
OTHER_JOINERS = (",", "|", ";", "-", "_", "&", " ")
JOINERS = (*USUAL_JOINERS, *OTHER_JOINERS)
VALUE_SEPARATORS = ("", "=", ":")
FIELD_SEPARATORS = ("|", "&", ",", "", "\n", ";", ".", ":")
MOST_FIELDS = 500
"""A body with more values is tried under the likeliest forms of `{fields}` only."""
_NO_STAMP = Stamp("", "", "seconds", "")

Axes = Mapping[str, str]


@dataclass(frozen=True, repr=False)
class Candidate:
    """What may be signed. None stands for the secret. `axes()` says how a scheme expresses it."""

    pieces: tuple[bytes | None, ...]
    axes: Callable[[], Axes]


@dataclass(frozen=True, repr=False)
class _Frame:
    """What stands around the content: a template with its placeholders filled in."""

    template: str
    before: bytes
    after: bytes
    stamp: Stamp
    message_id: tuple[str, str]
    address: str

    def around(self, content: bytes) -> Candidate:
        return Candidate((self.before + content + self.after,), self.axes)

    def axes(self) -> dict[str, str]:
        found = {"url": self.address, "id_header": self.message_id[0]}
        if self.stamp.axis:
            found |= {self.stamp.axis: self.stamp.name, "timestamp_format": self.stamp.form}
        return {"content": self.template} | {axis: value for axis, value in found.items() if value}


def bodies(view: View, place: Place) -> Iterator[Candidate]:
    """The body alone or behind its signature's tag, then with a timestamp and an ID in the usual forms."""
    yield from _around(view, place, "{body}", view.captured.body, (), JOINERS)
    for extra in (("stamp",), ("id", "stamp"), ("id",)):
        yield from _around(view, place, "{body}", view.captured.body, extra, USUAL_JOINERS)


def bodies_with_texts(view: View, place: Place) -> Iterator[Candidate]:
    """The body with a text that is in no part of the request, and a timestamp."""
    for text in view.texts:
        for extra in ((text,), ("stamp", text)):
            yield from _around(view, place, "{body}", view.captured.body, extra, USUAL_JOINERS)


def addressed_bodies(view: View, place: Place) -> Iterator[Candidate]:
    """The body with our address, and a timestamp."""
    for extra in (("url",), ("stamp", "url"), ("method", "url"), ("method", "stamp", "url")):
        yield from _around(view, place, "{body}", view.captured.body, extra, USUAL_JOINERS)


def joined_bodies(view: View, place: Place) -> Iterator[Candidate]:
    """The body with a timestamp, an ID and our address, in all orders with all joiners."""
    some: tuple[tuple[str, ...], ...] = (
        ("stamp",),
        ("id", "stamp"),
        ("id",),
        ("url",),
        ("stamp", "url"),
        ("method", "url"),
    )
    for extra in some:
        yield from _around(view, place, "{body}", view.captured.body, extra, OTHER_JOINERS)
    more: tuple[tuple[str, ...], ...] = (("id", "url"), ("id", "stamp", "url"))
    for extra in more:
        yield from _around(view, place, "{body}", view.captured.body, extra, JOINERS)


def digests(view: View, place: Place) -> Iterator[Candidate]:
    """A digest of the body, with a timestamp, an ID, the method and our address."""
    if place.body_field:
        return
    extras = (
        (),
        ("stamp",),
        ("id", "stamp"),
        ("id",),
        ("url",),
        ("stamp", "url"),
        ("method", "url"),
        ("method", "stamp", "url"),
    )
    for extra in extras:
        for name in BODY_DIGESTS if len(extra) < 2 else BODY_DIGESTS[:2]:
            content = _pieces(SignatureScheme(name="", header="X", content=f"{{{name}}}"), view, place)
            if content is not None:
                yield from _around(
                    view, place, f"{{{name}}}", content, extra, USUAL_JOINERS if len(extra) > 1 else JOINERS
                )


def whole_fields(view: View, place: Place) -> Iterator[Candidate]:
    """Every field of the body, or of an object in it: sorted or as sent, as pairs or values, alone or with one part."""
    if view.payload is None:
        return
    frames = partial(_frames, view, place, "{fields}")
    alone_or_at_our_address = [*frames((), USUAL_JOINERS), *frames(("url",), USUAL_JOINERS)]
    in_the_usual_form = [frame for extra in ((), ("url",), ("stamp",), ("id",)) for frame in frames(extra, JOINERS)]
    for axes in _field_forms(view):
        scheme = _of_fields(**axes)
        content = _pieces(scheme, view, place)
        if content is None:
            continue
        is_usual = axes["field_order"] == "path" and axes["field_form"] == "pair" and "fields_of" not in axes
        for frame in in_the_usual_form if is_usual else alone_or_at_our_address:
            yield Candidate(frame.around(content).pieces, partial(_merged, frame.axes, axes))
        yield Candidate((content, None), partial(_merged, lambda: {"content": "{fields}{secret}"}, axes))
        yield Candidate((None, content), partial(_merged, lambda: {"content": "{secret}{fields}"}, axes))
        if axes["field_separator"]:
            joined = f"{{fields}}{axes['field_separator']}{{secret}}"
            pieces = (content + axes["field_separator"].encode(), None)
            yield Candidate(pieces, partial(_merged, partial(dict, content=joined), axes))


def hashed_bodies(view: View, place: Place) -> Iterator[Candidate]:
    """The body with the secret before or behind it."""
    if not place.body_field:
        for joiner in ("", ".", ":", "|"):
            between = (joiner.encode(),) if joiner else ()
            body = view.captured.body
            yield Candidate((None, *between, body), partial(dict, content=f"{{secret}}{joiner}{{body}}"))
            yield Candidate((body, *between, None), partial(dict, content=f"{{body}}{joiner}{{secret}}"))


@lru_cache(4096)
def _of_fields(**axes: str) -> SignatureScheme:
    """A scheme is dear to make, and every delivery is tried under the same ones."""
    return SignatureScheme(name="", header="X", content="{fields}", **axes)  # type: ignore[arg-type]  # all are texts


def _merged(more: Callable[[], Axes], axes: Axes) -> Axes:
    return {**axes, **more()}


def _field_forms(view: View) -> Iterator[dict[str, str]]:
    """The forms of `{fields}`: likely orders first, the whole body before an object in it."""
    objects = [path for path, value in (view.payload or {}).items() if isinstance(value, dict) and "." not in path]
    is_large = len(view.values) > MOST_FIELDS
    for root in ("", *(() if is_large else objects[:4])):
        for order in FIELD_ORDERS[:1] if is_large else FIELD_ORDERS:
            for empty in ("kept", "left-out"):
                for form in ("pair", "value"):
                    for between, inner in product(FIELD_SEPARATORS, VALUE_SEPARATORS if form == "pair" else ("",)):
                        axes = {
                            "field_order": order, "field_form": form, "field_separator": between,
                            "value_separator": inner, "empty_fields": empty, "body_format": view.body_format,
                        }  # fmt: skip
                        yield axes | ({"fields_of": root} if root else {})
                        if form == "pair" and (between, inner) == ("&", "="):  # else nobody escapes
                            for escape in FIELD_ESCAPES[1:]:
                                yield axes | {"field_escape": escape} | ({"fields_of": root} if root else {})


def _pieces(scheme: SignatureScheme, view: View, place: Place) -> bytes | None:
    try:
        return b"".join(piece or b"" for piece in content_pieces(scheme, view.delivered(place.body_field)))
    except UnusablePayload:
        return None


def _around(
    view: View, place: Place, placeholder: str, content: bytes, extra: tuple[str, ...], joiners: tuple[str, ...]
) -> Iterator[Candidate]:
    """The content with these parts around it, in every order with every joiner."""
    if not place.body_field:
        for frame in _frames(view, place, placeholder, extra, joiners):
            yield frame.around(content)


def _frames(
    view: View, place: Place, placeholder: str, extra: tuple[str, ...], joiners: tuple[str, ...]
) -> Iterator[_Frame]:
    """These parts around the placeholder, in every order with every joiner. A part without a name is a text."""
    names = {"stamp": "{timestamp}", "id": "{id}", "url": "{url}", "method": "{method}"}
    some_stamps = stamps(view, place) if "stamp" in extra else [_NO_STAMP]
    some_ids = message_ids(view, place) if "id" in extra else [("", "")]
    some_addresses = addresses(view) if "url" in extra else [""]
    for template in _templates((*(names.get(part, part) for part in extra), placeholder), place.tag, joiners):
        for stamp, message_id, address in product(some_stamps, some_ids, some_addresses):
            values = {"{timestamp}": stamp.text, "{id}": message_id[1], "{url}": address, "{method}": "POST"}
            before, after = (_filled(side, values) for side in template.split(placeholder))
            yield _Frame(template, before, after, stamp, message_id, address)


def _filled(template: str, values: Mapping[str, str]) -> bytes:
    for placeholder, value in values.items():
        template = template.replace(placeholder, value)
    return template.encode(errors="surrogatepass")


def _templates(parts: tuple[str, ...], tag: str, joiners: tuple[str, ...]) -> Iterator[str]:
    """Every order of the parts with every text between them, then the same behind the signature's tag."""
    for joiner in joiners if len(parts) > 1 else ("",):
        for order in permutations(parts):
            yield joiner.join(order)
    if tag:
        for joiner in joiners:
            for order in permutations(parts):
                yield joiner.join((tag, *order))
