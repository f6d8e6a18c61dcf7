"""§4 Security and signature verification."""

import pytest
import sqlalchemy as sa

from receiver.config import ConfigurationError, load_settings
from receiver.store.models import AuditEntry, StoredEvent
from receiver.store.tally import ROWS_A_MINUTE
from receiver.testing import both_databases

clause = pytest.mark.clause


@clause("4.1")
@both_databases
def test_every_cause_of_a_bad_signature_gets_the_very_same_answer(app, sender):
    client = app.test_client()
    good = sender.signed(b"{}").headers

    answers = {
        client.post("/webhooks/senang", data=b"{}", headers=headers).data
        for headers in ({}, good | {"webhook-signature": "v1,AAAA"}, good | {"webhook-timestamp": "x"})
    }

    assert len(answers) == 1


@clause("4.2")
@both_databases
def test_nothing_of_an_unsigned_delivery_is_stored(app, session):
    response = app.test_client().post("/webhooks/senang", data=b'{"event_id": "attacker"}')

    entry = session.scalars(sa.select(AuditEntry)).one()
    assert response.status_code == 401
    assert session.scalar(sa.select(sa.func.count()).select_from(StoredEvent)) == 0
    assert (entry.result, entry.event_id, entry.detail) == ("rejected: missing_signature", None, None)


@clause("4.3")
@pytest.mark.parametrize("secret", ["", "whsec_changeme", "whsec_c2hvcnQ=", "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_an_unsafe_secret_stops_the_start_and_is_not_quoted(environment, secret):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environment | {"SENANG_WEBHOOK_SECRETS": secret})

    assert "SENANG_WEBHOOK_SECRETS" in str(caught.value)
    assert not secret or secret not in str(caught.value)


@clause("4.4")
@both_databases
@pytest.mark.usefixtures("early_in_a_minute")
def test_a_flood_of_rejections_becomes_one_summed_row_a_minute(app, session, clock):
    client = app.test_client()
    for _ in range(100):
        client.post("/webhooks/senang", data=b"x")
    clock.advance(minutes=1)

    client.post("/webhooks/senang", data=b"x")

    rows = session.scalars(sa.select(AuditEntry.occurrences)).all()
    assert sum(rows) == 101
    assert len(rows) == ROWS_A_MINUTE + 2  # the sum of the others, and one of the next minute
