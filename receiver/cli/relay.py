"""`senang relay`: pass the events of a sandbox on to another receiver, in order, signed with that receiver's secret.

An event is sent until it is accepted, and no later event overtakes it. receiver/actions/relay.py decides which rows are
sent, and in which order. This module decides what to do with an answer.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from receiver.actions.relay import NoSuchEvent, Waiting, next_batch, start_after, take_body
from receiver.cli.addressee import Address, key_for, scheme_option
from receiver.cli.context import say
from receiver.cli.interrupt import CtrlC
from receiver.database.causes import is_lock_conflict
from receiver.present import present_inbox
from receiver.privacy.sealing import CannotUnseal
from receiver.protocol.schemes import SCHEMES
from receiver.sandbox.answers import outcome
from receiver.sandbox.sender import Answer, Sender
from receiver.store.inbox import Inbox

SECRET = "RELAY_SECRET"  # noqa: S105 - the name of a setting, no secret
POLL_SECONDS = 0.5
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
INTERRUPTED = 130
HINTS = {401: " (check the secret and --scheme)", 413: " (too large for the other receiver)"}


@click.command()
@click.option("--to", "url", required=True, type=Address(), help="The other receiver's webhook address.")
@click.option("--from", "start", default="now", show_default=True, metavar="[now|start|EVENT_ID]")
@click.option("--type", "patterns", multiple=True, metavar="PATTERN", help="Only these types; * matches anything.")
@scheme_option
@click.option("--once", is_flag=True, help="Stop when everything has been passed on.")
@with_appcontext
def relay(url: str, start: str, patterns: Sequence[str], preset: str | None, once: bool) -> None:
    """Pass verified events on to another receiver, in order. Without RELAY_SECRET, the command asks for its secret."""
    inbox = present_inbox()
    if inbox.settings.environment == "live":
        raise click.ClickException("A live receiver never passes events on. Relay from a sandbox.")
    configured = inbox.settings.scheme
    scheme = SCHEMES[preset] if preset else replace(configured, url=configured.url and url)
    sender = Sender(url, scheme, key_for(scheme, _secret(inbox), SECRET), inbox.clock)
    try:
        position = start_after(inbox, start)
    except NoSuchEvent:
        raise click.ClickException("There is no such event to start from.") from None
    _Relay(inbox, sender, patterns, position).run(once=once)


class _Relay:
    """One run, which starts at a row number."""

    def __init__(self, inbox: Inbox, sender: Sender, patterns: Sequence[str], position: int) -> None:
        self._inbox, self._sender, self._patterns, self._position = inbox, sender, patterns, position
        self._receiver = urlsplit(sender.url).netloc
        self._ctrl_c = CtrlC()
        self._go_on_from = f"#{position + 1}"
        self._relayed = self._erased = self._unreadable = 0

    def run(self, *, once: bool) -> None:
        """Pass events on until Ctrl-C, or with `once` until there are no more."""
        try:
            with self._ctrl_c:
                click.echo(f"Relaying to {self._receiver} by {self._sender.scheme.name}. Ctrl-C stops.", err=True)
                while not self._ctrl_c.pressed:
                    if self._pass_on_batch():
                        continue
                    if once:
                        break
                    self._ctrl_c.wait(POLL_SECONDS)
        except SQLAlchemyError:
            self._say_where_to_go_on()
            raise
        if self._ctrl_c.pressed:
            self._say_where_to_go_on()
            raise SystemExit(INTERRUPTED)
        click.echo(f"{self._relayed} relayed, {self._erased} erased, {self._unreadable} unreadable.", err=True)
        if self._unreadable:
            raise SystemExit(1)

    def _pass_on_batch(self) -> bool:
        """Whether there was anything new in the inbox."""
        batch = next_batch(self._inbox, self._position)
        for event in batch.events:
            if self._ctrl_c.pressed:
                break
            if not self._patterns or any(fnmatchcase(event.event_type, pattern) for pattern in self._patterns):
                self._go_on_from = event.event_id if self._name(event) == event.event_id else f"#{event.inbox_id}"
                self._pass_on(event)
        before, self._position = self._position, batch.until
        return batch.until > before

    def _pass_on(self, event: Waiting) -> None:
        """Send one event until it is accepted: no later event may overtake it."""
        try:
            body = self._take_body(event)
        except CannotUnseal as error:
            self._skip(event, error.reason)
            return
        pause = FIRST_PAUSE_SECONDS
        while not (answer := self._sender.deliver(body)).accepted:
            self._say(event, f"{_described(answer)}  again in {pause:g} s{HINTS.get(answer.status, '')}")
            self._ctrl_c.wait(pause)
            if self._ctrl_c.pressed:
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._relayed += 1
        self._say(event, _described(answer))

    def _take_body(self, event: Waiting) -> bytes:
        """Wait as long as another transaction holds a lock. On SQLite, a slow handler does, and that is normal."""
        while True:
            try:
                return take_body(self._inbox, event, self._receiver)
            except DBAPIError as error:
                if not is_lock_conflict(error):
                    raise

    def _skip(self, event: Waiting, reason: str) -> None:
        if reason == "erased":
            self._erased += 1
            self._say(event, "skipped: retention erased its payload")
            return
        self._unreadable += 1
        self._say(event, f"skipped: its payload can't be unsealed ({reason})")

    def _say_where_to_go_on(self) -> None:
        click.echo(f"\nStopped. Go on with: --from {shlex.quote(self._go_on_from)}", err=True)

    def _say(self, event: Waiting, what: str) -> None:
        event_type = self._inbox.settings.showing(event.event_type)
        say(f"{self._inbox.clock.now():%H:%M:%S}Z  {event_type:<18}  {self._name(event)}  {what}")

    def _name(self, event: Waiting) -> str:
        """The number of a row, as people see it and as a command takes it."""
        return self._inbox.settings.showing(event.event_id)


def _described(answer: Answer) -> str:
    status = f"{answer.status} " if answer.status else ""
    return f"{status}{outcome(answer)}  {answer.seconds * 1000:.0f} ms"


def _secret(inbox: Inbox) -> str:
    """The other receiver's secret. It is never an argument: every process on the machine can read arguments."""
    given = inbox.settings.relay_secret
    if not given and not sys.stdin.isatty():
        raise click.ClickException(f"{SECRET} is not set, and there is no terminal to ask for it.")
    return given or str(click.prompt("The other receiver's secret", hide_input=True))
