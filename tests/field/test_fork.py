"""A fork pulls two releases of upstream, as UPGRADING.md says it: real git, real databases, real processes.

The fork has a handler, a table, a page, a template of ours, a setting, a hook and a README of its own.
"""

import re
import shlex
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from receiver.clock import Clock
from receiver.config import load_settings
from receiver.sandbox.samples import sample
from receiver.sandbox.sender import Sender
from receiver.testing import ENVIRONMENT
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.field.repositories import (
    FIRST_OWN,
    Repository,
    build_fork,
    build_upstream,
    extend_fork,
    first_release,
    lint,
    second_release,
)
from tests.receiver.owners import owner_of
from tests.receiver.processes import Receiver, running

KEEP_README = ("-c", "merge.ours.driver=true")
"""What UPGRADING.md says to give to `git merge`. .gitattributes says for which files."""
READ_THE_TREE = (
    "tests/receiver/test_owners.py",
    "tests/receiver/test_release.py",
    "tests/receiver",  # of which test_references.py alone is left, and a fork leaves it out
    "--ignore-glob=tests/receiver/test_[!r]*",
    "--ignore-glob=tests/receiver/test_re[!f]*",
    "--ignore-glob=tests/receiver/*/*",
)
"""Tests of ours that read what a fork may have changed."""
OWN = {"CLUB_NAME": "Kelab Emas"}


@dataclass
class History:
    """What the fork and upstream have done: the two repositories, and the fork's folder at each stage."""

    upstream: Repository
    fork: Repository
    at_first: Path
    after_one: Path
    after_two: Path


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> History:
    """Upstream's releases and the fork's commits between them, merged without a person."""
    folder = tmp_path_factory.mktemp("fork")
    database = f"sqlite:///{folder / 'migrate.db'}"

    def flask(code: Path, *arguments: str) -> None:
        Receiver(ENVIRONMENT | {"DATABASE_URL": database}, code).flask(*arguments)

    upstream = build_upstream(folder / "upstream")
    fork = build_fork(upstream, folder / "own", flask)
    first_release(upstream)
    merge(fork, "v1.1.0")
    fork.git("tag", "own-1.1")
    extend_fork(fork, flask)
    second_release(upstream)
    merge(fork, "v1.2.0")
    stages = [folder / name for name in ("first", "one", "two")]
    for stage, commit in zip(stages, ("own-1", "own-1.1", "HEAD"), strict=True):
        fork.git("worktree", "add", "--quiet", "--detach", str(stage), commit)
    return History(upstream, fork, *stages)


def merge(fork: Repository, release: str) -> None:
    fork.git("fetch", "--quiet", "--tags", "upstream")
    fork.git(*KEEP_README, "merge", "--quiet", "--no-edit", release)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.soak)])
def database(request, tmp_path) -> str:
    """The URL of a database in which there is nothing yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'fork.db'}"
    else:
        with request.getfixturevalue("postgres").database() as url:
            yield url


class Deployed:
    """One stage of the fork on a database: its processes, who delivers to it, and what became of the events."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        settings = load_settings(ENVIRONMENT | {"DATABASE_URL": receiver.environment["DATABASE_URL"]})
        self._fields, self._engine = settings.payload_fields, sa.create_engine(settings.database_url)
        self._sender = Sender(receiver.url, settings.scheme, settings.signature_keys[0], Clock())

    def deliver(self, event_id: str, member: str, points: int) -> int:
        """The status of the answer."""
        data = {"member": member, "points": points}
        event = sample("loyalty.earned", fields=self._fields, now=Clock().now(), event_id=event_id, data=data)
        return self._sender.deliver(event).status

    def states(self) -> dict[str, str]:
        """The state of each event."""
        return dict(self._rows("SELECT event_id, state FROM events"))

    def points(self) -> dict[str, int]:
        """What each member has."""
        return dict(self._rows("SELECT reference, points FROM loyalty_accounts"))

    def upgrade(self, deploys: int = 1) -> None:
        """What the release phase does; each of several deploys at once does it."""
        racers = [self.receiver.start("-m", "flask", "--app", "wsgi", "db", "upgrade") for _ in range(deploys)]
        assert [racer.wait(PATIENCE_SECONDS) for racer in racers] == [0] * deploys

    def page(self, path: str) -> str:
        """The text of a page that everybody may see."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.receiver.port}{path}", timeout=60) as answer:
            return answer.read().decode()

    def _rows(self, query: str) -> list[tuple[str, object]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture
def deploy(database):
    """Start a stage of the fork, without a worker unless it is asked for."""

    @contextmanager
    def start(folder: Path, worker: str = "1"):
        given = {"DATABASE_URL": database, "EMBEDDED_WORKER": worker, "WEB_CONCURRENCY": "1", "LOG_LEVEL": "WARNING"}
        with running(ENVIRONMENT | OWN | given, folder) as receiver:
            receiver.log = folder.parent / "log"
            deployed = Deployed(receiver)
            try:
                yield deployed
            finally:
                deployed.close()

    return start


def test_a_release_that_is_merged_leaves_the_fork_its_own_and_brings_the_rest(history):
    brought, release = history.fork.changed("own-1", "own-1.1"), history.upstream.changed("v1.0.0", "v1.1.0")

    assert brought == [name for name in release if name != "README.md"]
    assert (history.after_two / "README.md").read_text() == FIRST_OWN["README.md"]
    assert "points==1.0" in (history.after_two / "requirements.txt").read_text()


def test_both_sides_keep_to_the_list_of_owners(history):
    own, theirs = history.fork.changed("v1.0.0", "own-1"), history.upstream.changed("v1.0.0", "v1.2.0")

    assert {owner for name in own for owner in owner_of(name, history.at_first)} == {"yours", "shared"}
    assert {owner for name in theirs for owner in owner_of(name, history.after_two)} == {"ours", "shared"}
    assert {name for name in own if name in theirs} == {"README.md", "requirements.txt"}


def test_without_the_option_that_keeps_it_a_release_conflicts_in_the_readme_alone(history, tmp_path):
    history.fork.git("clone", "--quiet", str(history.fork.folder), str(tmp_path / "clone"))
    clone = Repository(tmp_path / "clone")
    clone.git("checkout", "--quiet", "own-1")

    clone.git("merge", "--quiet", "v1.1.0", check=False)

    assert clone.conflicts() == ["README.md"]


@pytest.mark.soak
def test_a_migration_that_is_generated_after_a_merge_is_about_the_forks_tables_alone(history):
    written = sorted((history.after_two / "migrations" / "versions").glob("*.py"))
    texts = [path.read_text() for path in written]

    assert sorted(set(re.findall(r"op\.create_table\(\s*['\"](\w+)", "".join(texts)))) == ["loyalty_accounts"]
    assert sorted(set(re.findall(r"batch_alter_table\(['\"](\w+)", "".join(texts)))) == ["loyalty_accounts"]


def test_the_fork_keeps_the_style_that_make_test_asks_for(history):
    assert lint(history.after_two) == ""


@pytest.mark.soak
def test_the_tests_are_green_after_both_releases_the_forks_own_and_those_that_read_its_files(history):
    own = re.search(r"^test-app:.*\n\t\$\(PYTEST\) (.*)$", (history.after_two / "Makefile").read_text(), re.MULTILINE)
    receiver = Receiver(ENVIRONMENT, history.after_two)

    tested = receiver.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *shlex.split(own[1]), *READ_THE_TREE)

    assert tested.returncode == 0, tested.stdout


@pytest.mark.soak
def test_a_fork_goes_on_through_two_releases(history, deploy):
    with deploy(history.at_first, worker="0") as first:
        first.upgrade()
        first.receiver.web()
        assert first.deliver("evt_old", "M-1", 10) == 200
        assert first.states() == {"evt_old": "pending"}

    with deploy(history.after_one) as one:
        one.receiver.web()
        assert one.receiver.status("/readyz") == 503
        assert one.deliver("evt_early", "M-2", 20) == 200
        one.upgrade()
        eventually(lambda: one.receiver.answers("/readyz"))
        assert one.deliver("evt_new", "M-3", 30) == 200
        eventually(lambda: set(one.states().values()) == {"processed"})
        assert "release 1.1" in one.page("/sign-in")

    with deploy(history.after_two) as two:
        two.upgrade(deploys=2)
        two.receiver.web()
        assert two.receiver.answers("/readyz")
        assert two.deliver("evt_newest", "M-1", 40) == 200
        eventually(lambda: two.states()["evt_newest"] == "processed")
        assert two.points() == {"M-1": 40, "M-2": 20, "M-3": 30}
        assert "Staff of the club only." in two.page("/sign-in")
        assert "release 1.2" in two.page("/sign-in")
        assert "Welcome to Kelab Emas" in two.page("/members")
