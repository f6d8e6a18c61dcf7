"""Reads settings out of an environment: notes every mistake by its name, and names that are nearly a setting's.

To let another parser say what is wrong with a value, add its exception to `UNUSABLE`.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from environs import Env
from marshmallow.validate import Range

from receiver.database.url import UnusableUrl
from receiver.discovery import NoPartnerPackage
from receiver.privacy.sealing import UnusableKey
from receiver.protocol.errors import InvalidScheme, UnusableSecret
from receiver.settings.values import UnusableValue

UNUSABLE = (InvalidScheme, UnusableSecret, UnusableKey, UnusableUrl, UnusableValue, NoPartnerPackage)
"""What parsers raise. The message says what is wrong, and quotes no value."""
READ_ELSEWHERE = ("SENANG_OTHER_SECRETS", "FLASK_DEBUG")
"""What the doctor reads even where no other setting is right, and what Flask reads."""
LIKENESS = 0.65  # of a name that we don't know to one that we know, where both begin with SENANG_
LIKENESS_OF_OTHERS = 0.88  # where neither does: the environment is full of other people's names


class Source(Env):
    """environs, reading one mapping instead of the process's environment, and noting every mistake."""

    def __init__(self, source: Mapping[str, str]) -> None:
        super().__init__(eager=False, expand_vars=False)
        self._source = source
        self._asked = set(READ_ELSEWHERE)

    def _get_value(self, env_key: str, default: Any) -> Any:
        self._asked.add(env_key)
        return self._source.get(env_key, default)

    def parsed(self, name: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
        """What `parse` makes of the setting's text; its typed errors become mistakes."""
        raw = self._get_value(name, default)
        if raw is None:
            self.note(name, "is not set. `flask --app wsgi init` writes a .env with fresh secrets.")
            return None
        try:
            return parse(raw)
        except UNUSABLE as error:
            self.note(name, f"cannot be used: {error}")
            return None

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number in a range."""
        value = self.int(name, default, validate=Range(low, high))
        return default if value is None else value

    def note(self, name: str, mistake: str) -> None:
        """One more mistake, a sentence without a value."""
        self._errors[name].append(mistake)

    def note_misspelt(self, prefix: str) -> list[str]:
        """Note what has our prefix, looks like a setting and is none. Returns the doubts about other names."""
        ours = [name.removeprefix(prefix) for name in sorted(self._asked) if name.startswith(prefix)]
        others = [name for name in sorted(self._asked) if not name.startswith(prefix) and name != "PORT"]
        doubts = []
        for name in sorted(self._source.keys() - self._asked):
            if name.startswith(prefix):
                if nearest := get_close_matches(name.removeprefix(prefix), ours, n=1, cutoff=LIKENESS):
                    self.note(name, f"is no setting. Is {prefix}{nearest[0]} meant?")
                continue
            nearest = get_close_matches(name, others, n=1, cutoff=LIKENESS_OF_OTHERS)
            if nearest and f"_{nearest[0]}_" not in f"_{name}_":  # DATABASE_URL_2 is somebody's own
                doubts.append(f"{name}: is no setting. Is {nearest[0]} meant?")
        return doubts

    def unknown(self, prefix: str) -> list[str]:
        """A sentence for each name that has our prefix and is no setting. It may be the partner's own."""
        known = sorted(self._asked.difference(READ_ELSEWHERE))
        ours = [name.removeprefix(prefix).split("_") for name in known if name.startswith(prefix)]
        found = []
        for name in sorted(self._source.keys() - self._asked):
            theirs = name.removeprefix(prefix).split("_")
            if name.startswith(prefix):
                meant = next((it for it in ours if _is_part_of(theirs, it)), None)
                hint = f" Is {prefix}{'_'.join(meant)} meant?" if meant else ""
                found.append(f"{name}: is no setting of the receiver, which leaves it alone.{hint}")
        return found

    def mistakes(self) -> list[str]:
        """A sentence for each setting that is missing or wrong."""
        return [f"{name}: {' '.join(messages)}" for name, messages in sorted(self._errors.items())]


def _is_part_of(theirs: list[str], ours: list[str]) -> bool:
    """Whether the words are how ours begin or end: ENV for ENVIRONMENT, SECRET for WEBHOOK_SECRETS."""
    return any(
        len(part) == len(theirs) and all(b.startswith(a) for a, b in zip(theirs, part, strict=True))
        for part in (ours[: len(theirs)], ours[-len(theirs) :])
    )
