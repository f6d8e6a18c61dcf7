"""What a start loads. gunicorn's master: what takes long, and nothing that gevent would have to change.

A web process: nothing that only commands, the sandbox or another database need.
"""

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
modules = sorted(sys.modules)
import wsgi
print(json.dumps({"kept": kept, "modules": modules, "web": sorted(sys.modules)}))
"""
COMMANDS_ALONE = {
    "alembic",
    "apispec",
    "flask_migrate",
    "mako",
    "multiprocessing.pool",
    "psycopg",  # a web process on PostgreSQL needs it
    "receiver.cli.context",
    "receiver.contract",
    "receiver.sandbox.doctor",
    "receiver.sandbox.samples",
    "receiver.sandbox.sender",
    "receiver.testing",
    "receiver.worker.batch",
    "receiver.worker.leases",
    "receiver.worker.loop",
}


LOADED_BY_A_COMMAND = """
import gc, json, wsgi
print(json.dumps({"on": gc.isenabled(), "frozen": gc.get_freeze_count(), "tracked": len(gc.get_objects())}))
"""


@pytest.fixture(scope="module")
def master(shared_database):
    return said(LOADED, shared_database)


def said(program, database):
    environment = {**os.environ, **ENVIRONMENT, "DATABASE_URL": database, "LOG_LEVEL": "ERROR"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_no_room_that_the_master_has_loaded_keeps_what_gevent_has_to_change(master):
    assert master["kept"] == []


def test_the_partners_code_is_loaded_after_the_fork_so_that_hup_takes_a_new_one(master):
    assert not set(master["modules"]) & {"app", "wsgi", PARTNER_PACKAGE}


def test_the_master_has_loaded_what_takes_long(master):
    assert {"sqlalchemy.orm", "cryptography", "flask", "marshmallow"} <= set(master["modules"])


def test_the_master_has_loaded_what_the_pages_ask_the_database_with(master):
    assert {"receiver.queries.overview", "receiver.queries.search", "receiver.store.audit"} <= set(master["modules"])


def test_a_web_process_loads_nothing_that_only_commands_or_another_database_need(master):
    assert "receiver.web.overview" in master["web"]
    assert not set(master["web"]) & COMMANDS_ALONE


def test_the_master_of_a_receiver_on_postgresql_has_loaded_its_driver():
    loaded = said(LOADED, "postgresql://receiver:secret@127.0.0.1:9/receiver")

    assert {"psycopg", "psycopg.waiting"} <= set(loaded["modules"])
    assert loaded["kept"] == []


def test_the_garbage_collector_passes_over_what_a_command_has_loaded(shared_database):
    found = said(LOADED_BY_A_COMMAND, shared_database)

    assert found["on"]
    assert found["frozen"] > 10 * found["tracked"]
