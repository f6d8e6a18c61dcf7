"""A router gives up its idle connections before the receiver does, or it sends a delivery into one that is ending."""

from http.client import HTTPSConnection
from ssl import create_default_context

import pytest

from receiver.testing.certificates import self_signed
from receiver.testing.waiting import eventually
from tests.receiver import routers
from tests.receiver.machine import connections_to, who_closed
from tests.receiver.processes import running
from tests.receiver.routers import Front
from tests.receiver.settings import ENVIRONMENT

pytestmark = pytest.mark.skipif(not routers.all_found(), reason=routers.ABSENT)


@pytest.fixture
def closed_by(tmp_path, database):
    """Who closes an idle connection between each router and the receiver, when both wait for so many seconds."""
    certificate = self_signed(tmp_path)
    tls = create_default_context(cafile=str(certificate[0]))

    def ask(place):
        connection = HTTPSConnection("127.0.0.1", place.port, context=tls)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()

    def closer(receiver, kind, seconds):
        with routers.running(
            Front(kind=kind, idle_seconds=seconds), tmp_path / kind, receiver.port, certificate
        ) as place:
            before = connections_to(receiver.port)
            ask(place)
            (connection,) = connections_to(receiver.port) - before
            eventually(lambda: who_closed(receiver.port, connection))
            return who_closed(receiver.port, connection)

    def find(kinds, *, router, receiver):
        settings = {"DATABASE_URL": database, "EMBEDDED_WORKER": "0", "WEB_CONCURRENCY": "1"}
        with running(ENVIRONMENT | settings, KEEP_ALIVE_SECONDS=str(receiver)) as there:
            there.web()
            return {kind: closer(there, kind, router) for kind in kinds}

    return find


def test_a_router_closes_idle_connections_itself_where_the_receiver_waits_longer(closed_by):
    """HAProxy is not here: it keeps its last idle connection until the receiver closes that."""
    assert closed_by(("nginx", "caddy"), router=1, receiver=600) == {"nginx": "the router", "caddy": "the router"}


@pytest.mark.soak
def test_the_receiver_closes_them_under_every_router_where_it_waits_less(closed_by):
    assert set(closed_by(routers.KINDS, router=600, receiver=1).values()) == {"the receiver"}
