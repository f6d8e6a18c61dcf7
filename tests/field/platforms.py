"""What each platform's file tells the platform: one shape for all of them.

A platform is a function that reads its files and says what a deploy does. To add one: a function in `PLATFORMS`, and
its files in `FILES` with the schema of each.
"""

import base64
import json
import re
import secrets
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.receiver.processes import ROOT

SCHEMAS = Path(__file__).parent / "schemas"
FILES = {
    "app.json": "heroku.json",
    "project.toml": "own/project.json",
    "render.yaml": "own/render.json",
    "railway.json": "own/railway.json",
    "fly.toml": "own/fly.json",
    "scalingo.json": "own/scalingo.json",
    ".do/app.yaml": "own/digitalocean.json",
    "compose.yml": "compose.json",
    "captain-definition": "own/caprover.json",
    ".devcontainer/devcontainer.json": "own/devcontainer.json",
    ".github/workflows/test.yml": "github-workflow.json",
    ".github/workflows/release.yml": "github-workflow.json",
    ".github/dependabot.yml": "dependabot.json",
}
"""Each file, and the schema that it fits."""
DOKKUS_OWN = "healthchecks"
"""The part of app.json that Dokku reads and Heroku does not know."""

READY, ALIVE = "/readyz", "/healthz"


@dataclass(frozen=True)
class Deploy:
    """What a platform does with the receiver. A command is None where the platform does not start that process."""

    release: str | None
    web: str
    worker: str | None
    grace: int  # seconds between the signal to stop and SIGKILL
    settings: Mapping[str, str]  # what the processes find, with made-up values where somebody fills one in
    announces: Mapping[str, str] = field(default_factory=dict)  # what the platform itself sets beside them
    gates: tuple[str, ...] = ()  # paths that it asks before it sends traffic
    restarts: tuple[str, ...] = ()  # paths after whose failure it starts the process anew
    settings_of_worker: Mapping[str, str] | None = None  # where they differ
    stops_by: str = "SIGTERM"
    releases_last: bool = False  # when web and worker have started, and before traffic comes
    url: str = "postgres://"  # how a database's address begins


def read(name: str) -> Any:
    """A file of the repository, parsed by its ending."""
    text = (ROOT / name).read_text()
    if name.endswith(".toml"):
        return tomllib.loads(text)
    return yaml.load(text, _Yaml) if name.endswith((".yml", ".yaml")) else json.loads(text)


class _Yaml(yaml.SafeLoader):
    """YAML 1.2, as GitHub and the platforms read it: `on` is a word and no truth."""


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def procfile() -> dict[str, str]:
    """The commands of Procfile by their names."""
    return dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines() if line)


def instructions() -> list[tuple[str, str]]:
    """The instructions of Dockerfile with their arguments, in order."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def filled(form: Callable[[], str], *names: str) -> dict[str, str]:
    """A made-up value for each name."""
    return {name: form() for name in names}


def given_by_senang() -> str:
    """A webhook secret, as Senang.io would give one."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def hexadecimal() -> str:
    """What `openssl rand -hex 32` prints. The generators of Heroku and Dokku make the same."""
    return secrets.token_hex(32)


def heroku() -> Deploy:
    """https://devcenter.heroku.com/articles/app-json-schema. A dyno gets SIGTERM, and SIGKILL after 30 s."""
    return Deploy(
        **_by_procfile(),
        grace=30,
        settings=_manifest(read("app.json")["env"], generated=hexadecimal),
        announces={"DYNO": "web.1", "WEB_CONCURRENCY": "2"},
    )


def dokku() -> Deploy:
    """https://dokku.com/docs/appendices/file-formats/app-json. `ps` has stop-timeout-seconds, 30 by default."""
    manifest = read("app.json")
    return Deploy(
        **_by_procfile(),
        grace=30,
        settings=_manifest(manifest["env"], generated=hexadecimal),
        announces={"DYNO": "web.1"},
        gates=tuple(check["path"] for check in manifest[DOKKUS_OWN]["web"]),
    )


def scalingo() -> Deploy:
    """https://doc.scalingo.com/platform/app/app-manifest. Its generated secrets have 32 characters."""
    return Deploy(
        **_by_procfile() | {"release": procfile()["postdeploy"]},
        grace=30,
        releases_last=True,
        settings=_manifest(read("scalingo.json")["env"], generated=lambda: secrets.token_hex(16)),
        announces={"SCALINGO_APPLICATION_ID": "ap-1", "CONTAINER": "web-1"},
    )


def render() -> Deploy:
    """https://render.com/docs/blueprint-spec. A generated value is 32 bytes in Base64."""
    blueprint = read("render.yaml")
    web, worker = (
        next(found for found in blueprint["services"] if found["type"] == kind) for kind in ("web", "worker")
    )
    settings = _rendered(web, {})
    return Deploy(
        release=web["preDeployCommand"],
        web=web["dockerCommand"],
        worker=worker["dockerCommand"],
        grace=min(web["maxShutdownDelaySeconds"], worker["maxShutdownDelaySeconds"]),
        settings=settings,
        settings_of_worker=_rendered(worker, settings),
        announces={"RENDER": "true"},
        restarts=(web["healthCheckPath"],),
        url="postgresql://",
    )


def railway() -> Deploy:
    """https://docs.railway.com/config-as-code/reference. The file has no variables: docs/deploy.md lists them."""
    deploy = read("railway.json")["deploy"]
    return Deploy(
        release=deploy["preDeployCommand"][0],
        web=deploy["startCommand"],
        worker=None,
        grace=deploy["drainingSeconds"],
        settings=_pasted("Railway"),
        announces={"RAILWAY_ENVIRONMENT": "production", "RAILWAY_ENVIRONMENT_NAME": "production"},
        gates=(deploy["healthcheckPath"],),
        url="postgresql://",
    )


def fly() -> Deploy:
    """https://fly.io/docs/reference/configuration. Secrets are no part of the file: docs/deploy.md sets them."""
    config = read("fly.toml")
    return Deploy(
        release=config["deploy"]["release_command"],
        web=config["processes"]["web"],
        worker=config["processes"]["worker"],
        grace=config["kill_timeout"],
        stops_by=config["kill_signal"],
        settings=config["env"] | _pasted("Fly.io"),
        announces={"FLY_APP_NAME": config["app"]},
        gates=tuple(check["path"] for check in config["http_service"]["checks"]),
        url="postgresql://",
    )


def digitalocean() -> Deploy:
    """https://docs.digitalocean.com/products/app-platform/reference/app-spec."""
    spec = read(".do/app.yaml")
    (job,), (web,), (worker,) = spec["jobs"], spec["services"], spec["workers"]
    return Deploy(
        release=job["run_command"] if job["kind"] == "PRE_DEPLOY" else None,
        web=web["run_command"],
        worker=worker["run_command"],
        grace=min(web["termination"]["grace_period_seconds"], worker["termination"]["grace_period_seconds"]),
        settings={found["key"]: found.get("value") or _asked(found["key"]) for found in spec["envs"]},
        gates=(web["health_check"]["http_path"],),
        restarts=(web["liveness_health_check"]["http_path"],),
        url="postgresql://",
    )


def compose() -> Deploy:
    """https://github.com/compose-spec/compose-spec. What .env has is in docs/deploy.md."""
    services = read("compose.yml")["services"]
    release, web, worker = services["release"], services["web"], services["worker"]
    return Deploy(
        release=shlex.join(release["command"]),
        web=shlex.join(web["command"]),
        worker=shlex.join(worker["command"]),
        grace=min(int(found["stop_grace_period"].rstrip("s")) for found in (web, worker)),
        settings=web["environment"] | _pasted("A server of your own"),
        restarts=(_image_check(),),
    )


def image() -> Deploy:
    """Dockerfile alone, for what takes an image: its user says the command of worker and release, and the rest."""
    return Deploy(
        release=None,
        web=shlex.join(json.loads(_last("CMD"))),
        worker=None,
        grace=30,
        settings=_pasted("An image"),
        restarts=(_image_check(),),
    )


PLATFORMS: dict[str, Callable[[], Deploy]] = {
    found.__name__: found for found in (heroku, dokku, scalingo, render, railway, fly, digitalocean, compose, image)
}


def section(title: str) -> str:
    """The section of docs/deploy.md."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", _page(), re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def sections() -> list[str]:
    """The titles of the sections of docs/deploy.md."""
    return re.findall(r"^## (.+)$", _page(), re.MULTILINE)


def _page() -> str:
    return (ROOT / "docs" / "deploy.md").read_text()


def _by_procfile() -> dict[str, Any]:
    return {name: procfile()[name] for name in ("release", "web", "worker")}


def _manifest(variables: Mapping[str, Any], *, generated: Callable[[], str]) -> dict[str, str]:
    return {
        name: generated() if "generator" in found else found.get("value") or _asked(name)
        for name, found in variables.items()
    }


def _asked(name: str) -> str:
    return given_by_senang() if name == "SENANG_WEBHOOK_SECRETS" else hexadecimal()


def _rendered(service: Mapping[str, Any], of_web: Mapping[str, str]) -> dict[str, str]:
    made: dict[str, str] = {}
    for found in service["envVars"]:
        if "fromDatabase" in found:
            continue  # a test has its own database
        if "fromService" in found:
            made[found["key"]] = of_web[found["fromService"]["envVarKey"]]
        elif "generateValue" in found:
            made[found["key"]] = base64.b64encode(secrets.token_bytes(32)).decode()
        else:
            made[found["key"]] = found.get("value") or _asked(found["key"])
    return made


def _pasted(title: str) -> dict[str, str]:
    """The settings that a section of docs/deploy.md sets in its code blocks: NAME=value, with what makes the value."""
    blocks = "".join(re.findall(r"^```\n(.*?)^```$", section(title), re.DOTALL | re.MULTILINE))
    found = re.findall(r"(?<!\S)([A-Z][A-Z_]{3,})=(\S+)", blocks)
    assert found, title
    return {name: _made(name, text) for name, text in found}


def _made(name: str, text: str) -> str:
    if name == "SENANG_WEBHOOK_SECRETS":
        return given_by_senang()
    if "openssl" in text or "secret(64" in text:
        return hexadecimal()
    return text


def _image_check() -> str:
    found = re.search(r"'(/\w+)'", _last("HEALTHCHECK"))
    assert found is not None
    return found[1]


def _last(word: str) -> str:
    return next(rest for found, rest in reversed(instructions()) if found == word)
