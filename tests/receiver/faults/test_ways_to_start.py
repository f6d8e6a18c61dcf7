"""Ways to start gunicorn: each serves the receiver whole, or is refused with a sentence."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.testing.waiting import eventually
from tests.receiver.processes import ROOT, Receiver, running
from tests.receiver.settings import LIVE

WAIT_SECONDS = 110


@pytest.fixture
def start(database, environment, tmp_path):
    """Start gunicorn with these arguments. Returns its exit code and what it said."""

    def run(*arguments, folder=ROOT):
        receiver = Receiver(environment | {"DATABASE_URL": database, "EMBEDDED_WORKER": "0"})
        command = [sys.executable, "-m", "gunicorn", "wsgi:app", *arguments]
        done = subprocess.run(
            command, cwd=folder, env=receiver.environment, capture_output=True, text=True, timeout=WAIT_SECONDS
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--preload"], "--preload is not supported"),
        (["--worker-class", "sync"], "worker class has to be"),
        pytest.param(["--worker-class", "gthread", "--threads", "4"], "worker class has to be", marks=pytest.mark.soak),
        pytest.param(["--worker-class", "gevent"], "worker class has to be", marks=pytest.mark.soak),
    ],
)
def test_a_way_that_would_serve_half_of_it_is_refused_with_a_sentence(start, arguments, said):
    exit_code, output = start(*arguments)

    assert (exit_code, said in output, "Traceback" in output) == (78, True, False)


OTHERS = {
    "waitress": ("-m", "waitress"),
    "uvicorn": ("uvicorn",),
    "uwsgi": ("-c", "import sys, types; sys.modules['uwsgi'] = types.ModuleType('uwsgi'); import wsgi"),
}
"""How the process looks in which another server asks for the application. The servers themselves are not installed."""


def test_another_server_is_refused_with_a_sentence(database, environment, tmp_path):
    for program in (tmp_path / "waitress" / "__main__.py", tmp_path / "uvicorn"):
        program.parent.mkdir(exist_ok=True)
        program.write_text("from wsgi import app\nprint('serving')\n")
    own = {"DATABASE_URL": database, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    receiver = Receiver(environment | own, tmp_path)

    for name, command in OTHERS.items():
        done = receiver.python(*command)

        assert (done.returncode, "serving" in done.stdout) == (78, False), name
        assert f"{name} is not supported. It would run no handlers" in done.stderr
        assert "Traceback" not in done.stderr


def test_flasks_own_server_serves_a_sandbox_and_says_what_it_lacks_and_live_refuses_it(database, environment, tmp_path):
    with running(environment | {"DATABASE_URL": database}) as receiver:
        receiver.log = tmp_path / "log"
        receiver.start("-m", "flask", "--app", "wsgi", "run", "--port", str(receiver.port))
        eventually(lambda: receiver.answers("/readyz"))
        live = Receiver(environment | LIVE | {"DATABASE_URL": database}).flask("run", check=False)

    (said,) = [json.loads(line) for line in receiver.log.read_text().splitlines() if "development_server" in line]
    assert "no handlers" in said["lacks"]
    assert live.returncode == 78
    assert "flask run is for a sandbox" in live.stderr


def test_gunicorn_that_did_not_find_its_configuration_is_refused(start, tmp_path):
    exit_code, output = start("--chdir", str(ROOT), folder=tmp_path)

    assert exit_code != 0
    assert "gunicorn did not read gunicorn.conf.py" in output


def test_from_another_folder_it_serves_when_its_configuration_is_named(database, environment, tmp_path, inbox, payload):
    with running(environment | {"DATABASE_URL": database}, EMBEDDED_WORKER="0") as receiver:
        receiver.folder = tmp_path
        web = receiver.web("--chdir", str(ROOT), "--config", str(ROOT / "gunicorn.conf.py"))

        assert receiver.sender(inbox).deliver(payload()).status == 200
        assert web.poll() is None


@pytest.mark.parametrize("start", ["web", "worker"])
def test_a_start_after_a_release_phase_that_never_ran_says_so_before_anybody_asks(environment, tmp_path, start):
    own = {"DATABASE_URL": f"sqlite:///{tmp_path / 'empty.db'}", "WEB_CONCURRENCY": "1", "EMBEDDED_WORKER": "0"}
    with running(environment | own) as receiver:
        receiver.log = tmp_path / "log"
        getattr(receiver, start)()

        eventually(lambda: "not_ready" in receiver.log.read_text())
        if start == "web":
            assert receiver.status("/readyz") == 503

    said = [json.loads(line) for line in receiver.log.read_text().splitlines() if '"not_ready"' in line]
    assert [(line["reason"], line["remedy"]) for line in said] == [("not_migrated", "flask --app wsgi db upgrade")]


@pytest.mark.soak
def test_the_web_workers_counts_take_no_more_room_with_each_reload_and_go_with_the_server(
    database, environment, tmp_path, inbox, payload
):
    own = {"METRICS_TOKEN": "a-token-for-prometheus-0123456789", "TMPDIR": str(tmp_path), "EMBEDDED_WORKER": "0"}
    with running(environment | {"DATABASE_URL": database} | own, WEB_CONCURRENCY="1") as receiver:
        web = receiver.web()
        receiver.sender(inbox).deliver(payload())
        (folder,) = tmp_path.glob("senang-metrics-*")
        for _ in range(2):
            before = _web_workers(web.pid)
            web.send_signal(signal.SIGHUP)
            eventually(lambda known=before: _web_workers(web.pid) and not _web_workers(web.pid) & known)
            receiver.sender(inbox).deliver(payload())

        files = sorted(path.name for path in folder.iterdir())
        assert {name.rpartition("_")[2] for name in files} <= {"1.db", "2.db"}
        web.terminate()
        web.wait(WAIT_SECONDS)
        assert not folder.exists()


def _web_workers(master):
    """The children of gunicorn's master that are not the embedded worker."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _parent(entry) == master and b"--parent" not in _read(entry / "cmdline"):
            found.add(int(entry.name))
    return found


def _parent(process):
    stat = _read(process / "stat").decode(errors="replace").rpartition(")")[2].split()
    return int(stat[1]) if stat and stat[0] != "Z" else None


def _read(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
