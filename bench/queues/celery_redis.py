"""Celery with Redis, the usual answer to "run it in the background".

Prefork pool, acknowledged late, no result backend; Redis keeps an append-only file that it syncs every second.

What it lacks: the job is in another place than the effect. A worker that dies between the effect and its
acknowledgement repeats the effect, Redis may lose a second of jobs in a power loss, and what a web process has
committed but not yet sent is lost for good. There is nothing to look at afterwards: no row says that it was done.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import redis
from celery import Celery
from celery.signals import worker_process_init

from bench.queues import Command
from bench.queues.effect import FOR_PSYCOPG, values_of

PREFETCH = 64
BROKER, DATABASE = "BENCH_BROKER", "BENCH_DATABASE"

app = Celery("drain", broker=os.environ.get(BROKER))
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=PREFETCH,
)
_connection: psycopg.Connection[Any]


@worker_process_init.connect
def _connect(**_rest: Any) -> None:
    global _connection
    _connection = psycopg.connect(os.environ[DATABASE], autocommit=True, prepare_threshold=0)


@app.task(name="payment.success")
def payment_success(payload: dict[str, Any]) -> None:
    """The money is there."""
    _connection.execute(FOR_PSYCOPG, values_of(payload))


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a Redis of our own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "appendfsync": "everysec"}
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    server = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)  # noqa: S603, S607
    try:
        client = redis.Redis(port=port)
        for _ in range(100):
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                break
            time.sleep(0.1)
        client.close()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


class CeleryOnRedis:
    """Celery's worker."""

    name = "Celery + Redis"
    tuning = (
        f"prefork, `task_acks_late`, `worker_prefetch_multiplier={PREFETCH}`, no results, no events, no gossip; Redis"
        " with `appendonly yes` and `appendfsync everysec`. Beside the processes its main process reads from Redis"
    )
    lacks = "Not in the database's transaction: it can lose a job or repeat an effect, and keeps no record of either"
    ends_itself = False

    def __init__(self, broker: str) -> None:
        self._broker = broker

    def fill(self, url: str, bodies: Sequence[bytes]) -> None:
        """Its backlog is not in the database."""

    def before_run(self, bodies: Sequence[bytes]) -> None:
        with redis.Redis.from_url(self._broker) as client:
            client.flushall()
        with app.connection_for_write(self._broker) as connection, app.amqp.Producer(connection) as producer:
            for body in bodies:
                payment_success.apply_async((json.loads(body),), producer=producer)

    def commands(self, url: str, processes: int) -> list[Command]:
        arguments = (
            *(sys.executable, "-m", "celery", "-A", "bench.queues.celery_redis", "worker", "-l", "WARNING"),
            *("-P", "prefork", "-c", str(processes), "--without-gossip", "--without-mingle", "--without-heartbeat"),
        )
        return [Command(arguments, {BROKER: self._broker, DATABASE: url})]

    def unfinished(self, url: str) -> int:
        with redis.Redis.from_url(self._broker) as client:
            return int(client.llen("celery")) + int(client.hlen("unacked"))
