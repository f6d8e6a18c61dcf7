"""This receiver's own worker, as it is run in production, with its default settings.

The events come in through `accept()`, like deliveries do: sealed, masked, each with its audit row. The worker claims,
unseals, parses, runs the handlers of app/handlers, and settles with an audit row and a line in the log.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
from dotenv import dotenv_values

from bench.pages import SETTINGS
from bench.queues import Command
from bench.queues.effect import number
from receiver import create_app
from receiver.config import load_settings
from receiver.database.url import ROOT
from receiver.ingest.intake import close_all, intake_of
from receiver.ingest.keeping import accept
from receiver.ingest.room import NotStored
from receiver.ingest.rows import Delivery
from receiver.protocol.kept import Kept

DELIVERIES_AT_ONCE = 32
TRIES = 10


class Ours:
    """The worker of this repository."""

    name = "ours"
    tuning = "`flask --app wsgi worker --drain`, all settings at their defaults"
    lacks = ""
    ends_itself = True

    def fill(self, url: str, bodies: Sequence[bytes]) -> None:
        app = create_app(load_settings(SETTINGS | {"DATABASE_URL": url}))
        intake = intake_of(app)

        def deliver(place: int) -> None:
            event = intake.inbox.settings.read_event(bodies[place])
            for _ in range(TRIES):  # a stalled disk is answered 503, and the sender comes again
                with suppress(NotStored):
                    accept(intake, event, Delivery(Kept(bodies[place]), f"{place:032x}"))
                    return
            raise AssertionError("the database takes no events")

        with ThreadPoolExecutor(DELIVERIES_AT_ONCE) as pool:
            list(pool.map(deliver, range(len(bodies))))
        close_all(app)

    def before_run(self, bodies: Sequence[bytes]) -> None:
        pass

    def commands(self, url: str, processes: int) -> list[Command]:
        flask = str(Path(sys.executable).with_name("flask"))
        arguments = (flask, "--app", "wsgi", "worker", "--drain", "--processes", str(processes))
        unset = dict.fromkeys((*dotenv_values(ROOT / ".env"), "LOG_LEVEL", "WORKER_BATCH"), "")
        defaults = unset | {"PYTHON_DOTENV_DISABLED": "1", "FLASK_SKIP_DOTENV": "1"}
        settings = {name: value for name, value in SETTINGS.items() if name != "LOG_LEVEL"}
        settings |= {
            "SMTP_URL": "smtp://127.0.0.1:1",
            "RECEIPT_FROM": "receipts@example.com",
            "FOLLOW_UPS": "0",
        }  # receipts are asked for, and never sent
        return [Command(arguments, defaults | settings | {"DATABASE_URL": url})]

    def unfinished(self, url: str) -> int:
        with psycopg.connect(url) as connection:
            return int(
                number(connection, "SELECT count(*) FROM events WHERE state <> 'processed' AND caused_by IS NULL")
            )
