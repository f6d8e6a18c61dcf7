"""Applies settings of how deliveries are signed and read, for all processes at once, or revokes them. Sandbox only."""

import json
from collections.abc import Mapping
from uuid import uuid4

import sqlalchemy as sa

from receiver.config import ConfigurationError, with_applied
from receiver.database.engine import writing
from receiver.database.insert import insert_into
from receiver.privacy.sealing import seal
from receiver.store.audit import record
from receiver.store.inbox import Inbox
from receiver.store.models import AppliedSettings

ONLY_ROW = 1


class NotApplied(Exception):
    """Why settings were not applied, in a sentence for people. It quotes no value."""


def apply_settings(inbox: Inbox, settings: Mapping[str, str], *, actor: str) -> None:
    """Let these settings count instead of those that were applied before. Raises NotApplied."""
    if refusal := why_not(inbox):
        raise NotApplied(refusal)
    try:
        with_applied(inbox.settings, settings)
    except ConfigurationError as error:
        raise NotApplied(f"Nothing was applied. {' '.join(error.mistakes)}") from None
    seal_id = uuid4()
    values = {
        "applied_at": inbox.now(),
        "applied_by": actor,
        "seal_id": seal_id,
        "sealed_settings": seal(json.dumps(dict(settings)).encode(), row=seal_id, keys=inbox.settings.payload_keys),
    }
    with writing(inbox.engine) as session:
        insert = insert_into(AppliedSettings, session.get_bind().dialect.name).values(id=ONLY_ROW, **values)
        session.execute(insert.on_conflict_do_update(index_elements=["id"], set_=values))
        record(session, inbox, "settings", "applied", actor=actor, detail=", ".join(sorted(settings)))
    inbox.in_force.look(inbox.engine)


def revoke_settings(inbox: Inbox, *, actor: str) -> bool:
    """Let the environment's settings count again. False when nothing was applied."""
    with writing(inbox.engine) as session:
        is_revoked = session.scalar(sa.delete(AppliedSettings).returning(AppliedSettings.id)) is not None
        if is_revoked:
            record(session, inbox, "settings", "revoked", actor=actor)
    inbox.in_force.look(inbox.engine)
    return is_revoked


def why_not(inbox: Inbox) -> str:
    """Why nothing can be applied here, or nothing."""
    settings = inbox.settings
    if settings.environment != "sandbox":
        return "Settings are applied in the sandbox only. Set them in the environment of live."
    if settings.format_set:
        return f"The environment sets {', '.join(settings.format_set)}, and it wins. Change it there, or remove it."
    return ""
