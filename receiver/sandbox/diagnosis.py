"""What the doctor says about a captured delivery.

It is apart from the doctor: a web process shows it, but the search runs in a process of its own.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Diagnosis:
    """What the doctor found out, in the order in which people read it.

    `verdict` is found, proven_cause, not_found or unsigned.
    """

    verdict: str
    summary: str  # the first line
    settings: dict[str, str] = field(default_factory=dict)  # to paste into .env
    rehearsal: str = ""  # what these settings would have made of all captures
    reasons: list[str] = field(default_factory=list)
    weak: list[str] = field(default_factory=list)  # what the scheme leaves open
    warnings: list[str] = field(default_factory=list)
    mail: str = ""  # what to ask the sender
    combinations: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def env_lines(self) -> list[str]:
        """The settings as lines of a .env file."""
        return env_lines(self.settings)


def env_lines(settings: Mapping[str, str]) -> list[str]:
    """Settings as lines of a .env file."""
    return [f"{name}={_quoted(value)}" for name, value in settings.items()]


def _quoted(value: str) -> str:
    """The value, quoted so that python-dotenv reads it back."""
    return value if value and all(letter.isalnum() or letter in "._-/:=,{}+@" for letter in value) else f"'{value}'"
