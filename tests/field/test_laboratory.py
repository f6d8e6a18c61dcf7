"""Every platform in small, behind a real router that terminates TLS: see tests/field/laboratory.py."""

import pytest

from tests.field.deployed import can_run
from tests.field.laboratory import ROWS, examined, site
from tests.receiver import routers
from tests.receiver.browser.chromium import ABSENT as NO_CHROMIUM
from tests.receiver.browser.chromium import find_chromium
from tests.receiver.owners import is_fork

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(not can_run(), reason="only root can be another user"),
    pytest.mark.skipif(is_fork(), reason="a fork keeps the files of its own platform, and edits them"),
    pytest.mark.skipif(not routers.all_found(), reason=routers.ABSENT),
    pytest.mark.skipif(find_chromium() is None, reason=NO_CHROMIUM),
]
LONG = [name for name in ROWS if name != "Fly.io"]


@pytest.mark.parametrize("name", ["Fly.io", *(pytest.param(name, marks=pytest.mark.soak) for name in LONG)])
def test_a_platform_takes_deliveries_and_operators_through_its_router_and_stops_in_order(
    name, code, database_of_a_platform
):
    with site(ROWS[name], code, database_of_a_platform) as there:
        assert examined(there)["wrong"] == {}
