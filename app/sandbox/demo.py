"""`make demo`: starts the receiver, delivers every event type, shows what became of each, and leaves it running."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from app.database import ROOT

ADDRESS = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
START_SECONDS = 30


def main() -> None:
    """The whole tour."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this ends the receiver too
    with _receiver() as server:
        _wait_until_ready(server)
        print("\nDelivering one event of every type:\n")
        _flask("senang", "trigger", "all", "--to", f"{ADDRESS}/webhooks/senang")
        _wait_until_idle()
        print("\nWhat became of them:\n")
        _flask("events", "list", "--limit", "8")
        print("\nSign in to the events page with this one-time password:\n")
        _flask("users", "add", "operator", "--generate", "--replace")
        print(f"\n  {ADDRESS}/events\n\nCtrl-C stops the receiver.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()


@contextlib.contextmanager
def _receiver() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "gunicorn", "wsgi:app", "--log-level", "warning"]
    environment = {**os.environ, "LOG_LEVEL": "WARNING"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment)  # noqa: S603 - no part of it is input
    try:
        yield server
    finally:
        server.terminate()
        server.wait()


def _flask(*arguments: str) -> None:
    environment = {**os.environ, "LOG_LEVEL": "WARNING"}
    subprocess.run([*FLASK, *arguments], cwd=ROOT, env=environment, check=True)  # noqa: S603 - as above


def _wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(f"The receiver did not start. Is {ADDRESS} taken? Try: PORT=8001 make demo")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{ADDRESS}/readyz", timeout=3):  # noqa: S310 - our own address
            return
        time.sleep(0.2)
    raise SystemExit("The receiver did not become ready.")


def _wait_until_idle() -> None:
    command = [*FLASK, "events", "list", "--state", "pending", "--json"]
    until = time.monotonic() + START_SECONDS
    environment = {**os.environ, "LOG_LEVEL": "WARNING"}
    while time.monotonic() < until:
        listed = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 - as above
        if listed.stdout.strip() == "[]":
            return


if __name__ == "__main__":
    main()
