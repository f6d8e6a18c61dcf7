"""Each platform's file is complete for the first push: its schema, its commands, and the settings that a start needs.

tests/field/test_platform_starts.py runs these commands.
"""

import json
import re
import shlex
import subprocess
from configparser import ConfigParser
from typing import Any

import pytest
import yaml
from jsonschema.validators import validator_for

from receiver.config import ConfigurationError, Settings, load_settings
from tests.field.platforms import (
    ALIVE,
    DOKKUS_OWN,
    FILES,
    PLATFORMS,
    READY,
    SCHEMAS,
    Deploy,
    instructions,
    procfile,
    read,
    section,
    sections,
)
from tests.receiver.owners import is_fork
from tests.receiver.processes import ROOT

DEPLOYS = {name: read_files() for name, read_files in PLATFORMS.items()}
A_SCREEN = 60
"""Lines."""
SENANGS = "SENANG_WEBHOOK_SECRETS"

pytestmark = pytest.mark.skipif(is_fork(), reason="a fork keeps the files of its own platform, and edits them")


def test_each_file_fits_its_schema():
    wrong = {name: mistakes for name, schema in FILES.items() if (mistakes := _mistakes(_for_schema(name), schema))}

    assert wrong == {}


def test_what_dokku_alone_reads_in_app_json_fits_its_documentation():
    assert _mistakes({DOKKUS_OWN: read("app.json")[DOKKUS_OWN]}, "own/dokku.json") == []


def test_a_file_with_a_field_that_its_platform_does_not_know_does_not_fit():
    """Or the schemas of our own would show nothing."""
    allows = [name for name, schema in FILES.items() if not _mistakes({**_for_schema(name), "nonsense": 1}, schema)]

    assert allows == []


def test_each_platform_runs_the_commands_of_procfile():
    expected = {name: shlex.split(command) for name, command in procfile().items()}
    other = {
        (platform, kind): command
        for platform, deploy in DEPLOYS.items()
        for kind in ("release", "web", "worker")
        if (command := getattr(deploy, kind)) is not None and shlex.split(command) != expected[kind]
    }

    assert other == {}
    assert procfile()["postdeploy"] == procfile()["release"]  # Scalingo has no other release phase


def test_each_platform_migrates_before_traffic_comes_and_runs_the_worker():
    """An image alone has neither: who runs it says so."""
    without = [name for name, found in DEPLOYS.items() if name != "image" and found.release is None]
    idle = [name for name, found in DEPLOYS.items() if not _has_worker(found)]

    assert (without, idle) == ([], [])


@pytest.mark.parametrize("environment", ["sandbox", "live"])
def test_the_first_push_finds_each_setting_that_a_start_needs(environment):
    """What the platform generates has a form that the setting takes, too."""
    refused = {}
    for name, deploy in DEPLOYS.items():
        database = {"DATABASE_URL": f"{deploy.url}u:p@database.internal:5432/receiver"}
        for settings in (deploy.settings, deploy.settings_of_worker or deploy.settings):
            try:
                load_settings({**settings, **deploy.announces, **database, "SENANG_ENVIRONMENT": environment})
            except ConfigurationError as error:
                refused[name] = str(error)

    assert refused == {}


def test_every_setting_in_a_platforms_file_is_a_setting():
    known = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    unknown = {(name, setting) for name, found in DEPLOYS.items() for setting in {*found.settings} - known}

    assert unknown <= {("compose", "POSTGRES_PASSWORD")}


def test_the_secret_of_senang_is_never_generated_but_for_a_review_app():
    manifests = [read("app.json")["env"][SENANGS], read("scalingo.json")["env"][SENANGS]]
    asked = next(found for found in read("render.yaml")["services"][0]["envVars"] if found["key"] == SENANGS)

    assert [found for found in manifests if "generator" in found] == []
    assert asked["sync"] is False


def test_a_review_app_of_heroku_starts_with_its_own_secret_and_sends_nothing():
    review = read("app.json")["environments"]["review"]["env"]
    settings = dict(DEPLOYS["heroku"].settings) | {
        name: found.get("value", "0f" + "3a9c" * 15 + "71") for name, found in review.items()
    }

    started = load_settings({**settings, "DYNO": "web.1", "DATABASE_URL": "postgres://u:p@h/d"})

    assert (started.environment, started.follow_ups) == ("sandbox", False)


def test_a_check_that_gates_traffic_asks_the_database_and_one_that_restarts_does_not():
    """A restart brings no database back, and a process without one still answers 503, after which events come again."""
    gates = {path for found in DEPLOYS.values() for path in found.gates}
    restarts = {path for found in DEPLOYS.values() for path in found.restarts}

    assert (gates, restarts) == ({READY}, {ALIVE})


def test_each_process_stops_in_just_the_time_that_its_platform_gives():
    told = {name: (_loaded(found).stop_seconds, found.grace) for name, found in DEPLOYS.items()}

    assert {name: times for name, times in told.items() if times[0] != times[1]} == {}


def test_each_platform_says_who_the_client_is_and_that_it_came_by_https():
    wrong = {}
    for name, deploy in DEPLOYS.items():
        settings = _loaded(deploy)
        knows_client = bool(settings.client_address_header) != bool(settings.forwarded_for_hops)
        if (knows_client, settings.forwarded_proto_hops, settings.require_https) != (True, 1, True):
            wrong[name] = settings.platform

    assert wrong == {}


def test_no_platforms_file_lets_the_receiver_sleep():
    service = read("fly.toml")["http_service"]

    assert (service["auto_stop_machines"], service["min_machines_running"]) == ("off", 1)
    assert {found["plan"] for found in read("render.yaml")["services"]} == {"starter"}
    assert all("inactivity_sleep" not in found for found in read(".do/app.yaml")["services"])


def test_ports_agree():
    """Where the router sends requests is where gunicorn listens."""
    port = dict(found.split("=", 1) for _, rest in instructions() for found in rest.split() if "PORT=" in found)["PORT"]
    fly, digitalocean = read("fly.toml"), read(".do/app.yaml")["services"][0]

    assert [rest for word, rest in instructions() if word == "EXPOSE"] == [port]
    assert fly["env"]["PORT"] == str(fly["http_service"]["internal_port"]) == str(digitalocean["http_port"]) == port
    assert [found.rpartition(":")[2] for found in read("compose.yml")["services"]["web"]["ports"]] == [port]


def test_the_image_has_the_python_of_the_project_and_the_uv_of_the_lock_file_and_no_root():
    text = (ROOT / "Dockerfile").read_text()
    python = (ROOT / ".python-version").read_text().strip()
    locked = re.search(r"^uv==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE)
    (user,) = (rest for word, rest in instructions() if word == "USER")

    assert f"ARG PYTHON_IMAGE=python:{python}-slim-" in text
    assert locked is not None
    assert f"uv=={locked[1]}" in text
    assert int(user.split(":")[0]) > 0
    assert [
        word
        for word, rest in instructions()
        if word in ("CMD", "ENTRYPOINT") and not isinstance(json.loads(rest), list)
    ] == []
    assert f"devcontainers/python:{python}-" in read(".devcontainer/devcontainer.json")["image"]


def test_no_secret_and_no_test_gets_into_the_image(tmp_path):
    """git reads the same patterns, so it can say what is kept out."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text((ROOT / ".dockerignore").read_text())
    out = [
        ".env",
        "instance/receiver.db",
        "tests/conftest.py",
        "docs/deploy.md",
        "app/__pycache__/a.pyc",
    ]
    there = ["app/__init__.py", "app/templates/club.html", "receiver/migrations/env.py", "migrations/versions/1.py"]
    there += ["receiver/web/static/page.css", "requirements.txt", "gunicorn.conf.py", "wsgi.py"]
    asked = subprocess.run(
        ["git", "check-ignore", "--no-index", *out, *there], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert asked.stdout.split() == out


def test_each_platform_has_a_section_of_at_most_a_screen():
    long = {title: lines for title in sections() if (lines := len(section(title).splitlines())) > A_SCREEN}
    named = {
        "Heroku",
        "Render",
        "Railway",
        "Fly.io",
        "Dokku",
        "Scalingo",
        "DigitalOcean",
        "Kamal",
        "Coolify",
        "CapRover",
    }

    assert long == {}
    assert named <= set(sections())


def test_the_settings_for_kamal_run_the_same_commands_and_wait_as_long():
    config = _block("Kamal", "yaml")
    hook = _text("Kamal", "sh")
    worker = config["servers"]["worker"]

    assert (worker["cmd"], worker["options"]) == (procfile()["worker"], {"no-healthcheck": True})
    assert f'--version "$KAMAL_VERSION" "{procfile()["release"]}"' in hook
    assert config["proxy"]["healthcheck"]["path"] == READY
    assert str(config["stop_timeout"]) == config["env"]["clear"]["STOP_SECONDS"]


def test_the_unit_for_systemd_runs_the_same_commands_and_waits_as_long():
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(_text("A server of your own", "ini"))
    service = dict(unit["Service"])

    assert service["ExecStart"] == f"/srv/receiver/.venv/bin/{procfile()['web']}"
    assert service["ExecStartPre"] == f"/srv/receiver/.venv/bin/{procfile()['release']}"
    assert service["Environment"] == f"STOP_SECONDS={service['TimeoutStopSec']}"


def _text(title: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", section(title), re.DOTALL)
    assert found is not None
    return found[1]


def _block(title: str, language: str) -> Any:
    return yaml.safe_load(_text(title, language))


def _loaded(deploy: Deploy) -> Settings:
    """What a web process reads there."""
    database = {"DATABASE_URL": f"{deploy.url}u:p@database.internal:5432/receiver"}
    return load_settings({**deploy.settings, **deploy.announces, **database})


def _has_worker(deploy: Deploy) -> bool:
    return deploy.worker is not None or deploy.settings.get("EMBEDDED_WORKER", "1") == "1"


def _for_schema(name: str) -> dict[str, object]:
    found = dict(read(name))
    if name == "app.json":
        del found[DOKKUS_OWN]
    return found


def _mistakes(document: object, schema: str) -> list[str]:
    found = json.loads((SCHEMAS / schema).read_text())
    kind = validator_for(found)
    kind.check_schema(found)
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in kind(found).iter_errors(document)
    ]
