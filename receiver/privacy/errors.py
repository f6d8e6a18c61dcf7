"""What people see of an error: its type, where it was raised, and a code. They don't see its message.

A message can quote data in too many ways to be masked: escaped, in capitals, cut, or as PostgreSQL's "Failing row
contains". So the message, the notes, the arguments and the source lines are left out. The message is shown, masked,
only if the type of the error is in `spoken`.

People see the frames of this project: our own code and the partner's. Of libraries they see only the frame in which the
error was raised. To give an error a code of another kind, pass a function as `code`.
"""

import re
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from receiver.privacy.escaping import one_line
from receiver.privacy.grammar import is_identifier_key
from receiver.privacy.masking import mask_text

Types = tuple[type[BaseException], ...]
Code = Callable[[BaseException], str | None]

LONGEST_MESSAGE = 2_000
MOST_CAUSES = 8
"""How many errors behind an error are shown, with those of a group."""
MOST_FRAMES = 40
_ROOT = f"{Path(__file__).parents[2]}/"
_PACKAGES = re.compile(r".*/(?:site-packages|dist-packages|lib/python[0-9.]+)/")
_MACHINERY = re.compile(r"receiver/")
"""Files that run handlers. The place of an error is where the partner's code was, not what it had called."""
_CODE = re.compile(r"[A-Z0-9_]{5,50}")
_UNNAMED = "Error"
_WHERE = re.compile(r" \(?at (?=[^\s():]{1,300}\.py:[0-9]{1,9} in )")


def summary(
    error: BaseException, *, spoken: Types = (), code: Code | None = None, hidden: Callable[[], Collection[str]] = set
) -> str:
    """One line, such as `ValueError at app/handlers/payments.py:41 in payment_success, caused by KeyError`.

    `hidden` gives the values that a message may not quote. Never raises.
    """
    try:
        return _summary(error, spoken, code or code_of, hidden)
    except Exception:  # the attributes of a partner's own error may raise
        return _name(type(error))


def what_and_where(line: str) -> tuple[str, str]:
    """A line of `summary()` in two: the error with its message; where it was raised, and what caused it."""
    found = None
    for found in _WHERE.finditer(line):  # noqa: B007 - the last one: a message may quote another error
        pass
    if found is None:
        return line, ""
    where = line[found.end() :]
    return line[: found.start()], where.removesuffix(")") if "(" in found[0] else where


def trace(error: BaseException, *, code: Code | None = None) -> str:
    """The error and what caused it, each with its frames, for a log line. Never raises."""
    try:
        return "\n".join(
            "\n  at ".join([f"{word}{_title(found, code or code_of)}", *_frames(found)])
            for word, found in _chain(error)
        )
    except Exception:
        return _name(type(error))


def message(error: BaseException, *, hidden: Callable[[], Collection[str]] = set) -> str:
    """The error's message, masked, as one line. Empty if there is none. Never raises."""
    try:
        text = str(error)
    except Exception:  # the message of a partner's own error may raise
        return ""
    if len(text) > LONGEST_MESSAGE:  # a value that is cut could no longer be found
        return f"[text {len(text)}]"
    return one_line(mask_text(text, hidden=hidden())) if text else ""


def code_of(error: BaseException) -> str | None:
    """The code of the database: PostgreSQL's SQLSTATE or SQLite's name. None if the error has no code."""
    for found in (error, getattr(error, "orig", None)):
        for attribute in ("sqlstate", "sqlite_errorname"):
            code = getattr(found, attribute, None)
            if isinstance(code, str) and _CODE.fullmatch(code):
                return code
    return None


def _summary(error: BaseException, spoken: Types, code: Code, hidden: Callable[[], Collection[str]]) -> str:
    about = [f"at {place}" for place in (_place(error),) if place]
    about += [f"{word}{_name(type(found))}" for word, found in _chain(error) if found is not error]
    words = message(error, hidden=hidden) if isinstance(error, spoken) else ""
    title = _title(error, code)
    if words:
        return f"{title}: {words} ({', '.join(about)})" if about else f"{title}: {words}"
    return f"{title} {', '.join(about)}" if about else title


def _title(error: BaseException, code: Code) -> str:
    found = code(error)
    return f"{_name(type(error))} [{found}]" if found else _name(type(error))


def _name(kind: type[BaseException]) -> str:
    """The name of the class, or of the nearest base class with a fixed name: classes can be made at run time."""
    return next((found.__name__ for found in kind.__mro__ if is_identifier_key(str(found.__name__))), _UNNAMED)


def _chain(error: BaseException) -> Iterator[tuple[str, BaseException]]:
    """The error, then the errors behind it, each with words that say how they are linked."""
    waiting: list[tuple[str, BaseException]] = [("", error)]
    seen = set[int]()
    while waiting and len(seen) <= MOST_CAUSES:
        word, found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield word, found
        cause = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
        if cause is not None:
            waiting.append(("caused by ", cause))
        if isinstance(found, BaseExceptionGroup):
            waiting += [("together with ", inner) for inner in found.exceptions[:MOST_CAUSES]]


def _place(error: BaseException) -> str | None:
    """Where the partner's code was, or else the innermost frame of the project."""
    ours = [place for place, is_ours in _located(error) if is_ours]
    theirs = [place for place in ours if not _MACHINERY.match(place)]
    return next(reversed(theirs or ours), None)


def _frames(error: BaseException) -> list[str]:
    """The project's frames, outermost first, then the frame in which the error was raised. A very long list is cut."""
    found = list(_located(error))
    frames = [place for number, (place, is_ours) in enumerate(found) if is_ours or number == len(found) - 1]
    if len(frames) <= MOST_FRAMES:
        return frames
    half = MOST_FRAMES // 2
    return [*frames[:half], f"… {len(frames) - 2 * half} frames are left out", *frames[-half:]]


def _located(error: BaseException) -> Iterator[tuple[str, bool]]:
    """Each frame that belongs to a file, and whether the file is the project's."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path, is_ours = _relative(frame.f_code.co_filename)
        if path:
            yield f"{path}:{line} in {_function(frame.f_code)}", is_ours


def _relative(filename: str) -> tuple[str | None, bool]:
    if filename.startswith(_ROOT) and not _PACKAGES.match(filename):
        return filename.removeprefix(_ROOT), True
    found = _PACKAGES.match(filename)
    return (filename[found.end() :] if found else None), False


def _function(code: Any) -> str:
    return str(code.co_qualname).replace("<locals>.", "")
