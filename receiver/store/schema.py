"""Which migrations this build knows, and whether the database has them.

There are two branches: the receiver's tables and the partner's. Each database notes a revision of both.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from os import pathsep

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.orm import Session

from receiver.database.engine import writing
from receiver.database.url import ROOT
from receiver.store.environment import environment_problem
from receiver.store.inbox import Inbox

VERSION_TABLE = "receiver_version"
"""Alembic's table, under a name that no other application in the same database uses."""
MIGRATIONS = ROOT / "receiver" / "migrations"
PARTNERS_VERSIONS = ROOT / "migrations" / "versions"


def locate(config: Config) -> Config:
    """Tell Alembic where the migrations of both branches are."""
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", pathsep.join(map(str, (MIGRATIONS / "versions", PARTNERS_VERSIONS))))
    return config


def takes_writes(inbox: Inbox) -> str | None:
    """None when the database takes writes and its schema serves this build; else a reason code."""
    with writing(inbox.engine) as session:
        on_postgresql = session.get_bind().dialect.name == "postgresql"
        if on_postgresql and session.scalar(sa.text("SHOW transaction_read_only")) == "on":
            return "read_only"
        return schema_problem(session) or environment_problem(session, inbox.settings.environment)


def schema_problem(session: Session) -> str | None:
    """None when each branch is at this build's revision or beyond it (a newer release has migrated)."""
    if not sa.inspect(session.connection()).has_table(VERSION_TABLE):
        return "not_migrated"
    version: sa.Select[str] = sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
    return problem_of(set(session.scalars(version)), branches())


def problem_of(noted: set[str], known: Mapping[str, frozenset[str]]) -> str | None:
    """What is wrong with the revisions that a database has `noted`. `known` has the older ones, by their branch's head.

    A revision that nobody here knows is a newer build's, of one of the branches.
    """
    if not noted:
        return "not_migrated"
    if any(noted & older for older in known.values()):
        return "behind"
    missing = known.keys() - noted
    newer = noted - known.keys()
    return "behind" if len(missing) > len(newer) else None


@cache
def branches() -> dict[str, frozenset[str]]:
    """The heads of this build's branches, each with the revisions that it follows."""
    found = {}
    with suppress(CommandError):
        scripts = ScriptDirectory.from_config(locate(Config()))
        for head in scripts.get_heads():
            found[head] = frozenset(_followed(scripts, head))
    return found


def _followed(scripts: ScriptDirectory, head: str) -> Iterator[str]:
    return (script.revision for script in scripts.iterate_revisions(head, "base") if script.revision != head)
