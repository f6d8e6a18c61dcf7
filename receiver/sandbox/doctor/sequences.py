"""Fields that a sender chose and put one behind another, with the secret before, behind, or as the key.

Nothing in a delivery says which fields are signed, so the likely sequences are tried: the ones that the delivery lists
itself, neighbours of the signature, fields in the order in which they were sent, and few fields in any order.
`RECIPES` has templates of real senders that no rule makes. To add one: a line in it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations

from receiver.protocol.content import content_pieces
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.fields import FORMS
from receiver.protocol.schemes import SignatureScheme
from receiver.sandbox.doctor.contents import Axes, Candidate
from receiver.sandbox.doctor.places import Place, message_ids, stamps, timestamp_form
from receiver.sandbox.doctor.view import View

JOINERS = ("", ":", "|", "&", ",", "-", ".", ";")
MOST_IN_ORDER = 13
"""Of so many fields, every choice in their order is tried: 8,192."""
MOST_PERMUTED = 16
LONGEST_PERMUTATION = 3
LONGEST_OF_FEW, FEW = 4, 9
_PLAIN_PATH = re.compile(r"[^{}|\s]+")
_NUMBER = re.compile(r"-?[0-9,]+(\.[0-9]+)?")

RECIPES = (
    # DOKU's and others' list of headers, with the body's digest
    "Client-Id:{header:Client-Id}\nRequest-Id:{id}\nRequest-Timestamp:{timestamp}\nRequest-Target:{path}\n"
    "Digest:{body_sha256_base64}",
    # Indonesia's SNAP
    "{method}:{path}:{body_sha256}:{timestamp}",
    "id:{query:data.id};request-id:{id};ts:{timestamp};",
    "{header:X-Client-Id}|{timestamp}|{body}",
    # Tap: names before values
    *(
        "x_id{field:id}x_amount{field:amount" + form + "}x_currency{field:currency}"
        "x_gateway_reference{field:reference.gateway}x_payment_reference{field:reference.payment}"
        "x_status{field:status}x_created{field:transaction.created}"
        for form in ("|decimals-2", "|decimals-3", "")
    ),
    # iPay88, with and without the last field
    "{secret}{field:MerchantCode}{field:PaymentId}{field:RefNo}{field:Amount|digits}{field:Currency}{field:Status}",
    # senangPay
    "{secret}{field:status_id}{field:order_id}{field:transaction_id}{field:msg}",
    # eGHL
    "{secret}{field:TxnID}{field:ServiceID}{field:PaymentID}{field:TxnStatus}{field:Amount}{field:CurrencyCode}"
    "{field:AuthCode}",
    # Midtrans
    "{field:order_id}{field:status_code}{field:gross_amount}{secret}",
    # Adyen
    "{field:pspReference}:{field:originalReference}:{field:merchantAccountCode}:{field:merchantReference}:"
    "{field:amount.value}:{field:amount.currency}:{field:eventCode}:{field:success}",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Chosen:
    """A field as a template writes it, with its text. `stamp` is the form of a timestamp."""

    part: str  # "a.b" or "amount|digits"
    text: str


def recipes(view: View, place: Place) -> Iterator[Candidate]:
    """The templates of real senders."""
    some_ids, some_stamps = message_ids(view, place), stamps(view, place)
    for template in RECIPES:
        if place.body_field and "{body" in template:
            continue
        needed_headers = re.findall(r"\{header:([^}]+)\}", template)
        if not all(view.captured.header(name) for name in needed_headers):
            continue
        if any(name not in view.query for name in re.findall(r"\{query:([^}]+)\}", template)):
            continue
        paths = re.findall(r"\{field:([^}|]+)", template)
        if paths and not any(path in view.values for path in paths):
            continue
        for message_id in some_ids if "{id}" in template else [("", "")]:
            for stamp in some_stamps if "{timestamp}" in template else [None]:
                axes = {"content": template, "id_header": message_id[0], "body_format": view.body_format}
                if stamp:
                    axes |= {stamp.axis: stamp.name, "timestamp_format": stamp.form}
                axes = {axis: value for axis, value in axes.items() if value}
                scheme = SignatureScheme(name="", header="X", **axes)  # type: ignore[arg-type]
                delivered = view.delivered(place.body_field, message_id[1], stamp.text if stamp else "")
                try:
                    pieces = tuple(content_pieces(scheme, delivered))
                except UnusablePayload:
                    continue
                yield Candidate(pieces, partial(dict, axes))


def listed(view: View, place: Place) -> Iterator[Candidate]:
    """The fields that a list in the body names, alone or with a timestamp beside them."""
    known = view.values
    lists: dict[str, list[str]] = {}
    for path, value in known.items():
        parent, _, number = path.rpartition(".")
        if number.isdecimal() and isinstance(value, str):
            lists.setdefault(parent, []).append(value)
    for names in lists.values():
        for root in ("", "data.", "payload.", "object."):
            paths = [f"{root}{name}" for name in names]
            if all(path in known for path in paths):
                chosen = _chosen(view, place, paths)
                moments = [c for c in _all_chosen(view, place) if timestamp_form(c.text) and c.part not in paths]
                for sequence in (chosen, *([*chosen, moment] for moment in moments)):
                    yield from _sequences(view, [sequence])


def neighbours(view: View, place: Place) -> Iterator[Candidate]:
    """The fields beside the signature in its own object, in every order."""
    parent = place.body_field.rpartition(".")[0]
    if parent:
        beside = [path for path in view.values if path.rpartition(".")[0] == parent and path != place.body_field]
        if len(beside) <= LONGEST_OF_FEW:
            chosen = _chosen(view, place, beside)
            orders = [list(o) for length in range(1, len(chosen) + 1) for o in permutations(chosen, length)]
            yield from _sequences(view, orders)


def in_order(view: View, place: Place) -> Iterator[Candidate]:
    """Fields in the order in which they were sent: runs of neighbours first, then every choice of few."""
    chosen = _all_chosen(view, place)
    if not chosen or len(chosen) > 4 * MOST_IN_ORDER:
        return
    runs = [chosen[a:b] for a in range(len(chosen)) for b in range(a + 2, len(chosen) + 1)]
    yield from _sequences(view, runs)
    filled = [one for one in chosen if one.text]
    if len(filled) <= MOST_IN_ORDER:
        for length in range(2, len(filled) + 1):
            for some in combinations(filled, length):
                yield from _sequences(view, [list(some)], JOINERS[:3])


def in_any_order(view: View, place: Place) -> Iterator[Candidate]:
    """Few fields in any order."""
    chosen = [one for one in _all_chosen(view, place) if one.text][:MOST_PERMUTED]
    longest = LONGEST_OF_FEW if len(chosen) <= FEW else LONGEST_PERMUTATION
    for length in range(1, longest + 1):
        for order in permutations(chosen, length):
            yield from _sequences(view, [list(order)], JOINERS[:4])


def _all_chosen(view: View, place: Place) -> list[Chosen]:
    return _chosen(view, place, [path for path in view.values if path != place.body_field])


def _chosen(view: View, place: Place, paths: Sequence[str]) -> list[Chosen]:
    texts: Mapping[str, str] = dict(view.fields(place.body_field).all) if paths else {}
    return [Chosen(path, texts[path]) for path in paths if path in texts and _PLAIN_PATH.fullmatch(path)]


def _sequences(view: View, orders: Sequence[Sequence[Chosen]], joiners: Sequence[str] = JOINERS) -> Iterator[Candidate]:
    """Each sequence with each joiner, alone and with the secret, with amounts as sent and as digits."""
    for order in orders:
        yield from _joined(view, order, joiners)
        for number, one in enumerate(order):
            if "." in one.text and _NUMBER.fullmatch(one.text):
                digits = Chosen(f"{one.part}|digits", FORMS["digits"](one.text))
                yield from _joined(view, [*order[:number], digits, *order[number + 1 :]], joiners)


def _joined(view: View, order: Sequence[Chosen], joiners: Sequence[str]) -> Iterator[Candidate]:
    texts = [one.text.encode(errors="surrogatepass") for one in order]
    for joiner in joiners if len(order) > 1 else ("",):
        between = joiner.encode()
        content = between.join(texts)
        yield Candidate((content,), partial(_axes, view, order, joiner, "", ""))
        yield Candidate((content + between, None), partial(_axes, view, order, joiner, "", f"{joiner}{{secret}}"))
        yield Candidate((None, between + content), partial(_axes, view, order, joiner, f"{{secret}}{joiner}", ""))


def _axes(view: View, order: Sequence[Chosen], joiner: str, before: str, after: str) -> Axes:
    """How a scheme says it. A field that is a moment is the timestamp, so that old deliveries are refused."""
    axes = {"body_format": view.body_format}
    parts = []
    for one in order:
        form = timestamp_form(one.text)
        if form and "timestamp_field" not in axes and "time" in one.part.lower():
            axes |= {"timestamp_field": one.part, "timestamp_format": form}
            parts.append("{timestamp}")
        else:
            parts.append(f"{{field:{one.part}}}")
    return axes | {"content": before + joiner.join(parts) + after}
