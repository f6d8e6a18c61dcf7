"""`senang doctor` and `senang capture`: find out how deliveries are signed that fail verification here.

The doctor works without valid settings, because it finds them. Only `--captured` needs an inbox.
"""

import json
import os
import textwrap
from typing import BinaryIO

import click
from flask import current_app
from flask.cli import with_appcontext

from receiver.ingest import captures
from receiver.present import present_inbox
from receiver.privacy.sealing import CannotUnseal
from receiver.protocol.captured import Captured
from receiver.protocol.moments import written
from receiver.sandbox.diagnosis import Diagnosis
from receiver.sandbox.doctor import diagnose
from receiver.sandbox.doctor.reading import NotACapture, read_capture

ACTOR = "command line"
WIDTH = 100


@click.command()
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--captured", is_flag=True, help="Take the latest delivery that `senang capture` kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@with_appcontext
def doctor(file: BinaryIO | None, captured: bool, as_json: bool) -> None:
    """Find out how one delivery is signed, and print the settings.

    FILE holds a raw HTTP request or a curl command; - is standard input. The secret is SENANG_WEBHOOK_SECRETS; without
    it, the command asks. SENANG_OTHER_SECRETS may hold the secrets of another environment, to prove a mix-up. The
    command never prints a secret.
    """
    if (file is None) != captured:
        raise click.UsageError("Give either a FILE or --captured.")
    delivery = _read(file) if file else _latest_capture()
    diagnosis = diagnose(delivery, _secrets(), others=_split(os.environ.get("SENANG_OTHER_SECRETS", "")))
    click.echo(json.dumps(diagnosis.as_dict(), indent=2) if as_json else in_words(diagnosis))
    if diagnosis.verdict != "found":
        raise SystemExit(1)


@click.command()
@click.option("--minutes", default=10, show_default=True, type=click.IntRange(1, captures.MOST_MINUTES))
@click.option("--count", default=captures.RING, show_default=True, type=click.IntRange(1, captures.RING))
@click.option("--stop", is_flag=True, help="Capture no more.")
@with_appcontext
def capture(minutes: int, count: int, stop: bool) -> None:
    """Keep deliveries that fail verification, for a while, for the doctor. Sandbox only. They still get a 401."""
    inbox = present_inbox()
    if stop:
        captures.close_window(inbox, actor=ACTOR)
        click.echo("Capturing has stopped.")
        return
    try:
        captures.open_window(inbox, minutes=minutes, count=count, actor=ACTOR)
    except captures.CaptureRefused as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"Capturing up to {count} deliveries that fail verification, for {minutes} minutes. Let Senang.io send one, "
        "then: flask --app wsgi senang doctor --captured"
    )


def in_words(diagnosis: Diagnosis) -> str:
    """The diagnosis for people: the finding, what to paste, why, and what to look out for."""
    lines = [*textwrap.wrap(diagnosis.summary, WIDTH), f"({diagnosis.combinations:,} combinations tried)"]
    if diagnosis.settings:
        lines += ["", "Paste into .env:", "", *(f"  {line}" for line in diagnosis.env_lines())]
    for title, sentences in (("Why:", diagnosis.reasons), ("Please note:", diagnosis.warnings)):
        if sentences:
            lines += ["", title]
            for sentence in sentences:
                lines += textwrap.wrap(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines)


def _read(file: BinaryIO) -> Captured:
    try:
        return read_capture(file.read())
    except NotACapture as error:
        raise click.ClickException(f"{file.name}: {error}") from None


def _latest_capture() -> Captured:
    if "inbox" not in current_app.extensions:
        raise click.ClickException("--captured needs settings that let the receiver start. A FILE does not.")
    inbox = present_inbox()
    rows = captures.kept(inbox)
    if not rows:
        raise click.ClickException("No delivery has been captured yet. Start with: flask --app wsgi senang capture")
    if left_out := captures.left_out(inbox):
        click.echo(
            f"The latest capture is of {written(rows[0].captured_at)} UTC. {left_out} of an address that had its "
            f"share of {captures.MOST_PER_ADDRESS} were left out. To capture more: flask --app wsgi senang capture",
            err=True,
        )
    try:
        return captures.open_capture(inbox, rows[0])
    except CannotUnseal as error:
        raise click.ClickException(f"The capture cannot be unsealed: {error}.") from None


def _secrets() -> list[str]:
    return _split(os.environ.get("SENANG_WEBHOOK_SECRETS", "")) or [click.prompt("Webhook secret", hide_input=True)]


def _split(text: str) -> list[str]:
    """The secrets, as they were written: white space around one is a mistake that the doctor finds."""
    return [secret for secret in text.split(",") if secret.strip()]
