"""What a reader is shown: the figures, what we hold ourselves to, and no verdict when the machine was not quiet."""

from collections.abc import Callable, Iterator, Mapping
from statistics import median
from typing import NamedTuple

from bench.measured import Conditions, Field, Measured, Ratio

OURS = "ours"
MOST_SPREAD = 1.5
Fields = Mapping[str, Field]
DATABASES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
LATER = "masking later, as ours does"
TITLES = {
    "empty, gthread": "an empty Flask view, gthread",
    "empty, gevent": "an empty Flask view, gevent",
    OURS: "**this receiver**",
    "ours, Flask's dispatch": "this receiver, through Flask's dispatch",
    "tutorial": "a tutorial's receiver, Flask and ORM, handler inline",
    "ORM session": "a careful receiver, Flask and ORM session",
    "FastAPI, same work": "FastAPI, SQLAlchemy on asyncpg",
    "FastAPI, same work, masking later": f"… {LATER}",
    "FastAPI, asyncpg": "FastAPI, hand-tuned asyncpg",
    "FastAPI, asyncpg, masking later": f"… {LATER}",
    "FastAPI, asyncpg, group commit": "… with group commit",
    "FastAPI, asyncpg, group commit, masking later": f"… with group commit, {LATER}",
}


class Line(NamedTuple):
    """One thing we hold ourselves to. Without a bar it is only told."""

    what: str
    ratio: Ratio
    bar: float | None = None
    at_most: bool = False

    @property
    def holds(self) -> bool:
        """Whether the median keeps the bar."""
        if self.bar is None:
            return True
        return self.ratio.median <= self.bar if self.at_most else self.ratio.median >= self.bar


def is_quiet(fields: Fields) -> bool:
    """Whether the machine let us measure."""
    return all(field.spread <= MOST_SPREAD for field in fields.values())


def lines(fields: Fields) -> list[Line]:
    """What we hold ourselves to."""
    field, small = fields["postgresql"], fields["sqlite"]
    fastapi, asyncpg = "FastAPI, same work", "FastAPI, asyncpg"
    return [
        Line("acknowledgements, by the empty view's (aim: 0.8)", field.ratio(OURS, field.empty), 0.7),
        Line("… by the tutorial's", field.ratio(OURS, "tutorial"), 8),
        Line("… by the ORM session's", field.ratio(OURS, "ORM session"), 7),
        Line("… by FastAPI's on SQLAlchemy", field.ratio(OURS, fastapi), 3.5),
        Line(f"… the same {LATER}", field.ratio(OURS, f"{fastapi}, masking later")),
        Line("… by FastAPI's on hand-tuned asyncpg", field.ratio(OURS, asyncpg), 1.3),
        Line(f"… the same {LATER}", field.ratio(OURS, f"{asyncpg}, masking later")),
        Line("… the same with group commit", field.ratio(OURS, f"{asyncpg}, group commit")),
        Line(f"… the same with group commit, {LATER}", field.ratio(OURS, f"{asyncpg}, group commit, masking later")),
        Line("p99, by the empty view's", field.ratio(OURS, field.empty, _p99), 1.2, True),
        Line("CPU of receiver and database, by the empty view's", field.ratio(OURS, field.empty, _cpu), 1.5, True),
        Line("SQLite: acknowledgements, by the empty view's", small.ratio(OURS, small.empty), 0.5),
    ]


def section(fields: Fields, conditions: Conditions) -> str:
    """All figures as Markdown."""
    return "\n".join(["## Durable acknowledgements", "", *_method(conditions), *_figures(fields), *_judgement(fields)])


def table(fields: Fields) -> str:
    """The few figures for docs/performance.md, as Markdown."""
    field = fields["postgresql"]
    rows = [
        f"| {_title(name, field)} | {field.median(name, _per_second):,.0f}"
        f" | {field.ratio(name, field.empty).median:.2f} | {field.median(name, _p99):.1f} ms |"
        for name in field.rounds
    ]
    head = ["| receiver on PostgreSQL | acknowledged/s | of the empty view | p99 |", "|---|--:|--:|--:|"]
    return "\n".join([*head, *rows, *([] if is_quiet(fields) else ["", _not_quiet(fields)])])


def _method(conditions: Conditions) -> list[str]:
    processes = conditions.processes
    return [
        f"{conditions.senders} senders, each waiting for its answer before it sends the next of ever new, signed events"
        f" of {conditions.body_bytes} bytes; {conditions.rounds} rounds, in each of which every receiver is loaded for"
        f" {conditions.seconds} s, one after the other. {processes['postgresql']} web processes each on PostgreSQL,"
        f" {processes['sqlite']} on SQLite. Every answer was a 2xx, and whatever was acknowledged was in the database."
        " Ratios are of the same round: median (lowest–highest). The other figures are medians.",
        "",
        "The sender and the database run on the same cores, so the empty view leaves more of them to the sender than a"
        " receiver with a database can. The yardsticks write no log and have no deadlines; ours does both. ORM session"
        " and FastAPI mask before they answer, unless it says later; ours masks when the handler has the event open, so"
        " only the rows that say later do as much before the answer as ours does.",
        "",
    ]


def _figures(fields: Fields) -> Iterator[str]:
    for kind, field in fields.items():
        yield from (
            f"### On {DATABASES[kind]}",
            "",
            "| receiver | acknowledged/s | by the empty view's | ours by this | p50 ms | p99 ms | p99.9 ms"
            " | CPU µs, receiver + database | memory MiB |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
        )
        yield from (_row(name, field) for name in field.rounds)
        if field.pgbench:
            alone = median(field.pgbench)
            ours = field.median(OURS, _per_second) / alone
            yield f"| PostgreSQL alone, the same rows by pgbench | {alone:,.0f} | | {ours:.2f} | | | | | |"
        yield ""


def _row(name: str, field: Field) -> str:
    def figure(of: Callable[[Measured], float], digits: int = 1) -> str:
        return f"{field.median(name, of):,.{digits}f}"

    columns = [
        _title(name, field),
        figure(_per_second, 0),
        "1" if name == field.empty else str(field.ratio(name, field.empty)),
        "" if name == OURS else str(field.ratio(OURS, name)),
        figure(lambda measured: measured.result.p50),
        figure(_p99),
        figure(lambda measured: measured.result.p999),
        f"{figure(lambda m: 1e6 * m.cpu / m.result.acknowledged, 0)} + "
        f"{figure(lambda m: 1e6 * m.database_cpu / m.result.acknowledged, 0)}",
        f"{field.mebibytes[name]:,.0f}",
    ]
    return f"| {' | '.join(columns)} |"


def _judgement(fields: Fields) -> Iterator[str]:
    yield from ("### What it must show", "")
    quiet = is_quiet(fields)
    if not quiet:
        yield from (_not_quiet(fields), "")
    yield from ("| this receiver's | figure | bar | holds |", "|---|--:|--:|---|")
    for line in lines(fields):
        bar = "" if line.bar is None else f"{'≤' if line.at_most else '≥'} {line.bar:g}"
        verdict = "" if line.bar is None else ("yes" if line.holds else "**no**") if quiet else "no verdict"
        yield f"| {line.what} | {line.ratio} | {bar} | {verdict} |"


def _not_quiet(fields: Fields) -> str:
    spreads = ", ".join(f"{DATABASES[kind]} {field.spread:.2f}" for kind, field in fields.items())
    return (
        f"**No verdict: the machine was not quiet.** The empty view's best round by its worst: {spreads};"
        f" more than {MOST_SPREAD} means that the machine did something else meanwhile."
    )


def _title(name: str, field: Field) -> str:
    return TITLES.get(name, name) + (" (**the empty view**)" if name == field.empty else "")


def _per_second(measured: Measured) -> float:
    return measured.per_second


def _p99(measured: Measured) -> float:
    return measured.p99


def _cpu(measured: Measured) -> float:
    return measured.event_cpu
