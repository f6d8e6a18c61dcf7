"""What holds events or secrets is for its owner alone, whatever the umask, from the moment at which it is made."""

import os
import shutil
import stat
import subprocess
import sys

import pytest
import sqlalchemy as sa

from receiver.config import load_settings
from receiver.database.engine import make_engine
from tests import inherited
from tests.receiver.faults.test_two_releases import PARTS
from tests.receiver.processes import ROOT, running
from tests.receiver.settings import ENVIRONMENT, PARTNER_PACKAGE

UMASKS = (0o000, 0o022, 0o077)


@pytest.fixture
def umask():
    """Set the umask, which is the whole process's."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.fixture
def project(tmp_path):
    """A copy of the code, in which nobody has worked yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    return folder


def rights(path):
    return oct(stat.S_IMODE(path.stat().st_mode))


def write_to(path):
    """Let an engine write to the file, and keep its companions there."""
    engine = make_engine(load_settings(ENVIRONMENT | {"DATABASE_URL": f"sqlite:///{path}"}).database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS written (it TEXT)"))
        connection.execute(sa.text("INSERT INTO written VALUES ('once')"))
    return engine


def test_a_database_and_the_folders_made_for_it_are_private_whatever_the_umask(tmp_path, umask):
    for mask in UMASKS:
        umask(mask)
        path = tmp_path / f"{mask:o}" / "deep" / "receiver.db"

        engine = write_to(path)
        found = {it.name: rights(it) for it in (path.parent.parent, path.parent, *path.parent.iterdir())}
        engine.dispose()

        assert set(found) == {f"{mask:o}", "deep", "receiver.db", "receiver.db-wal", "receiver.db-shm"}
        assert {rights for name, rights in found.items() if "." not in name} == {"0o700"}, found
        assert {rights for name, rights in found.items() if "." in name} == {"0o600"}, found


def test_a_database_that_was_open_to_everybody_is_made_private_with_what_lies_beside_it(tmp_path):
    path = tmp_path / "receiver.db"
    other = write_to(path)
    for it in tmp_path.iterdir():
        it.chmod(0o644)

    write_to(path).dispose()

    assert {it.name: rights(it) for it in tmp_path.iterdir()} == dict.fromkeys(
        ("receiver.db", "receiver.db-wal", "receiver.db-shm"), "0o600"
    )
    other.dispose()


def test_a_folder_that_was_there_and_what_a_group_was_given_stay_as_they_are(tmp_path):
    tmp_path.chmod(0o755)
    path = tmp_path / "receiver.db"
    path.touch()
    path.chmod(0o660)

    write_to(path).dispose()

    assert (rights(tmp_path), rights(path)) == ("0o755", "0o660")


@pytest.mark.soak
def test_the_file_of_secrets_and_the_default_database_are_private_from_the_first_command_on(project):
    def flask(*arguments, **settings):
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
        environment = inherited() | {"PYTHON_DOTENV_DISABLED": "0", "PARTNER_PACKAGE": PARTNER_PACKAGE} | settings
        subprocess.run(command, cwd=project, env=environment, check=True, umask=0, capture_output=True)

    flask("init")
    flask("db", "upgrade")
    (project / "instance").chmod(0o755)  # as an earlier release left it
    flask("events", "list")

    private = (project / ".env", project / "instance", project / "instance" / "receiver.db")
    assert [rights(it) for it in private] == ["0o600", "0o700", "0o600"]


def test_a_start_names_the_files_of_secrets_that_everybody_may_read(project, environment, tmp_path):
    (project / ".env").write_text("")
    (project / ".env").chmod(0o644)

    with running(environment, project, EMBEDDED_WORKER="0") as receiver:
        receiver.log = tmp_path / "log"
        receiver.web()
    (project / ".env").chmod(0o600)
    with running(environment, project, EMBEDDED_WORKER="0") as again:
        again.log = tmp_path / "log again"
        again.web()

    assert receiver.log.read_text().count("readable_by_everybody") == 1
    assert "readable_by_everybody" not in again.log.read_text()
