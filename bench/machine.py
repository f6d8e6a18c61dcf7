"""What is measured on, and what it costs there: the machine in words, and the CPU and memory of process trees."""

import os
import platform
import re
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

SYNCS = 50
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def describe(folder: Path, postgresql: str) -> dict[str, str]:
    """The machine, and the disk under `folder`, where the databases are."""
    return {
        "CPU": _processor(),
        "cores": f"{len(os.sched_getaffinity(0))}, which the sender, the receiver and the database share",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "a synced write of 8 KiB": f"{_sync_milliseconds(folder):.2f} ms on {_file_system(folder)}",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "PostgreSQL": postgresql,
        **{name: version(name) for name in ("gunicorn", "gevent", "SQLAlchemy", "uvicorn", "asyncpg")},
    }


def cpu_seconds(root: int) -> float:
    """What a process, its descendants and those of them that have ended have used."""
    return sum(_cpu_of(process) for process in _tree(root))


def peak_mebibytes(root: int) -> float:
    """The largest resident memory of each process of the tree, summed. What they share counts for each."""
    return sum(_peak_of(process) for process in _tree(root)) / 1024


def _tree(root: int) -> list[psutil.Process]:
    process = psutil.Process(root)
    return [process, *process.children(recursive=True)]


def _cpu_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # it has ended meanwhile, and its parent has its times
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _peak_of(process: psutil.Process) -> int:
    try:
        found = _PEAK.search(Path(f"/proc/{process.pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [entry for entry in psutil.disk_partitions(all=True) if folder.is_relative_to(entry.mountpoint)]
    return max(mounts, key=lambda entry: len(entry.mountpoint)).fstype if mounts else "an unknown file system"


def _sync_milliseconds(folder: Path) -> float:
    """The median time to have a page on the disk: what no receiver that is durable can go below for each commit."""
    times = []
    probe = folder / "sync"
    with probe.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            started = time.perf_counter()
            file.write(os.urandom(8192))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - started)
    probe.unlink()
    return median(times) * 1000
