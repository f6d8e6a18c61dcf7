"""A day in ten minutes: what goes wrong is told once, found by three clicks, mended, and leaves nothing behind."""

import pytest

from tests.field.day import live
from tests.receiver.browser.chromium import find_chromium
from tests.receiver.owners import is_fork


@pytest.mark.field
@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium: `make chromium` brings one")
@pytest.mark.skipif(is_fork(), reason="it edits the handlers of upstream")
def test_each_incident_of_a_day_is_told_once_found_by_three_clicks_and_leaves_nothing_behind(postgres, tmp_path):
    with postgres.database() as database:
        wrong = {incident.cause: outcome.complaints(incident) for incident, outcome in live(tmp_path, database)}

    assert {cause: complaints for cause, complaints in wrong.items() if complaints} == {}
