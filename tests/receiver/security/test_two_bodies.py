"""Two bodies with one signature: at most one of them may ever be read, whatever a sender lets into its values.

A pair counts as a forgery when both bodies pass and their handlers would see something different.
"""

import hashlib
import hmac
import json
import random
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from urllib.parse import quote, quote_plus, urlencode

import pytest
import sqlalchemy as sa
from markupsafe import escape

from receiver.config import ConfigurationError, load_settings
from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.protocol.errors import InvalidSignature, StaleTimestamp
from receiver.protocol.fields import item_at
from receiver.protocol.schemes import FIELD_ESCAPES, SCHEMES, scheme_from
from receiver.protocol.signatures import verify
from receiver.protocol.weaknesses import weaknesses
from receiver.registry import handles
from receiver.store.models import AuditEntry, StoredEvent
from receiver.testing import both_databases
from tests.receiver.partner.models import ProbePayment
from tests.receiver.settings import LIVE

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
KEY = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2"
HEADER = "X-Signature"
FIELDS = {"content": "{fields}", "value_separator": "=", "field_separator": "&"}
PLACE = "meta.sign"
INSIDE = FIELDS | {"header": "none", "body_field": PLACE}


def is_refused(scheme):
    """Whether `live` refuses the scheme."""
    return any(found.is_refused for found in weaknesses(scheme, DEFAULT_FIELDS))


def scheme_of(**axes):
    return scheme_from("hmac-sha256-hex", FIELDS | axes)


def text_of(body, scheme):
    """What an independent sender signs of a body: it knows nothing of our own code."""
    found = []

    def walk(value, path):
        if isinstance(value, dict | list):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                walk(item, f"{path}.{key}" if path else str(key))
        elif isinstance(value, str):
            found.append((path, value))
        else:
            found.append((path, "" if value is None else json.dumps(value)))

    walk(body, "")
    escape = {"plain": str, "percent": partial(quote, safe="", errors="surrogatepass")}.get(
        scheme.field_escape, partial(quote_plus, errors="surrogatepass")
    )
    pairs = [f"{escape(path)}{scheme.value_separator}{escape(text)}" for path, text in sorted(found)]
    return scheme.field_separator.join(pairs)


def signature_of(text):
    return hmac.new(KEY, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def reading(body, scheme, text):
    """What a handler would see of the body that comes with the signature of the text. None: it is refused."""
    try:
        verified = verify(
            json.dumps(body).encode(),
            {HEADER: signature_of(text)},
            scheme=scheme,
            keys=[KEY],
            now=NOW,
            tolerance=timedelta(seconds=300),
        )
    except InvalidSignature as error:
        if error.reason != "ambiguous":
            raise
        return None
    return json.loads(verified.body)


PAIRS = {
    "a separator within a value": ({"a": "1", "b": "2"}, {"a": "1&b=2"}),
    "the rest of the fields within the last value": (
        {"event": "payment.failed", "z": "1"},
        {"event": "payment.failed&z=1"},
    ),
    "a separator within a path": ({"a": "1", "b": "2"}, {"a=1&b": "2"}),
    "a value separator within a path": ({"a": "b=c"}, {"a=b": "c"}),
    "a value separator within a nested path": ({"a": {"b": "c=d"}}, {"a": {"b=c": "d"}}),
    "an integer and its text": ({"a": 1}, {"a": "1"}),
    "a fraction and its text": ({"a": 1.5}, {"a": "1.5"}),
    "true and its text": ({"a": True}, {"a": "true"}),
    "false and its text": ({"a": False}, {"a": "false"}),
    "null and nothing": ({"a": None}, {"a": ""}),
    "a list and an object of numbers": ({"a": ["x"]}, {"a": {"0": "x"}}),
    "a longer list and an object": ({"a": ["x", "y"]}, {"a": {"1": "y", "0": "x"}}),
    "a list within a list": ({"a": [["x"]]}, {"a": [{"0": "x"}]}),
    "a list and flat paths": ({"a": ["x"]}, {"a.0": "x"}),
    "nested and flat": ({"a": {"b": "x"}}, {"a.b": "x"}),
    "nested and half flat": ({"a": {"b": {"c": "x"}}}, {"a": {"b.c": "x"}}),
    "flat within a list": ({"a": [{"b": {"c": 1}}]}, {"a": [{"b.c": 1}]}),
    "an empty object beside": ({"a": 1}, {"a": 1, "b": {}}),
    "an empty list beside": ({"a": 1}, {"a": 1, "b": []}),
    "empty containers within each other": ({"a": 1}, {"a": 1, "b": {"c": [], "d": {}}}),
    "an empty object in a list": ({"a": ["x"]}, {"a": ["x", {}]}),
    "an empty list in front in a list": ({"a": {"1": "x"}}, {"a": [[], "x"]}),
    "a list that ends empty and an object": ({"a": {"0": "x", "b": {}}}, {"a": ["x"]}),
    "nothing and empty containers": ({}, {"a": {"b": []}}),
    "an empty key above": ({"a": 1}, {"": {"a": 1}}),
    "empty keys above each other": ({"a": 1}, {"": {"": {"a": 1}}}),
    "an empty key between": ({"a": {"": {"b": 1}}}, {"a": {".b": 1}}),
    "an empty key below": ({"a": {"": 1}}, {"a.": 1}),
    "a key of a dot": ({"": {"a": 1}, "b": 2}, {"a": 1, "b": 2}),
    "a moment": ({"timestamp": 1795828867}, {"timestamp": "1795828867"}),
}


def test_no_two_bodies_of_any_kind_are_read_under_one_signature():
    scheme, forged = scheme_of(), []
    for kind, (first, second) in PAIRS.items():
        text = text_of(first, scheme)
        assert text == text_of(second, scheme), kind

        readings = [found for body in (first, second) if (found := reading(body, scheme, text)) is not None]

        if len(readings) == 2 and readings[0] != readings[1]:
            forged.append(kind)

    assert forged == []


ORDINARY = [
    {"event_id": "evt_1", "amount": 41350, "rate": 12.50, "paid": True, "note": None},
    {"event_id": "evt_1", "amount": "413.5000", "account": "12345678", "code": "00", "paid": "false", "name": ""},
    {"event_id": 7, "timestamp": 1795828867, "data": {"customer": {"name": "Thành công", "phone": "+60 12-345 6789"}}},
    {"event_id": "evt_1", "data": {"items": [{"sku": "A", "count": 2}, {"sku": "B"}], "tags": ["x", None, ""]}},
    {"event_id": "evt_1", "data": [], "metadata": {}, "meta": {"empty": {"inner": []}}},
    {
        "event_id": "evt_1",
        "url": "https://partner.example/pay?a=b",
        "at": "2026-11-24T08:00:00+08:00",
        "x": "1 + 1 = 2",
    },
    {"0": "a key that is a number", "data": {"1": "x", "2": "y"}, "list": list(range(12))},
    {},
]


def test_what_an_ordinary_sender_writes_is_read_as_it_is_signed():
    scheme, refused = scheme_of(), []
    for body in ORDINARY:
        found = reading(body, scheme, text_of(body, scheme))
        if found is None or text_of(found, scheme) != text_of(body, scheme):
            refused.append(body)

    assert refused == []


def test_the_handler_sees_what_is_signed_and_no_more():
    body = {"a": 12.5, "b": True, "c": None, "d": "", "e": {}, "f": ["1", 2, None], "meta": {"sign": "x", "more": {}}}
    scheme = scheme_from("hmac-sha256-hex", INSIDE)
    text = "a=12.5&b=true&c=&d=&f.0=1&f.1=2&f.2="
    body["meta"]["sign"] = signature_of(text)

    verified = verify(json.dumps(body).encode(), {}, scheme=scheme, keys=[KEY], now=NOW, tolerance=timedelta(seconds=1))

    assert json.loads(verified.body) == {"a": "12.5", "b": "true", "c": None, "d": None, "f": ["1", "2", None]}


def test_where_the_bytes_are_signed_the_body_is_the_one_that_came():
    body, scheme = b' {"a": 1.50, "b.c": {}}', scheme_from("hmac-sha256-hex", {})
    headers = {HEADER: hmac.new(KEY, body, hashlib.sha256).hexdigest()}

    verified = verify(body, headers, scheme=scheme, keys=[KEY], now=NOW, tolerance=timedelta(seconds=1))

    assert verified.body is body


def test_an_unsigned_value_at_the_flat_name_of_the_signature_is_refused():
    scheme = scheme_from("hmac-sha256-hex", INSIDE)
    body = {"a": "1", PLACE: {}, "meta": {"sign": signature_of("a=1")}}
    passed = verify_inside(body | {PLACE: "unsigned"}, scheme)

    assert passed == "ambiguous"


def verify_inside(body, scheme):
    try:
        verify(json.dumps(body).encode(), {}, scheme=scheme, keys=[KEY], now=NOW, tolerance=timedelta(seconds=1))
    except InvalidSignature as error:
        return error.reason
    return "passed"


def test_a_stale_delivery_tells_the_body_that_is_signed_too():
    axes = {"timestamp_header": "X-Time", "content": "{timestamp}|{fields}"}
    stamp = str(int(NOW.timestamp()) - 3600)
    headers = {HEADER: signature_of(f"{stamp}|a=1"), "X-Time": stamp}

    with pytest.raises(StaleTimestamp) as caught:
        verify(
            b'{"a": 1, "b": {}}', headers, scheme=scheme_of(**axes), keys=[KEY], now=NOW, tolerance=timedelta(seconds=1)
        )

    assert json.loads(caught.value.body) == {"a": "1"}


@pytest.mark.parametrize("end", ["+08:00", "+0800"])
def test_a_moment_that_touches_the_body_gives_none_of_its_letters_away(end):
    scheme = scheme_from("hmac-sha256-hex", {
        "content": "{timestamp}{body}", "timestamp_header": "X-Time", "timestamp_format": "rfc3339",
    })  # fmt: skip
    moment, cut = f"2026-11-24T16:00:00{end}", len(end) - 3

    def passes(stamp, body):
        headers = {HEADER: signature_of(f"{moment}{{}}"), "X-Time": stamp}
        with pytest.raises(InvalidSignature) if stamp != moment else nullcontext():
            verify(body, headers, scheme=scheme, keys=[KEY], now=NOW, tolerance=timedelta(seconds=1))

    passes(moment, b"{}")
    passes(moment[:-cut], moment[-cut:].encode() + b"{}")


def test_an_id_that_ends_like_the_separator_behind_it_is_refused():
    scheme = scheme_from("hmac-sha256-hex", {"content": "{id}..{body}", "id_header": "X-Id"})
    headers = {HEADER: signature_of("a...{}"), "X-Id": "a."}

    with pytest.raises(InvalidSignature, match="malformed_id"):
        verify(b"{}", headers, scheme=scheme, keys=[KEY], now=NOW, tolerance=timedelta(seconds=1))


WEAK = {
    "no value separator": ({"value_separator": "none"}, "value_separator"),
    "no field separator": ({"field_separator": "none"}, "field_separator"),
    "a dot between names and values": ({"value_separator": "."}, "value_separator"),
    "letters between fields": ({"field_separator": "_and_"}, "field_separator"),
    "the same between all": ({"value_separator": "|", "field_separator": "|"}, "value_separator"),
    "fields that are parted within what parts values": ({"value_separator": "=&"}, "value_separator"),
    "an ID that touches the fields": ({"content": "{id}{fields}", "id_header": "X-Id"}, "content"),
    "an ID that touches the body": ({"content": "{body}{id}", "id_header": "X-Id"}, "content"),
    "a timestamp that touches the fields": ({"content": "{fields}{timestamp}", "timestamp_header": "X-T"}, "content"),
}


@pytest.mark.parametrize("kind", WEAK)
def test_a_scheme_that_can_not_be_unambiguous_stops_the_start_in_live_and_not_in_the_sandbox(kind, environment):
    axes, named = WEAK[kind]
    settings = {f"SENANG_SIGNATURE_{axis.upper()}": value for axis, value in (FIELDS | axes).items()}
    settings |= environment | {"SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex", "DATABASE_URL": "postgres://db.example/x"}

    load_settings(settings)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(settings | LIVE)

    assert [mistake.partition(":")[0] for mistake in caught.value.mistakes] == [f"SENANG_SIGNATURE_{named.upper()}"]


@pytest.mark.parametrize("preset", SCHEMES)
def test_every_preset_is_unambiguous(preset):
    assert not is_refused(SCHEMES[preset])


@pytest.fixture
def signing_fields(environment):
    environment |= {f"SENANG_SIGNATURE_{axis.upper()}": value for axis, value in FIELDS.items()}
    environment |= {"SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex", "SENANG_WEBHOOK_SECRETS": KEY.decode()}


ENVELOPE = {"event_id": "evt_1", "event_type": "payment.failed", "timestamp": "2026-11-24T08:00:00Z"}


@both_databases
@pytest.mark.usefixtures("signing_fields")
def test_a_payment_that_is_forged_of_a_signed_value_pays_nothing(app, inbox, session, work):
    scheme = inbox.settings.scheme
    honest = ENVELOPE | {"data": {"note": "x&event_id=evt_9&event_type=payment.success&status=paid"}, "z": "1"}
    text = text_of(honest, scheme)
    rest = text.partition("status=paid&")[2]
    forged = {"data": {"note": "x"}, "event_id": "evt_9", "event_type": "payment.success", "status": f"paid&{rest}"}
    forged |= {"timestamp": "2026-11-24T08:00:00Z", "transaction_id": "TXN-9"}
    client = app.test_client()

    answers = [
        client.post("/webhooks/senang", data=json.dumps(body), headers={HEADER: signature_of(text)}).status_code
        for body in (honest, forged)
    ]
    work()

    assert answers == [401, 401]
    assert session.scalars(sa.select(ProbePayment)).all() == []


@both_databases
@pytest.mark.usefixtures("signing_fields")
def test_two_bodies_that_say_the_same_are_one_event_to_the_handler(app, inbox, session, work):
    seen = []
    handles("test.event")(lambda event, _session: seen.append((event.data, event.payload)))
    client, first = app.test_client(), ENVELOPE | {"event_type": "test.event", "data": {"amount": 100, "note": None}}
    second = first | {"data": {"note": "", "amount": "100", "unsigned": {}}}
    headers = {HEADER: signature_of(text_of(first, inbox.settings.scheme))}

    answers = [client.post("/webhooks/senang", data=json.dumps(body), headers=headers) for body in (second, first)]
    work()

    assert [answer.json["status"] for answer in answers] == ["accepted", "duplicate"]
    data = {"amount": "100", "note": None}
    assert seen == [(data, ENVELOPE | {"event_type": "test.event", "data": data})]
    assert session.scalar(sa.select(sa.func.count()).select_from(StoredEvent)) == 1


@pytest.mark.usefixtures("signing_fields")
def test_a_delivery_that_could_be_read_twice_is_refused_and_leaves_its_reason(app, inbox, session):
    body = ENVELOPE | {"note": "Tan & Sons"}
    headers = {HEADER: signature_of(text_of(body, inbox.settings.scheme))}

    answer = app.test_client().post("/webhooks/senang", data=json.dumps(body), headers=headers)

    assert answer.data == app.test_client().post("/webhooks/senang", data=b"x").data
    assert session.scalars(sa.select(AuditEntry.result)).first() == "rejected: ambiguous"
    assert session.scalar(sa.select(sa.func.count()).select_from(StoredEvent)) == 0


@pytest.mark.parametrize("escape", ["percent", "form"])
def test_a_sender_that_escapes_may_write_separators_into_values_and_nobody_can_forge_by_them(escape):
    scheme = scheme_of(field_escape=escape)
    honest = {"note": "Tan & Sons = 1", "status": "paid"}
    escaped = ("Tan%20%26%20Sons%20%3D%201", "Tan+%26+Sons+%3D+1")
    forged = [honest | {"note": "Tan ", " Sons ": " 1"}, *(honest | {"note": note} for note in escaped)]
    signature = signature_of(text_of(honest, scheme))

    def passes(body):
        headers, stamp = {HEADER: signature}, {"now": NOW, "tolerance": timedelta(minutes=5)}
        try:
            return json.loads(verify(json.dumps(body).encode(), headers, scheme=scheme, keys=[KEY], **stamp).body)
        except InvalidSignature:
            return None

    assert passes(honest) == honest
    assert [passes(body) for body in forged] == [None] * 3


def test_pages_the_check_and_the_start_of_live_say_what_is_weak_in_the_same_words(environment, request):
    environment |= {
        "SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex",
        "SENANG_SIGNATURE_CONTENT": "{field:event_id}|{field:event_type}",
    }
    client = request.getfixturevalue("signed_in")()
    [partial] = [weak.text for weak in load_settings(environment).weaknesses if weak.code == "partial"]

    assert "in that part: timestamp, transaction_id, policy_id, claim_id, status, data." in partial
    for path in ("/", "/captures"):
        assert str(escape(partial)) in client.get(path).text
    checked = client.application.test_cli_runner().invoke(args=["events", "check", "--json"])
    assert partial in json.loads(checked.output)["weaknesses"]
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment | LIVE | {"DATABASE_URL": "postgres://db.example/x"})
    assert caught.value.mistakes == [partial]


SEPARATORS = ["&", "|", ",", ";", "\n", "=", ":", "&&", "|=|", "; ", "=>", "::", "\x1f", "…"]
KEYS = ["", "a", "b", "0", "1", "2", "id", "a.b", ".", "event_type"]
TEXTS = ["", "1", "0", "1.5", "true", "null", "x", "a", "payment.success", "b=2"]
OTHER_TYPES = {"": None, "true": True, "false": False, "1": 1, "0": 0, "1.5": 1.5}
ROUNDS = 4000


def strong_scheme(chance):
    """A random scheme over fields that the live environment accepts."""
    while True:
        scheme = scheme_of(
            value_separator=chance.choice(SEPARATORS),
            field_separator=chance.choice(SEPARATORS),
            field_escape=chance.choice(FIELD_ESCAPES),
        )
        if not is_refused(scheme):
            return scheme


def hostile_body(chance, scheme):
    """A random body whose keys and values hold whatever confuses, separators above all."""
    separators = [scheme.field_separator, scheme.value_separator, scheme.field_separator[:1]]

    def words(known):
        return "".join(chance.choice([*known, chance.choice(separators)]) for _ in range(chance.randint(0, 3)))

    def value(depth):
        kind = chance.random()
        if depth and kind < 0.2:
            return [value(depth - 1) for _ in range(chance.randint(0, 3))]
        if depth and kind < 0.4:
            return table(depth)
        if kind < 0.6:
            return chance.choice([0, 1, 12, 1.5, True, False, None])
        return chance.choice(TEXTS) if kind < 0.8 else words(TEXTS)

    def table(depth):
        names = (chance.choice(KEYS) if chance.random() < 0.8 else words(KEYS) for _ in range(chance.randint(0, 3)))
        return {name: value(depth - 1) for name in names}

    return table(3)


def read_anew(chance, text, scheme):
    """Another body of this signed text: cut at some separators and dots only, with other types and containers."""
    pieces = []
    for piece in text.split(scheme.field_separator) if text else []:
        if pieces and chance.random() < 0.25:
            pieces[-1] += scheme.field_separator + piece
        else:
            pieces.append(piece)
    body = {}
    for piece in pieces:
        cuts = piece.split(scheme.value_separator)
        cut = 1 if chance.random() < 0.7 else chance.randint(1, len(cuts))
        path, value = scheme.value_separator.join(cuts[:cut]), scheme.value_separator.join(cuts[cut:])
        place, names = body, path.split(".") if chance.random() < 0.8 else [path]
        for name in names[:-1]:
            inner = place.setdefault(name, {})
            place = inner if isinstance(inner, dict) else {}
        place[names[-1]] = OTHER_TYPES.get(value, value) if chance.random() < 0.5 else value
    if chance.random() < 0.2:
        body[chance.choice(KEYS)] = chance.choice([{}, [], {"b": {}}])
    return {key: with_lists(item) for key, item in body.items()} if chance.random() < 0.5 else body


def with_lists(value):
    """The value with a list in the place of every object whose keys count from 0."""
    if not isinstance(value, dict):
        return value
    inner = {key: with_lists(item) for key, item in value.items()}
    return list(inner.values()) if inner and list(inner) == [str(n) for n in range(len(inner))] else inner


def test_a_search_for_two_bodies_with_one_signature_finds_none_under_any_scheme_that_live_accepts():
    chance, pairs = random.Random(5), 0
    for _ in range(ROUNDS):
        scheme = strong_scheme(chance)
        first = hostile_body(chance, scheme)
        text = text_of(first, scheme)
        second = read_anew(chance, text, scheme)
        if first == second or text_of(second, scheme) != text:
            continue
        pairs += 1

        readings = [found for body in (first, second) if (found := reading(body, scheme, text)) is not None]

        assert len(readings) < 2 or readings[0] == readings[1], (scheme, first, second)
    assert pairs > ROUNDS / 10


ORDERS = {
    "path": sorted,
    "path-nocase": lambda found: sorted(found, key=lambda field: (field[0].lower(), field[0])),
    "sent": list,
}
CHOSEN = ("a", "b.c", "d")


def leaves_of(body, path=""):
    """The paths and texts of a body, in its order, as an independent sender sees them."""
    if isinstance(body, dict | list):
        for key, item in body.items() if isinstance(body, dict) else enumerate(body):
            yield from leaves_of(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, body if isinstance(body, str) else "" if body is None else json.dumps(body)


def text_in_order(body, scheme):
    """What an independent sender signs of the fields, in the order and the extent of the scheme."""
    found = list(leaves_of(body["of"] if scheme.fields_of else body))
    if scheme.field_order == "pair":
        found.sort(key=lambda field: scheme.value_separator.join(field))
    else:
        found = ORDERS[scheme.field_order](found)
    pieces = [scheme.value_separator.join(field) for field in found if field[1] or scheme.empty_fields == "kept"]
    return scheme.field_separator.join(pieces)


def form_of(chance, body):
    """The body as a form, each path in brackets or with dots."""
    pairs = []
    for path, text in leaves_of(body):
        first, *below = path.split(".")
        key = path if chance.random() < 0.5 else first + "".join(f"[{name}]" for name in below)
        pairs.append((key, text))
    return urlencode(pairs, errors="surrogatepass").encode()


def passing(raw, scheme, text):
    """The body that passes under the signature of the text. None: it is refused."""
    headers = {HEADER: signature_of(text)}
    try:
        verified = verify(raw, headers, scheme=scheme, keys=[KEY], now=NOW, tolerance=timedelta(seconds=300))
    except InvalidSignature:
        return None
    return json.loads(verified.body)


def signed_part(body, scheme):
    """What of a body that passed is signed."""
    if scheme.coverage is None:
        return body
    return {path: item_at(body, path) for path in scheme.coverage.paths}


def a_strong_scheme(chance, **axes):
    """A random scheme in which nothing is ambiguous, by its own weaknesses."""
    while True:
        scheme = scheme_of(
            value_separator=chance.choice(SEPARATORS),
            field_separator=chance.choice(SEPARATORS),
            field_order=chance.choice([*ORDERS, "pair"]),
            empty_fields=chance.choice(["kept", "left-out"]),
            **axes,
        )
        if "ambiguous" not in {found.code for found in weaknesses(scheme, DEFAULT_FIELDS)}:
            return scheme


@pytest.mark.parametrize("kind", ["json", "form", "inside"])
def test_a_search_finds_no_two_bodies_with_one_signature_in_any_order_format_or_part(kind):
    chance, pairs, passed = random.Random(18), 0, 0
    for _ in range(ROUNDS):
        axes = {"body_format": "form"} if kind == "form" else {"fields_of": "of"} if kind == "inside" else {}
        scheme = a_strong_scheme(chance, **axes)
        first = hostile_body(chance, scheme)
        text = text_in_order({"of": first} if kind == "inside" else first, scheme)
        bodies = [first, read_anew(chance, text, scheme)]
        if kind == "inside":
            bodies = [{"of": body, "beside": chance.choice(TEXTS)} for body in bodies]
        if len({text_in_order(body, scheme) for body in bodies}) > 1 or bodies[0] == bodies[1]:
            continue
        pairs += 1
        raw = [form_of(chance, body) if kind == "form" else json.dumps(body).encode() for body in bodies]

        readings = [signed_part(found, scheme) for one in raw if (found := passing(one, scheme, text)) is not None]

        passed += len(readings)
        assert len(readings) < 2 or readings[0] == readings[1], (scheme, raw)
    assert pairs > ROUNDS / 20
    assert passed > pairs / 10


def test_a_search_finds_no_two_bodies_that_say_something_else_in_chosen_fields():
    chance, passed = random.Random(19), 0
    for _ in range(ROUNDS):
        between = chance.choice([*SEPARATORS, "", "x", "-"])
        scheme = scheme_from("hmac-sha256-hex", {"content": between.join(f"{{field:{path}}}" for path in CHOSEN)})
        if "ambiguous" in {found.code for found in weaknesses(scheme, DEFAULT_FIELDS)}:
            continue
        values = ["".join(chance.choice([*TEXTS, between, between[:1]]) for _ in range(2)) for _ in CHOSEN]
        text = between.join(values)
        cuts = text.split(between)
        places = sorted(chance.sample(range(1, len(cuts)), 2)) if len(cuts) > 2 else [1, 1]
        others = [between.join(cuts[low:high]) for low, high in pairwise([0, *places, len(cuts)])]
        raw = [chosen_body(chance, found) for found in (values, others)]

        readings = [signed_part(found, scheme) for one in raw if (found := passing(one, scheme, text)) is not None]

        passed += len(readings)
        assert len(readings) < 2 or readings[0] == readings[1], (scheme, raw)
    assert passed > ROUNDS / 10


def chosen_body(chance, values):
    """A body with these texts at the chosen paths, in any types, and more beside them."""
    first, second, third = (OTHER_TYPES.get(value, value) if chance.random() < 0.5 else value for value in values)
    return json.dumps({"a": first, "b": {"c": second, "e": 1}, "d": third, "more": chance.choice(TEXTS)}).encode()


def test_a_list_and_its_events_one_by_one_are_not_the_same_bytes_under_a_signature():
    scheme = scheme_from("hmac-sha256-hex", {})
    text = json.dumps([{"event_id": "evt_1"}])

    assert passing(text.encode(), scheme, text) == [{"event_id": "evt_1"}]
    assert passing(text[1:-1].encode(), scheme, text) is None


def test_what_two_amounts_have_in_common_is_all_that_a_handler_sees():
    scheme = scheme_from("hmac-sha256-hex", {"content": "{field:a}|{field:amount|digits}"})
    raw = [json.dumps({"a": "1", "amount": amount}).encode() for amount in ("413.50", "41350", 41350, 4135.0)]
    readings = [passing(body, scheme, "1|41350") for body in raw]

    assert readings == [{"a": "1", "amount": "41350"}] * 4


def test_a_header_that_could_take_a_part_of_the_body_is_refused():
    scheme = scheme_from("hmac-sha256-hex", {"content": "{header:X-Part}.{body}"})
    text = "a.b.{}"

    def passes(part, body):
        headers = {HEADER: signature_of(text), "X-Part": part}
        try:
            return verify(body, headers, scheme=scheme, keys=[KEY], now=NOW, tolerance=timedelta(seconds=1)).body
        except InvalidSignature as error:
            return error.reason

    assert (passes("a", b"b.{}"), passes("a.b", b"{}")) == (b"b.{}", "ambiguous")
