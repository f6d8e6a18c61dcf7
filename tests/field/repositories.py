"""A fork of this repository, and two releases of upstream that it merges: real git, in a folder of the test's own.

`FIRST_OWN` and `SECOND_OWN` are what a partner writes. `first_release()` and `second_release()` are what upstream
changes. Each of them stands for its kind: to try another change, add it there.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from receiver.store.schema import locate
from tests.receiver.owners import files
from tests.receiver.processes import ROOT

IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,  # what the user of this machine has set must not matter
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.com",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.com",
}


class Repository:
    """A git repository in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def git(self, *arguments: str, check: bool = True) -> str:
        """What git prints. Fails with what it says when it does not do it."""
        command = ["git", "-c", "safe.directory=*", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=os.environ | IDENTITY, capture_output=True, text=True)
        assert not check or done.returncode == 0, f"git {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, files: Mapping[str, str]) -> None:
        """Write the files. A text that begins with `+` goes to the end of the file."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(path.read_text() + text[1:] if text.startswith("+") else text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the one place in a file that says `old`."""
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, f"{name} says {old!r} {text.count(old)} times"
        (self.folder / name).write_text(text.replace(old, new))

    def commit(self, subject: str, tag: str = "") -> None:
        """Commit everything that is in the folder."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", subject)
        if tag:
            self.git("tag", tag)

    def changed(self, since: str, until: str = "HEAD") -> list[str]:
        """The files that differ between two commits."""
        return self.git("diff", "--name-only", since, until).splitlines()

    def conflicts(self) -> list[str]:
        """The files that a merge left for a person."""
        return self.git("diff", "--name-only", "--diff-filter=U").splitlines()


def build_upstream(folder: Path) -> Repository:
    """A repository whose first release is what stands in this checkout, committed or not."""
    repository = Repository(folder)
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    repository.git("init", "--quiet", "--initial-branch=main")
    repository.commit("Release 1.0.0", tag="v1.0.0")
    return repository


APP = '''"""The club's receiver, and what is the club's beside it."""

import os
from typing import Any

from flask import Flask

import receiver
from app import club


def create_app(**given: Any) -> Flask:
    """The receiver with the club's page."""
    app = receiver.create_app(**given)
    app.config.update(CLUB_NAME=os.environ.get("CLUB_NAME", "A club without a name"))
    app.register_blueprint(club.blueprint)
    app.before_request(club.leave_the_old_page)
    return app
'''

CLUB = '''"""The club's page, and the way to it from the old one."""

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for

blueprint = Blueprint("club", __name__)


@blueprint.get("/club")
def show() -> str:
    """The club's name."""
    return render_template("club.html", club=current_app.config["CLUB_NAME"])


def leave_the_old_page() -> Response | None:
    """The page has moved."""
    return redirect(url_for("club.show")) if request.path == "/members" else None
'''

HANDLERS = '''"""Points that members earn."""

from app.models import LoyaltyAccount
from receiver import Event, Session, advance, handles


@handles("loyalty.earned")
def points_earned(event: Event, session: Session) -> None:
    """The member has so many points."""
    data = event.data
    advance(session, LoyaltyAccount, data["member"], event=event, status="open", points=data["points"])
'''

MODEL = '''+

class LoyaltyAccount(Tracked, Base):
    """The points of a member."""

    __tablename__ = "loyalty_accounts"

    points: Mapped[int] = mapped_column()
'''

TESTS = '''"""Members keep their points."""

from app.models import LoyaltyAccount


def test_a_member_has_the_points_that_were_earned_last(perform, session):
    perform("loyalty.earned", data={"member": "M-7", "points": 120})

    assert session.get(LoyaltyAccount, "M-7").points == 120


def test_the_club_has_a_page(app):
    assert "A club" in app.test_client().get("/club").text
'''

CLUB_PAGE = """{% extends "base.html" %}
{% block main %}<h1>Welcome to {{ club }}</h1>{% endblock %}
"""

SIGN_IN_PAGE = """{% extends "receiver/sign_in.html" %}
{% block main %}<p>Staff of the club only.</p>{{ super() }}{% endblock %}
"""

FIRST_OWN = {
    "app/__init__.py": APP,
    "app/club.py": CLUB,
    "app/handlers/loyalty.py": HANDLERS,
    "app/models.py": MODEL,
    "app/templates/club.html": CLUB_PAGE,
    "app/templates/sign_in.html": SIGN_IN_PAGE,
    "tests/app/test_loyalty.py": TESTS,
    "README.md": "# The club's receiver\n\nIt counts points: see handbook.md. Set `CLUB_FEES`, then `make points`.\n",
    "club.toml": 'name = "Kelab Emas"\n',
    "OWNERS": "+yours   club.toml\n",
    ".gitignore": "+/members/\n",
    "requirements.txt": "+points==1.0 \\\n    --hash=sha256:0000\n",
}

SECOND_OWN = {
    "app/models.py": "+    tier: Mapped[str | None] = mapped_column(sa.String(20))\n",
    "tests/app/test_tiers.py": (
        '"""Members may have a tier."""\n\nfrom app.models import LoyaltyAccount\n\n\n'
        "def test_a_member_begins_without_a_tier(perform, session):\n"
        '    perform("loyalty.earned", data={"member": "M-8", "points": 5})\n\n'
        '    assert session.get(LoyaltyAccount, "M-8").tier is None\n'
    ),
}


def build_fork(upstream: Repository, folder: Path, flask: Callable[..., object]) -> Repository:
    """A clone with the partner's first own commit. `flask` runs a command of the fork's on a database at its heads."""
    upstream.git("clone", "--quiet", "--origin", "upstream", str(upstream.folder), str(folder))
    fork = Repository(folder)
    fork.write(FIRST_OWN)
    fork.edit("pyproject.toml", "app = []", 'app = ["points>=1"]')
    fork.edit("app.json", '"Senang.io webhook receiver"', '"The club\'s receiver"')
    fork.edit("Procfile", "worker: ", "points: flask --app wsgi run\nworker: ")
    migrate(fork, "loyalty points", flask)
    fork.commit("Count the points of our members", tag="own-1")
    return fork


def extend_fork(fork: Repository, flask: Callable[..., object]) -> None:
    """The partner's second own commit."""
    fork.write(SECOND_OWN)
    migrate(fork, "tiers", flask)
    fork.commit("Give our members tiers", tag="own-2")


def migrate(fork: Repository, message: str, flask: Callable[..., object]) -> None:
    """Write the partner's next migration, as README says it."""
    flask(fork.folder, "db", "upgrade")
    flask(fork.folder, "db", "migrate", "-m", message)


def lint(folder: Path) -> str:
    """What the project's style has against the folder's code."""
    found = ""
    for check in (["check"], ["format", "--check"]):
        command = [str(Path(sys.executable).with_name("ruff")), *check, "--no-cache", "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        found += done.stdout + done.stderr if done.returncode else ""
    return found


COLUMN = '''"""Events know who received them."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{follows}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("events", sa.Column("{column}", sa.String(length=20), nullable=True))


def downgrade() -> None:
    op.drop_column("events", "{column}")
'''

INDEX = '''"""Find events by who received them."""

from receiver.migrations.online import build_index, drop_index

revision = "{revision}"
down_revision = "{follows}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    build_index("ix_events_{column}", "events", ["{column}"])


def downgrade() -> None:
    drop_index("ix_events_{column}", "events")
'''

EVENTS = '    __tablename__ = "events"\n'
SIGN_IN = "<h1>Sign in</h1>"


def first_release(upstream: Repository) -> None:
    """A column and an index of `events`, a template, a setting, a test, and words in every document."""
    head = str(ScriptDirectory.from_config(locate(Config(), "app")).get_revision("receiver@head").revision)
    _add_column(upstream, "received_by", follows=head)
    upstream.edit("receiver/web/templates/sign_in.html", SIGN_IN, "<h1>Sign in to release 1.1</h1>")
    _release(upstream, "1.1.0", before="1.0.0")


def second_release(upstream: Repository) -> None:
    """One more column and index, and the same places as before once more."""
    _add_column(upstream, "stored_by", follows="index_received_by")
    upstream.edit("receiver/web/templates/sign_in.html", "release 1.1", "release 1.2")
    _release(upstream, "1.2.0", before="1.1.0")


def _add_column(upstream: Repository, column: str, follows: str) -> None:
    versions = "receiver/migrations/versions"
    field = f"\n    {column}: Mapped[str | None] = mapped_column(sa.String(20), index=True)\n"
    upstream.edit("receiver/store/models.py", EVENTS, EVENTS + field)
    upstream.write(
        {
            f"{versions}/column_{column}.py": COLUMN.format(
                revision=f"column_{column}", follows=follows, column=column
            ),
            f"{versions}/index_{column}.py": INDEX.format(
                revision=f"index_{column}", follows=f"column_{column}", column=column
            ),
        }
    )


def _release(upstream: Repository, version: str, before: str) -> None:
    """What every release touches: the version, a pin, and a line at the top of each document and of the settings."""
    upstream.edit("CHANGELOG.md", f"## {before} (", f"## {version} (2027-01-01)\n\n## {before} (")
    for name in ("README.md", ".env.example", *_documents(upstream)):
        path = upstream.folder / name
        path.write_text(path.read_text().replace("\n", f"\n{'#' * (name[0] == '.')} Of release {version}.\n", 1))
    pins = upstream.folder / "requirements.txt"
    pins.write_text(re.sub(r"(?m)^(flask==\d+\.\d+)\S*", r"\1." + version.replace(".", ""), pins.read_text()))
    init = upstream.folder / "receiver" / "__init__.py"
    init.write_text(re.sub(r'__version__ = "[^"]+"', f'__version__ = "{version}"', init.read_text()))
    upstream.write({f"tests/receiver/test_of_{version.replace('.', '_')}.py": '"""Of a release."""\n'})
    upstream.commit(f"Release {version}", tag=f"v{version}")


def _documents(upstream: Repository) -> list[str]:
    return [str(path.relative_to(upstream.folder)) for path in sorted((upstream.folder / "docs").rglob("*.md"))]
