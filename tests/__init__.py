"""The tests see nothing of the shell that starts them: no settings, proxies, locale or time zone of the user's.

This runs before anything of ours is imported. What a test needs of the machine is a name in `KEPT`.
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

for _name in set(os.environ) - set(KEPT):
    if not _name.startswith(KEPT_BEGINNINGS):
        del os.environ[_name]
os.environ.update(FIXED)
time.tzset()


def inherited() -> dict[str, str]:
    """What a process that a test starts has of our environment."""
    return {name: os.environ[name] for name in (*KEPT, *FIXED) if name in os.environ}
