"""What happens at the door (§2, §3, §4). The one rule: authentic, then durable, then 2xx; everything else later.

A delivery walks in a straight line, and no step calls back:

    read (bounded bytes)  →  judge (pure)  →  keep (COMMIT; a receipt)  →  answer
    reading.py               judging.py       keeping.py                   answering.py

route.py or fast_lane.py reads the request; `take()` does the rest. noting.py counts and logs. Handlers never run here.
"""

from werkzeug.exceptions import HTTPException

from receiver.ingest.answering import Reply, answer, refusal
from receiver.ingest.intake import Intake
from receiver.ingest.judging import judge
from receiver.ingest.keeping import keep, keep_rejection, look_for_applied
from receiver.ingest.noting import begin_span, end_span, note
from receiver.ingest.reading import Incoming


def take(intake: Intake, incoming: Incoming) -> Reply:
    """Take one delivery that was read."""
    look_for_applied(intake, incoming)
    settings, now = intake.inbox.settings, intake.inbox.clock.now()
    judged = judge(settings, incoming.body, incoming.headers(settings.request_headers), now)
    span = begin_span(intake, incoming, is_authentic=judged.secret is not None)
    receipt = keep(intake, incoming, judged)
    note(intake, incoming, receipt, secret=judged.secret)
    end_span(intake, span, incoming, receipt)
    return answer(receipt)


def turn_away(intake: Intake, incoming: Incoming, error: HTTPException) -> Reply:
    """Refuse a delivery unread. It leaves a trace like every other one (§6.4)."""
    note_refusal(intake, incoming, getattr(error, "reason", "refused"))
    return refusal(error)


def note_refusal(intake: Intake, incoming: Incoming, reason: str, detail: str | None = None) -> None:
    """Leave a trace of a request that other code answers, or that was refused unread."""
    note(intake, incoming, keep_rejection(intake, incoming, reason, detail))
