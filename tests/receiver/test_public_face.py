"""What a fork may import of the receiver. These names are promised: they change with a new major version alone."""

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import receiver
from tests.receiver.processes import ROOT

PROMISED = {
    "Base",
    "ConfigurationError",
    "DataSchema",
    "Event",
    "Money",
    "PermanentFailure",
    "RetryLater",
    "SealedText",
    "Session",
    "Tracked",
    "UtcDateTime",
    "advance",
    "create_app",
    "csrf_exempt",
    "describes",
    "erases",
    "follow_up",
    "follows_up",
    "handles",
    "operator_required",
    "shows_message",
    "viewer_required",
}


def test_the_promised_names_are_there_and_no_others():
    found = {name: getattr(receiver, name) for name in receiver.__all__}
    others = {name for name, value in vars(receiver).items() if not name.startswith("_")} - set(found)

    assert set(found) == PROMISED
    assert {name for name in others if not isinstance(getattr(receiver, name), ModuleType)} <= {
        "TYPE_CHECKING",
        "import_module",
    }
    with pytest.raises(ImportError):
        from receiver import Inbox  # noqa: F401


def test_no_promised_name_is_a_module_too():
    """`from receiver import advance` would be the one or the other, by what was imported before."""
    modules = {path.stem for path in (ROOT / "receiver").glob("*")}

    assert modules & PROMISED == set()


def test_each_promised_name_explains_itself():
    silent = [name for name in PROMISED if len(inspect.getdoc(getattr(receiver, name)) or "") < 60]

    assert silent == []


def test_the_receivers_docstring_names_each_of_them():
    assert [name for name in PROMISED if f"`{name}`" not in receiver.__doc__] == []


def test_a_process_that_reads_the_settings_alone_loads_neither_flask_nor_the_pages():
    """gunicorn's master is such a process: what it has imported, gevent can't change any more in its workers."""
    asked = "import receiver.config, sys; print([name for name in ('flask', 'receiver.web') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"
