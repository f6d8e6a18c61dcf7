"""Which webhook secret was used last, and when, for a person who rotates them. Nothing here writes."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.config import Settings
from receiver.queries.conditions import Secret
from receiver.store.models import WebhookSecret
from receiver.store.secrets import secret_digests


def secrets_in_use(session: Session, settings: Settings) -> Sequence[Secret]:
    """The secrets that are set, the newest first. Empty where there is one, or no delivery came since they are set."""
    digests = secret_digests(settings)
    if not digests:
        return ()
    rows = {row.digest: row for row in session.scalars(sa.select(WebhookSecret))}
    numbered = ((number, rows.get(digest)) for number, digest in enumerate(digests, 1))
    return [Secret(number, row.known_since, row.used_at) for number, row in numbered if row]
