"""Which migrations this build knows, and whether the database has them.

There are two branches: the receiver's tables and the partner's. Each database notes a revision of both. The partner's
migrations stand beside the package that PARTNER_PACKAGE names: `migrations/versions` beside `app`.

A web process reads what the files say of themselves. It does not load Alembic, which would make each start late.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from os import pathsep
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.orm import Session

from receiver.database.causes import remedy_for
from receiver.database.engine import writing
from receiver.database.url import ROOT
from receiver.discovery import folder_of
from receiver.store.environment import environment_problem
from receiver.store.inbox import Inbox

if TYPE_CHECKING:
    from alembic.config import Config

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


def remedy_of(problem: str) -> dict[str, str]:
    """What a log line adds about a problem of `takes_writes()`: a command or a setting, where one is the answer."""
    if problem in ("not_migrated", "behind"):
        return {"remedy": "flask --app wsgi db upgrade"}
    remedy = remedy_for(problem)
    return {"remedy": remedy} if remedy else {}


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
def branches(package: str) -> Mapping[str, frozenset[str]]:
    """The heads of this build's branches, with this partner's package, each with the revisions that it follows."""
    return branches_in((MIGRATIONS / "versions", partners_versions(package)))


def branches_in(folders: Iterable[Path]) -> dict[str, frozenset[str]]:
    """The heads of the branches in these folders, each with the revisions that it follows."""
    files = (file for folder in folders for file in folder.glob("*.py"))
    follows = dict(filter(None, map(_revision, files)))
    followed = {earlier for directly in follows.values() for earlier in directly}
    return {head: frozenset(_before(head, follows)) for head in follows.keys() - followed}


def _before(revision: str, follows: Mapping[str, Collection[str]]) -> Iterator[str]:
    ahead = list(follows[revision])
    while ahead:
        earlier = ahead.pop()
        yield earlier
        ahead += follows.get(earlier, ())


def _revision(file: Path) -> tuple[str, tuple[str, ...]] | None:
    """A migration's revision and those that it follows directly. None for a file that states none."""
    stated: dict[str, str | tuple[str, ...] | None] = {}
    for line in ast.parse(file.read_bytes()).body:
        if isinstance(line, ast.Assign | ast.AnnAssign) and isinstance(line.value, ast.Constant | ast.Tuple | ast.List):
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if names[:1] in (["revision"], ["down_revision"]):
                stated[names[0]] = ast.literal_eval(line.value)
    revision, follows = stated.get("revision"), stated.get("down_revision")
    if not isinstance(revision, str):
        return None
    return revision, (follows,) if isinstance(follows, str) else tuple(follows or ())
