"""Which modules a Python file imports, by every form of import there is, wherever in the file it stands."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.receiver.processes import ROOT


def module_of(path: Path, root: Path = ROOT) -> str:
    """The name by which a file is imported."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path, root: Path = ROOT) -> Iterator[str]:
    """The modules that the file imports, and `package.name` for a name that it takes from a package."""
    package = module_of(path, root).split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{origin}.{alias.name}" if (root / origin.replace(".", "/")).is_dir() else origin
        elif isinstance(node, ast.Call) and _is_import_module(node.func):
            yield from (found.value for found in node.args[:1] if isinstance(found, ast.Constant))


def _is_import_module(called: ast.expr) -> bool:
    return getattr(called, "attr", getattr(called, "id", "")) in ("import_module", "__import__")
