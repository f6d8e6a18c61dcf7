"""`senang contract` writes an OpenAPI 3.1 document that is true: what it allows is taken, and what is taken is allowed.

openapi/schema-3.1.json is the OpenAPI Initiative's meta-schema, https://spec.openapis.org/oas/3.1/schema/2025-11-23,
under the licence beside it. It leaves the schemas inside a document to JSON Schema's own meta-schema.
"""

import json
import re
from decimal import Decimal
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import sqlalchemy as sa
from jsonschema import Draft202012Validator
from marshmallow import Schema, fields
from marshmallow.validate import Length, OneOf, Range

from receiver import DataSchema, follow_up, follows_up, handles
from receiver.privacy.sealing import unseal
from receiver.protocol.json_body import parse_object, to_json
from receiver.queries.told import SCOPES
from receiver.sandbox.samples import TYPES, put
from receiver.store.models import StoredEvent
from receiver.testing import both_databases
from receiver.typed_data import DataDoesNotFit, load_data

META_SCHEMA = json.loads((Path(__file__).parent / "openapi" / "schema-3.1.json").read_text())
PUBLISHED = {name for name in TYPES if name != "account.updated"}
DEFAULT: dict[str, str] = {}
NESTED = {
    "SENANG_PAYLOAD_FIELDS": "event_id=data.id,event_type=meta.type,timestamp=meta.at,claim_id=refs.claim",
    "SENANG_SIGNATURE_SCHEME": "slack",
    "SENANG_SIGNATURE_HEADER": "X-Senang-Digest",
    "SENANG_TIMESTAMP_TOLERANCE": "60",
    "SENANG_TIMESTAMP_ZONE": "Asia/Kuala_Lumpur",
    "RECEIVER_NAME": "Acme",
    "MAX_BODY_BYTES": "2048",
}
IN_THE_BODY = {
    "SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex",
    "SENANG_SIGNATURE_HEADER": "none",
    "SENANG_SIGNATURE_BODY_FIELD": "meta.digest",
    "SENANG_SIGNATURE_CONTENT": "{fields}",
    "SENANG_SIGNATURE_VALUE_SEPARATOR": "=",
}
EACH_SETTING = pytest.mark.parametrize(
    "settings", [DEFAULT, NESTED, IN_THE_BODY], ids=["default", "nested", "in the body"]
)


class Person(DataSchema):
    name = fields.String(validate=Length(max=100))


class Terms(DataSchema):
    amount = fields.Decimal(validate=Range(min=0))
    currency = fields.String(validate=OneOf(["MYR", "SGD"]))
    starts_on = fields.Date()
    customer = fields.Nested(Person)


class Needed(DataSchema):
    amount = fields.Decimal(required=True, as_string=True, validate=Range(min=Decimal("0.01")))


@pytest.fixture
def settings():
    """What the test sets beside the usual; a parameter."""
    return DEFAULT


@pytest.fixture
def environment(environment, settings):
    return environment | settings


@pytest.fixture(autouse=True)
def typed(_handlers_of_the_package):
    """Handlers that ask for data; the types are no handler's of the package."""
    for pattern, schema in (("terms.*", Terms), ("terms.needed", Needed), ("open.?", None)):
        handles(pattern, data=schema)(lambda _event, _session: None)


@pytest.fixture
def knock(sender, payload):
    """Sign and deliver an event: the answer, and the body as it was sent."""

    def deliver(name, **changes):
        signed = sender.signed(to_json(payload(**{"event_type": name, **changes})).encode())
        return sender.post(sender.url, signed.body, signed.headers), signed.body

    return deliver


@pytest.fixture
def contract(app):
    """The document as the command prints it now."""

    def ask():
        printed = app.test_cli_runner().invoke(args=["senang", "contract"])
        assert printed.exit_code == 0, printed.output
        return json.loads(printed.stdout, parse_float=Decimal)

    return ask


def body_of(document, name):
    """What judges a body of this type or pattern."""
    schema = document["webhooks"][name]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": document["components"]})


def webhook_of(document, event_type):
    """The name of the webhook for a type: its own, or a pattern."""
    webhooks = document["webhooks"]
    return event_type if event_type in webhooks else next(n for n in webhooks if fnmatchcase(event_type, n))


def fits(document, name, body):
    """Whether the contract allows the body, which is read with exact numbers."""
    return body_of(document, name).is_valid(parse_object(body if isinstance(body, bytes) else to_json(body).encode()))


def schemas_in(part):
    """Every JSON Schema of the document."""
    if isinstance(part, dict):
        if "schema" in part:
            yield part["schema"]
        yield from (schema for schema in part.get("schemas", {}).values())
        for inner in part.values():
            yield from schemas_in(inner)


@EACH_SETTING
def test_the_document_is_openapi_and_each_schema_in_it_is_json_schema(contract):
    document = contract()

    Draft202012Validator(META_SCHEMA).validate(document)
    found = list(schemas_in(document))
    for schema in found:
        Draft202012Validator.check_schema(schema)
    assert len(found) > 20


@EACH_SETTING
def test_the_sample_of_each_type_fits_as_it_is_sent_and_as_it_was_stored(contract, knock, work, stored, inbox):
    sent = {name: knock(name, event_id=f"evt_{name}") for name in (*TYPES, "onboarding.done", "terms.new", "open.a")}
    work()

    document = contract()
    for name, (answer, body) in sent.items():
        webhook = webhook_of(document, name)
        row = stored(f"evt_{name}")
        kept = parse_object(unseal(row.sealed_payload, row=row.seal_id, keys=inbox.settings.payload_keys))
        if signature_at := inbox.settings.scheme.body_field:
            put(kept, signature_at, "it is not kept")
        assert (answer.status, row.state) == (200, "processed"), (name, row.last_error)
        for what in (parse_object(body), kept):
            body_of(document, webhook).validate(what)


TAKEN = [
    {},
    {"event_id": 12, "policy_id": 7, "transaction_id": Decimal("0.5"), "status": True},
    {"claim_id": "", "policy_id": {"id": None}, "transaction_id": [[], ""], "status": "x" * 500},
    {"data": {"amount": Decimal("12.50"), "currency": None, "customer": None, "more": [{"deep": [None]}]}},
    {"data": {"amount": "12.50", "currency": "SGD", "customer": {"name": "Siti", "age": 4}}},
    {"data": {"amount": 12, "starts_on": "2026-12-01"}},
    {"timestamp": 1_790_000_000},
    {"timestamp": Decimal("1790000000.25")},
    {"timestamp": "Tue, 24 Nov 2026 08:00:00 +0800"},
    {"data": None},
    {"data": []},
    {"data": ""},
    {"data": [[]]},
    {"data": False},
    {"claim_id": None},
]
"""Changes of an event that is processed all the same."""
QUARANTINED = [
    {"event_id": "two words"},
    {"event_id": ""},
    {"event_type": " "},
    {"timestamp": None},
    {"timestamp": {"at": 1}},
    {"policy_id": {"id": "POL-1"}},
    {"status": ["paid"]},
    {"data": ["text"]},
    {"data": "text"},
]
DEAD = [
    {"data": {"amount": [1]}},
    {"data": {"amount": Decimal("-0.01")}},
    {"data": {"currency": "USD"}},
    {"data": {"customer": {"name": "x" * 101}}},
    {"data": {"customer": "Siti"}},
]


@pytest.mark.parametrize("settings", [DEFAULT, NESTED], ids=["default", "nested"])
def test_the_contract_allows_what_is_processed_and_nothing_that_is_quarantined_or_dead(
    contract, knock, work, session, inbox
):
    document, wrong = contract(), []
    kinds = (("processed", TAKEN), ("quarantined", QUARANTINED), ("dead", DEAD))
    cases = [(changes, {state}) for state, kind in kinds for changes in kind]
    is_nested = inbox.settings.payload_fields["event_id"] == "data.id"
    cases.append(({"event_id": None}, {"quarantined" if is_nested else "processed"}))  # else it is in a signed header
    if is_nested:  # data that is no object could not hold the ID
        cases = [(c, states) for c, states in cases if isinstance(c.get("data", {}), dict)]
    for changes, expected in cases:
        before = session.scalar(sa.select(sa.func.max(StoredEvent.id))) or 0
        session.rollback()
        _, body = knock("terms.new", **changes)
        work()
        states = set(session.scalars(sa.select(StoredEvent.state).where(StoredEvent.id > before)))
        session.rollback()
        if (states, fits(document, "terms.*", body)) != (expected, expected == {"processed"}):
            wrong.append((changes, states))

    assert wrong == []


@pytest.mark.parametrize("settings", [IN_THE_BODY])
def test_where_fields_are_signed_a_text_may_come_as_any_single_value(contract, knock, work, stored):
    _, body = knock("terms.new", event_id=Decimal("1.50"), data={"customer": {"name": True}, "amount": Decimal("0.10")})
    work()

    assert (stored("1.50").state, fits(contract(), "terms.*", body)) == ("processed", True)


@pytest.mark.parametrize(("settings", "is_taken"), [(DEFAULT, False), (NESTED, True)], ids=["none", "a zone"])
def test_a_moment_that_is_a_list_of_numbers_is_allowed_where_the_settings_name_a_zone(contract, knock, is_taken):
    answer, body = knock("terms.new", timestamp=[2026, 11, 24, 8])

    assert ('"accepted"' in answer.text, fits(contract(), "terms.*", body)) == (is_taken, is_taken)


def test_data_that_a_schema_needs_is_needed_in_the_contract(contract, knock):
    document = contract()

    for data in (None, {}, [], {"amount": None}, {"amount": Decimal("0.001")}):
        assert not fits(document, "terms.needed", knock("terms.needed", data=data)[1]), data
    for amount in ("0.01", Decimal("0.01"), 5):
        assert fits(document, "terms.needed", knock("terms.needed", data={"amount": amount})[1]), amount


class Kind(Enum):
    MOTOR = 1
    TRAVEL = 2


class Everything(DataSchema):
    integer = fields.Integer(validate=OneOf([1, 2]))
    number = fields.Float(validate=Range(max=100, max_inclusive=False))
    decimal = fields.Decimal(as_string=True, validate=Range(min=Decimal("0.1")))
    boolean = fields.Boolean()
    text = fields.String(validate=Length(min=1, max=20))
    uuid = fields.UUID()
    date = fields.Date()
    moment = fields.DateTime()
    mail_moment = fields.DateTime("rfc")
    own_moment = fields.DateTime("%d.%m.%Y")
    seconds = fields.DateTime("timestamp")
    time = fields.Time()
    length = fields.TimeDelta()
    address = fields.Email()
    link = fields.Url()
    kind = fields.Enum(Kind)
    kind_number = fields.Enum(Kind, by_value=True)
    any = fields.Raw()
    texts = fields.List(fields.String())
    people = fields.List(fields.Nested(Person))
    many = fields.Nested(Person, many=True)
    one = fields.Nested(Person, only=("name",))
    pair = fields.Tuple((fields.String(), fields.Integer()))
    amounts = fields.Dict(keys=fields.String(), values=fields.Decimal())
    other = fields.Integer(data_key="otherName", load_default=3)
    network = fields.IP()
    place = fields.Pluck(Person, "name")


VALUES = [
    None, True, False, 0, 1, 2, -1, 99, Decimal("1.0"), Decimal("0.10"), Decimal("1.5"), 1_790_000_000, "", "0", "1",
    "1.5", "true", "yes", "off", "Siti", "MOTOR", "2026-12-01", "2026-12-01T08:00:00+08:00", "01.12.2026", "08:30",
    "Tue, 24 Nov 2026 08:00:00 +0800", "siti@example.com", "https://example.com/a", "192.0.2.1", "::1",
    "8d7f1f5e-7f0c-4d43-9a0c-3c1d4c1f2a10", [], ["a"], ["a", 1], [{"name": "Siti"}], {"name": "Siti"}, {"MYR": 1},
    {"MYR": "2.50"},
]  # fmt: skip


def test_the_contract_allows_whatever_a_schema_takes_of_each_kind_of_field(contract):
    """The other way round it can't: JSON Schema does not know what a telephone number of a partner's is."""
    handles("all.kinds", data=Everything)(lambda _event, _session: None)
    document = contract()
    judge = Draft202012Validator({"$ref": "#/components/schemas/Everything", "components": document["components"]})
    Draft202012Validator(META_SCHEMA).validate(document)

    forbidden, taken = [], 0
    for name, field in Everything().fields.items():
        for value in VALUES if name != "kind_number" else VALUES[3:]:  # for Python, true is 1
            data = {field.data_key or name: value}
            try:
                load_data(Everything, data)
            except DataDoesNotFit:
                continue
            taken += 1
            if not judge.is_valid(data):
                forbidden.append(data)

    assert forbidden == []
    assert taken > 150


class Tree(DataSchema):
    name = fields.String(required=True)
    branches = fields.List(fields.Nested(lambda: Tree()))


def other_tree():
    """A schema of the same name, strict as marshmallow's own are."""

    class Tree(Schema):
        height = fields.Integer(required=True)

    return Tree


def test_schemas_that_hold_themselves_or_share_a_name_keep_apart(contract, knock):
    for event_type, schema in (("tree.one", Tree), ("tree.other", other_tree())):
        handles(event_type, data=schema)(lambda _event, _session: None)
    document = contract()

    deep = {"name": "a", "branches": [{"name": "b", "branches": [{"name": "c", "more": 1}]}]}
    for event_type, data, is_taken in (
        ("tree.one", deep, True),
        ("tree.one", {"name": "a", "branches": [{"branches": []}]}, False),
        ("tree.one", {"height": 2}, False),
        ("tree.other", {"height": 2}, True),
        ("tree.other", {"height": 2, "more": 1}, False),
    ):
        assert fits(document, event_type, knock(event_type, data=data)[1]) is is_taken, data


@EACH_SETTING
def test_it_names_the_headers_and_the_check_that_are_configured_and_no_secret(contract, inbox):
    document, scheme = contract(), inbox.settings.scheme
    named = [part["name"] for part in document["components"].get("parameters", {}).values()]

    assert sorted(name.lower() for name in named) == sorted(scheme.headers)
    for part in document["components"]["parameters"].values():
        assert (part["required"], part["x-source"]) == (True, "configured")
    checked = document["x-verification"]
    assert (checked["algorithm"], checked["content"]) == (scheme.algorithm, scheme.content)
    assert not [key for key in inbox.settings.webhook_secrets if key in to_json(document)]
    if scheme.header:
        assert document["components"]["securitySchemes"]["signature"]["name"] == scheme.header


@pytest.mark.parametrize("settings", [NESTED])
def test_a_delivery_without_one_of_the_named_headers_is_refused(contract, app, sender, payload):
    signed = sender.signed(to_json(payload()).encode())
    client = app.test_client()

    for part in contract()["components"]["parameters"].values():
        headers = {name: value for name, value in signed.headers.items() if name != part["name"]}
        assert len(headers) == len(signed.headers) - 1
        assert client.post("/webhooks/senang", data=signed.body, headers=headers).status_code == 401


@pytest.mark.parametrize("settings", [NESTED])
def test_the_answers_are_those_that_the_contract_describes(contract, knock, app, sender, payload, work):
    document = contract()
    answers = [knock("open.a", event_id="evt_1"), knock("open.a", event_id="evt_1"), knock("open.a", timestamp="once")]
    answers = [answer for answer, _ in answers] + [sender.deliver(b"[" + b"1," * 2_000 + b"1]")]
    refused = app.test_client().post("/webhooks/senang", data=b"{}")
    bodies = [(answer.status, json.loads(answer.text)) for answer in answers] + [(refused.status_code, refused.json)]

    assert [status for status, _ in bodies] == [200, 200, 200, 413, 401]
    for status, body in bodies:
        described = document["components"]["responses"][str(status)]["content"]
        [content] = described.values()
        Draft202012Validator({**content["schema"], "components": document["components"]}).validate(body)
        assert content.get("example", body) == body


def test_the_contract_describes_every_view_of_the_api_and_real_answers_fit_it(contract, knock, work, app):
    knock("open.a", event_id="evt_1")
    knock("never.heard", event_id="evt_2")
    knock("terms.needed", data={"amount": "-1"})
    knock("open.a", timestamp="once")
    work()
    document, client = contract(), app.test_client()
    views = {re.sub("<row:[^>]*>", "{id}", rule.rule) for rule in app.url_map.iter_rules() if "/api/" in rule.rule}
    scopes = [word for scope in SCOPES for word in ("--scope", scope)]
    token = app.test_cli_runner().invoke(args=["tokens", "create", "a program", *scopes]).stdout.strip()

    assert set(document["paths"]) == views
    for path, described in document["paths"].items():
        responses = described["get"]["responses"]
        for headers in ({"Authorization": f"Bearer {token}"}, {}):
            for query in ("", "?what=this"):
                answer = client.get(path.replace("{id}", "1") + query, headers=headers)
                [content] = responses[str(answer.status_code)]["content"].values()
                judge = Draft202012Validator({**content["schema"], "components": document["components"]})
                judge.validate(parse_object(answer.data))
        known = {parameter["name"] for parameter in described["get"]["parameters"] if parameter["in"] == "query"}
        refused = client.get(path.replace("{id}", "1") + "?what=this", headers={"Authorization": f"Bearer {token}"})
        assert known == set(re.split(r"Known: |, |\.", refused.json["detail"])[2:-1]) - {"none"}


def test_each_part_says_whether_it_is_published_configured_or_observed(contract, knock, work):
    knock("never.heard", data={"lots": [{"size": 1}], "currency": "MYR"})
    work()

    document = contract()
    sources = {name: webhook["post"]["x-source"] for name, webhook in document["webhooks"].items()}
    whole = document["webhooks"]["terms.*"]["post"]["requestBody"]["content"]["application/json"]["schema"]["allOf"][1]
    observed = document["components"]["schemas"]["ObservedFields"]["properties"]
    assert {name for name, source in sources.items() if source == "published"} == PUBLISHED
    assert (sources["account.updated"], sources["terms.*"], sources["never.heard"]) == (
        "configured", "configured", "observed",
    )  # fmt: skip
    assert {part["x-source"] for part in whole["properties"].values()} == {"published", "configured"}
    assert whole["properties"]["event_id"]["x-sections"] == ["2.2", "7.2"]
    assert document["components"]["schemas"]["Terms"]["properties"]["amount"]["x-source"] == "configured"
    assert observed["sandbox"]["x-source"] == "observed"
    assert observed["data"]["properties"]["lots"]["items"]["properties"]["size"] == {"x-source": "observed"}
    assert "currency" not in observed["data"]["properties"]


def test_an_observed_type_has_the_schema_of_the_handler_that_runs_it(contract, knock, work):
    knock("terms.extra")
    work()

    document = contract()
    assert document["webhooks"]["terms.extra"]["post"]["x-source"] == "observed"
    assert not fits(document, "terms.extra", knock("terms.extra", data={"currency": "USD"})[1])
    assert not fits(document, "terms.extra", knock("terms.new")[1])


def test_a_follow_up_is_no_webhook_since_nobody_outside_may_send_it(contract, knock, work, session):
    @handles("own.begun")
    def begun(event, session):
        follow_up(session, event, "own.work", {"to_whom": "x"})

    follows_up("own.work")(lambda event: None)
    knock("own.begun")
    work()

    assert (
        "processed" in session.scalars(sa.select(StoredEvent.state).where(StoredEvent.event_type == "own.work")).all()
    )
    assert not [word for word in ("own.work", "to_whom") if word in to_json(contract())]


def test_names_that_are_personal_data_are_not_in_the_contract(contract, knock, work):
    knock("siti@example.com", data={"900101-14-5678": {"amount": 1}, "Siti Nurhaliza": 1})
    work()

    printed = to_json(contract())
    assert not [word for word in ("siti", "Siti", "900101", "[key]", "[e-mail") if word in printed]


@both_databases
def test_it_can_be_written_into_a_file(contract, app, tmp_path):
    written = app.test_cli_runner().invoke(args=["senang", "contract", "--output", str(tmp_path / "contract.json")])
    refused = app.test_cli_runner().invoke(args=["senang", "contract", "--output", str(tmp_path / "no" / "file")])

    assert (written.exit_code, json.loads((tmp_path / "contract.json").read_text(), parse_float=Decimal)) == (
        0,
        contract(),
    )
    assert (refused.exit_code, "can't be written" in refused.output) == (1, True)
