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

from receiver.cli.context import ACTOR
from receiver.ingest import captures
from receiver.present import present_inbox
from receiver.privacy.sealing import CannotUnseal
from receiver.protocol.captured import Captured
from receiver.protocol.moments import written
from receiver.sandbox.diagnosis import Diagnosis
from receiver.sandbox.doctor import SECONDS, diagnose
from receiver.sandbox.doctor.reading import NotACapture, read_captures

WIDTH = 100


@click.command()
@click.argument("files", type=click.File("rb"), nargs=-1)
@click.option("--captured", is_flag=True, help="Take the deliveries that `senang capture` kept, the latest first.")
@click.option(
    "--text", "texts", multiple=True, help="May be signed, though it is not in the request: your application key."
)
@click.option("--seconds", default=SECONDS, show_default=True, type=click.FloatRange(0.1, 3600), help="Time to search.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@with_appcontext
def doctor(files: tuple[BinaryIO, ...], captured: bool, texts: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """Find out how one delivery is signed, and print the settings.

    FILES hold a raw HTTP request, a curl command, a HAR file, or an export of webhook.site or ngrok; - is standard
    input. The first delivery is examined. More deliveries show which values differ from event to event. The secret is
    SENANG_WEBHOOK_SECRETS; without it, the command asks. SENANG_OTHER_SECRETS may hold the secrets of another
    environment, to prove a mix-up. SENANG_PARTNER_ID is tried as a text that may be signed. The command never prints a
    secret.
    """
    if bool(files) == captured:
        raise click.UsageError("Give either FILES or --captured.")
    first, *more = [one for file in files for one in _read(file)] if files else _captures()
    others = _split(os.environ.get("SENANG_OTHER_SECRETS", ""))
    texts = (*texts, os.environ.get("SENANG_PARTNER_ID", ""))
    diagnosis = diagnose(first, _secrets(), others=others, captures=more, texts=texts, seconds=seconds)
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
    """The diagnosis for people: the finding, what to paste, why, what is weak, what to look out for, what to ask."""
    lines = [*textwrap.wrap(diagnosis.summary, WIDTH), f"({diagnosis.combinations:,} combinations tried)"]
    if diagnosis.settings:
        is_whole = any(name.endswith("_SCHEME") for name in diagnosis.settings)
        title = "Paste into .env:" if is_whole else "Paste into .env once the signature is known:"
        lines += ["", title, "", *(f"  {line}" for line in diagnosis.env_lines())]
    if diagnosis.rehearsal:
        lines += ["", *textwrap.wrap(diagnosis.rehearsal, WIDTH)]
    parts = (("Why:", diagnosis.reasons), ("What is weak:", diagnosis.weak), ("Please note:", diagnosis.warnings))
    for title, sentences in parts:
        if sentences:
            lines += ["", title]
            for sentence in sentences:
                lines += textwrap.wrap(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    if diagnosis.mail:
        lines += ["", "A mail that asks for what is missing:", ""]
        for line in diagnosis.mail.splitlines():
            lines += textwrap.wrap(line, WIDTH - 2, initial_indent="  ", subsequent_indent="  ") or [""]
    return "\n".join(lines)


def _read(file: BinaryIO) -> list[Captured]:
    try:
        return read_captures(file.read())
    except NotACapture as error:
        raise click.ClickException(f"{file.name}: {error}") from None


def _captures() -> list[Captured]:
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
        return [captures.open_capture(inbox, row) for row in rows]
    except CannotUnseal as error:
        raise click.ClickException(f"The capture cannot be unsealed: {error}.") from None


def _secrets() -> list[str]:
    return _split(os.environ.get("SENANG_WEBHOOK_SECRETS", "")) or [click.prompt("Webhook secret", hide_input=True)]


def _split(text: str) -> list[str]:
    """The secrets, as they were written: white space around one is a mistake that the doctor finds."""
    return [secret for secret in text.split(",") if secret.strip()]
