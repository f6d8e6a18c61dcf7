"""Terminal output for README.md, recorded by running the commands: `make recordings`.

A recording stands in README.md between `<!-- recorded: NAME -->` and `<!-- end -->`. To add one, put the two marks
there and a line into `RECORDINGS`.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import inherited

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the one of the Standard Webhooks specification
DELIVERY = "tests/receiver/recordings/delivery.http"


@dataclass(frozen=True)
class Recording:
    """A command as a reader types it, and what of its environment matters."""

    arguments: tuple[str, ...]
    environment: dict[str, str]

    @property
    def command(self) -> str:
        return f"flask --app wsgi {' '.join(self.arguments)}"

    def play(self) -> str:
        """What the command prints."""
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *self.arguments]
        environment = {**inherited(), "CI": "1", "COLUMNS": "110", **self.environment}
        played = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        return "\n".join(line.rstrip() for line in played.stdout.strip().splitlines())


_SETTINGS = {
    "SENANG_WEBHOOK_SECRETS": SECRET,
    "PAYLOAD_KEYS": "0123456789abcdef" * 4,
    "SECRET_KEY": "0123456789abcdef" * 2,
}
RECORDINGS = {
    "doctor": Recording(("senang", "doctor", DELIVERY), {"SENANG_WEBHOOK_SECRETS": SECRET}),
    "scenarios": Recording(("senang", "scenarios"), _SETTINGS),
}


def recorded(name: str) -> str:
    """What README.md says that the command prints."""
    found = re.search(_block(name), README.read_text(), re.DOTALL)
    assert found, f"README.md has no recording of {name}"
    return found[1]


def record() -> None:
    """Run every command, and write what it prints into README.md."""
    text = README.read_text()
    for name, recording in RECORDINGS.items():
        block = f"<!-- recorded: {name} -->\n```\n$ {recording.command}\n{recording.play()}\n```\n<!-- end -->"
        text = re.sub(_block(name), lambda _, block=block: block, text, flags=re.DOTALL)
    README.write_text(text)


def _block(name: str) -> str:
    return rf"<!-- recorded: {name} -->\n```\n\$ [^\n]*\n(.*?)\n```\n<!-- end -->"
