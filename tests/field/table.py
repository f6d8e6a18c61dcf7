"""What the laboratory found, as facts in facts.json and as a table in docs/deploy.md.

`python -m tests.field.table` tries every platform, and writes both. Names of platforms after it try these alone, and
leave the facts of the others. A column is a line in `COLUMNS`.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from receiver.testing import postgres_server
from tests import forget_the_shell
from tests.field.deployed import code_of_the_image
from tests.field.laboratory import CHECKS, ROWS, Row, examined, site
from tests.field.relay import as_on_a_platform
from tests.receiver.processes import ROOT

FACTS = Path(__file__).with_name("facts.json")
PAGE = ROOT / "docs" / "deploy.md"
BEGINS, ENDS = "<!-- by `make field` -->\n", "<!-- end -->\n"
ROUTERS = {"nginx": "nginx", "haproxy": "HAProxy", "caddy": "Caddy"}
Facts = Mapping[str, Any]


def _said(*checks: str) -> Callable[[Row, Facts], str]:
    """Yes when all of these found nothing wrong."""
    assert set(checks) <= set(CHECKS)
    return lambda _row, facts: "no" if set(checks) & set(facts["wrong"]) else "yes"


def _cold_start(_row: Row, facts: Facts) -> str:
    return f"{facts['cold_start_cpu_seconds']:.1f} / {facts['cold_start_seconds']:.0f}"


def _stop(_row: Row, facts: Facts) -> str:
    return f"{facts['stop_under_load']:.0f} of {facts['grace']}" if "stop_under_load" in facts else "no"


def _memory(row: Row, facts: Facts) -> str:
    if "memory" not in facts:
        return "no"
    return f"{' + '.join(map(str, facts['memory'].values()))} of {row.plan_mib}{'' if row.shared else ' each'}"


def _worker(_row: Row, facts: Facts) -> str:
    works = _said("deliveries")(_row, facts)
    return f"{works}, beside web" if facts["worker_beside"] and works == "yes" else works


COLUMNS: dict[str, Callable[[Row, Facts], str]] = {
    "router": lambda row, _facts: ROUTERS[row.front.kind],
    "release, s": lambda _row, facts: f"{facts['release_seconds']:.0f}",
    "web": _said("the_first_operator", "deliveries"),
    "worker": _worker,
    "health": _said("asked_by_the_platform"),
    "pages over TLS": _said("pages"),
    "client": _said("client_address", "wrong_passwords"),
    "no plain HTTP": lambda row, facts: "not tried" if row.configuration else _said("plain_http")(row, facts),
    "stop, s": _stop,
    "memory, MiB": _memory,
    "cold start, s": _cold_start,
}


def table(facts: Mapping[str, Facts]) -> str:
    """The table of these facts."""
    lines = [["platform", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    lines += [[name, *(cell(ROWS[name], found) for cell in COLUMNS.values())] for name, found in facts.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def recorded() -> dict[str, Facts]:
    """The facts of the last run, in the order of the platforms."""
    found = json.loads(FACTS.read_text()) if FACTS.exists() else {}
    return {name: found[name] for name in ROWS if name in found}


def in_the_page() -> str:
    """The table that stands in docs/deploy.md."""
    return _place().search(PAGE.read_text())[1]  # type: ignore[index]


def _place() -> re.Pattern[str]:
    return re.compile(f"(?<={re.escape(BEGINS)})(.*?)(?={re.escape(ENDS)})", re.DOTALL)


def _write(facts: Mapping[str, Facts]) -> None:
    FACTS.write_text(json.dumps({**recorded(), **facts}, indent=2) + "\n")
    PAGE.write_text(_place().sub(lambda _: table(recorded()), PAGE.read_text()))


def main(names: list[str]) -> bool:
    """Try these platforms one after another. Whether nothing was wrong."""
    logging.disable()
    wrong = {}
    with postgres_server() as server, code_of_the_image() as code:
        for name in names:
            with server.database() as url, as_on_a_platform(url) as database, site(ROWS[name], code, database) as there:
                facts = examined(there)
                deploy = there.deployed.deploy
                _write({name: facts | {"grace": deploy.grace, "worker_beside": deploy.worker is None}})
            wrong |= {name: facts["wrong"]} if facts["wrong"] else {}
            print(f"{name}: {facts['wrong'] or 'nothing is wrong'}", flush=True)
    return not wrong


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(not main(sys.argv[1:] or list(ROWS)))
