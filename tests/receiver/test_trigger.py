"""`senang trigger`: what it sends, what it says about the answers, and the curl command that it prints instead."""

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import sqlalchemy as sa

from receiver.database.engine import reading
from receiver.privacy.sealing import unseal
from receiver.protocol.kept import unpack
from receiver.sandbox.answers import Answers, Delivered, summed_up
from receiver.sandbox.pace import on_schedule
from receiver.store.models import StoredEvent
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests import inherited
from tests.receiver.processes import ROOT, free_port
from tests.receiver.served import served

CURL = """\
import sys, urllib.request
_, *options, address, _, data = sys.argv
headers = dict(text.split(": ", 1) for text in options if ": " in text)
body = sys.stdin.buffer.read() if data == "@-" else data.encode()
print(urllib.request.urlopen(urllib.request.Request(address, body, headers)).read().decode())
"""
"""What stands in for curl: it understands the options that are printed, and no others."""


@pytest.fixture
def environment(environment):
    """The receiver runs in the process of the command here, and keeps out of what that prints."""
    return environment | {"LOG_LEVEL": "ERROR"}


@pytest.fixture
def address(app):
    """Where the receiver answers over the network."""
    with served(app) as address:
        yield address


@pytest.fixture
def command(app):
    """Run `senang trigger` with these arguments."""

    def run(*arguments, **options):
        return app.test_cli_runner().invoke(args=["senang", "trigger", *arguments], **options)

    return run


@pytest.fixture
def trigger(command, address):
    """The same, against the receiver."""

    def run(*arguments, **options):
        return command(*arguments, "--to", address, **options)

    return run


@pytest.fixture
def bodies(inbox):
    """What the receiver keeps of every delivery, byte for byte."""

    def read():
        with reading(inbox.engine) as session:
            rows = session.scalars(sa.select(StoredEvent).order_by(StoredEvent.id)).all()
        return [
            unpack(unseal(row.sealed_payload, row=row.seal_id, keys=inbox.settings.payload_keys)).body for row in rows
        ]

    return read


@pytest.fixture
def stranger():
    """The address of a receiver that gives every POST the same answer, and everything else a 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(*server.answer)

        def do_GET(self):
            self._answer(200, b"welcome")

        def _answer(self, status, body):
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()

    def answering(status, body=b""):
        server.answer = (status, body)
        return f"http://127.0.0.1:{server.server_port}/"

    yield answering
    server.shutdown()
    server.server_close()


def test_set_takes_json_and_else_text(trigger, bodies):
    changes = (
        "event_id=evt_1",
        "data.amount=12.5",
        'data.cover={"days": 30}',
        "data.note=a=b",
        "data.n=NaN",
        "data.huge=1e999",
        "status=null",
    )

    result = trigger("policy.issued", *(part for change in changes for part in ("--set", change)))

    (sent,) = map(json.loads, bodies())
    assert result.exit_code == 0
    assert (sent["event_id"], sent["status"]) == ("evt_1", None)
    assert (
        sent["data"] | {"amount": 12.5, "cover": {"days": 30}, "note": "a=b", "n": "NaN", "huge": "1e999"}
        == sent["data"]
    )
    assert sent["data"]["currency"] == "MYR"


@pytest.mark.parametrize("change", ["status.code=1", "amount", "=1", "data..amount=1"])
def test_a_set_that_makes_no_sense_is_a_clear_error(command, stranger, change):
    result = command("policy.issued", "--set", change, "--to", stranger(200))

    assert result.exit_code in (1, 2)
    assert "Error: " in result.stderr
    assert result.stdout == ""


def test_raw_sends_a_file_or_standard_input_byte_for_byte(trigger, bodies, tmp_path):
    odd = (
        '{ "event_id":"evt_1",\r\n"event_type": "payment.success", "timestamp":1700000000, "name":"Nurül" }\n'.encode()
    )
    (tmp_path / "odd.json").write_bytes(odd)

    from_file = trigger("--raw", str(tmp_path / "odd.json"))
    from_input = trigger("--raw", "-", input=b"\x00\xff no JSON at all")

    assert from_file.stdout.split()[:4] == ["200", "payment.success", "evt_1", "accepted"]
    assert from_input.stdout.split()[:4] == ["200", "-", "-", "quarantined"]
    assert bodies() == [odd, b"\x00\xff no JSON at all"]


@pytest.mark.parametrize("arguments", [(), ("payment.success", "--raw", "-"), ("--raw", "-", "--set", "status=x")])
def test_it_is_told_what_to_send_in_one_way(command, stranger, arguments):
    result = command(*arguments, "--to", stranger(200), input=b"{}")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "--raw" in result.stderr


def test_repeat_sends_fresh_events_and_duplicate_the_same_body_again(trigger, bodies):
    result = trigger("payment.success", "--repeat", "3", "--duplicate", "2", "--json")

    report = json.loads(result.stdout)
    identities = [delivery["event_id"] for delivery in report["deliveries"]]
    assert report["ok"]
    assert {row["outcome"]: row["count"] for row in report["answers"]} == {"accepted": 3, "duplicate": 6}
    assert identities == [json.loads(body)["event_id"] for body in bodies() for _ in range(3)]


def test_every_line_says_what_became_of_a_delivery_and_a_table_sums_up(trigger):
    few = trigger("payment.success", "--duplicate")
    many = trigger("payment.success", "--repeat", "21")

    assert [line.split()[0:4:3] for line in few.stdout.splitlines()] == [["200", "accepted"], ["200", "duplicate"]]
    assert few.stdout.count(" ms\n") == 2
    assert few.stderr.split()[:6] == ["status", "outcome", "deliveries", "p50", "p99", "max"]
    assert many.stdout == ""
    assert many.stderr.split()[6:9] == ["200", "accepted", "21"]


def test_latencies_are_those_within_which_so_many_were_answered():
    deliveries = [Delivered("t", "e", 200, "accepted", float(milliseconds)) for milliseconds in range(200, 0, -1)]

    slow = [Delivered("t", "e", 503, "Service Unavailable", 2500.0)]

    assert summed_up(slow + deliveries) == [
        Answers(200, "accepted", 200, p50=100.0, p99=198.0, max=200.0),
        Answers(503, "Service Unavailable", 1, p50=2500.0, p99=2500.0, max=2500.0),
    ]


def test_a_wrong_signature_is_a_success_if_and_only_if_it_is_refused(trigger, command, bodies, stranger):
    refused = trigger("payment.success", "--fail-signature", "--repeat", "2")
    taken = command("payment.success", "--fail-signature", "--to", stranger(200))

    assert (refused.exit_code, refused.stdout.count("401  payment.success")) == (0, 2)
    assert taken.exit_code == 1
    assert bodies() == []


@pytest.mark.parametrize("status", [302, 400, 401, 500])
def test_any_other_answer_is_a_failure_and_a_redirect_is_not_followed(command, stranger, status):
    result = command("payment.success", "--to", stranger(status))

    assert (result.exit_code, result.stdout[:3]) == (1, str(status))


def test_nobody_answers(command):
    result = command("payment.success", "--to", f"http://127.0.0.1:{free_port()}/")

    assert result.exit_code == 1
    assert "no answer: ConnectionRefusedError" in result.stdout


@pytest.mark.parametrize("words", [b'{"status": "\\u001b[31mred [bold]"}', b"\xff\xfe", b"[" * 60_000])
def test_a_strange_answer_can_not_paint_the_terminal(command, stranger, words):
    result = command("payment.success", "--to", stranger(200, words))

    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert (b"bold" in words) == ("?[31mred [bold]" in result.stdout and "?[31mred [bold]" in result.stderr)


@pytest.mark.parametrize(
    "address", ["ftp://example.com", "http://", "http://x:y@example.com", "http://a b", "http://[::1"]
)
def test_an_address_that_can_not_be_knocked_at_is_a_clear_error(command, address):
    result = command("payment.success", "--to", address)

    assert result.exit_code == 2
    assert "Invalid value for '--to'" in result.stderr


def test_a_field_may_stand_inside_another(environment, request):
    environment["SENANG_PAYLOAD_FIELDS"] = "event_id=data.id,status=data.object.status"

    result = request.getfixturevalue("trigger")("payment.success")

    assert "accepted" in result.stdout


def test_scheme_signs_by_another_preset_with_the_same_secret(command, environment, assemble):
    with served(assemble(environment | {"SENANG_SIGNATURE_SCHEME": "stripe"})) as theirs:
        by_ours = command("payment.success", "--to", theirs)
        by_theirs = command("payment.success", "--to", theirs, "--scheme", "stripe", env=environment)

    assert (by_ours.exit_code, by_ours.stdout[:3]) == (1, "401")
    assert by_theirs.stdout[:3] == "200"


def test_a_secret_that_another_preset_can_not_read_is_a_clear_error(environment, request, stranger):
    secret = "a text that is no base64 at all"
    environment |= {"SENANG_WEBHOOK_SECRETS": secret, "SENANG_SIGNATURE_SCHEME": "github"}
    command = request.getfixturevalue("command")

    refused = command("payment.success", "--scheme", "standard-webhooks", "--to", stranger(200), env=environment)

    assert refused.exit_code == 1
    assert "SENANG_WEBHOOK_SECRETS can't be used with standard-webhooks" in refused.stderr
    assert "empty" not in refused.stderr
    assert secret not in refused.output


def test_a_rate_is_kept_by_schedule_and_not_by_pauses():
    clock, sent = [0.0], []

    def wait(seconds):
        clock[0] += seconds

    for item, answered_after in zip(
        on_schedule("abcde", 2, now=lambda: clock[0], wait=wait), (0.1, 0.9, 0.1, 0.1, 0), strict=True
    ):
        sent.append((item, clock[0]))
        clock[0] += answered_after

    assert sent == [("a", 0.0), ("b", 0.5), ("c", 1.4), ("d", 1.5), ("e", 2.0)]


def test_ctrl_c_ends_it_with_the_table_of_what_was_sent(address, environment, database, inbox):
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "senang", "trigger", "payment.success", "--rate", "20"]
    settings = inherited() | environment | {"DATABASE_URL": database}
    options = {"cwd": ROOT, "env": settings, "stderr": subprocess.PIPE, "text": True}

    with subprocess.Popen([*command, "--repeat", "10000", "--to", address], **options) as process:
        try:
            eventually(lambda: _count(inbox) > 2)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()

    assert process.returncode == 1
    assert said.split()[6:8] == ["200", "accepted"]


@pytest.mark.parametrize("order", ["{machine}:{stand_in}", "{stand_in}:{machine}"])
def test_print_gives_commands_that_a_shell_runs_to_the_same_effect(trigger, bodies, tmp_path, order):
    (tmp_path / "curl").write_text(f"#!{sys.executable}\n{CURL}")
    (tmp_path / "curl").chmod(0o755)
    path = order.format(machine=os.environ["PATH"], stand_in=tmp_path)
    strange = [b"", b"@file", b"-n %s", b"it's\n'quoted' $HOME `id` \\n!", bytes(range(256)) + b"789", b"8" * 200_000]

    printed = [trigger("all", "--print"), *(trigger("--raw", "-", "--print", input=body) for body in strange)]
    before = bodies()
    shell = [
        subprocess.run(["sh"], input=run.stdout, env={"PATH": path}, capture_output=True, text=True) for run in printed
    ]

    assert before == []
    assert [run.returncode for run in shell] == [0] * len(printed)
    assert shell[0].stdout.count("accepted") == 8
    assert bodies()[8:] == strange
    assert [run.exit_code for run in printed] == [0] * len(printed)


def _count(inbox):
    with inbox.engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(StoredEvent))


CLAIM = {"SENANG_SIGNATURE_ALGORITHM": "jwt-hs256", "SENANG_SIGNATURE_ENCODING": "plain"}
AUTHORIZED = {"SENANG_SIGNATURE_HEADER": "Authorization", "SENANG_SIGNATURE_TAG": "Bearer"}
AUTHORIZED |= {"SENANG_SIGNATURE_TAG_SEPARATOR": "space", "SENANG_SIGNATURE_TIMESTAMP_TAG": "iat"}
FORM = {"SENANG_SIGNATURE_BODY_FORMAT": "form"}
IN_THE_BODY = {"SENANG_SIGNATURE_HEADER": "none", "SENANG_SIGNATURE_BODY_FIELD": "sign"}
FORMATS = {
    "a JWT beside the body": CLAIM
    | AUTHORIZED
    | {"SENANG_SIGNATURE_CONTENT": "{body_sha256}", "SENANG_SIGNATURE_CLAIM": "body.hash"},
    "a JWT that holds the event": CLAIM | IN_THE_BODY | {"SENANG_SIGNATURE_CONTENT": "{claims}"},
    "a form": FORM,
    "a form that holds its signature": FORM
    | IN_THE_BODY
    | {"SENANG_SIGNATURE_CONTENT": "{fields}", "SENANG_SIGNATURE_VALUE_SEPARATOR": "="},
    "a form with a JWT that holds the event": FORM
    | CLAIM
    | IN_THE_BODY
    | {"SENANG_SIGNATURE_CONTENT": "{claims}", "SENANG_SIGNATURE_TIMESTAMP_TAG": "iat"},
}


def test_it_signs_and_writes_as_the_receiver_is_configured(environment, assemble):
    wrong = []
    for name, settings in FORMATS.items():
        configured = assemble(environment | {"SENANG_SIGNATURE_SCHEME": "hmac-sha256-hex"} | settings)
        with served(configured) as address:
            arguments = ["senang", "trigger", "payment.success", "--to", address, "--json"]
            done = configured.test_cli_runner().invoke(args=arguments)
            bad = configured.test_cli_runner().invoke(args=[*arguments, "--fail-signature"])
        if [done.exit_code, bad.exit_code] != [0, 0] or "accepted" not in done.stdout:
            wrong.append((name, done.output, bad.output))

    assert wrong == []
