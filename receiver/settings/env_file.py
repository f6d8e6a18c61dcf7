"""The file .env: settings for where the environment says nothing. A line in it that sets nothing is a doubt."""

import os
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from receiver.database.url import ROOT

ENV_FILE = ROOT / ".env"


def load_env_file(path: Path = ENV_FILE) -> None:
    """Set what the file says where the environment says nothing. An empty variable says nothing."""
    if _is_kept_out():
        return
    for name, value in dotenv_values(path).items():
        if value and not os.environ.get(name, "").strip():
            os.environ[name] = value


def doubts_of(path: Path = ENV_FILE) -> list[str]:
    """A sentence for each line that is neither a setting nor a comment. It quotes nothing: a line may be a secret."""
    if _is_kept_out() or not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        lines = [_line_of(found) for found in parse_stream(file) if found.error or (found.key and found.value is None)]
    return [f".env: line {line} sets nothing. A setting is NAME=value, on one line." for line in lines]


def _line_of(found: Binding) -> int:
    text = found.original.string
    return found.original.line + len(text) - len(text.lstrip("\n"))


def _is_kept_out() -> bool:
    """PYTHON_DOTENV_DISABLED=1 keeps every file out, as python-dotenv has it."""
    return os.environ.get("PYTHON_DOTENV_DISABLED", "").lower() in ("1", "true", "t", "yes", "y")
