"""Which migrations this build knows, and whether the database has them.

There are two branches: the receiver's tables and the partner's. Each database notes a revision of both. The partner's
migrations stand beside the package that PARTNER_PACKAGE names: `migrations/versions` beside `app`.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from os import pathsep
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.orm import Session

from receiver.database.engine import writing
from receiver.database.url import ROOT
from receiver.registry import folder_of
from receiver.store.environment import environment_problem
from receiver.store.inbox import Inbox

VERSION_TABLE = "receiver_version"
"""Alembic's table, under a name that no other application in the same database uses."""
MIGRATIONS = ROOT / "receiver" / "migrations"


def partners_versions(package: str) -> Path:
    """Where the migrations of the partner's package are. Raises ModuleNotFoundError where there is no such package."""
    return folder_of(package).parent / "migrations" / "versions"


def locate(config: Config, package: str) -> Config:
    """Tell Alembic where the migrations of both branches are."""
    folders = (MIGRATIONS / "versions", partners_versions(package))
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", pathsep.join(map(str, folders)))
    return config


def takes_writes(inbox: Inbox) -> str | None:
    """None when the database takes writes and its schema serves this build; else a reason code."""
    with writing(inbox.engine) as session:
        on_postgresql = session.get_bind().dialect.name == "postgresql"
        if on_postgresql and session.scalar(sa.text("SHOW transaction_read_only")) == "on":
            return "read_only"
        return schema_problem(session, inbox.settings.partner_package) or environment_problem(
            session, inbox.settings.environment
        )


def schema_problem(session: Session, package: str) -> str | None:
    """None when each branch is at this build's revision or beyond it (a newer release has migrated)."""
    if not sa.inspect(session.connection()).has_table(VERSION_TABLE):
        return "not_migrated"
    version: sa.Select[str] = sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
    return problem_of(set(session.scalars(version)), branches(package))


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
def branches(package: str) -> dict[str, frozenset[str]]:
    """The heads of this build's branches, with this partner's package, each with the revisions that it follows."""
    found = {}
    with suppress(CommandError):
        scripts = ScriptDirectory.from_config(locate(Config(), package))
        for head in scripts.get_heads():
            found[head] = frozenset(_followed(scripts, head))
    return found


def _followed(scripts: ScriptDirectory, head: str) -> Iterator[str]:
    return (script.revision for script in scripts.iterate_revisions(head, "base") if script.revision != head)
