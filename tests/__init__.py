"""The tests see nothing of the shell that starts them: no settings, proxies, locale or time zone of the user's.

What a test needs of the machine is a name in `KEPT`. Importing this changes nothing: the processes of the tests do too.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "CHROMIUM", "LD_LIBRARY_PATH")
KEPT_BEGINNINGS = ("PYTEST_", "PLAYWRIGHT_", "XDG_", "FONTCONFIG_")
FIXED = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "FLASK_SKIP_DOTENV": "1",  # neither flask's command
    "PYTHON_DOTENV_DISABLED": "1",  # nor the receiver reads the .env of whoever runs the tests
}
MEMORY = Path("/dev/shm")
ROOM_IN_MEMORY = 4 * 1024**3


def forget_the_shell() -> None:
    """Leave in our environment only what is kept or fixed."""
    for name in set(os.environ) - set(KEPT):
        if not name.startswith(KEPT_BEGINNINGS):
            del os.environ[name]
    os.environ.update(FIXED)
    time.tzset()


def work_in_memory() -> None:
    """Put what the tests write into memory, where there is room: hundreds of databases are made and dropped.

    A process that is killed loses nothing by it, and no test can cut the power.
    """
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_IN_MEMORY:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # so that Python looks again


def inherited() -> dict[str, str]:
    """What a process that a test starts has of our environment."""
    return {name: os.environ[name] for name in (*KEPT, *FIXED) if name in os.environ}
