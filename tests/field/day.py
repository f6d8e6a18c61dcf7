"""A day on which things go wrong, one after the other, and what has to come of each: `INCIDENTS`.

The receiver is a partner's: a copy of app/, whose handlers can be edited, served by gunicorn over its own TLS, with its
worker beside it. Alerts go to a real mail server and to a real HTTP server. An operator is told, signs in with a real
browser, and finds cause and remedy.

The day is ten minutes long, because its processes share a clock that can be put forward: how far it is ahead stands in
a file. It is put forward far only while nothing is due, so nobody takes a jump for a worker that is gone.

`make incident` runs the day and tells of it, and tests/field/test_incident.py holds it. To let something else go wrong,
add it to `INCIDENTS`.
"""

import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect
from werkzeug.security import generate_password_hash

from receiver.clock import Clock
from receiver.config import load_settings
from receiver.sandbox.samples import sample
from receiver.sandbox.sender import Sender
from receiver.store.models import AlertTurn, AuditEntry, StoredEvent
from receiver.testing import ENVIRONMENT, PASSWORD, postgres_server
from receiver.testing.certificates import self_signed
from receiver.testing.others import MailServer, OtherSystem, listening
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests import forget_the_shell
from tests.receiver.browser.chromium import running_chromium
from tests.receiver.browser.people import follow, sign_in
from tests.receiver.browser.world import USERS
from tests.receiver.processes import ROOT, Receiver, free_port, listens

MOST_CLICKS = 3
MILLISECONDS = 1000 * PATIENCE_SECONDS
OPERATOR = USERS["operator"]
STEP = timedelta(seconds=16)
"""Longer than workers wait between two looks at what needs a person, and shorter than the silence of one that died."""
LATER = timedelta(minutes=11)
"""Longer than a channel hears nothing more of a condition, and than refusals count as present ones."""
OLD_SECRET = ENVIRONMENT["SENANG_WEBHOOK_SECRETS"]
NEW_SECRET = f"whsec_{b64encode(b'the new secret of this day').decode()}"
MANY = 25
"""More events than may fail, and more deliveries than may be refused, before somebody is told."""
PARTNERS_APP = '''"""A partner's receiver, whose clock is the day's."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask

import receiver
from receiver.clock import Clock


class ClockOfTheDay(Clock):
    """All processes of the day have it: how far it is ahead stands in a file."""

    @property
    def offset(self) -> timedelta:
        return timedelta(seconds=float(Path(os.environ["CLOCK_OF_THE_DAY"]).read_text()))

    @offset.setter
    def offset(self, value: timedelta) -> None:
        """The file decides."""


def create_app(**given: Any) -> Flask:
    """The receiver."""
    return receiver.create_app(**given | {"clock": ClockOfTheDay()})
'''


class Operator:
    """Somebody who has signed in, sees Overview, and counts the clicks."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    def sees(self, *words: str) -> None:
        """The page says this."""
        for text in words:
            expect(self.page.locator("main")).to_contain_text(text, timeout=MILLISECONDS)

    def follows(self, name: str, within: str = "main") -> None:
        """One click on the first link that begins so."""
        self.clicks += 1
        follow(self.page.locator(within).get_by_role("link", name=re.compile(f"^{re.escape(name)}")).first)

    def presses(self, name: str) -> None:
        """One click on the first button that begins so."""
        self.clicks += 1
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=re.compile(f"^{re.escape(name)}")).first.click()


@dataclass
class Channels:
    """Who is told: a mail server and an HTTP server by ALERT_URLS, and a monitor that is asked while all is well."""

    mail: MailServer
    http: OtherSystem
    monitor: OtherSystem

    @property
    def settings(self) -> dict[str, str]:
        mail = f"mailto://127.0.0.1:{self.mail.server_address[1]}?from=receiver@example.my&to=ops@example.my"
        http = self.http.url.replace("http://", "json://")
        return {"ALERT_URLS": f"{mail} {http}", "ALERT_HEARTBEAT_URL": self.monitor.url}

    def told(self) -> list[Counter[tuple[str, str]]]:
        """For each channel, how often it was told that a condition began, or is over."""
        titles = (
            [message["Subject"] for message in self.mail.messages],
            [call.body["title"] for call in self.http.calls],
        )
        return [sum(map(_changes, heard), Counter()) for heard in titles]


def _changes(title: str) -> Counter[tuple[str, str]]:
    found = Counter[tuple[str, str]]()
    for what, words in (("began", r"needs a person: ([^;]+)"), ("is over", r"recovered: ([^;]+)")):
        for codes in re.findall(words, title):
            found.update((code, what) for code in codes.split(", "))
    return found


@contextmanager
def channels() -> Iterator[Channels]:
    with listening(MailServer()) as mail, listening(OtherSystem()) as http, listening(OtherSystem()) as monitor:
        yield Channels(mail, http, monitor)


DISK_BYTES = 48 * 2**20
BALLAST = "files of somebody else"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of DISK_BYTES in memory, mounted in this folder. Only root can."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


class PostOffice:
    """The mail server of the partner's customers. It can go away, and come back to its port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.messages: list[EmailMessage] = []
        self._open = ExitStack()

    def open(self) -> None:
        """It listens."""
        server = self._open.enter_context(listening(MailServer(self.port)))
        server.messages = self.messages

    def close(self) -> None:
        """Nobody listens."""
        self._open.close()


@dataclass
class Day:
    """The partner's receiver on one database, who delivers to it, and what was sent."""

    folder: Path
    receiver: Receiver
    channels: Channels
    browser: Browser
    engine: sa.Engine
    sender: Sender
    post_office: PostOffice
    fields: Mapping[str, str]
    """Where Senang.io has each field of an event, whatever our settings say."""
    clock: Clock = field(default_factory=Clock)
    sent: list[dict[str, Any]] = field(default_factory=list)
    _web: "subprocess.Popen[bytes] | None" = None
    _put_forward_at: datetime = field(default_factory=Clock().now)

    # What the machine does

    def start(self, **settings: str) -> None:
        """Start gunicorn, with its worker. `settings` are changed for good."""
        self.receiver.environment |= settings
        self._web = web = self.receiver.start("-m", "gunicorn", "wsgi:app")
        eventually(lambda: web.poll() is not None or listens(self.receiver.port))
        assert web.poll() is None, self.said()

    def stop(self) -> None:
        assert self._web is not None
        self._web.terminate()
        self._web.wait(PATIENCE_SECONDS)

    def restart(self, **settings: str) -> None:
        self.stop()
        self.start(**settings)

    def edit(self, name: str, old: str, new: str) -> None:
        """Edit the partner's code, and deploy it."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} says {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))
        self.restart()

    def said(self) -> str:
        """The end of the log."""
        return self.receiver.log.read_text()[-4000:]

    # What time does

    def put_forward(self, step: timedelta) -> None:
        """Put the clock forward, for the receiver and for whoever sends to it."""
        self.clock.offset += step
        self.sender.clock.offset += step
        new = self.folder / "clock.new"
        new.write_text(str(self.clock.offset.total_seconds()))
        new.replace(self.folder / "clock")
        self._put_forward_at = self.clock.now()

    def until(self, fact: Callable[[], object]) -> None:
        """Wait for a fact. Whenever a worker has looked at what needs a person, the next look becomes due."""

        def is_so() -> bool:
            if fact():
                return True
            (looked_at,) = self.rows(sa.select(AlertTurn.looked_at))
            if looked_at and looked_at >= self._put_forward_at:
                self.put_forward(STEP)
            return False

        eventually(is_so)

    # Who sends

    def event(self, event_type: str, **changes: Any) -> dict[str, Any]:
        """A new event. The day knows that it exists."""
        event = sample(event_type, fields=self.fields, now=self.clock.now(), **changes)
        self.sent.append(event)
        return event

    def deliver(self, event_type: str, number: int = 1, *, status: int = 200) -> list[dict[str, Any]]:
        """Deliver so many new events, once each. The receiver has to answer with this status."""
        events = [self.event(event_type) for _ in range(number)]
        self.deliver_again(events, status=status)
        return events

    def deliver_again(self, events: Sequence[dict[str, Any]], *, status: int = 200) -> None:
        """Deliver them. What a busy machine answers 503 is sent again, as Senang.io would."""
        for event in events:
            answer = self.sender.deliver(event)
            while answer.status == 503 != status:
                answer = self.sender.deliver(event)
            assert answer.status == status, (answer, self.said())

    # What became of it

    def rows(self, statement: sa.Select[Any]) -> list[Any]:
        """The first column of what the database answers."""
        with self.engine.connect() as connection:
            return list(connection.scalars(statement))

    def eventually_calm(self) -> None:
        """Wait until all that was sent is processed, and nothing waits."""
        try:
            eventually(self.is_calm)
        except AssertionError:
            raise AssertionError(f"{self.rows(sa.select(StoredEvent.last_error))}\n{self.said()}") from None

    def is_calm(self) -> bool:
        """Whether it is so now."""
        states = set(self.rows(sa.select(StoredEvent.state)))
        return states == {"processed"} and not self.lost()

    def lost(self) -> set[str]:
        """Events that were sent, and that were not processed."""
        done = sa.select(StoredEvent.event_id).where(StoredEvent.state == "processed")
        return {event["event_id"] for event in self.sent} - set(self.rows(done))

    def twice(self) -> list[str]:
        """Events that were processed more than once, and mails that customers got twice."""
        done = sa.select(AuditEntry.event_id).where(AuditEntry.action == "attempt", AuditEntry.result == "processed")
        mails = [message["Message-ID"] for message in self.post_office.messages]
        return [name for name, number in Counter([*self.rows(done), *mails]).items() if number > 1]

    @contextmanager
    def operator(self) -> Iterator[Operator]:
        """Somebody who comes because an alert told it."""
        url = f"https://127.0.0.1:{self.receiver.port}"
        with self.browser.new_context(base_url=url, ignore_https_errors=True) as profile:
            profile.set_default_timeout(MILLISECONDS)
            page = profile.new_page()
            page.goto("/")
            sign_in(page)
            expect(page.get_by_role("heading", name="Overview")).to_be_visible(timeout=MILLISECONDS)
            yield Operator(page)


@contextmanager
def day(folder: Path, database: str, channels: Channels, browser: Browser) -> Iterator[Day]:
    """A receiver that runs, and to which nothing has happened yet."""
    with ExitStack() as stack:
        post_office = PostOffice()
        stack.callback(post_office.close)
        post_office.open()
        _copy(folder)
        certificate, key = map(str, self_signed(folder))
        own = {
            "DATABASE_URL": database,
            "TLS_CERTFILE": certificate,
            "TLS_KEYFILE": key,
            "REQUIRE_HTTPS": "1",
            "WEB_CONCURRENCY": "1",
            "RECEIVER_NAME": "Day",
            "FIRST_OPERATOR_NAME": OPERATOR,
            "FIRST_OPERATOR_PASSWORD_HASH": generate_password_hash(PASSWORD, method="scrypt:1024:8:1"),
            "SMTP_URL": f"smtp://127.0.0.1:{post_office.port}",
            "RECEIPT_FROM": "receipts@example.my",
            "CLOCK_OF_THE_DAY": str(folder / "clock"),
        }
        receiver = Receiver(ENVIRONMENT | channels.settings | own, folder)
        stack.callback(receiver.stop)
        receiver.log = folder / "log"
        loaded = load_settings(receiver.environment)
        engine = sa.create_engine(loaded.database_url)
        stack.callback(engine.dispose)
        url = f"https://127.0.0.1:{receiver.port}{loaded.webhook_path}"
        sender = Sender(url, loaded.scheme, loaded.signature_keys[0], Clock())
        found = Day(folder, receiver, channels, browser, engine, sender, post_office, loaded.payload_fields)
        found.put_forward(timedelta())
        migrated = receiver.flask("db", "upgrade", check=False)
        assert migrated.returncode == 0, migrated.stderr
        stack.enter_context(_trusting(certificate))
        found.start()
        yield found


def _copy(folder: Path) -> None:
    """What a partner has: the receiver is the same for all, and app/ is the partner's own."""
    folder.mkdir()
    for name in ("receiver", "migrations"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("wsgi.py", "gunicorn.conf.py"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "app", folder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "app" / "__init__.py").write_text(PARTNERS_APP)


@contextmanager
def _trusting(certificate: str) -> Iterator[None]:
    """Whoever sends from this process knows the receiver's certificate."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = certificate
    try:
        yield
    finally:
        os.environ.pop("SSL_CERT_FILE")
        if before:
            os.environ["SSL_CERT_FILE"] = before


@dataclass(frozen=True)
class Incident:
    """Something that goes wrong: which conditions have to be told, how it is found, and how it is mended."""

    cause: str
    codes: frozenset[str]
    begins: Callable[[Day], None]
    is_found: Callable[[Operator], None]
    """Within MOST_CLICKS."""
    remedy: str
    is_mended: Callable[[Day, Operator], None]
    on_small_disk: bool = False
    """Whether it happens to a receiver whose SQLite database has a small disk of its own, else to one on PostgreSQL."""


@dataclass(frozen=True)
class Outcome:
    """What came of an incident. Seconds are those of the day's clock."""

    alerted_after: float
    clicks: int
    recovered_after: float
    told: Sequence[Mapping[tuple[str, str], int]]
    lost: set[str]
    twice: Sequence[str]

    def complaints(self, incident: Incident) -> list[str]:
        """What is wrong with it."""
        once = {(code, what): 1 for code in incident.codes for what in ("began", "is over")}
        wrong = [f"a channel was told {dict(heard)}, not {once}" for heard in self.told if heard != once]
        wrong += [f"it took {self.clicks} clicks"] if self.clicks > MOST_CLICKS else []
        wrong += [f"{len(self.lost)} events are lost"] if self.lost else []
        wrong += [f"{len(self.twice)} events were processed twice"] if self.twice else []
        return wrong


def live(folder: Path, postgresql: str) -> Iterator[tuple[Incident, Outcome]]:
    """The whole day, incident after incident. Only root can have a small disk: else what needs one is left out."""
    with running_chromium() as browser, channels() as told:
        with day(folder / "on-postgresql", postgresql, told, browser) as here:
            for incident in INCIDENTS:
                if not incident.on_small_disk:
                    yield incident, live_through(here, incident)
        if os.geteuid() != 0:
            return
        with small_disk(folder) as disk, day(folder / "on-sqlite", f"sqlite:///{disk}/it.db", told, browser) as here:
            for incident in INCIDENTS:
                if incident.on_small_disk:
                    yield incident, live_through(here, incident)


def live_through(day: Day, incident: Incident) -> Outcome:
    """Let it go wrong, be told, look, mend it, and wait until that is told too."""
    day.put_forward(LATER)
    before, began = day.channels.told(), day.clock.now()
    incident.begins(day)
    day.until(lambda: _all_told(day, before, incident.codes, "began"))
    alerted = day.clock.now()
    with day.operator() as operator:
        incident.is_found(operator)
        clicks = operator.clicks
        incident.is_mended(day, operator)
        mended = day.clock.now()
        day.eventually_calm()
        day.put_forward(LATER)
        day.until(lambda: _all_told(day, before, incident.codes, "is over"))
        recovered, asked = day.clock.now(), len(day.channels.monitor.calls)
        day.put_forward(LATER)
        day.until(lambda: len(day.channels.monitor.calls) > asked)
        operator.page.goto("/")
        operator.sees("All is well.")
    return Outcome(
        alerted_after=(alerted - began).total_seconds(),
        clicks=clicks,
        recovered_after=(recovered - mended).total_seconds(),
        told=[now - then for now, then in zip(day.channels.told(), before, strict=True)],
        lost=day.lost(),
        twice=day.twice(),
    )


def _all_told(day: Day, before: list[Counter[tuple[str, str]]], codes: frozenset[str], what: str) -> bool:
    return all(
        now[(code, what)] > then[(code, what)]
        for now, then in zip(day.channels.told(), before, strict=True)
        for code in codes
    )


CLAIMS, RIGHT, WRONG = (
    "app/handlers/claims.py",
    'amount=event.data.get("amount")',
    'amount=event.data["claim"]["amount"]',
)


def a_bug_is_deployed(day: Day) -> None:
    day.edit(CLAIMS, RIGHT, WRONG)
    day.deliver("payment.success", 3)
    day.deliver("claim.submitted", MANY)


def the_bug_is_found(operator: Operator) -> None:
    operator.sees("events are failing", "Mend the cause")
    operator.follows("Failures by cause")
    operator.sees("claim.submitted", f"KeyError at {CLAIMS}:", "in claim_submitted")


def the_bug_is_mended(day: Day, operator: Operator) -> None:
    operator.presses("Replay all")
    day.edit(CLAIMS, WRONG, RIGHT)
    operator.presses("Replay them")


def the_mail_server_goes_away(day: Day) -> None:
    day.post_office.close()
    day.deliver("payment.success", MANY)


def the_mail_server_is_found(operator: Operator) -> None:
    operator.sees("events are failing", "pause its type")
    operator.follows("Failures by cause")
    operator.sees("receipt.send", "ConnectionRefusedError at app/handlers/receipts.py:")
    operator.follows("Pauses", within="header")
    operator.sees("While what a handler depends on is down, pause its event type, or the name of its follow-up.")


def the_mail_server_comes_back(day: Day, operator: Operator) -> None:
    operator.page.get_by_label("Event type, or name of a follow-up").fill("receipt.send")
    operator.page.get_by_label("Reason").fill("the mail server is down")
    operator.presses("Pause this type")
    day.put_forward(timedelta(minutes=30))
    waits = sa.select(StoredEvent.id).where(StoredEvent.state == "pending", StoredEvent.due_at.is_not(None))
    day.until(lambda: not day.rows(waits))
    day.post_office.open()
    operator.presses("Resume")


def a_wrong_mapping_is_set(day: Day) -> None:
    day.restart(SENANG_PAYLOAD_FIELDS="event_id=meta.id")
    day.deliver("policy.issued", MANY)


def the_mapping_is_found(operator: Operator) -> None:
    operator.sees("All of the last 20 deliveries were quarantined", "SENANG_PAYLOAD_FIELDS is wrong")
    operator.follows("Failures by cause")
    operator.sees("unusable: event_id missing")


def the_mapping_is_mended(day: Day, operator: Operator) -> None:
    day.restart(SENANG_PAYLOAD_FIELDS="")
    operator.presses("Replay all")
    operator.presses("Replay them")


def the_old_secret_is_removed_too_early(day: Day) -> None:
    day.restart(SENANG_WEBHOOK_SECRETS=f"{NEW_SECRET},{OLD_SECRET}")
    day.deliver("payment.success", 3)
    day.restart(SENANG_WEBHOOK_SECRETS=NEW_SECRET)
    day.deliver("payment.success", MANY, status=401)


def the_secret_is_found(operator: Operator) -> None:
    operator.sees("answered 401 within ten minutes, most often for wrong_signature")
    operator.sees("Does it still sign with one that you removed? Enter the new one at Senang.io.")
    operator.follows("Audit log", within="header")
    operator.sees("rejected: wrong_signature")


def the_sender_uses_the_new_secret(day: Day, _operator: Operator) -> None:
    day.sender = replace(day.sender, key=load_settings(day.receiver.environment).signature_keys[0])
    day.deliver_again(day.sent[-MANY:])


def the_senders_clock_is_six_minutes_fast(day: Day) -> None:
    day.sender.clock.advance(minutes=6)
    day.deliver("policy.cancelled", 6, status=401)


def the_clock_is_found(operator: Operator) -> None:
    operator.sees("had a timestamp outside the tolerance. Compare this machine's clock with the sender's")
    operator.follows("Failures by cause")
    operator.sees("policy.cancelled", "stale: timestamp_too_new")


def the_senders_clock_is_set(day: Day, operator: Operator) -> None:
    day.sender.clock.advance(minutes=-6)
    day.deliver_again(day.sent[-3:])
    operator.presses("Replay all")
    operator.presses("Replay them")


def other_files_fill_the_disk(day: Day) -> None:
    day.deliver("payment.success", 3)
    day.eventually_calm()
    _fill(_disk_of(day), leave=DISK_BYTES // 20)


def the_disk_is_found(operator: Operator) -> None:
    operator.sees("of the database's disk are free. On a full disk, deliveries get a 503. Make room")


def room_is_made(day: Day, operator: Operator) -> None:
    """Nobody was quick enough: before there is room, the disk is full."""
    _fill(_disk_of(day), leave=0)
    operator.page.goto("/")
    operator.sees("of the database's disk are free")
    refused = [day.event("payment.success") for _ in range(3)]
    day.deliver_again(refused, status=503)
    (_disk_of(day) / BALLAST).unlink()
    day.deliver_again(refused)


def _disk_of(day: Day) -> Path:
    return Path(day.engine.url.database or "").parent


def _fill(disk: Path, *, leave: int) -> None:
    """Let a file of somebody else's take the disk, but for so many bytes."""
    with (disk / BALLAST).open("ab") as ballast, suppress(OSError):
        while (room := shutil.disk_usage(disk).free - leave) > 0:
            ballast.write(bytes(min(room, 65536)))
            ballast.flush()


INCIDENTS = (
    Incident(
        "a bug in the handler of claim.submitted",
        frozenset({"failing"}),
        a_bug_is_deployed,
        the_bug_is_found,
        "mend the handler, deploy it, replay the group",
        the_bug_is_mended,
    ),
    Incident(
        "the mail server that receipts depend on is down",
        frozenset({"failing"}),
        the_mail_server_goes_away,
        the_mail_server_is_found,
        "pause receipt.send, and resume it when the mail server is back",
        the_mail_server_comes_back,
    ),
    Incident(
        "a wrong mapping of fields",
        frozenset({"all_quarantined", "quarantined_unusable"}),
        a_wrong_mapping_is_set,
        the_mapping_is_found,
        "correct the setting, restart, replay the group",
        the_mapping_is_mended,
    ),
    Incident(
        "a leaked secret, removed before the sender has the new one",
        frozenset({"rejected", "refused_in_a_row"}),
        the_old_secret_is_removed_too_early,
        the_secret_is_found,
        "enter the new secret at the sender, which then sends again what was refused",
        the_sender_uses_the_new_secret,
    ),
    Incident(
        "the sender's clock is six minutes fast",
        frozenset({"quarantined_stale", "refused_in_a_row"}),
        the_senders_clock_is_six_minutes_fast,
        the_clock_is_found,
        "set the clock, replay the group",
        the_senders_clock_is_set,
    ),
    Incident(
        "other files fill the disk of the database",
        frozenset({"disk_short"}),
        other_files_fill_the_disk,
        the_disk_is_found,
        "make room; the sender sends again what was answered 503",
        room_is_made,
        on_small_disk=True,
    ),
)


def main(folder: Path, postgresql: str) -> bool:
    """Tell of the day. Whether all went well."""
    wrong = 0
    for incident, outcome in live(folder, postgresql):
        complaints = outcome.complaints(incident)
        wrong += len(complaints)
        print(f"\n{incident.cause[0].upper()}{incident.cause[1:]}")
        print(
            f"  told     {', '.join(sorted(incident.codes))}: after {outcome.alerted_after:.0f} s, by mail and by HTTP"
        )
        print(f"  found    by {outcome.clicks} {'click' if outcome.clicks == 1 else 'clicks'} after the sign-in")
        print(f"  mended   {incident.remedy}")
        print(f"  over     told {outcome.recovered_after / 60:.0f} min later")
        print(f"  left     lost {len(outcome.lost)}, twice {len(outcome.twice)}. All is well.", flush=True)
        for complaint in complaints:
            print(f"  WRONG    {complaint}", flush=True)
    return not wrong


if __name__ == "__main__":
    forget_the_shell()
    with postgres_server() as server, server.database() as url, TemporaryDirectory() as name:
        sys.exit(not main(Path(name), url))
