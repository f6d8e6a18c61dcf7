"""Which ways to start the receiver work. Any other way is refused with a sentence: the receiver never runs half.

To refuse another way to start gunicorn, add it to `mistake()`. To refuse another server, add it to `OTHER_SERVERS`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import structlog
from sqlalchemy.exc import SQLAlchemyError

from receiver.config import EXIT_CONFIGURATION, Settings
from receiver.database.causes import UNSUITABLE_POOLER, cause_of, remedy_for
from receiver.database.engine import knows_sessions, make_engine, reading
from receiver.private_files import is_open_to_others

if TYPE_CHECKING:
    from receiver.queries.conditions import Connections

WORKER_CLASS = "receiver.server.web_worker.WebWorker"
GUNICORN_BOOT_ERROR = 3
"""The exit code of a worker at which gunicorn's master stops. With another code it starts worker after worker."""

OTHER_SERVERS = ("bjoern", "cheroot", "granian", "hypercorn", "meinheld", "mod_wsgi", "uvicorn", "uwsgi", "waitress")
_WITHIN = ("mod_wsgi", "uwsgi")
"""Of these, the servers that are no Python program. They bring a module of their name, which nobody else has."""
MISSING = "It would run no handlers, wait for slow senders without end, and take requests that can be read in two ways."

_is_configured = False


def configured() -> None:
    """Note that gunicorn.conf.py was read. The processes that gunicorn forks know it too."""
    global _is_configured
    _is_configured = True


def mistake(config: Any) -> str | None:
    """What is wrong with how gunicorn was started, in a sentence. None if nothing is."""
    if config.preload_app:
        return "--preload is not supported: gevent has to change Python before the receiver is loaded."
    if config.worker_class_str != WORKER_CLASS:
        return f"The worker class has to be {WORKER_CLASS}: it bounds how long slow senders are waited for."
    return None


def database_mistake(settings: Settings, *, least: int, most: int) -> str | None:
    """Why this database must not be used so, in a sentence. None if it may be used, or does not answer yet.

    The processes that are about to be started need `least` connections, and open `most` of them.
    """
    is_on_sqlite, given = settings.database_url.startswith("sqlite"), settings.database_connections
    if is_on_sqlite and settings.environment != "live":
        return None
    if given is not None and given < least and not is_on_sqlite:
        return f"DATABASE_CONNECTIONS: is {given:,}, but these processes need {least:,}. Raise it, or run fewer."

    from receiver.queries.connections import connections as connections_now  # a sandbox on SQLite needs none of these
    from receiver.store.environment import REFUSAL, environment_problem

    engine = make_engine(settings.database_url)
    try:
        with reading(engine) as session:
            if knows_sessions(engine) and (sentence := _too_many(most, connections_now(session))):
                return sentence
            return f"DATABASE_URL: {REFUSAL}" if environment_problem(session, settings.environment) else None
    except SQLAlchemyError as error:
        cause = cause_of(error)
        return f"DATABASE_POOLER: {remedy_for(cause)}" if cause.startswith(UNSUITABLE_POOLER) else None
    finally:
        engine.dispose()


def _too_many(most: int, there_may_be: Connections) -> str | None:
    if most <= there_may_be.most:
        return None
    return (
        f"DATABASE_CONNECTIONS: these processes may open {most:,} connections, but the {there_may_be.limit} may "
        f"have {there_may_be.most:,}. Lower it, run fewer processes, or let the database have more."
    )


def addresses(port: int) -> list[str]:
    """Every address of this machine, for gunicorn's `bind`: those of IPv6 too, where the machine has IPv6.

    Mostly one socket takes both kinds. Where the system wants a socket for each, there are two.
    """
    try:
        with socket.socket(socket.AF_INET6) as probe:
            takes_both = not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            probe.bind(("::", 0))
    except OSError:
        return [f"0.0.0.0:{port}"]
    return [f"[::]:{port}"] if takes_both else [f"0.0.0.0:{port}", f"[::]:{port}"]


def say_doubts(settings: Settings) -> None:
    """Log what is probably a mistake in the settings, once for each start."""
    for doubt in settings.doubts:
        setting, _, sentence = doubt.partition(": ")
        structlog.get_logger().warning("doubtful_setting", setting=setting, doubt=sentence)


def say_open_files(files: Mapping[str, str | Path | None]) -> None:
    """Log which files with secrets everybody on this machine may read."""
    for name, path in files.items():
        if path and is_open_to_others(Path(path)):
            structlog.get_logger().warning("readable_by_everybody", file=name, remedy="chmod 600")


def refuse(sentence: str, exit_code: int = EXIT_CONFIGURATION) -> None:
    """End the process."""
    print(f"The receiver cannot start:\n  - {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(exit_code)


def refuse_other_servers(environment: str) -> None:
    """Refuse any server but gunicorn. Flask's own may serve a sandbox."""
    if _is_flasks_server() and environment == "live":
        refuse(f"flask run is for a sandbox. {MISSING} Start `gunicorn wsgi:app`.")
    if server := _other_server():
        refuse(f"{server} is not supported. {MISSING} Start `gunicorn wsgi:app`.")


def say_flasks_server() -> None:
    """Log what `flask run` lacks, if it serves us."""
    if _is_flasks_server():
        structlog.get_logger().warning("development_server", lacks=MISSING, remedy="gunicorn wsgi:app")


def _is_flasks_server() -> bool:
    """Whether `flask run` asks for the application."""
    context = click.get_current_context(silent=True)
    return context is not None and context.info_name == "run"


def _other_server() -> str | None:
    """Which of the other servers runs this process. A program that only imports one is somebody else's business."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.stem == "__main__" else program.stem.partition("-")[0]
    return next((server for server in (name, *filter(sys.modules.get, _WITHIN)) if server in OTHER_SERVERS), None)


def refuse_gunicorn_without_its_configuration() -> None:
    """In another folder, gunicorn does not find its file. It would serve with its defaults and run no handler."""
    if "gunicorn.arbiter" in sys.modules and not _is_configured:
        refuse(
            "gunicorn did not read gunicorn.conf.py. Start it in the project's folder, or name the file with -c.",
            GUNICORN_BOOT_ERROR,
        )
