"""Standard output is full, closed or read by nobody: the receiver loses log lines, and nothing else."""

import fcntl
import json
import logging
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from receiver.logs import configure_logging
from receiver.testing.waiting import eventually
from tests.receiver.processes import ROOT, running, within

SMALLEST_PIPE = 4096
MORE_THAN_A_PIPE_TAKES = 40
log = structlog.get_logger()


@pytest.fixture
def receiver(database, environment):
    settings = environment | {"DATABASE_URL": database, "EMBEDDED_WORKER": "0", "WEB_CONCURRENCY": "1"}
    with running(settings) as receiver:
        yield receiver


@pytest.fixture
def pipe():
    """A small pipe: its two ends."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def start(receiver, command, **options):
    process = subprocess.Popen(
        command, cwd=ROOT, env=receiver.environment, start_new_session=True, stderr=subprocess.DEVNULL, **options
    )
    receiver._processes.append(process)
    eventually(lambda: receiver.answers("/healthz"))
    return process


def test_a_stdout_that_is_full_and_then_read_by_nobody_holds_up_no_delivery(receiver, pipe, inbox, payload):
    read, write = pipe
    start(receiver, [sys.executable, "-m", "gunicorn", "wsgi:app"], stdout=write)
    os.close(write)
    sender = receiver.sender(inbox)

    while_full = [sender.deliver(payload(event_id=f"evt_{n}")) for n in range(MORE_THAN_A_PIPE_TAKES)]
    os.set_blocking(read, False)
    lines = read_lines(read, sender, payload)
    os.close(read)
    while_closed = [sender.deliver(payload()) for _ in range(MORE_THAN_A_PIPE_TAKES)]

    assert {answer.status for answer in while_full + while_closed} == {200}
    assert {f"evt_{n}" for n in range(MORE_THAN_A_PIPE_TAKES)} <= {line.get("event_id") for line in lines}
    assert receiver.answers("/readyz")


def read_lines(read, sender, payload):
    """All lines that come, while further deliveries push out what was kept."""
    text = b""
    for _ in range(MORE_THAN_A_PIPE_TAKES):
        with suppress(BlockingIOError):
            while piece := os.read(read, 65536):
                text += piece
        sender.deliver(payload())
    return [json.loads(line) for line in text.splitlines()[:-1]]


def test_a_stdout_that_is_closed_from_the_start_stops_no_delivery(receiver, inbox, payload):
    start(receiver, ["/bin/sh", "-c", f'exec "{sys.executable}" -m gunicorn wsgi:app >&- 2>&-'])

    assert receiver.sender(inbox).deliver(payload()).status == 200


@pytest.fixture
def printed_to(monkeypatch):
    """Let standard output be this; what is logged then."""

    def printing(stream):
        monkeypatch.setattr(sys, "stdout", stream)
        configure_logging("sandbox")

    return printing


def test_lines_that_were_dropped_are_counted_in_the_next_one_that_is_written(printed_to, pipe):
    read, write = pipe
    with os.fdopen(write, "w", closefd=False) as stream:
        printed_to(stream)
        for number in range(40):
            log.info("kept_or_dropped", number=number, text="x" * 60_000)
        os.set_blocking(read, False)
        text = b""
        for _ in range(600):
            with suppress(BlockingIOError):
                text += os.read(read, SMALLEST_PIPE)
            if b"log_lines_dropped" in text:
                break
            log.info("next")

    lines = [json.loads(line) for line in text.splitlines()[:-1]]
    dropped = next(line for line in lines if line["event"] == "log_lines_dropped")
    kept = [line for line in lines if line["event"] == "kept_or_dropped"]
    assert dropped["lines"] >= 40 - len(kept) > 0


def test_a_full_disk_costs_the_line_and_nothing_else(printed_to, deliver):
    with Path("/dev/full").open("w") as full:
        printed_to(full)

        answer = deliver()

    assert answer.status == 200


def test_a_value_that_can_not_be_shown_costs_its_line_and_nothing_else(capsys):
    class Unshowable:
        def __repr__(self):
            raise RuntimeError("no")

    configure_logging("sandbox")
    log.error("strange", value=Unshowable())
    (of_libraries,) = (h for h in logging.getLogger().handlers if type(h).__module__ == "receiver.logs")
    for text, value in (("%d items", "three"), ("%s", Unshowable())):
        of_libraries.handle(logging.LogRecord("a.library", logging.ERROR, "", 1, text, (value,), None))

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["error"]) for line in lines] == [
        ("unwritable_log_line", "RuntimeError"),
        ("unwritable_log_line", "TypeError"),
        ("unwritable_log_line", "RuntimeError"),
    ]


def test_a_full_socket_keeps_nobody_waiting(printed_to):
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as stream:
        printed_to(stream)
        for _ in range(100):
            log.info("line", text="x" * 5_000)

        within(1, lambda: log.info("one more"))
