"""Files and folders that only their owner may read, whatever the umask. A leaf.

What holds events, keys or passwords is made here, with its rights from the first moment on. To add a kind of file, open
it with `create_private()`.
"""

import os
from contextlib import suppress
from pathlib import Path

_OF_OTHERS = 0o007
_COMPANIONS = ("", "-wal", "-shm", "-journal")
"""SQLite gives what it puts beside a database the rights that the database has at that moment."""


def private_folder(folder: Path) -> None:
    """Make the folder, and what is missing above it. One that is there stays as it is. Raises OSError."""
    missing = [it for it in (folder, *folder.parents) if not it.exists()]
    for it in reversed(missing):
        it.mkdir(mode=0o700, exist_ok=True)


def create_private(path: Path) -> int:
    """The descriptor of a new file. Raises FileExistsError when there is one."""
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)


def private_database(path: Path) -> None:
    """Make the file, empty, or make it and its companions private. What can't be done, SQLite will say."""
    with suppress(OSError):
        os.close(create_private(path))
    for name in _COMPANIONS:
        make_private(path.with_name(path.name + name))


def make_private(path: Path) -> None:
    """Take away what others may do with a file or folder of ours.

    What a group may read, and nobody else, is somebody's decision and stays. So does what another user owns.
    """
    with suppress(OSError):
        status = path.stat()
        if status.st_mode & _OF_OTHERS and status.st_uid == os.geteuid():
            path.chmod(status.st_mode & 0o700)


def is_open_to_others(path: Path) -> bool:
    """Whether everybody on this machine may read the file, as far as its own rights go."""
    with suppress(OSError):
        return bool(path.stat().st_mode & _OF_OTHERS)
    return False
