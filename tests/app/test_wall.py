"""The wall between your half and the receiver's, and what a fork asks of itself. These rules are yours to change."""

import ast
from pathlib import Path

import receiver

ROOT = Path(__file__).parents[2]


def test_the_app_imports_of_the_receiver_what_it_promises_to_keep():
    """Everything else below `receiver` may change from release to release."""
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not [name.name for name in node.names if name.name.startswith("receiver.")], path
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "receiver":
                assert node.module == "receiver", path
                assert {name.name for name in node.names} <= set(receiver.__all__), path


def test_every_handler_has_a_test(handled):
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))

    assert [pattern for pattern in handled if pattern.replace("*", "") not in tests] == []
