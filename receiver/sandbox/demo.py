"""`make demo`: starts the receiver, delivers every event type, shows what became of each, and leaves it running.

It is run in the project's folder, where wsgi.py is.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from receiver.sandbox.loopback import is_ready

PORT = os.environ.get("PORT") or "8000"
ADDRESS = f"http://127.0.0.1:{PORT}"
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
START_SECONDS = 120  # on a busy machine too; a receiver that ends is noticed at once
IDLE_SECONDS = 120


def main() -> None:
    """The whole tour."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # when this process ends, the receiver ends too
    _refuse_a_taken_port()
    with _receiver() as server:
        _wait_until_ready(server)
        print("\nDelivering one event of every type:\n", flush=True)
        _flask("senang", "trigger", "all", "--to", f"{ADDRESS}/webhooks/senang")
        _wait_until_idle()
        print("\nWhat became of them:\n", flush=True)
        _flask("events", "list", "--limit", "8")
        print("\nSign in to the events page with this password. Each demo makes a new one:\n", flush=True)
        _flask("users", "add", "operator", "--generate", "--replace")
        print(f"\n  {ADDRESS}/events\n\nCtrl-C stops the receiver.", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()


def _refuse_a_taken_port() -> None:
    """End the demo if another process uses the port: it would answer in the receiver's place."""
    try:
        socket.create_server(("127.0.0.1", int(PORT))).close()
    except OSError:
        raise SystemExit(f"Port {PORT} is taken. Try: PORT={int(PORT) + 1} make demo") from None


@contextlib.contextmanager
def _receiver() -> Iterator[subprocess.Popen[bytes]]:
    """It listens on this machine only: gunicorn.conf.py would open a PORT to everybody, as a platform wants it."""
    command = [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{PORT}", "--log-level", "warning"]
    environment = {**os.environ, "LOG_LEVEL": "WARNING"}
    server = subprocess.Popen(command, env=environment)  # noqa: S603 - no part of it is input
    try:
        yield server
    finally:
        server.terminate()
        server.wait()


def _flask(*arguments: str) -> None:
    environment = {**os.environ, "LOG_LEVEL": "WARNING"}
    subprocess.run([*FLASK, *arguments], env=environment, check=True)  # noqa: S603 - as above


def _wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while not is_ready(ADDRESS):
        if server.poll() is not None:
            raise SystemExit("The receiver did not start.")
        if time.monotonic() > until:
            raise SystemExit("The receiver did not become ready.")
        time.sleep(0.2)


def _wait_until_idle() -> None:
    command = [*FLASK, "events", "list", "--state", "pending", "--json"]
    until = time.monotonic() + IDLE_SECONDS
    environment = {**os.environ, "LOG_LEVEL": "WARNING"}
    while time.monotonic() < until:
        listed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)  # noqa: S603 - as above
        if json.loads(listed.stdout) == []:
            return


if __name__ == "__main__":
    main()
