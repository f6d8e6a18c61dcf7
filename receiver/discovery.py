"""Where the partner's package is, and what of it is imported so that it registers itself.

PARTNER_PACKAGE names the package, `app` by default. Its module `models` and all modules of its package `handlers` are
imported. To have another folder found, add its name to `REGISTERING`. `own_words()` reads the module `masking`.
"""

import importlib
import pkgutil
from collections.abc import Collection
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

REGISTERING = ("models", "handlers")


class NoPartnerPackage(ModuleNotFoundError):
    """The name that PARTNER_PACKAGE gives is no package with handlers. The message says why, and quotes nothing."""


def partner_package(name: str) -> str:
    """The name, if it is that of a package with handlers. Raises NoPartnerPackage."""
    if PathFinder.find_spec("handlers", [str(folder_of(name))]) is None:
        raise NoPartnerPackage("the package has no handlers: there is neither a folder handlers nor a handlers.py.")
    return name


def folder_of(package: str) -> Path:
    """Where the partner's package is. Raises NoPartnerPackage.

    It imports nothing of the package: gunicorn's master asks, and what it has imported gevent can't change any more.
    """
    folders: list[str] = []
    for depth, part in enumerate(package.split(".")):
        found = find_spec(part) if depth == 0 and part else PathFinder.find_spec(part, folders)
        folders = list(found.submodule_search_locations or ()) if found else []
        if not folders:
            raise NoPartnerPackage("there is no such package. It is a folder with an __init__.py, beside wsgi.py.")
    return Path(folders[0])


def discover(package: str) -> None:
    """Import what registers itself. A second call changes nothing. Raises ModuleNotFoundError without the package."""
    importlib.import_module(package)
    for name in REGISTERING:
        if find_spec(f"{package}.{name}"):
            _import_all(f"{package}.{name}")


def own_words(package: str) -> tuple[Collection[str], ...]:
    """What the partner's module `masking` names: SAFE_KEYS, CODE_WORDS, REFERENCE_PREFIXES. Each is optional."""
    module = importlib.import_module(f"{package}.masking") if find_spec(f"{package}.masking") else None
    return tuple(getattr(module, name, ()) for name in ("SAFE_KEYS", "CODE_WORDS", "REFERENCE_PREFIXES"))


def _import_all(name: str) -> None:
    module = importlib.import_module(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", []), f"{name}."):
        _import_all(found.name)
