"""Which event types and fields real deliveries had (receiver/worker/novelty.py notes them)."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.privacy.grammar import is_reference
from receiver.store.models import Observation

HIDDEN_KEY = "[key]"


class Observed(NamedTuple):
    """The types, and the dotted paths of the fields: `[]` stands for any item of a list."""

    types: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


def observed(session: Session) -> Observed:
    """What was noted, in alphabetical order. What is noted in a hidden form is left out: it is the name of nothing."""
    noted = session.execute(sa.select(Observation.kind, Observation.name).order_by(Observation.name)).all()
    return Observed(
        tuple(name for kind, name in noted if kind == "type" and is_reference(name)),
        tuple(name for kind, name in noted if kind == "field" and HIDDEN_KEY not in name),
    )
