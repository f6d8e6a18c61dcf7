"""What gunicorn's master has loaded when it forks: what takes long, and nothing that gevent would have to change."""

import json
import os
import subprocess
import sys

import pytest

from tests.receiver.processes import ROOT
from tests.receiver.settings import ENVIRONMENT, PARTNER_PACKAGE

LOADED = """
import json, queue, runpy, sys, threading
from concurrent.futures import ThreadPoolExecutor
runpy.run_path("gunicorn.conf.py")
from receiver.server import shared
shared.load()
kinds = (threading.Lock, threading.RLock, threading.Condition, threading.Semaphore, threading.Event, threading.Thread,
         queue.SimpleQueue, queue.Queue, ThreadPoolExecutor)
instances = (type(threading.Lock()), type(threading.RLock()), *(kind for kind in kinds if isinstance(kind, type)))
rooms = [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "receiver"]
found = [(f"{room.__name__}.{key}", value) for room in rooms for key, value in vars(room).items()]
masters_own = ("receiver.server.embedded.embedded_worker",)
ours = [(key, value) for key, value in found
        if type(value).__module__.startswith("receiver.") and key not in masters_own]
found += [(key, inner) for key, value in ours for inner in getattr(value, "__dict__", {}).values()]
kept = [key for key, value in found if any(value is kind for kind in kinds) or isinstance(value, instances)]
print(json.dumps({"kept": kept, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def master(shared_database):
    environment = {**os.environ, **ENVIRONMENT, "DATABASE_URL": shared_database, "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_no_room_that_the_master_has_loaded_keeps_what_gevent_has_to_change(master):
    assert master["kept"] == []


def test_the_partners_code_is_loaded_after_the_fork_so_that_hup_takes_a_new_one(master):
    assert not set(master["modules"]) & {"app", "wsgi", PARTNER_PACKAGE}


def test_the_master_has_loaded_what_takes_long(master):
    assert {"sqlalchemy.orm", "psycopg", "cryptography", "flask", "marshmallow"} <= set(master["modules"])


def test_what_only_commands_need_is_not_loaded_at_a_start(master):
    assert not set(master["modules"]) & {"alembic", "flask_migrate", "multiprocessing.pool", "receiver.sandbox"}
