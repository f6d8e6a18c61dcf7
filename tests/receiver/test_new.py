"""`new handler` begins a handler, with its schema and a test that fails until somebody has said what it does."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.testing import ENVIRONMENT
from tests.receiver.owners import files
from tests.receiver.processes import ROOT, Receiver

PACKAGE = "acme_insurance.receiving"
HANDLERS = """
from receiver import Event, Session, handles


@handles("acme.issued", "outlet.*")
def issued(event: Event, session: Session) -> None:
    pass
"""
BAD_NAMES = [
    "", " ", "claim.*", "../etc/passwd", "claim reopened", ".claim", "claim.", "a..b", "1.claim", "tuntutan.é", 'x"y',
    "a\nb", "x" * 101,
]  # fmt: skip
BOTH_FILES = ["acme_insurance/receiving/handlers/claim_reopened.py", "tests/app/test_claim_reopened.py"]


@pytest.fixture
def folder(tmp_path):
    """The folder of a project whose package is not called as ours."""
    handlers = tmp_path / PACKAGE.replace(".", "/") / "handlers"
    handlers.mkdir(parents=True)
    for package in (handlers, handlers.parent, handlers.parents[1]):
        (package / "__init__.py").touch()
    (handlers.parent / "__init__.py").write_text("from receiver import create_app\n")
    (handlers / "policies.py").write_text(HANDLERS)
    return tmp_path


@pytest.fixture
def environment(environment, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    yield environment | {"PARTNER_PACKAGE": PACKAGE}
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE.partition(".")[0]]:
        del sys.modules[name]


@pytest.fixture
def new(app):
    """Run the command: the exit code, and what it said."""

    def run(event_type):
        done = app.test_cli_runner().invoke(args=["new", "handler", event_type])
        return done.exit_code, done.output

    return run


def texts(folder):
    """Each file of the project, by its path."""
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*.py")}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of this project, in which the command has run, and what it said."""
    folder = tmp_path_factory.mktemp("project")
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    project = Receiver(ENVIRONMENT | {"DATABASE_URL": f"sqlite:///{folder}/receiver.db"}, folder)
    return project, project.flask("new", "handler", "claim.reopened").stdout


@pytest.mark.soak
def test_in_a_project_what_it_writes_keeps_the_style_and_the_types(project):
    receiver, said = project

    assert [line for line in said.splitlines() if line.startswith("Wrote")] == [
        "Wrote app/handlers/claim_reopened.py", "Wrote tests/app/test_claim_reopened.py",
    ]  # fmt: skip
    written = [line.removeprefix("Wrote ") for line in said.splitlines()[:2]]
    cache = f"--cache-dir={ROOT / '.mypy_cache'}"  # what is the same there need not be read again
    for check in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy", "--strict", cache]):
        command = [Path(sys.executable).with_name(check[0]), *check[1:], *written[: 1 if "mypy" in check else 2]]
        found = subprocess.run(command, cwd=receiver.folder, capture_output=True, text=True)
        assert found.returncode == 0, found.stdout + found.stderr


def test_its_test_fails_at_the_handler_and_then_at_itself_and_says_what_to_do(project):
    receiver, _ = project
    handler = receiver.folder / "app" / "handlers" / "claim_reopened.py"
    tests = ("tests/app/test_claim_reopened.py", "tests/app/test_wall.py")

    first = receiver.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    handler.write_text(handler.read_text().replace("raise NotImplementedError(", "print("))
    second = receiver.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)

    assert (first.returncode, "NotImplementedError at app/handlers/claim_reopened.py" in first.stdout) == (1, True)
    assert (second.returncode, "say what is there now" in second.stdout) == (1, True)
    assert ("1 failed" in first.stdout, "1 failed" in second.stdout) == (True, True)


def test_it_writes_into_the_package_that_the_settings_name_and_changes_nothing_else(new, folder):
    before = texts(folder)

    code, said = new("Claim.Re-opened_2")

    after = texts(folder)
    written = {name: text for name, text in after.items() if name not in before}
    assert (code, "make test-app" in said) == (0, True)
    assert set(written) == {
        "acme_insurance/receiving/handlers/claim_re_opened_2.py", "tests/app/test_claim_re_opened_2.py",
    }  # fmt: skip
    assert {name: after[name] for name in before} == before
    assert all('"Claim.Re-opened_2"' in text for text in written.values())


def test_the_new_handler_runs_the_type_and_asks_for_its_schema(new, app, environment, assemble, folder):
    new("claim.reopened")

    again = assemble(environment)
    listed = again.test_cli_runner().invoke(args=["senang", "contract"]).output
    refused = again.test_cli_runner().invoke(args=["new", "handler", "claim.reopened"])

    assert '"x-handler": "acme_insurance.receiving.handlers.claim_reopened.claim_reopened"' in listed
    assert '"ClaimReopenedData"' in listed
    assert "claim.reopened has a handler already" in refused.output


def test_a_type_that_has_a_handler_is_refused(new, folder):
    before = texts(folder)

    code, said = new("acme.issued")

    assert (code, "acme.issued has a handler already" in said) == (1, True)
    assert "acme_insurance.receiving.handlers.policies.issued" in said
    assert texts(folder) == before


def test_a_type_that_a_pattern_has_handled_may_have_a_handler_of_its_own_and_the_command_says_so(new):
    code, said = new("outlet.closed")

    assert (code, "policies.issued has run outlet.closed so far" in said) == (0, True)


@pytest.mark.parametrize(
    "there", ["acme_insurance/receiving/handlers/claim_reopened.py", "tests/app/test_claim_reopened.py"]
)
def test_a_file_that_exists_is_left_alone_and_its_companion_is_not_written(new, folder, there):
    (folder / there).parent.mkdir(parents=True, exist_ok=True)
    (folder / there).write_text("# mine\n")
    before = texts(folder)

    code, said = new("claim.reopened")

    assert (code, "exists already. Nothing was written" in said) == (1, True)
    assert texts(folder) == before


def test_names_that_are_no_type_are_refused_in_a_sentence(new, folder):
    before = texts(folder)

    for name in BAD_NAMES:
        code, said = new(name)
        assert (code, "An event type is letters and digits" in said) == (1, True), name
    assert texts(folder) == before


def test_a_type_that_is_a_word_of_python_gets_another_function_name(new, folder):
    assert new("import")[0] == 0

    compile((folder / "acme_insurance/receiving/handlers/import_event.py").read_text(), "import_event.py", "exec")


def test_handlers_in_one_file_are_left_to_the_partner(new, folder):
    handlers = folder / PACKAGE.replace(".", "/") / "handlers"
    shutil.rmtree(handlers)
    handlers.with_suffix(".py").write_text(HANDLERS)

    code, said = new("claim.reopened")

    assert (code, "its handlers are in one file" in said) == (1, True)
