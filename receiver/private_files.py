"""Files and folders that only their owner may read, whatever the umask. A leaf.

A file with events, keys or passwords is made here. It has its rights from the first moment. To add a kind of file, open
it with `create_private()`.
"""

import os
from contextlib import suppress
from pathlib import Path

_OF_OTHERS = 0o007
_COMPANIONS = ("", "-wal", "-shm", "-journal")
"""The files that SQLite puts beside a database. They get the rights that the database has at that moment."""


def private_folder(folder: Path) -> None:
    """Make the folder, and missing folders above it. An existing folder stays as it is. Raises OSError."""
    missing = [it for it in (folder, *folder.parents) if not it.exists()]
    for it in reversed(missing):
        it.mkdir(mode=0o700, exist_ok=True)


def create_private(path: Path) -> int:
    """The descriptor of a new file. Raises FileExistsError if the file exists."""
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)


def private_database(path: Path) -> None:
    """Make an empty file, or make an existing one and its companions private. If that fails, SQLite will say so."""
    with suppress(OSError):
        os.close(create_private(path))
    for name in _COMPANIONS:
        make_private(path.with_name(path.name + name))


def make_private(path: Path) -> None:
    """Take away the rights of others on a file or folder of ours.

    If only a group may read it, that was somebody's decision, and it stays. A file of another user stays too.
    """
    with suppress(OSError):
        status = path.stat()
        if status.st_mode & _OF_OTHERS and status.st_uid == os.geteuid():
            path.chmod(status.st_mode & 0o700)


def is_open_to_others(path: Path) -> bool:
    """Whether everybody on this machine may read the file, by its own rights."""
    with suppress(OSError):
        return bool(path.stat().st_mode & _OF_OTHERS)
    return False
