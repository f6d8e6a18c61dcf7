"""`senang scenarios`: play the cases of Senang.io's page to a receiver, and report each on a line.

`Report` decides what is shown: a live line in a terminal, plain lines elsewhere and in CI.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from receiver.cli.addressee import Address
from receiver.cli.context import as_json
from receiver.cli.throwaway import throwaway
from receiver.cli.throwaway_database import FROM_WHEEL
from receiver.present import inbox_in_force
from receiver.sandbox.samples import TYPES, own_samples, sample
from receiver.sandbox.scenarios import Result, Verdict, chosen, judge
from receiver.sandbox.scenarios.target import Target
from receiver.sandbox.sender import Sender
from receiver.store.inbox import Inbox

_WIPED = "\r\x1b[2K"
MARKS = {Verdict.PASSED: ("✓", "green"), Verdict.FAILED: ("✗", "red"), Verdict.NOT_JUDGED: ("–", "yellow")}


@click.command()
@click.option("--to", "url", type=Address(), help="Judge a running sandbox receiver from outside, by these settings.")
@click.option(
    "--postgres",
    is_flag=False,
    flag_value=FROM_WHEEL,
    metavar="[URL]",
    help="Run the copy on PostgreSQL: in this empty database, or on a server from a wheel.",
)
@click.option("--only", "clauses", multiple=True, metavar="CLAUSE", help="Only a clause or section, such as 7.3 or 4.")
@as_json
def scenarios(url: str | None, postgres: str | None, clauses: tuple[str, ...], as_json: bool) -> None:
    """Rehearse Senang.io's whole page against a copy of this receiver, or against a running one.

    The copy has your settings and handlers, and its own secrets and database. It is deleted at the end. Your handlers
    really run: if they do something outside the database, they do it here too. Follow-ups are left undone. Every event
    is made up and says "sandbox": true. Exits with 1 when a scenario failed.
    """
    inbox = inbox_in_force()
    if inbox.settings.environment == "live":
        raise click.ClickException("The live secret must never sign test events. Use a sandbox.")
    if url is not None and postgres is not None:
        raise click.UsageError("--postgres is for the copy. A receiver at --to has its own database.")
    chosen_ones = chosen(clauses)
    if not chosen_ones:
        raise click.UsageError("No scenario has such a clause.")
    with Report(as_json=as_json).shown() as report, _target(inbox, url, postgres, report) as target:
        for number, scenario in enumerate(chosen_ones, 1):
            report.doing(f"{number} of {len(chosen_ones)}: {scenario.name}")
            report.add(judge(scenario, target))
    if report.count(Verdict.FAILED):
        raise SystemExit(1)


class Report:
    """The results so far, shown as they come."""

    def __init__(self, *, as_json: bool) -> None:
        self.results: list[Result] = []
        self._as_json = as_json
        self._live = sys.stdout.isatty() and not as_json and not os.environ.get("CI")

    @contextmanager
    def shown(self) -> Iterator["Report"]:
        """Show the live line while the block runs, and the sum at its end."""
        try:
            yield self
        finally:
            self._wipe()
        self._sum_up()

    def doing(self, what: str) -> None:
        """Say what is running now."""
        if self._live:
            self._wipe()
            click.echo(f"… {what}", nl=False)

    def add(self, result: Result) -> None:
        """Show the line of a result."""
        self.results.append(result)
        mark, colour = MARKS[result.verdict]
        line = f"{mark} §{result.clause:<5} {result.name:<46} {result.seconds:5.1f} s"
        if result.reason:
            line += f"\n         {result.reason}"
        if not self._as_json:
            self._wipe()
            click.secho(line, fg=colour)

    def count(self, verdict: Verdict) -> int:
        """How many scenarios ended with this verdict."""
        return sum(result.verdict is verdict for result in self.results)

    def _sum_up(self) -> None:
        if self._as_json:
            counts = {verdict.value: self.count(verdict) for verdict in Verdict}
            ok = not self.count(Verdict.FAILED)
            lines = [asdict(result) | {"seconds": round(result.seconds, 3)} for result in self.results]
            click.echo(json.dumps({"ok": ok, **counts, "scenarios": lines}))
            return
        counted = ", ".join(f"{self.count(verdict)} {verdict.value}" for verdict in Verdict)
        seconds = sum(result.seconds for result in self.results)
        click.echo(f"\n{counted}, in {seconds:.0f} s")

    def _wipe(self) -> None:
        """Take the live line away."""
        if self._live:
            click.echo(_WIPED, nl=False)


@contextmanager
def _target(inbox: Inbox, url: str | None, postgres: str | None, report: Report) -> Iterator[Target]:
    if url is None:
        report.doing("starting a throwaway copy")
        with throwaway(inbox.settings, postgres) as copy:
            yield copy
        return
    settings = inbox.settings
    newest, *others = [Sender(url, settings.scheme, key, inbox.clock) for key in settings.signature_keys]
    if newest.deliver(sample(TYPES[0], fields=settings.payload_fields, now=inbox.clock.now())).status == 0:
        raise click.ClickException(f"Nobody answers at {url}.")
    yield Target(
        sender=newest,
        previous=others[0] if others else None,
        fields=settings.payload_fields,
        tolerance=settings.timestamp_tolerance,
        largest_body=settings.max_body_bytes,
        samples=own_samples(settings.partner_package),
    )
