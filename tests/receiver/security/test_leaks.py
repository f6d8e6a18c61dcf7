"""Values that nobody may see are planted in every place of an event and in every failure, and looked for everywhere.

The database may hold what it searches and deduplicates by, in the columns that `CLEAR` names. Nothing that people see
may. To plant another value, add it to values.py; to look into another sink, add it to `Sinks`.
"""

import html
import json
import re
from collections import Counter
from itertools import cycle
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from receiver.database.columns import ReceiverBase
from receiver.privacy.grammar import is_reference
from receiver.store.models import StoredEvent
from receiver.store.shown import CHOSEN
from tests.receiver.security.planting import VALUES, WAYS, found_in, planted, quote_in_every_way
from tests.receiver.security.values import HARMLESS

CLEAR = {
    "events": {*CHOSEN},
    "audit_log": {"event_id", "event_type"},
}  # fmt: skip
TOKEN = "a-token-of-thirty-two-characters"
FILTER = re.compile(r"(?<=/events/)(\d+)\?.*")
"""What the address of one event's page says of the list that led there. The pages differ in their neighbours alone."""


@pytest.fixture
def environment(environment):
    return environment | {"METRICS_TOKEN": TOKEN, "LOG_LEVEL": "DEBUG"}


@pytest.fixture
def failing_in_every_way():
    """Handlers that quote what they are given."""
    quote_in_every_way()


@pytest.fixture
def sinks(app, signed_in, inbox, database, capsys, csrf_token):
    return Sinks(app, signed_in, inbox, database, capsys, csrf_token)


class Sinks:
    """Where people look."""

    def __init__(self, app, signed_in, inbox, database, capsys, csrf_token):
        self._client, self._runner = signed_in(), app.test_cli_runner()
        self._inbox, self._database, self._capsys, self._csrf_token = inbox, database, capsys, csrf_token

    def everything(self):
        """What each sink says, by its name."""
        return {**self.pages(), **self.commands(), **self.tables(), **self.logs()}

    def pages(self):
        """Every list, export and event, and of the pages behind them a few of each kind."""
        found, waiting = {}, ["/", "/events", "/audit", "/captures", "/workers", "/support/time"]
        waiting += ["/readyz", "/healthz"]
        waiting += [f"/{what}/export.{form}" for what in ("events", "audit") for form in ("csv", "json")]
        left = Counter[str]({"/subjects": 20, "/support": 20, "/audit?event_id": 10, "/events?": 20})
        while waiting:
            address = waiting.pop(0)
            page, kind = FILTER.sub(r"\1", address), next((kind for kind in left if address.startswith(kind)), None)
            if page in found or (kind and not left[kind]):
                continue
            if kind:
                left[kind] -= 1
            text = re.sub(r'name="csrf_token" value="[^"]*"', "", self._client.get(address).text)
            found[page] = f"{address}\n{text}"
            if address.split("?")[0] in ("/events", "/audit"):
                waiting += map(html.unescape, re.findall(r'href="(/(?!static)[^"]*)"', text))
        metrics = self._client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        return found | {"/metrics": metrics.text}

    def commands(self):
        """What is printed."""
        with self._inbox.engine.connect() as connection:
            numbers = connection.scalars(sa.select(StoredEvent.id)).all()
        many = ["list", "--limit", "10000"]
        commands = [many, [*many, "--json"], ["check"], ["check", "--json"]]
        commands += [["show", f"#{number}"] for number in numbers[:100]]
        commands += [["support", f"#{number}"] for number in numbers[:10]]
        return {str(command): self._runner.invoke(args=["events", *command]).output for command in commands}

    def tables(self):
        """Every column that need not be clear."""
        found = {}
        with self._inbox.engine.connect() as connection:
            for table in ReceiverBase.metadata.tables.values():
                columns = [column for column in table.columns if column.name not in CLEAR.get(table.name, ())]
                rows = connection.execute(sa.select(*columns)).all()
                found |= {f"table {table.name}": "\n".join(map(str, rows))}
        return found

    def files(self):
        """The bytes on the disk."""
        folder = Path(self._database.removeprefix("sqlite:///")).parent
        return {path.name: path.read_bytes().decode("latin-1") for path in folder.glob("receiver.db*")}

    def logs(self):
        """Both streams."""
        printed = self._capsys.readouterr()
        return {"standard output": printed.out, "standard error": printed.err}


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.soak)])
def test_what_stands_in_a_payload_is_seen_nowhere_and_stored_nowhere_in_clear(
    failing_in_every_way, deliver, sender, payload, work, app, sinks, every
):
    client, forms = app.test_client(), WAYS
    values = VALUES[::every]
    for number in range(0, len(values), 5):
        some = values[number : number + 5]
        data = {str(place): planted(value) for place, value in enumerate(some)}
        for place, value in enumerate(some):
            form = forms[(number + place) % len(forms)]
            deliver(
                f"leak.{form}", event_id=f"evt_{number + place}", data={"note": value, **(data if not place else {})}
            )
        if number % 20 == 0:
            deliver("test.unhandled", event_id=f"evt_{number}", data=data)  # its ID is taken
            sender.deliver(payload(event_id=f"unusable_{number}", timestamp=some[0], data=data))
            sender.deliver(json.dumps(data).encode() + b"}")
            client.post("/webhooks/senang", data=json.dumps(data))
            client.post(f"/webhook/{quote(some[0])}", data=json.dumps(data))
            client.get(f"/{quote(some[0])}")
    work()

    assert found_in(sinks.everything() | sinks.files(), values) == {}


@pytest.mark.soak
def test_what_stands_in_an_envelope_is_seen_nowhere(deliver, work, sinks):
    values = [value for value in VALUES if value.isprintable()]
    others = cycle(values)
    for value in filter(re.compile("[!-~]+").fullmatch, values):
        fields = {name: next(others) for name in ("event_type", "transaction_id", "policy_id", "claim_id", "status")}
        deliver(**fields, event_id=value)
        if len(value) % 4 == 0:
            deliver(**fields, event_id=value, data={"another": "body"})
    work()

    assert found_in(sinks.everything(), values) == {}


def test_what_an_operator_needs_stays_readable(deliver, work, sinks):
    values = [value for values in HARMLESS.values() for value in values]
    for number, value in enumerate(values):
        deliver("policy.issued", event_id=f"evt_{number}", policy_id=value, status=value, data={"code": value})
    work()

    sinks = sinks.pages()
    shown = {name: html.unescape(text) for name, text in sinks.items()}
    pages = [shown[f"/events/{number}"] for number in range(1, len(values) + 1)]
    leaf = '<span class="key">code:</span> <code>{}</code>'
    hidden = [value for value, page in zip(values, pages, strict=True) if leaf.format(value) not in page]
    references = [value for value in values if is_reference(value)]

    exported = shown["/events/export.json"]
    assert hidden == []
    assert [value for value in references if f'"policy_id": {json.dumps(value)}' not in exported] == []
    assert len(references) >= 40
