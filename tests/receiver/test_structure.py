"""Rules about the codebase itself."""

import ast
import re
from pathlib import Path

import pytest

from receiver.registry import discover, registered
from receiver.web import ACCESS

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "protocol": {"protocol"},
    "privacy": {"privacy", "remembered"},
    "registry": {"protocol"},
    "database": {"database_url", "pipelined", "private_files"},
    "database_url": {"private_files"},
    "private_files": set(),
    "pipelined": set(),
    "clock": set(),
    "handlers": {"protocol", "registry", "database", "handlers"},
    "inbox": {
        "inbox",
        "registry",
        "protocol",
        "privacy",
        "database",
        "pipelined",
        "clock",
        "config",
        "green",
        "remembered",
        "logs",
        "endless",
    },
    "green": set(),
    "server": {"server", "inbox", "config", "database", "private_files", "logs", "remembered", "endless"},
    "endless": set(),
    "sandbox": {"sandbox", "protocol", "clock", "database", "registry"},
    "sandbox/scenarios": {"sandbox", "protocol", "clock"},
    "config": {"protocol", "privacy", "database", "database_url"},
    "logs": {"outlet", "privacy", "remembered"},
    "outlet": set(),
    "remembered": set(),
    "metrics": {"inbox"},
    "extensions": {"database"},
}
PURE = ("protocol", "privacy")


def modules(room):
    folder = ROOT / "app" / room
    return sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def imported(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room):
    for path in modules(room):
        rooms = {name.split(".")[1] for name in imported(path) if name.startswith("app.")}

        assert rooms <= MAY_IMPORT[room], path


@pytest.mark.parametrize("room", PURE)
def test_the_core_is_pure(room):
    for path in modules(room):
        roots = {name.split(".")[0] for name in imported(path)}

        assert not roots & {"flask", "sqlalchemy", "os.environ", "time", "werkzeug"}, path


def test_nobody_imports_a_handler():
    for path in (ROOT / "app").rglob("*.py"):
        if path.parent.name != "handlers":
            assert not any(name.startswith("app.handlers") for name in imported(path)), path


def test_every_handler_has_a_test():
    discover()
    tests = "".join(path.read_text() for path in (ROOT / "tests" / "handlers").glob("test_*.py"))

    for pattern, handler in registered():
        if handler.__module__.startswith("app.handlers"):
            assert pattern.replace("*", "") in tests, pattern


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
    text = "".join(path.read_text() for path in (ROOT / "tests" / "guide").glob("test_*.py"))
    held = set(re.findall(r'@clause\("([0-9.]+)"\)', text))

    assert held >= {
        "1.3", "2.1", "2.2", "2.3", "2.4", "3.1", "3.2", "3.3", "4.1", "4.2", "4.3", "4.4", "5.1", "5.2", "5.3",
        "6.1", "6.2", "6.3", "6.4", "7.1", "7.2", "7.3", "8.1", "8.2", "8.3", "9.1", "9.2", "9.3", "10.1", "11.1",
        "12.2",
    }  # fmt: skip
