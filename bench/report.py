"""Writes what was measured where people read it: all of it in bench/RESULTS.md, one table in docs/performance.md.

`python -m bench.report FILE…` takes the JSON documents of the benches. Each has a `section`, the first one also the
`machine` and the `table`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from receiver.database.url import ROOT

BEGIN, END = "<!-- bench -->", "<!-- end bench -->"
Document = dict[str, Any]


class NoMarkers(Exception):
    """The text has no place for the table."""


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("documents", type=Path, nargs="+", help="what the benches wrote to --json")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "RESULTS.md")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    options = parser.parse_args()
    documents = [json.loads(path.read_text()) for path in options.documents]
    options.results.write_text(results(documents))
    write_table(options.page, documents[0]["table"])


def results(documents: Sequence[Document]) -> str:
    """The machine, then every section."""
    machine = [f"- {name}: {value}" for name, value in documents[0]["machine"].items()]
    sections = [document["section"] for document in documents]
    return "\n".join(["# Measured", "", "Written by `make bench`, on:", "", *machine, "", "\n\n".join(sections), ""])


def write_table(path: Path, table: str) -> None:
    """Put the table between the markers of a file. Raises NoMarkers."""
    before, begin, rest = path.read_text().partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoMarkers(f"{path} has no {BEGIN} and {END}")
    path.write_text(f"{before}{begin}{table}\n{end}{after}")


if __name__ == "__main__":
    main()
