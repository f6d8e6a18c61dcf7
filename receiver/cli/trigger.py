"""`senang trigger`: sign realistic events, or any bytes, deliver them, and report each answer.

Lines and JSON go to standard output, so that a program can read them. The table only sums up, so it goes to standard
error. To send something else, add to `_makers()`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, BinaryIO

import click
from flask.cli import with_appcontext

from receiver.cli.addressee import Address, key_for, scheme_option
from receiver.cli.context import Amount, as_json, say
from receiver.cli.interrupt import CtrlC
from receiver.present import inbox_in_force
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.forms import written_as
from receiver.protocol.json_body import parse_value
from receiver.protocol.schemes import SCHEMES
from receiver.sandbox.answers import Delivered, delivered, summed_up
from receiver.sandbox.curl import curl_command
from receiver.sandbox.pace import on_schedule
from receiver.sandbox.samples import Samples, own_samples, put, sample, types_of
from receiver.sandbox.sender import Sender
from receiver.store.inbox import Inbox

MOST_LINES = 20
SECRETS = "SENANG_WEBHOOK_SECRETS"
Assigned = tuple[str, Any]


class Assignment(click.ParamType[Assigned]):
    """`PATH=VALUE`: a dotted path, and the value to set there."""

    name = "PATH=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Assigned:
        """VALUE is JSON where it parses as JSON, else text."""
        path, equals, text = value.partition("=")
        if not equals or not all(path.split(".")):
            self.fail("it takes a dotted path and a value, such as data.amount=99.", param, ctx)
        try:
            return path, parse_value(text)
        except (ValueError, RecursionError):
            return path, text


@click.command()
@click.argument("event_type", required=False)
@click.option("--to", "address", type=Address(), help="Default: port 8000 of this machine, under SCRIPT_NAME.")
@click.option(
    "--set",
    "assigned",
    multiple=True,
    type=Assignment(),
    help="Set a field. VALUE is read as JSON. If it is not JSON, it is text.",
)
@click.option("--raw", type=click.File("rb"), help="Send the bytes of this file unchanged. - is standard input.")
@scheme_option
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1, 10_000), help="How many new events.")
@click.option("--rate", type=Amount(0, min_open=True), help="How many deliveries a second.")
@click.option(
    "--duplicate",
    is_flag=False,
    flag_value=1,
    default=0,
    type=click.IntRange(0, 10_000),
    help="Send each event again: the same body with a new signature. Default: once.",
)
@click.option("--fail-signature", is_flag=True, help="Send a wrong signature, and expect a 401.")
@click.option(
    "--print", "print_only", is_flag=True, help="Print a curl command for each delivery instead of sending it."
)
@as_json
@with_appcontext
def trigger(
    event_type: str | None,
    address: str | None,
    assigned: Sequence[Assigned],
    raw: BinaryIO | None,
    preset: str | None,
    repeat: int,
    rate: float | None,
    duplicate: int,
    fail_signature: bool,
    print_only: bool,
    as_json: bool,
) -> None:
    """Sign realistic events and deliver them. EVENT_TYPE is a type, or `all` for one of each.

    Exits with 0 when every answer was a 2xx. With --fail-signature, exits with 0 when every answer was a 401.
    """
    inbox = inbox_in_force()
    if inbox.settings.environment == "live":
        raise click.ClickException("The live secret must never sign test events. Use a sandbox.")
    if (event_type is None) == (raw is None) or (raw and assigned):
        raise click.UsageError("Give an EVENT_TYPE, with as many --set as you like. Or give --raw alone.")
    makers = _makers(inbox, event_type, assigned, raw)
    bodies = (body for _ in range(repeat) for make in makers for body in [make()] * (1 + duplicate))
    url = address or f"http://127.0.0.1:8000{inbox.settings.webhook_path}"
    sender = _sender(inbox, url, preset, fail_signature=fail_signature)
    try:
        if print_only:
            _print(sender, bodies)
            return
        total = repeat * len(makers) * (1 + duplicate)
        deliveries = _deliver(inbox, sender, bodies, rate, lines=total <= MOST_LINES and not as_json)
    except UnusablePayload as error:
        raise click.ClickException(f"{sender.scheme.name} can't sign this body: {error}.") from None
    ok = len(deliveries) == total and all(_is_expected(d.status, fail_signature) for d in deliveries)
    _report(deliveries, ok=ok, as_json=as_json)
    if not ok:
        raise SystemExit(1)


def _makers(
    inbox: Inbox, event_type: str | None, assigned: Sequence[Assigned], raw: BinaryIO | None
) -> list[Callable[[], bytes]]:
    """A function for each kind of event, which makes the body of a fresh one."""
    if raw is not None:
        content = raw.read()
        return [lambda: content]
    own = own_samples(inbox.settings.partner_package)
    names = types_of(own) if event_type == "all" else (event_type or "",)
    return [partial(_body, inbox, name, own, assigned) for name in names]


def _body(inbox: Inbox, event_type: str, own: Samples, assigned: Sequence[Assigned]) -> bytes:
    payload = sample(event_type, fields=inbox.settings.payload_fields, now=inbox.clock.now(), own=own)
    for path, value in assigned:
        try:
            put(payload, path, value)
        except ValueError as error:
            raise click.ClickException(f"--set {path}: {error}.") from None
    return written_as(inbox.settings.scheme.body_format, payload)


def _sender(inbox: Inbox, url: str, preset: str | None, *, fail_signature: bool) -> Sender:
    scheme, key = inbox.settings.scheme, inbox.settings.signature_keys[0]
    if preset is not None:
        # The settings hold the secret as the key of their own scheme; another reads the same text differently.
        scheme = SCHEMES[preset]
        key = key_for(scheme, inbox.settings.webhook_secrets[0], SECRETS)
    if fail_signature:
        key = bytes(byte ^ 0xFF for byte in key)
    return Sender(url, scheme, key, inbox.clock)


def _print(sender: Sender, bodies: Iterable[bytes]) -> None:
    for body in bodies:
        click.echo(curl_command(sender.url, sender.signed(body)))
    if sender.scheme.signs_timestamp:
        click.echo("Signed just now: a receiver takes it until its SENANG_TIMESTAMP_TOLERANCE is over.", err=True)


def _deliver(
    inbox: Inbox, sender: Sender, bodies: Iterable[bytes], rate: float | None, *, lines: bool
) -> list[Delivered]:
    """Every delivery with its answer; after Ctrl-C, those until then."""
    deliveries = []
    with CtrlC() as ctrl_c:
        for body in on_schedule(bodies, rate, wait=ctrl_c.wait):
            if ctrl_c.pressed:
                break
            it = delivered(body, inbox.settings.payload_fields, sender.deliver(body))
            deliveries.append(it)
            if lines:
                said = f"{it.status or '-':>3}  {it.event_type:<18}  {it.event_id}  {it.outcome}"
                click.echo(f"{said}  {it.milliseconds:.0f} ms")
    return deliveries


def _is_expected(status: int, fail_signature: bool) -> bool:
    return status == 401 if fail_signature else 200 <= status < 300


def _report(deliveries: Sequence[Delivered], *, ok: bool, as_json: bool) -> None:
    answers = summed_up(deliveries)
    if as_json:
        document = {"ok": ok, "answers": [asdict(a) for a in answers], "deliveries": [asdict(d) for d in deliveries]}
        click.echo(json.dumps(document))
        return
    click.echo(f"\n{'status':<8}{'outcome':<28}{'deliveries':>12}{'p50':>10}{'p99':>10}{'max':>10}", err=True)
    for row in answers:
        latencies = "".join(f"{f'{milliseconds:.0f} ms':>10}" for milliseconds in (row.p50, row.p99, row.max))
        say(f"{row.status or '-':<8}{row.outcome:<28}{row.count:>12}{latencies}", err=True)
