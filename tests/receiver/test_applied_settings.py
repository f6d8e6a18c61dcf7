"""An operator applies settings on the page: all processes of the sandbox use them, until somebody revokes them."""

import json

import pytest
import sqlalchemy as sa

from receiver.actions.apply_settings import NotApplied, apply_settings, revoke_settings
from receiver.database.engine import writing
from receiver.protocol.schemes import SCHEMES
from receiver.store.models import AppliedSettings, AuditEntry
from receiver.testing import both_databases
from receiver.testing.waiting import eventually
from tests.receiver.settings import LIVE

GITHUB = {"SENANG_SIGNATURE_SCHEME": "github", "SENANG_PAYLOAD_FIELDS": "event_id=meta.id,event_type=meta.type"}


@pytest.fixture
def unknown(sender, payload, environment):
    """A delivery that is signed and written in another format than the environment says. Returns a function."""
    sender.scheme, sender.key = SCHEMES["github"], environment["SENANG_WEBHOOK_SECRETS"].encode()

    def make(number=1):
        sent = payload("payment.success")
        meta = {"id": f"evt_{number}", "type": sent.pop("event_type")}
        del sent["event_id"]
        return sender.signed(json.dumps(sent | {"meta": meta}).encode())

    return make


def status(app, sent):
    """What the receiver answers to a delivery."""
    return app.test_client().post("/webhooks/senang", data=sent.body, headers=dict(sent.headers)).status_code


@pytest.fixture
def applies(signed_in, csrf_token):
    """Apply settings on the page, or revoke them. Returns a function that returns the page."""
    client = signed_in()

    def post(what, settings=None):
        form = {"csrf_token": csrf_token(client.get("/captures")), "settings": json.dumps(settings)}
        return client.post(f"/captures/{what}", data=form, follow_redirects=True).text

    return post


@both_databases
def test_what_an_operator_applies_counts_at_once_for_deliveries_handlers_and_commands(
    unknown, applies, work, stored, app, session
):
    refused = status(app, unknown())

    said = applies("apply", GITHUB)
    accepted = status(app, unknown())
    work()

    assert (refused, accepted, stored("evt_1").state) == (401, 200, "processed")
    assert "siti applied these settings" in said
    assert "SENANG_SIGNATURE_SCHEME=github" in said
    audited = session.execute(
        sa.select(AuditEntry.result, AuditEntry.actor, AuditEntry.detail).where(AuditEntry.action == "settings")
    )
    assert audited.all() == [("applied", "siti", "SENANG_PAYLOAD_FIELDS, SENANG_SIGNATURE_SCHEME")]
    contract = app.test_cli_runner().invoke(args=["senang", "contract"]).output
    assert "X-Hub-Signature-256" in contract


@both_databases
def test_other_processes_follow_within_a_second_or_two(assemble, environment, inbox, unknown):
    other, sent = assemble(environment), unknown()

    apply_settings(inbox, GITHUB, actor="siti")
    eventually(lambda: status(other, sent) == 200)
    revoke_settings(inbox, actor="siti")
    eventually(lambda: status(other, sent) == 401)


def test_what_is_revoked_counts_no_more(unknown, applies, app):
    applies("apply", GITHUB)

    said = applies("revoke")

    assert status(app, unknown()) == 401
    assert "Revoked" in said
    assert "applied these settings" not in said
    assert "Nothing was applied" in applies("revoke")


def test_settings_of_the_environment_win_and_nothing_can_be_applied_beside_them(environment, assemble, inbox):
    apply_settings(inbox, GITHUB, actor="siti")
    ours = assemble(environment | {"SENANG_SIGNATURE_HEADER": "X-Our-Own"}).extensions["inbox"]

    ours.look_for_applied()

    assert ours.settings.scheme.header == "X-Our-Own"
    with pytest.raises(NotApplied, match="SENANG_SIGNATURE_HEADER, and it wins"):
        apply_settings(ours, GITHUB, actor="siti")


def test_nothing_is_applied_in_live(environment, request):
    environment |= LIVE

    with pytest.raises(NotApplied, match="in the sandbox only"):
        apply_settings(request.getfixturevalue("inbox"), GITHUB, actor="siti")


@pytest.mark.parametrize(
    "settings",
    [
        {"SENANG_SIGNATURE_SCHEME": "nobody's"},
        {"SENANG_SIGNATURE_SCHEME": "github", "SENANG_SIGNATURE_CONTENT": "nothing"},
        {"SENANG_WEBHOOK_SECRETS": "another-secret-of-a-stranger"},
        {"SENANG_ENVIRONMENT": "live"},
        {"SENANG_SIGNATURE_SECRET_ENCODING": "hex"},
    ],
)
def test_what_can_not_be_used_or_is_no_format_is_not_applied(applies, session, settings):
    said = applies("apply", settings)

    assert "Nothing was applied." in said
    assert session.scalars(sa.select(AppliedSettings)).all() == []


@pytest.mark.parametrize("form", ["", "[]", '{"a": 1}', "null"])
def test_a_form_without_settings_is_refused(signed_in, csrf_token, form):
    client = signed_in()
    token = csrf_token(client.get("/captures"))

    assert client.post("/captures/apply", data={"csrf_token": token, "settings": form}).status_code == 400


def test_a_row_that_somebody_without_the_keys_wrote_counts_for_nothing(inbox, unknown, assemble, environment, capfd):
    apply_settings(inbox, GITHUB, actor="siti")
    with writing(inbox.engine) as session:
        session.execute(sa.update(AppliedSettings).values(sealed_settings=json.dumps(GITHUB).encode()))

    other = assemble(environment)

    assert status(other, unknown()) == 401
    assert "applied_settings_unusable" in "".join(capfd.readouterr())
