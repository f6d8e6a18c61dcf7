"""Terminal output for the documents, recorded by running the commands: `make recordings`.

A recording stands in a document of docs/ between `<!-- recorded: NAME -->` and `<!-- end -->`. To add one, put the two
marks into the document and a line into `RECORDINGS`.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import inherited

ROOT = Path(__file__).parents[3]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the one of the Standard Webhooks specification
DELIVERY = "tests/receiver/recordings/delivery.http"


@dataclass(frozen=True)
class Recording:
    """A command as a reader types it, what of its environment matters, and the document that shows its output."""

    document: str
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
    "doctor": Recording("docs/first-delivery.md", ("senang", "doctor", DELIVERY), {"SENANG_WEBHOOK_SECRETS": SECRET}),
    "scenarios": Recording("docs/rehearsal.md", ("senang", "scenarios"), _SETTINGS),
}


def recorded(name: str) -> str:
    """What the document says that the command prints."""
    document = RECORDINGS[name].document
    found = re.search(_block(name), (ROOT / document).read_text(), re.DOTALL)
    assert found, f"{document} has no recording of {name}"
    return found[1]


def record() -> None:
    """Run every command, and write what it prints into its document."""
    for name, recording in RECORDINGS.items():
        path = ROOT / recording.document
        block = f"<!-- recorded: {name} -->\n```\n$ {recording.command}\n{recording.play()}\n```\n<!-- end -->"
        path.write_text(re.sub(_block(name), lambda _, block=block: block, path.read_text(), flags=re.DOTALL))


def _block(name: str) -> str:
    return rf"<!-- recorded: {name} -->\n```\n\$ [^\n]*\n(.*?)\n```\n<!-- end -->"
