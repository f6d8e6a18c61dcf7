"""Rules about the codebase itself: which room may import which, who may use a route, what is tested.

Imports point one way (docs/how-it-works.md has the drawing). A new room or a new leaf needs a line in `MAY_IMPORT`.
"""

import ast
import re

import pytest

from receiver.web import ACCESS
from tests.receiver.imports import imports_of, module_of
from tests.receiver.processes import ROOT

LEAVES = {
    "clock",
    "config",
    "discovery",
    "endless",
    "green",
    "logs",
    "percentile",
    "private_files",
    "registry",
    "settings",
    "stopping",
    "threads",
}
"""Small modules that every room may use, but for the two pure ones."""
STORING = LEAVES | {"protocol", "privacy", "database"}
WORKING = STORING | {
    "store",
    "lines",
    "present",
    "metrics",
    "problem",
    "transport",
    "forwarded",
    "typed_data",
    "follow_ups",
    "tracing",
}
ACTING = WORKING | {"ingest", "worker", "maintenance", "queries", "alerts"}
MAY_IMPORT = {
    # Leaves.
    "clock": set(),
    "discovery": set(),
    "endless": set(),
    "extensions": set(),
    "green": set(),
    "metrics": set(),
    "outlet": set(),
    "percentile": set(),
    "private_files": set(),
    "problem": set(),
    "stopping": set(),
    "threads": set(),
    "config": {"discovery", "protocol", "privacy", "database", "private_files", "settings"},
    "settings": {"discovery", "protocol", "privacy", "database", "private_files"},
    "logs": {"outlet", "privacy"},
    "registry": {"protocol"},
    # Rooms, each on those before it.
    "protocol": set(),
    "privacy": set(),
    "database": {"protocol", "privacy", "private_files"},
    "store": STORING,
    "lines": {"clock", "store"},
    "present": {"store"},
    "transport": {"config"},
    "forwarded": {"config", "privacy"},
    "ingest": WORKING,
    "worker": WORKING,
    "maintenance": WORKING,
    "queries": WORKING,
    "alerts": WORKING | {"queries"},
    "actions": ACTING,
    "contract": ACTING,
    "sandbox": {"protocol", "clock", "discovery", "percentile", "registry"},
    "server": ACTING | {"actions"},
    "web": ACTING | {"actions", "sandbox", "extensions"},
    "cli": ACTING | {"actions", "contract", "sandbox", "server"},
    # What puts them together, and what a partner sees.
    "migrations": {"database", "store"},
    "tracked": {"protocol", "database", "registry"},
    "typed_data": {"privacy", "protocol"},
    "tracing": {"config", "privacy", "registry", "threads"},
    "reports": {"config", "threads"},
    "follow_ups": {"database", "privacy", "protocol", "store"},
    "partner": {"discovery"},
    "assembly": ACTING | {"reports", "partner", "extensions", "web", "cli", "server"},
    "the face": {
        "assembly",
        "config",
        "database",
        "follow_ups",
        "protocol",
        "registry",
        "tracked",
        "typed_data",
        "web",
    },
    "testing": ACTING | {"actions", "sandbox", "assembly"},
}
PURE = ("protocol", "privacy")
IMPURE = {"flask", "flask_login", "sqlalchemy", "time", "werkzeug"}
RECEIVER = sorted((ROOT / "receiver").rglob("*.py"))


def room_of(module):
    """The room or leaf that a module of the receiver belongs to."""
    return module.split(".")[1] if "." in module else "the face"


def test_imports_point_one_way():
    against = set()
    for path in RECEIVER:
        module = module_of(path)
        rooms = {room_of(name) for name in imports_of(path) if name.split(".")[0] == "receiver"}
        allowed = MAY_IMPORT[room_of(module)] | {room_of(module)}
        against |= {f"{module} -> {room}" for room in rooms - allowed}

    assert against == set()


def test_the_rules_know_every_room_and_no_other():
    assert {room_of(module_of(path)) for path in RECEIVER} == set(MAY_IMPORT)


def test_the_rules_have_no_circle():
    left = {room: set(may) for room, may in MAY_IMPORT.items()}
    while free := {room for room, may in left.items() if not may & set(left)}:
        left = {room: may for room, may in left.items() if room not in free}

    assert left == {}


def test_the_core_is_pure():
    for path in RECEIVER:
        if room_of(module_of(path)) in PURE:
            assert not {name.split(".")[0] for name in imports_of(path)} & IMPURE, path


@pytest.mark.parametrize(
    "line",
    [
        "import receiver.web.auth",
        "import receiver.web.auth as sign_in, json",
        "from receiver.web import auth",
        "from receiver import web",
        "from receiver.web.auth import sign_in",
        "def later():\n    from receiver.web import auth",
        "if TYPE_CHECKING:\n    from receiver.web.auth import SignedIn",
        "from ..web import auth",
        "from .. import web",
        "importlib.import_module('receiver.web')",
    ],
)
def test_every_form_of_import_is_read(line, tmp_path):
    for room in ("store", "web"):
        (tmp_path / "receiver" / room).mkdir(parents=True)
    module = tmp_path / "receiver" / "store" / "inbox.py"
    module.write_text(line)

    assert "web" in {room_of(name) for name in imports_of(module, tmp_path)}


def test_the_receiver_imports_nothing_of_those_who_use_it():
    """It finds the partner's package by its setting. The two that start its whole receiver do so as gunicorn does."""
    users = {"app", "bench", "tests", "wsgi"}
    found = {(module_of(path), name) for path in RECEIVER for name in imports_of(path) if name.split(".")[0] in users}

    assert found <= {("receiver.sandbox.rehearsal", "wsgi"), ("receiver.server.embedded", "wsgi")}


def test_the_receiver_names_the_partners_folder_in_one_setting_alone():
    named = {}
    for path in RECEIVER:
        tree = ast.parse(path.read_text())
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        found = [node.value for node in texts if id(node) not in prose and re.search(r"^app$|\bapp/", node.value)]
        if found:
            named[module_of(path)] = found

    assert list(named.values()) == [["app"]], named
    assert next(iter(named)).startswith(("receiver.config", "receiver.settings"))


def test_only_the_plugin_needs_what_tests_need():
    testing = {"hypothesis", "playwright", "pytest"}
    needing = {module_of(path) for path in RECEIVER for name in imports_of(path) if name.split(".")[0] in testing}

    assert needing <= {"receiver.testing"}


def test_every_route_declares_its_access(app):
    assert {rule.endpoint for rule in app.url_map.iter_rules()} == set(ACCESS)


def test_a_stranger_sees_nothing_that_needs_a_sign_in(app):
    client = app.test_client()

    for rule in app.url_map.iter_rules():
        if ACCESS[rule.endpoint] in ("viewer", "operator"):
            method = "get" if "GET" in rule.methods else "post"
            response = getattr(client, method)(re.sub("<[^>]*>", "1", rule.rule))
            assert response.status_code in (302, 400), rule.rule


def test_every_obligation_of_the_page_has_a_test():
    text = "".join(path.read_text() for path in (ROOT / "tests" / "receiver" / "guide").glob("test_*.py"))
    held = set(re.findall(r'@clause\("([0-9.]+)"\)', text))

    assert held >= {
        "1.3", "2.1", "2.2", "2.3", "2.4", "3.1", "3.2", "3.3", "4.1", "4.2", "4.3", "4.4", "5.1", "5.2", "5.3",
        "6.1", "6.2", "6.3", "6.4", "7.1", "7.2", "7.3", "8.1", "8.2", "8.3", "9.1", "9.2", "9.3", "10.1", "11.1",
        "12.2",
    }  # fmt: skip
