"""A partner adds a table, in a copy of this checkout, and types `db` commands as README has them."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from receiver.database.engine import make_engine
from receiver.store.schema import VERSION_TABLE
from tests.receiver.faults.test_two_releases import PARTS
from tests.receiver.processes import ROOT, Receiver
from tests.receiver.settings import ENVIRONMENT

MODEL = '''

class Voucher(Base):
    """A table with what autogenerate writes differently on each database, if it is let."""

    __tablename__ = "vouchers"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    code: Mapped[str] = mapped_column(sa.String(40), index=True)
    amount: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 2))
    used: Mapped[bool] = mapped_column(server_default=sa.false())
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    payment: Mapped[str] = mapped_column(sa.ForeignKey("probe_payments.reference"))
    holder: Mapped[str | None] = mapped_column(SealedText)
'''
IMPORTS = """
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from receiver.database.columns import BigId, UtcDateTime
"""
VERSIONS = "tests/receiver/migrations/versions"
THEIRS = "CREATE TABLE campaigns (name VARCHAR(20))"
"""A table of another application, of which no model knows."""


@dataclass
class Fork:
    """The copy, before and after its new table."""

    folder: Path
    urls: dict[str, str]
    written: list[Path]

    def flask(self, kind, *arguments):
        environment = ENVIRONMENT | {"DATABASE_URL": self.urls[kind], "LOG_LEVEL": "ERROR"}
        return Receiver(environment, self.folder).flask(*arguments, check=False)

    def ask(self, kind, question):
        engine = make_engine(self.urls[kind])
        try:
            with engine.begin() as connection:
                return question(connection)
        finally:
            engine.dispose()

    def has(self, kind, table):
        return self.ask(kind, lambda connection: sa.inspect(connection).has_table(table))

    def revisions(self, kind):
        return set(self.ask(kind, lambda c: c.scalars(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).all()))


@pytest.fixture(scope="module")
def fork(tmp_path_factory, sqlite_template, postgres):
    folder = tmp_path_factory.mktemp("fork")
    for part in (*PARTS, "pyproject.toml"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    models = folder / "tests/receiver/partner/models.py"
    docstring, rest = models.read_text().split("\n", 1)
    models.write_text(f"{docstring}\n{IMPORTS}{rest}{MODEL}")
    database = folder / "receiver.db"
    shutil.copy(sqlite_template("tests.receiver.partner"), database)
    before = set((folder / VERSIONS).glob("*.py"))
    with postgres.migrated("tests.receiver.partner") as url:
        fork = Fork(folder, {"sqlite": f"sqlite:///{database}", "postgresql": url}, [])
        for kind in fork.urls:
            fork.ask(kind, lambda connection: connection.execute(sa.text(THEIRS)))
        migrated = fork.flask("sqlite", "db", "migrate", "-m", "add vouchers")
        fork.written = sorted(set((folder / VERSIONS).glob("*.py")) - before)
        assert migrated.returncode == 0, migrated.stderr
        yield fork


def test_a_new_table_becomes_one_migration_of_the_partners_branch(fork):
    [written] = fork.written
    ours = {path.name for path in (ROOT / "receiver/migrations/versions").glob("*.py")}

    assert 'down_revision = "probe_0001"' in written.read_text()
    assert "campaigns" not in written.read_text()
    assert 'sa.Column("holder", sa.LargeBinary(), nullable=True)' in written.read_text()
    assert {path.name for path in (fork.folder / "receiver/migrations/versions").glob("*.py")} == ours


def test_what_is_written_has_the_style_of_the_project(fork):
    for command in (["check"], ["format", "--check"]):
        checked = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", *fork.written],
            cwd=fork.folder,
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 0, checked.stdout


@pytest.mark.soak
def test_an_upgrade_goes_to_every_head_on_both_databases_and_a_downgrade_takes_back_the_partners_last(fork):
    for kind in fork.urls:
        upgraded = fork.flask(kind, "db", "upgrade")
        assert upgraded.returncode == 0, upgraded.stderr
        newest, has_table, used = fork.revisions(kind), fork.has(kind, "vouchers"), fork.ask(kind, used_by_default)

        downgraded = fork.flask(kind, "db", "downgrade")
        ready = fork.flask(kind, "events", "check", "--json")

        assert downgraded.returncode == 0, downgraded.stderr
        assert (has_table, bool(used), fork.has(kind, "vouchers")) == (True, False, False)
        assert newest == {"receiver_0001", fork.written[0].name.partition("_")[0]}
        assert fork.revisions(kind) == {"receiver_0001", "probe_0001"}
        assert '"problem": "behind"' in ready.stdout
        assert fork.has(kind, "campaigns")


def used_by_default(connection):
    """What a truth value and a moment are, once they are stored."""
    connection.execute(sa.text("INSERT INTO probe_payments VALUES ('TXN-1', 'paid', 1, '2026-11-28 10:00', 'evt_1')"))
    voucher = "INSERT INTO vouchers (id, code, issued_at, payment) VALUES (1, 'A', '2026-11-28 10:00', 'TXN-1')"
    connection.execute(sa.text(voucher))
    return connection.scalar(sa.text("SELECT used FROM vouchers"))
