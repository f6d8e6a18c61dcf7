"""Debian's packages of the programs that tests need."""

import os
import shutil
import subprocess


def install(*packages: str) -> None:
    """Install these packages where we may: as root, where there is apt. What they would start is not started."""
    if not packages or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "--quiet", *arguments], env=environment, check=False)
