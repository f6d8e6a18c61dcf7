"""The tests see nothing of the shell that starts them: no settings, proxies, locale or time zone of the user's.

What a test needs of the machine is a name in `KEPT`. Importing this changes nothing: the processes of the tests do too.
"""

import os
import time

KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "CHROMIUM", "LD_LIBRARY_PATH")
KEPT_BEGINNINGS = ("PYTEST_", "PLAYWRIGHT_", "XDG_", "FONTCONFIG_")
FIXED = {
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "FLASK_SKIP_DOTENV": "1",  # neither flask's command
    "PYTHON_DOTENV_DISABLED": "1",  # nor the receiver reads the .env of whoever runs the tests
}


def forget_the_shell() -> None:
    """Leave in our environment only what is kept or fixed."""
    for name in set(os.environ) - set(KEPT):
        if not name.startswith(KEPT_BEGINNINGS):
            del os.environ[name]
    os.environ.update(FIXED)
    time.tzset()


def inherited() -> dict[str, str]:
    """What a process that a test starts has of our environment."""
    return {name: os.environ[name] for name in (*KEPT, *FIXED) if name in os.environ}
