"""`senang trigger`: sign a realistic event and deliver it."""

import click

from app.cli.context import present_inbox
from app.sandbox.samples import TYPES, sample
from app.sandbox.sender import Sender


@click.command()
@click.argument("event_type")
@click.option("--to", "url", default="http://127.0.0.1:8000/webhooks/senang", show_default=True)
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1, 10_000))
def trigger(event_type: str, url: str, repeat: int) -> None:
    """Sign a realistic event and deliver it. EVENT_TYPE is a type, or `all` for one of each."""
    inbox = present_inbox()
    if inbox.settings.environment == "live":
        raise click.ClickException("The live secret never signs test events. Use a sandbox.")
    sender = Sender(url, inbox.settings.scheme, inbox.settings.signature_keys[0], inbox.clock)
    failed = False
    for _ in range(repeat):
        for name in TYPES if event_type == "all" else (event_type,):
            payload = sample(name, fields=inbox.settings.payload_fields, now=inbox.clock.now())
            answer = sender.deliver(payload)
            failed |= answer.status != 200
            click.echo(f"{answer.status}  {name:<18}  {answer.text.strip()}")
    if failed:
        raise SystemExit(1)
