"""When a person has to look: every condition once, with its limit, its stable code and its sentence. Pure.

Overview, `events check`, /metrics and alerts all ask `conditions()`, so they can't disagree. The facts come from
queries.health(). To add a condition, add its fact to `Health`, its limit to `Limits`, a function to `_CONDITIONS`, and
a paragraph with its code to docs/runbook.md.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from receiver.protocol.moments import written
from receiver.queries.count import Count, total
from receiver.store.lifecycle import EVERY, State


class Condition(NamedTuple):
    """Something that needs a person: a stable code, and a sentence that says what to do.

    The sentence has our own words and numbers alone, so it may leave the machine. `quoted` has the words of others,
    such as the masked message of an error. It stays on the page and in the terminal.
    """

    code: str
    sentence: str
    quoted: str = ""

    @property
    def text(self) -> str:
        """Both, for a person who may look at events."""
        return f"{self.sentence} {self.quoted}".strip()

    @property
    def runbook(self) -> str:
        """Where it is explained: what it means, how to look, what to do."""
        return f"{RUNBOOK}#{self.code}"


class Quoting(NamedTuple):
    """A sentence, and beside it the words of others."""

    sentence: str
    quoted: str


RUNBOOK = "docs/runbook.md"
Said = Iterator[str | Quoting]


@dataclass(frozen=True)
class Limits:
    """The limits up to which all is well. `events check` has options for most; Overview and /metrics use these."""

    dead: int = 0
    quarantined: int = 0  # within `quarantined_within`: what lies longer can often not be mended any more
    quarantined_within: timedelta = timedelta(hours=72)  # a long weekend
    failing: int = 20  # events at the same time
    failing_for: timedelta = timedelta(minutes=15)
    waiting_for: timedelta = timedelta(days=1)
    due_for: timedelta = timedelta(minutes=5)
    silence: timedelta | None = timedelta(days=1)  # since the last delivery; None: any silence is well
    first_delivery_expected: bool = False  # whether it is silence, too, when no delivery ever came
    rejected: int = 20  # within ten minutes, and as many that were refused unread
    refused_in_a_row: int = 4
    wrong_paths: int = 0  # POSTs within an hour
    connections: float = 0.9  # the part of those that there may be
    disk_percent: float = 10  # of the disk that is free, and at the same time
    disk_bytes: int = 5 * 1024**3  # that are free: a large disk is not short at a tenth
    new_type_for: timedelta = timedelta(days=7)  # since it was seen first
    paused_for: timedelta = timedelta(days=1)
    secret_unused_for: timedelta = timedelta(days=7)


NONE = Count(0)


@dataclass(frozen=True)
class Failing:
    """Events that are pending and whose last attempt ended without success."""

    count: Count = NONE
    since: datetime | None = None  # the earliest of them
    error: str | None = None  # the most frequent one, masked


class Connections(NamedTuple):
    """Connections to PostgreSQL."""

    ours: int
    used: int  # of those that the limit counts; ours are among them
    most: int
    limit: str  # whose it is: the server's, the database's or the role's


class Disk(NamedTuple):
    """The room that the database takes, in bytes, and what is left on its disk. None: nobody here can know it."""

    database: int
    free: int | None = None
    total: int | None = None


class Secret(NamedTuple):
    """One of several webhook secrets. Number 1 is the newest."""

    number: int
    known_since: datetime
    used_at: datetime | None  # when a delivery was signed with it last

    def is_unused(self, now: datetime, limit: timedelta) -> bool:
        """Whether no delivery was signed with it for so long."""
        return now - (self.used_at or self.known_since) > limit


@dataclass(frozen=True)
class NewTypes:
    """Event types that are new and that no handler took: as people see them, and how many events of theirs wait."""

    names: Sequence[str] = ()
    events: Count = NONE


@dataclass(frozen=True)
class Paused:
    """A person paused the handlers of this type, or of all: `*`. What it holds up is neither a backlog nor failing."""

    event_type: str
    since: datetime
    by: str
    reason: str
    waiting: Count  # pending events of this type

    @property
    def is_of_all(self) -> bool:
        """Whether it holds up every type."""
        return self.event_type == EVERY


@dataclass(frozen=True)
class Health:
    """The facts of one moment."""

    now: datetime
    problem: str | None  # a reason code when the database is not ready for this build
    counts: dict[State, Count]
    quarantined: dict[str, Count]  # within Limits.quarantined_within, by the reason
    newest: int  # how many of the newest events were looked at
    newest_quarantined: int  # how many of these are quarantined
    failing: Failing  # the handler raised, hung, or took its worker with it
    waiting: Failing  # the handler raised RetryLater
    misfits: dict[str, int]  # dead events whose data does not fit the schema of their handler, by type
    oldest_due: datetime | None
    worker_seen: datetime | None
    workers: int  # processes that were seen within a minute
    due_without_worker: bool
    last_delivery: datetime | None
    rejected: dict[str, int]  # answered 401 within ten minutes, by the reason
    refused_unread: dict[str, int]  # refused without a look at the signature within ten minutes, by the reason
    refused_in_a_row: int  # answers since the last good one, at least
    last_good_answer: datetime | None
    wrong_paths: int  # POSTs to paths that look like the webhook's, within an hour
    wrong_path: str | None  # the most frequent of these paths
    right_path: str  # the webhook's
    connections: Connections | None  # None on SQLite and behind a pooler
    behind_pooler: bool  # then nobody here can know how many connections there are
    disk: Disk
    new_types: NewTypes
    secrets: Sequence[Secret] = ()  # where there are several, the newest first
    paused: Sequence[Paused] = ()
    unmasked: list[str] = field(default_factory=list)  # what the masking self-test found in clear text


def conditions(health: Health, limits: Limits) -> list[Condition]:
    """What a person should look at, the worst first (§6.4, §10.1)."""
    return [_condition(code, said) for code, find in _CONDITIONS.items() for said in find(health, limits)]


def _condition(code: str, said: str | Quoting) -> Condition:
    return Condition(code, *said) if isinstance(said, Quoting) else Condition(code, said)


def _not_ready(health: Health, _limits: Limits) -> Said:
    if health.problem:
        yield f"The receiver is not ready: {health.problem}. Until that is mended, deliveries may get a 503."


def _no_worker(health: Health, _limits: Limits) -> Said:
    if health.due_without_worker:
        yield "Events are due, but no worker has been seen for a minute. Start one: flask --app wsgi worker"


def _connections(health: Health, limits: Limits) -> Said:
    found = health.connections
    if found and found.used >= limits.connections * found.most:
        yield (
            f"{found.used:,} of the {found.most:,} connections that the {found.limit} may have are used, "
            f"{found.ours:,} of them by the receiver. Without a free one, deliveries get a 503. Close others, lower "
            "DATABASE_CONNECTIONS, run fewer processes, or let the database have more."
        )


def _refused_in_a_row(health: Health, limits: Limits) -> Said:
    if health.refused_in_a_row > limits.refused_in_a_row:
        yield (
            f"The last {health.refused_in_a_row:,} answers were refusals. Senang.io may suspend an endpoint that keeps "
            "failing. Look at the audit log. In the sandbox, look at Captures too."
        )


def _wrong_path(health: Health, limits: Limits) -> Said:
    if health.wrong_paths > limits.wrong_paths:
        posts = "1 POST" if health.wrong_paths == 1 else f"{health.wrong_paths:,} POSTs"
        yield Quoting(
            f"{posts} came within an hour to a path that looks like the webhook's. The right path is "
            f"{health.right_path}. Correct it at Senang.io.",
            f"Most often: {health.wrong_path}" if health.wrong_path else "",
        )


def _disk_short(health: Health, limits: Limits) -> Said:
    free, total = health.disk.free, health.disk.total
    if free is not None and total and free < limits.disk_bytes and 100 * free < limits.disk_percent * total:
        yield (
            f"{_gigabytes(free)} of the {_gigabytes(total)} of the database's disk are free. On a full disk, "
            "deliveries get a 503. Make room, or let the disk grow."
        )


def _rejected(health: Health, limits: Limits) -> Said:
    rejected = sum(health.rejected.values())
    if rejected > limits.rejected:
        reason = _most_frequent(health.rejected)
        yield f"{rejected:,} deliveries were answered 401 within ten minutes, most often for {reason}. {_HINTS[reason]}"


def _refused_unread(health: Health, limits: Limits) -> Said:
    refused = sum(health.refused_unread.values())
    if refused > limits.rejected:
        yield (
            f"{refused:,} deliveries were refused within ten minutes without a look at their signature, most often for "
            f"{_most_frequent(health.refused_unread)}."
        )


def _most_frequent(reasons: dict[str, int]) -> str:
    return max(reasons, key=lambda reason: (reasons[reason], reason))


class _Hints(dict[str, str]):
    """What to do about a reason."""

    def __missing__(self, reason: str) -> str:
        return "A stranger does no harm. If it is Senang.io, ask the doctor: flask --app wsgi senang doctor"


_CLOCK = "Compare this machine's clock with the sender's."
_HINTS = _Hints(
    wrong_signature=(
        "Has Senang.io a new secret? Put it in front of SENANG_WEBHOOK_SECRETS. Does it still sign with one that you "
        "removed? Enter the new one at Senang.io."
    ),
    stale=_CLOCK,
    timestamp_too_old=_CLOCK,
    timestamp_too_new=_CLOCK,
)


def _new_secret_unused(health: Health, limits: Limits) -> Said:
    for newest in health.secrets[:1]:
        last = max(health.secrets, key=lambda secret: secret.used_at or secret.known_since)
        if newest.is_unused(health.now, limits.secret_unused_for) and last is not newest:
            yield (
                f"Senang.io does not use the new secret. No delivery was signed with it for "
                f"{_days(limits.secret_unused_for)}, but some with secret {last.number} of {len(health.secrets)}. "
                "Enter the new one at Senang.io."
            )


def _old_secret_unused(health: Health, limits: Limits) -> Said:
    is_used = any(not secret.is_unused(health.now, limits.secret_unused_for) for secret in health.secrets[:1])
    for secret in health.secrets[1:]:
        if is_used and secret.is_unused(health.now, limits.secret_unused_for):
            yield (
                f"Secret {secret.number} of {len(health.secrets)} is no longer used: no delivery was signed with it "
                f"for {_days(limits.secret_unused_for)}. Remove it from SENANG_WEBHOOK_SECRETS."
            )


def _new_type(health: Health, limits: Limits) -> Said:
    found = health.new_types
    if found.names:
        types = "An event type is new" if len(found.names) == 1 else f"{len(found.names):,} event types are new"
        events = "1 event waits" if str(found.events) == "1" else f"{found.events} events wait"
        yield Quoting(
            f"{types} and had no handler: {events} as unhandled. Write one (flask --app wsgi new handler), then replay "
            "them. Or dismiss them.",
            f"New: {', '.join(found.names)}",
        )


def _long_pause(health: Health, limits: Limits) -> Said:
    long = [pause.since for pause in health.paused if health.now - pause.since > limits.paused_for]
    if long:
        pauses = "A pause lasts" if len(long) == 1 else f"{len(long):,} pauses last"
        yield f"{pauses} since {_moment(min(long))}. Was it forgotten? The page Pauses resumes what is paused."


def _all_quarantined(health: Health, _limits: Limits) -> Said:
    if health.newest >= FEWEST_TO_JUDGE and health.newest_quarantined == health.newest:
        yield (
            f"All of the last {health.newest} deliveries were quarantined, so nothing is processed. Usually "
            "SENANG_PAYLOAD_FIELDS is wrong. Ask the doctor: flask --app wsgi senang doctor"
        )


def _quarantined_unusable(health: Health, limits: Limits) -> Said:
    yield from _quarantined(
        health, limits, "unusable",
        "could not be read as events. Correct SENANG_PAYLOAD_FIELDS (flask --app wsgi senang doctor finds it), "
        "then replay them.",
    )  # fmt: skip


def _quarantined_stale(health: Health, limits: Limits) -> Said:
    yield from _quarantined(
        health, limits, "stale",
        "had a timestamp outside the tolerance. Compare this machine's clock with the sender's, and look at "
        "SENANG_TIMESTAMP_TOLERANCE, then replay them.",
    )  # fmt: skip


def _quarantined_id_reused(health: Health, limits: Limits) -> Said:
    yield from _quarantined(
        health, limits, "id_reused",
        "had the ID of a known event, but a different body. The first body counts. Ask Senang.io which one is right.",
    )  # fmt: skip


def _quarantined(health: Health, limits: Limits, reason: str, what: str) -> Said:
    """The sentence for one reason. The limit is for all reasons together."""
    found = health.quarantined.get(reason)
    if found and total(list(health.quarantined.values())).exceeds(limits.quarantined):
        bodies = "1 delivery" if str(found) == "1" else f"{found} deliveries"
        yield f"{bodies} within {_hours(limits.quarantined_within)} {what}"


def _backlog(health: Health, limits: Limits) -> Said:
    if health.oldest_due and health.now - health.oldest_due > limits.due_for:
        yield (
            f"There is a backlog: the oldest due event has waited since {_moment(health.oldest_due)}. "
            "Handlers are slow, or there are too few workers."
        )


def _failing(health: Health, limits: Limits) -> Said:
    failing = health.failing
    too_long = failing.since is not None and health.now - failing.since > limits.failing_for
    if failing.since and (too_long or failing.count.exceeds(limits.failing)):
        yield Quoting(
            f"{_events_are(failing.count)} failing since {_moment(failing.since)}, and will be tried again. Mend the "
            "cause, then replay them. While what a handler needs is down, pause its type.",
            f"Most frequent error: {failing.error}",
        )


def _waiting(health: Health, limits: Limits) -> Said:
    waiting = health.waiting
    if waiting.since is not None and health.now - waiting.since > limits.waiting_for:
        yield Quoting(
            f"{_events_are(waiting.count)} put off by the handler again and again, since {_moment(waiting.since)}.",
            f"Most frequent reason: {waiting.error}",
        )


def _dead(health: Health, limits: Limits) -> Said:
    dead = health.counts[State.DEAD]
    if dead.exceeds(limits.dead):
        yield f"{_events_are(dead)} dead: there are no more attempts. Mend the cause, then replay."


def _silence(health: Health, limits: Limits) -> Said:
    if limits.silence is None:
        return
    if health.last_delivery is None and limits.first_delivery_expected:
        yield "No delivery has ever come. Does Senang.io know the address?"
    if health.last_delivery is not None and health.now - health.last_delivery > limits.silence:
        yield (
            f"No authentic delivery has come for {_hours(limits.silence)}. Is the endpoint suspended? "
            "Has its address changed?"
        )


def _masking(health: Health, _limits: Limits) -> Said:
    if health.unmasked:
        yield (
            f"The masking self-test failed for {', '.join(health.unmasked)}. Until it is mended, pages may show "
            "personal data."
        )


def _events_are(count: Count) -> str:
    return "1 event is" if str(count) == "1" else f"{count} events are"


def _hours(length: timedelta) -> str:
    hours = length.total_seconds() / 3600
    return "an hour" if hours == 1 else f"{hours:g} hours"


def _days(length: timedelta) -> str:
    days = length.total_seconds() / 86400
    return "a day" if days == 1 else f"{days:g} days"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"


def _moment(moment: datetime) -> str:
    return f"{written(moment)}Z"


FEWEST_TO_JUDGE = 5
"""How many deliveries this takes. Fewer don't show that nothing is processed."""

_CONDITIONS: dict[str, Callable[[Health, Limits], Said]] = {
    "not_ready": _not_ready,
    "no_worker": _no_worker,
    "connections": _connections,
    "disk_short": _disk_short,
    "refused_in_a_row": _refused_in_a_row,
    "wrong_path": _wrong_path,
    "all_quarantined": _all_quarantined,
    "rejected": _rejected,
    "refused_unread": _refused_unread,
    "new_secret_unused": _new_secret_unused,
    "backlog": _backlog,
    "failing": _failing,
    "waiting": _waiting,
    "dead": _dead,
    "quarantined_unusable": _quarantined_unusable,
    "quarantined_stale": _quarantined_stale,
    "quarantined_id_reused": _quarantined_id_reused,
    "new_type": _new_type,
    "long_pause": _long_pause,
    "silence": _silence,
    "old_secret_unused": _old_secret_unused,
    "masking": _masking,
}
CODES = tuple(_CONDITIONS)
"""The codes of all conditions, the worst first."""
