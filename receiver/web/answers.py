"""Overview's questions, each answered in one line: are deliveries coming, accepted, processed? Pure.

What counts as trouble is decided in receiver/queries/conditions.py alone. A question is answered "no" while one of its
conditions lasts. A condition of no question still needs a person, which is the last line. To move a condition to a
question, name its code here.
"""

from collections.abc import Collection
from dataclasses import dataclass

from receiver.queries.conditions import Condition, Health

QUESTIONS = {
    "coming": ("Are deliveries coming?", "No.", {"silence", "wrong_path", "not_ready"}),
    "accepted": (
        "Are they accepted?",
        "Not all.",
        {
            "not_ready", "connections", "disk_short", "refused_in_a_row", "rejected", "refused_unread",
            "all_quarantined", "quarantined_unusable", "quarantined_stale", "quarantined_id_reused",
            "new_secret_unused",
        },
    ),
    "processed": (
        "Are they processed?",
        "Not all.",
        {"no_worker", "backlog", "failing", "waiting", "dead", "all_quarantined", "new_type", "long_pause"},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """Yes, no, or None while nothing has come that could tell."""

    name: str
    question: str
    is_yes: bool | None
    words: str


def answers(health: Health, found: Collection[Condition]) -> list[Answer]:
    """The answers at this moment."""
    lasting, found_yet = {condition.code for condition in found}, health.last_delivery is not None
    return [
        Answer(name, question, False, no)
        if lasting & codes
        else Answer(name, question, found_yet or None, "Yes." if found_yet else "Not yet.")
        for name, (question, no, codes) in QUESTIONS.items()
    ]
