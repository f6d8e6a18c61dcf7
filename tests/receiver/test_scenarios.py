"""`senang scenarios`: green for this receiver, and red with the right clause for ten that break one."""

import json
import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from receiver.sandbox.scenarios import SCENARIOS, Verdict, chosen, judge
from receiver.testing.waiting import eventually
from tests.receiver.broken.receiver import Receiver
from tests.receiver.broken.receivers import ErrorOnBadJson
from tests.receiver.broken.served import SECRETS, served
from tests.receiver.processes import running, workers_of
from tests.receiver.settings import LIVE

INSIDE = {
    "what was acknowledged survives a kill -9",
    "a failing handler fails no delivery",
    "a slow handler delays no answer",
    "every event type is processed",
    "an unknown event type is kept",
    "retries at increasing intervals end a downtime",
    "events in any order end the same",
    "what was given up may come again",
    "a dead event is replayed",
    "a duplicate has no effect",
    "the first body of an event ID wins",
    "concurrent duplicates have one effect",
    "each event of a burst has one effect",
    "new fields do no harm",
}
"""What can't be judged from outside."""


@pytest.fixture
def environment(environment):
    return environment | {"SENANG_WEBHOOK_SECRETS": ",".join(SECRETS)}


@pytest.fixture
def settings(environment, tmp_path):
    """The settings of a partner who rehearses. Temporary folders are made where the test can see them."""
    own = {"DATABASE_URL": f"sqlite:///{tmp_path / 'partner.db'}", "TMPDIR": str(tmp_path)}
    return environment | own | {"LOG_LEVEL": "ERROR"}


@pytest.fixture
def asked(app):
    """What `senang scenarios` answers where it starts no copy of the receiver, in this process."""

    def ask(*options):
        with app.app_context():
            return app.test_cli_runner().invoke(args=["senang", "scenarios", *options])

    return ask


def played(settings, *options):
    """The exit code and the report of `senang scenarios --json`."""
    with running(settings) as partner:
        command = partner.flask("senang", "scenarios", "--json", *options, check=False)
    return command.returncode, json.loads(command.stdout)


def red(lines):
    return [(line["clause"], line["reason"]) for line in lines if line["verdict"] != "passed"]


def test_this_receiver_passes_every_scenario_on_sqlite(settings, tmp_path):
    code, report = played(settings)

    assert (code, red(report["scenarios"]), report["passed"]) == (0, [], len(SCENARIOS))
    assert list(tmp_path.glob("senang-*")) == []


@pytest.mark.soak
@pytest.mark.parametrize("only", ["7", None])
def test_this_receiver_passes_the_scenarios_on_postgresql_and_leaves_the_database_empty(settings, postgres, only):
    with postgres.database("template1") as url:
        code, report = played(settings, "--postgres", url, *(["--only", only] if only else []))
        tables = sa.inspect(sa.create_engine(url, poolclass=sa.NullPool)).get_table_names()

    expected = len(chosen((only,) if only else ()))
    assert (code, red(report["scenarios"]), report["passed"]) == (0, [], expected)
    assert tables == ["receiver_version"]


def test_a_database_that_holds_something_is_refused_and_left_alone(asked, postgres, partner_package):
    with postgres.migrated(partner_package) as url:
        refused = asked("--postgres", url)

    assert refused.exit_code == 1
    assert "empty" in refused.stderr


@pytest.mark.soak
def test_the_copy_takes_over_the_partners_scheme_and_payload_fields(settings):
    settings |= {"SENANG_SIGNATURE_SCHEME": "github", "SENANG_PAYLOAD_FIELDS": "event_id=meta.id,event_type=type"}

    code, report = played(settings, "--only", "4", "--only", "5.1")

    assert (code, report["passed"]) == (0, 5)
    assert red(report["scenarios"]) == [("4.4", "the scheme github signs no timestamp")] * 2


def test_a_running_receiver_is_judged_from_outside_and_the_rest_is_named(asked, settings, database):
    with running(settings | {"DATABASE_URL": database}, EMBEDDED_WORKER="0") as receiver:
        receiver.web()
        command = asked("--to", receiver.url)

    lines = {line[9:55].strip(): line[0] for line in command.stdout.splitlines() if line[2:3] == "§"}
    assert {name for name, mark in lines.items() if mark == "–"} == INSIDE
    assert {name for name, mark in lines.items() if mark == "✓"} == {scenario.name for scenario in SCENARIOS} - INSIDE
    assert command.stdout.count("out of reach from outside") == len(INSIDE)


def test_a_broken_receiver_makes_the_command_exit_with_1_and_name_the_clause(asked, tmp_path):
    with served(ErrorOnBadJson, tmp_path) as target:
        answer = asked("--json", "--to", target.sender.url, "--only", "10")

    report = json.loads(answer.stdout)
    [line] = report["scenarios"]
    assert (answer.exit_code, report["ok"], line["verdict"]) == (1, False, "failed")
    assert line["reason"].endswith("was answered 500: that breaks §10.1.")


@pytest.mark.parametrize("options", [["--to", "http://127.0.0.1:1/"], ["--only", "13"], ["--to", "http://[::1/"]])
def test_what_makes_no_sense_is_one_line_and_a_non_zero_exit_code(asked, options):
    refused = asked(*options)

    assert refused.exit_code in (1, 2)
    assert type(refused.exception) is SystemExit
    assert refused.stderr.splitlines()[-1].startswith("Error: ")


def test_live_refuses(environment, request):
    environment |= LIVE

    refused = request.getfixturevalue("asked")()

    assert (refused.exit_code, "live" in refused.stderr) == (1, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.soak)])
def test_whoever_stops_it_leaves_no_process_and_no_file_behind(settings, tmp_path, number):
    with running(settings) as partner:
        command = partner.start("-m", "flask", "--app", "wsgi", "senang", "scenarios")
        eventually(lambda: workers_of(command.pid))

        command.send_signal(number)
        command.wait()

        assert (users_of(tmp_path), list(tmp_path.glob("senang-*"))) == ([], [])


def test_a_small_receiver_that_keeps_the_page_passes(tmp_path):
    with served(Receiver, tmp_path) as target:
        results = [judge(scenario, target) for scenario in SCENARIOS]

    assert [result for result in results if result.verdict is not Verdict.PASSED] == []


first, *others = Receiver.__subclasses__()
IN_EVERY_RUN_AND_IN_LONG_ONES = [first, *(pytest.param(other, marks=pytest.mark.soak) for other in others)]


@pytest.mark.parametrize("receiver", IN_EVERY_RUN_AND_IN_LONG_ONES, ids=lambda receiver: receiver.__name__)
def test_a_broken_receiver_fails_the_very_clause_that_it_breaks(receiver, tmp_path):
    with served(receiver, tmp_path) as target:
        results = [judge(scenario, target) for scenario in SCENARIOS]

    failures = [result for result in results if result.verdict is not Verdict.PASSED]
    assert {result.clause for result in failures} == receiver.breaks
    assert all(result.reason.endswith(f": that breaks §{result.clause}.") for result in failures)


def test_the_scenarios_stand_in_the_order_of_the_page():
    clauses = [[int(number) for number in scenario.clause.split(".")] for scenario in SCENARIOS]

    assert clauses == sorted(clauses)


def users_of(folder):
    """The processes whose environment names the folder."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in environ.read_bytes():
                found.append(environ.parent.name)
        except OSError:
            continue
    return found
