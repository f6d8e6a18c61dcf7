"""The load: 32 senders that each deliver one event after the other, every event a new one, signed just before.

wrk (Debian's package of that name) sends what load.lua reads from a pool file. It is one thread of C and LuaJIT, so
that the sender takes as little as can be from a machine that it shares with the receiver. It waits for each answer
before it sends the next: its percentiles are those of a full house, not of a rate somebody chose. wrk counts a slow
answer also for the deliveries that it held up, and as errors answers from 400 on; a redirect would store nothing, which
is found by counting the rows.
"""

import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from bench.pages import SETTINGS
from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.protocol.schemes import key_bytes, scheme_from
from receiver.protocol.signatures import sign
from receiver.sandbox.samples import sample

SENDERS = 32
EVENT_TYPE = "payment.success"
SCRIPT = Path(__file__).with_name("load.lua")
SCHEME = scheme_from("standard-webhooks", {})
KEY = key_bytes(SCHEME, SETTINGS["SENANG_WEBHOOK_SECRETS"])
MORE_DATA = {
    "payment_method": "fpx",
    "channel": "web",
    "billing_address": {"line1": "12 Jalan Ampang", "city": "Kuala Lumpur", "postcode": "50450", "state": "WP"},
    "items": [{"sku": "MOTOR-COMP", "premium": "100.00"}, {"sku": "ADDON-WINDSCREEN", "premium": "20.50"}],
    "metadata": {"campaign": "renewal-" + "x" * 80, "agent": "A-1234", "branch": "KL-07"},
}
"""Beside the sample's own: a body is then of some 870 bytes, as a payment's is."""


class PoolUsedUp(Exception):
    """The receiver was faster than the pool was large: the round does not count."""


class NotAllAcknowledged(Exception):
    """An answer was no 2xx, a connection broke or nobody answered in time: there is nothing to compare."""


@dataclass(frozen=True)
class Result:
    """What wrk saw. Latencies are milliseconds."""

    acknowledged: int
    seconds: float
    p50: float
    p99: float
    p999: float

    @property
    def per_second(self) -> float:
        """Acknowledgements in a second."""
        return self.acknowledged / self.seconds


def write_pool(path: Path, size: int) -> None:
    """Sign so many new deliveries, now: their timestamps are fresh."""
    now = datetime.now(UTC)
    with path.open("wb") as file:
        for _ in range(size):
            request = _request(now)
            file.write(b"%08d" % len(request) + request)


def deliver(port: int, pool: Path, seconds: int) -> Result:
    """Send from the pool for so many seconds. Raises PoolUsedUp or NotAllAcknowledged."""
    address = f"http://127.0.0.1:{port}"
    command = ["wrk", "--threads=1", f"--connections={SENDERS}", f"--duration={seconds}s", "--timeout=5s"]
    process = subprocess.run(  # noqa: S603 - our own words
        [*command, f"--script={SCRIPT}", address, "--", str(pool)], capture_output=True, text=True, check=True
    )
    _, _, line = process.stdout.partition("RESULT ")
    return _judged(json.loads(line.splitlines()[0]))


def body_bytes() -> int:
    """How long a body is."""
    return len(_body(datetime.now(UTC)))


def _judged(seen: dict[str, Any]) -> Result:
    errors = {name: seen[name] for name in ("status", "sockets", "timeouts") if seen[name]}
    if errors:
        raise NotAllAcknowledged(f"{seen['acknowledged']} acknowledged, errors: {errors}")
    if seen["sent"] >= seen["pool"]:
        raise PoolUsedUp(f"{seen['pool']} deliveries were not enough")
    return Result(*(seen[name] for name in ("acknowledged", "seconds", "p50", "p99", "p999")))


def _request(now: datetime) -> bytes:
    body = _body(now)
    signed = sign(body, scheme=SCHEME, key=KEY, message_id=f"msg_{uuid4().hex}", timestamp=now)
    fields = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **signed.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST /webhooks/senang HTTP/1.1\r\n{head}\r\n".encode() + body


def _body(now: datetime) -> bytes:
    payload = sample(EVENT_TYPE, fields=DEFAULT_FIELDS, now=now, transaction_id=f"TXN-{uuid4().hex[:12]}")
    payload["data"] |= MORE_DATA
    return json.dumps(payload).encode()
