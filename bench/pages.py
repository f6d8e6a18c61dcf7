"""`make bench-pages`: what a page asks, on ten thousand events and on a million, side by side.

Rounds are interleaved, so that whatever else the machine does weighs on both sizes alike. A question that scans, or
takes up what grows with the table, fails the run; a ratio above LIMIT is pointed out. What is asked stands in
bench/questions.py, and how a plan is judged in bench/plans.py.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from flask_migrate import upgrade

from bench.fill import fill, fill_engine
from bench.plans import complaints
from bench.questions import Question, questions
from receiver import create_app
from receiver.config import load_settings
from receiver.maintenance.rollup import INTERVAL, roll_up_if_due
from receiver.store.inbox import Inbox
from tests.receiver.databases import BreakablePostgres

SIZES = (10_000, 1_000_000)
ROUNDS = 15
LIMIT = 2.0
PLANNERS: dict[str, list[tuple[str, ...]]] = {
    "sqlite": [()],
    "postgresql": [(), ("plan_cache_mode = force_generic_plan",)],
}
SETTINGS = {
    "SENANG_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "PAYLOAD_KEYS": "8f1c2b7d4e5a69780123456789abcdef0fedcba98765432113579bdf02468ace",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "LOG_LEVEL": "ERROR",
}


def main() -> None:
    """Measure both databases; exit with 1 when a plan is bad."""
    found = []
    with TemporaryDirectory(prefix="senang-bench-", ignore_cleanup_errors=True) as folder:
        for name in PLANNERS:
            with databases(name, Path(folder)) as urls:
                small, large = (_inbox(url, size) for url, size in zip(urls, SIZES, strict=True))
                found += judge(name, large)
                report(name, questions(small), questions(large))
    print("\n".join(found) or "Every question is answered from an index.")
    sys.exit(bool(found))


@contextmanager
def databases(name: str, folder: Path) -> Iterator[list[str]]:
    """The URLs of an empty, migrated database for each size."""
    with ExitStack() as stack:
        if name == "sqlite":
            urls = [f"sqlite:///{folder / str(size)}.db" for size in SIZES]
            for url in urls:
                migrate(url)
        else:
            server = BreakablePostgres(folder / "postgresql", lambda url, _package: migrate(url))
            stack.callback(server.stop)
            urls = [stack.enter_context(server.migrated("app")) for _ in SIZES]
        yield urls


def migrate(url: str) -> None:
    """Build the schema."""
    app = create_app(load_settings(SETTINGS | {"DATABASE_URL": url}))
    with app.app_context():
        upgrade(revision="heads")
        app.extensions["inbox"].engine.dispose()


def judge(name: str, inbox: Inbox) -> list[str]:
    """What is wrong with the plans of all questions."""
    return [
        f"{name}: {question}: {complaint}"
        for planner in PLANNERS[name]
        for question, ask in questions(inbox).items()
        for complaint in complaints(inbox.engine, ask, planner=planner)
    ]


def report(name: str, small: dict[str, Question], large: dict[str, Question]) -> None:
    """One line for each question: the median at both sizes in milliseconds, and their ratio."""
    print(f"\n{name + ', milliseconds':<58} {SIZES[0]:>9,} {SIZES[1]:>9,}   ratio")
    for question, ask in small.items():
        times: list[tuple[float, float]] = [(_timed(ask), _timed(large[question])) for _ in range(ROUNDS)]
        before, after = (median(column) for column in zip(*times, strict=True))
        ratio = after / before
        print(f"{question:<58} {before:9.2f} {after:9.2f} {ratio:7.2f}{'  <--' if ratio > LIMIT else ''}")


def filled_inbox(url: str, size: int) -> tuple[Inbox, float, float]:
    """The inbox of a filled database, and the seconds that filling and summing took."""
    started = time.perf_counter()
    fill(fill_engine(url), size)
    filled = time.perf_counter()
    inbox: Inbox = create_app(load_settings(SETTINGS | {"DATABASE_URL": url})).extensions["inbox"]
    while roll_up_if_due(inbox):
        inbox.clock.advance(seconds=INTERVAL.total_seconds())
    return inbox, filled - started, time.perf_counter() - filled


def _inbox(url: str, size: int) -> Inbox:
    inbox, filling, summing = filled_inbox(url, size)
    print(f"{inbox.engine.dialect.name}, {size:,} events: filled in {filling:.1f} s,", end=" ")
    print(f"twice as many audit rows summed in {summing:.1f} s")
    return inbox


def _timed(ask: Question) -> float:
    started = time.perf_counter()
    ask()
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
