"""`make audit`: asks whether a hole is known in what requirements.txt pins. pip-audit knows how to ask.

Its answer needs an index that has advisories. Where none is reachable nothing is known, and that is said: a network
that is away is no hole. It runs in an environment of its own, since it brings many packages and no test needs it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

AUDIT = ("tool", "run", "--quiet", "pip-audit==2.10.1", "--requirement", "requirements.txt", "--require-hashes")
HOW = ("--disable-pip", "--format", "json", "--progress-spinner", "off")
ROOT = Path(__file__).parents[2]


def known_holes(report: str) -> list[str] | None:
    """What pip-audit reports in JSON: a line for each hole, or None where it could ask about no package."""
    try:
        dependencies = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None
    asked = [dependency for dependency in dependencies if "skip_reason" not in dependency]
    if not asked:
        return None
    return [_line(dependency, hole) for dependency in asked for hole in dependency["vulns"]]


def _line(dependency: dict[str, Any], hole: dict[str, Any]) -> str:
    mended = ", ".join(hole["fix_versions"]) or "no version yet"
    return f"{dependency['name']} {dependency['version']}: {hole['id']}, mended in {mended}"


def main() -> None:
    """Ask, and end with 1 where a hole is known."""
    uv = Path(sys.executable).with_name("uv")
    asked = subprocess.run([uv, *AUDIT, *HOW], cwd=ROOT, capture_output=True, text=True, check=False)
    holes = known_holes(asked.stdout)
    if holes is None:
        print("audit: left out, for no index with advisories is reachable")
        return
    print(*holes or ["audit: no hole is known"], sep="\n")
    sys.exit(bool(holes))


if __name__ == "__main__":
    main()
