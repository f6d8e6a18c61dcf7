"""Which ways to start gunicorn work. Any other way is refused with a sentence: the receiver never runs half.

To refuse another one, add it to `mistake()`.
"""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from receiver.config import EXIT_CONFIGURATION, Settings
from receiver.database.engine import make_engine, reading
from receiver.private_files import is_open_to_others

WORKER_CLASS = "receiver.server.web_worker.WebWorker"
GUNICORN_BOOT_ERROR = 3
"""The exit code of a worker at which gunicorn's master stops. With another code it starts worker after worker."""

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


def database_mistake(settings: Settings) -> str | None:
    """Why this database must not be used, in a sentence. None if it may be used, or does not answer yet."""
    from receiver.store.environment import REFUSAL, environment_problem  # only `live` needs it before the start

    if settings.environment != "live":
        return None
    engine = make_engine(settings.database_url)
    try:
        with reading(engine) as session:
            return f"DATABASE_URL: {REFUSAL}" if environment_problem(session, settings.environment) else None
    except SQLAlchemyError:
        return None
    finally:
        engine.dispose()


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


def refuse_gunicorn_without_its_configuration() -> None:
    """In another folder, gunicorn does not find its file. It would serve with its defaults and run no handler."""
    if "gunicorn.arbiter" in sys.modules and not _is_configured:
        refuse(
            "gunicorn did not read gunicorn.conf.py. Start it in the project's folder, or name the file with -c.",
            GUNICORN_BOOT_ERROR,
        )
