"""Settings that an operator applied on the page, and which settings count at the moment.

What is applied says how deliveries are signed and read (`FORMAT` in config.py). It counts in a sandbox, and only while
the environment sets none of these: half of one and half of the other was never rehearsed. It is sealed, so nobody
without the keys can write it. All processes look once a second. docs/decisions/applied-settings.md says why.
"""

import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from receiver.config import ConfigurationError, Settings, with_applied
from receiver.database.engine import reading
from receiver.privacy.sealing import CannotUnseal, SealingKey, unseal
from receiver.store.models import AppliedSettings

LOOK_SECONDS = 1.0
log = structlog.get_logger()


class Applied(NamedTuple):
    """What an operator applied."""

    at: datetime
    by: str
    settings: Mapping[str, str]


class InForce:
    """The settings that count now, in one process."""

    def __init__(self, configured: Settings) -> None:
        """`configured` are the environment's."""
        self.settings = self._configured = configured
        self._may_differ = configured.may_be_applied
        self._look_at = 0.0  # of the monotonic clock
        self._known: UUID | None = None

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        return self._may_differ and time.monotonic() > self._look_at

    def look(self, engine: Engine) -> None:
        """Look into the database now. Raises SQLAlchemyError; then what counted still counts."""
        self._look_at = time.monotonic() + LOOK_SECONDS
        with reading(engine) as session:
            row = _row(session)
        known = row.seal_id if row else None
        if known != self._known:
            self.settings = self._with(row) if row else self._configured
            self._known = known

    def _with(self, row: AppliedSettings) -> Settings:
        try:
            return with_applied(self._configured, _opened(row, self._configured.payload_keys))
        except (CannotUnseal, ConfigurationError) as error:
            log.error("applied_settings_unusable", error=str(error))
            return self._configured


def applied_settings(engine: Engine, keys: tuple[SealingKey, ...]) -> Applied | None:
    """What is applied, for people. Raises CannotUnseal."""
    with reading(engine) as session:
        row = _row(session)
    return Applied(row.applied_at, row.applied_by, _opened(row, keys)) if row else None


def _row(session: Session) -> AppliedSettings | None:
    return session.scalar(sa.select(AppliedSettings))


def _opened(row: AppliedSettings, keys: tuple[SealingKey, ...]) -> dict[str, str]:
    opened: dict[str, str] = json.loads(unseal(row.sealed_settings, row=row.seal_id, keys=keys))
    return opened
