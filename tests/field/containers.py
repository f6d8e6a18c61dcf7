"""The image of Dockerfile, built and run for real: buildah builds it, and runc runs it.

The base image is made of Debian's own packages by mmdebstrap, since no registry of images is needed then. It stands in
for the official one: `python` and `pip` are there. `python -m tests.field.containers --bring` installs the three
programs where we may; without them, what needs them is left out.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.receiver.processes import ROOT

PROGRAMS = ("mmdebstrap", "buildah", "runc")
ABSENT = f"{', '.join(PROGRAMS)} were not all found, or we are not root: as root, `make containers` brings them."
BASE, IMAGE = "localhost/python-of-debian", "localhost/senang-receiver"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_PACKAGES = "python3,python3-pip,ca-certificates"
_AS_THE_OFFICIAL_ONE = "ln -s python3 /usr/bin/python && rm -f /usr/lib/python3*/EXTERNALLY-MANAGED"


def can_run() -> bool:
    """Whether the programs are there, and may do their work."""
    return os.geteuid() == 0 and all(map(shutil.which, PROGRAMS))


def bring() -> None:
    """Debian's packages, where we may install them."""
    if os.geteuid() == 0 and shutil.which("apt-get") and not can_run():
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *PROGRAMS]):
            subprocess.run(["apt-get", "--quiet", *arguments], env=environment, check=False)


class Built:
    """The image, its files at `root`, and what it says of itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._build()
        self.config: dict[str, Any] = json.loads(self._buildah("inspect", "--type=image", IMAGE))["Docker"]["config"]
        self.root = Path(self._buildah("mount", self._buildah("from", IMAGE)))

    def start(self, name: str, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A container on a read-only file system, with an empty /tmp, on the network of this machine.

        Its process has the ID 1 and no capabilities. Its output goes to `log_of(name)`.
        """
        bundle = self._folder / name
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._specification(command, environment)))
        with self.log_of(name).open("wb") as log:
            return subprocess.Popen([*self._runc, "run", "--bundle", bundle, name], stdout=log, stderr=log)

    def run(self, name: str, command: list[str], environment: Mapping[str, str]) -> int:
        """The exit status of a container that ends by itself."""
        return self.start(name, command, environment).wait()

    def within(self, name: str, command: list[str]) -> int:
        """The exit status of a command in a running container."""
        user = self.config["User"]
        done = subprocess.run([*self._runc, "exec", "--user", user, name, *command], capture_output=True, check=False)
        return done.returncode

    def signal(self, name: str, signal: str) -> None:
        """Send a signal to the container's first process, as a platform does."""
        subprocess.run([*self._runc, "kill", name, signal], check=True)

    def log_of(self, name: str) -> Path:
        """What the container wrote."""
        return self._folder / f"{name}.log"

    def remove(self) -> None:
        """Kill what still runs, and let go of the files."""
        for name in subprocess.run(
            [*self._runc, "list", "-q"], capture_output=True, text=True, check=True
        ).stdout.split():
            subprocess.run([*self._runc, "delete", "--force", name], check=False)
        self._buildah("rm", "--all")
        self._buildah("rmi", "--all", "--force")

    @property
    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self._folder / "runc")]

    def _build(self) -> None:
        packed = self._folder / "base.tar"
        release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
        _say("mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", release["VERSION_CODENAME"], str(packed))
        base = self._buildah("from", "scratch")
        self._buildah("add", base, str(packed), "/")
        self._buildah("copy", base, _AUTHORITIES, _AUTHORITIES)  # those that this machine trusts
        self._buildah("config", "--env", f"SSL_CERT_FILE={_AUTHORITIES}", base)
        self._buildah("run", base, "--", "sh", "-c", _AS_THE_OFFICIAL_ONE)
        self._buildah("commit", base, BASE)
        packed.unlink()
        self._buildah("build", "--format=docker", f"--build-arg=PYTHON_IMAGE={BASE}", "--tag", IMAGE, str(ROOT))

    def _buildah(self, command: str, *arguments: str) -> str:
        store = ["--root", str(self._folder / "images"), "--runroot", str(self._folder / "run")]
        return _say("buildah", *store, command, *arguments).strip()

    def _specification(self, command: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
        user, group = map(int, self.config["User"].split(":"))
        given = [f"{name}={value}" for name, value in environment.items()]
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
        ]
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.root), "readonly": True},
            "process": {
                "user": {"uid": user, "gid": group},
                "args": command,
                "env": [*self.config["Env"], *given],
                "cwd": self.config["WorkingDir"],
                "noNewPrivileges": True,
                "capabilities": {},
            },
            "mounts": mounts,
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
        }


@contextmanager
def built() -> Iterator[Built]:
    """The image, until the end. It takes a minute, and the base another."""
    with TemporaryDirectory(dir="/var/tmp", prefix="senang-image-") as name:  # memory can't hold it everywhere
        image = Built(Path(name))
        try:
            yield image
        finally:
            image.remove()


def _say(*command: str) -> str:
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


if __name__ == "__main__":
    if "--bring" in sys.argv:
        bring()
    if not can_run():
        print(ABSENT)
