"""What a fork may add has one place each, which app/__init__.py names. A small package uses all of them here."""

import json
import re
import sys

import pytest

from receiver import ConfigurationError
from receiver.privacy.masking import mask_payload, show_more
from receiver.registry import handler_for
from receiver.sandbox.samples import UnusableSamples, own_samples
from tests.receiver.processes import Receiver

PACKAGE = "acme_receiver"
FILES = {
    "__init__.py": """
        import os
        import click
        import receiver
        from flask import g, request
        from acme_receiver.handlers import offices  # a module that registers itself may be imported before it is found
        from acme_receiver.pages import BankIsDown, blueprint

        @click.command()
        def reconcile():
            click.echo("all is reconciled")

        def note_language():
            g.language = request.accept_languages.best

        def create_app(**given):
            app = receiver.create_app(**given)
            if "BANK_URL" not in os.environ:
                raise receiver.ConfigurationError(["BANK_URL: is not set."])
            app.config["BANK_URL"] = os.environ["BANK_URL"]
            app.register_blueprint(blueprint)
            app.cli.add_command(reconcile)
            app.before_request(note_language)
            app.register_error_handler(BankIsDown, lambda error: ("Our bank is down.", 502))
            return app
    """,
    "pages.py": """
        from flask import Blueprint, current_app, g, render_template
        from receiver import csrf_exempt, operator_required, viewer_required

        blueprint = Blueprint("acme", __name__, url_prefix="/acme")

        class BankIsDown(Exception):
            pass

        @blueprint.get("/open")
        def open_to_all():
            return render_template("greeting.html", bank=current_app.config["BANK_URL"], language=g.language)

        @blueprint.get("/customers")
        @viewer_required
        def customers():
            return render_template("greeting.html", bank="of customers")

        @blueprint.post("/refunds")
        @operator_required
        def refund():
            return "refunded"

        @blueprint.post("/notices")
        @csrf_exempt
        def notice():
            return "noted"

        @blueprint.get("/broken")
        def broken():
            raise BankIsDown
    """,
    "samples.py": """
        SAMPLES = {
            "acme.opened": {"data": {"office": "Penang"}, "policy_id": None},
            "payment.success": {"status": "captured"},
        }
    """,
    "masking.py": """
        SAFE_KEYS = {"Premium_Holiday"}
        CODE_WORDS = {"Reinstated"}
        REFERENCE_PREFIXES = {"PHX"}
    """,
    "handlers/__init__.py": "",
    "handlers/offices/__init__.py": "",
    "handlers/offices/penang.py": """
        from receiver import Event, Session, handles

        @handles("acme.opened")
        def opened(event: Event, session: Session) -> None:
            assert event.data == {"office": "Penang"}
    """,
    "templates/greeting.html": """
        {% extends "base.html" %}
        {% block main %}<h1>Bank {{ bank }}</h1><p>{{ language }}</p>{% endblock %}
    """,
    "templates/base.html": """
        {% extends "receiver/base.html" %}
        {% block head %}<link rel="stylesheet" href="{{ url_for("partner.static", filename="acme.css") }}">
        {% endblock %}
        {% block links %}<a href="{{ url_for('acme.customers') }}">Customers</a>{% endblock %}
    """,
    "templates/error.html": "<h1>Acme is sorry: {{ title }}</h1>",
    "static/acme.css": "h1 { color: navy }",
}
PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder in which the package is, beside nothing else."""
    folder = tmp_path_factory.mktemp("fork")
    for name, text in FILES.items():
        file = folder / PACKAGE / name
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [line.removeprefix("        ") for line in text.strip("\n").splitlines()]
        file.write_text("\n".join(lines).strip() + "\n")
    return folder


@pytest.fixture
def environment(environment, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("BANK_URL", "https://bank.example")
    yield environment | {"PARTNER_PACKAGE": PACKAGE}
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def visitor(app):
    return app.test_client()


def test_a_page_of_the_partners_has_its_setting_its_hook_and_the_headers_of_ours(visitor):
    ours, theirs = visitor.get("/sign-in"), visitor.get("/acme/open", headers={"Accept-Language": "ms"})
    varying = {"X-Request-ID", "Content-Length", "Set-Cookie", "Vary"}

    assert "<h1>Bank https://bank.example</h1><p>ms</p>" in theirs.text
    assert set(ours.headers.keys()) - varying == set(theirs.headers.keys()) - varying
    assert all(theirs.headers[name] == value for name, value in ours.headers.items() if name not in varying)
    assert theirs.headers["X-Request-ID"]


def test_its_pages_let_in_whom_their_guard_names(app, signed_in, csrf_token):
    stranger, viewer, operator = app.test_client(), signed_in("viewer"), signed_in("operator")
    token = {"csrf_token": csrf_token(viewer.get("/sign-in"))}
    operators_token = {"csrf_token": csrf_token(operator.get("/sign-in"))}

    assert stranger.get("/acme/customers").location == "/sign-in?next=/acme/customers"
    assert "Bank of customers" in viewer.get("/acme/customers").text
    assert viewer.post("/acme/refunds", data=token).status_code == 403
    assert operator.post("/acme/refunds", data=operators_token).text == "refunded"


def test_a_form_of_theirs_needs_the_token_unless_programs_post_to_it(signed_in):
    operator = signed_in("operator")

    assert operator.post("/acme/refunds").status_code == 400
    assert operator.post("/acme/notices").text == "noted"


def test_plain_http_is_refused_for_its_pages_too(environment, assemble):
    secure = assemble(environment | {"REQUIRE_HTTPS": "1"}).test_client()

    assert secure.get("/acme/open").status_code == 403
    assert secure.get("/acme/open", base_url="https://localhost").status_code == 200


def test_a_template_of_theirs_extends_ours_on_every_page(signed_in):
    page = signed_in("viewer").get("/events").text

    assert '<a href="/acme/customers">Customers</a>' in page
    assert '<link rel="stylesheet" href="/own/acme.css">' in page
    assert "<title>Events" in page


def test_people_see_the_keys_words_and_references_that_its_masking_module_names(deliver, stored, signed_in):
    data = {"premium_holiday": "PHX1234567", "status": "Reinstated", "other_holiday": "PHX1234567"}
    deliver("acme.opened", event_id="evt_1", data=data | {"customer": {"premium_holiday": "PHX1234567"}})

    page = signed_in("viewer").get(f"/events/{stored('evt_1').id}").text

    assert re.findall(r"_holiday:</span> <code>(.*?)</code>", page) == ["PHX1234567", "[text 10]", "[text 10]"]
    assert "<code>Reinstated</code>" in page


def test_what_one_package_lets_people_see_is_hidden_again_for_the_next_one():
    payload = {"premium_holiday": "PHX1234567"}
    before = mask_payload(payload)

    show_more({"Premium_Holiday"}, {"Reinstated"}, {"PHX"})
    shown = mask_payload(payload)
    show_more()

    assert (before, shown) == ({"premium_holiday": "[text 10]"}, payload)
    assert mask_payload(payload) == before


def test_a_template_of_theirs_takes_the_place_of_ours(visitor):
    assert visitor.get("/nowhere", headers=PAGE).text == "<h1>Acme is sorry: Not Found</h1>"


def test_a_static_file_of_theirs_is_served_with_the_headers_of_ours(visitor):
    with visitor.get("/static/page.css") as ours, visitor.get("/own/acme.css") as theirs:
        assert theirs.text.strip() == FILES["static/acme.css"]
        assert (theirs.mimetype, theirs.headers["X-Content-Type-Options"]) == ("text/css", "nosniff")
        assert set(theirs.headers.keys()) == set(ours.headers.keys())
    assert visitor.get("/own/../__init__.py").status_code == 404


def test_an_error_of_theirs_has_their_page(visitor):
    answer = visitor.get("/acme/broken")

    assert (answer.status_code, answer.text) == (502, "Our bank is down.")
    assert answer.headers["X-Request-ID"]


def test_their_command_is_one_of_the_receivers(app):
    assert app.test_cli_runner().invoke(args=["reconcile"]).output == "all is reconciled\n"


def test_a_handler_in_a_folder_of_handlers_is_found_whatever_was_imported_before(app, deliver, work, stored):
    deliver("acme.opened", event_id="evt_1")
    work()

    assert handler_for("acme.opened").run.__module__ == "acme_receiver.handlers.offices.penang"
    assert stored("evt_1").state == "processed"


def test_a_setting_of_theirs_that_is_missing_stops_the_start_with_a_sentence(environment, assemble, monkeypatch):
    monkeypatch.delenv("BANK_URL")

    with pytest.raises(ConfigurationError, match="BANK_URL: is not set"):
        assemble(environment)


def test_a_process_serves_what_the_partners_create_app_returns(environment, folder, database):
    fork = Receiver(environment, DATABASE_URL=database, PYTHONPATH=str(folder))

    refused = fork.flask("reconcile", check=False)
    fork.environment["BANK_URL"] = "https://bank.example"

    assert (refused.returncode, "BANK_URL: is not set." in refused.stderr) == (78, True)
    assert fork.flask("reconcile").stdout == "all is reconciled\n"


def test_their_samples_are_what_tests_deliver_and_what_is_triggered(app, payload):
    printed = app.test_cli_runner().invoke(args=["senang", "trigger", "all", "--print"]).stdout

    assert payload("acme.opened")["data"] == {"office": "Penang"}
    assert "policy_id" not in payload("acme.opened")
    assert payload("payment.success", status="paid")["status"] == "paid"
    assert ('"office": "Penang"' in printed, '"status": "captured"' in printed) == (True, True)


def test_a_sample_with_a_field_that_no_event_has_is_refused_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "wrong_receiver").mkdir()
    (tmp_path / "wrong_receiver" / "__init__.py").touch()
    (tmp_path / "wrong_receiver" / "samples.py").write_text('SAMPLES = {"payment.success": {"datta": {}}}')
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(UnusableSamples, match=r"payment\.success sets datta"):
        own_samples("wrong_receiver")


@pytest.mark.soak
def test_the_scenarios_play_their_samples_to_their_handlers(environment, folder):
    fork = Receiver(environment, PYTHONPATH=str(folder), BANK_URL="https://bank.example")

    played = fork.flask("senang", "scenarios", "--only", "5.1", "--json", check=False)

    assert [one["verdict"] for one in json.loads(played.stdout)["scenarios"]] == ["passed"], played.stdout
