"""What stops a start: every mistake at once, by name, never by value."""

import os

import pytest
from dotenv import dotenv_values
from sqlalchemy.engine import make_url

from app.config import ConfigurationError, load_env_file, load_settings
from tests.certificates import self_signed
from tests.processes import PATIENCE_SECONDS, ROOT, Receiver, running

LIVE = {"SENANG_ENVIRONMENT": "live"}


def mistakes(environ):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ)
    return caught.value.mistakes


def test_an_empty_environment_names_everything_that_is_missing_at_once():
    found = mistakes({})

    assert [mistake.split(":")[0] for mistake in found] == ["PAYLOAD_KEYS", "SECRET_KEY", "SENANG_WEBHOOK_SECRETS"]


def test_mistakes_never_quote_a_value(environment):
    found = mistakes(
        environment
        | {
            "PAYLOAD_KEYS": "hunter2hunter2",
            "SECRET_KEY": "hunter3",
            "MAX_ATTEMPTS": "hunter4",
            "DATABASE_URL": "hunter5",
        }
    )

    assert len(found) == 4
    assert "hunter" not in "".join(found)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"DYNO": "web.1"}, "DATABASE_URL"),
        (LIVE | {"FLASK_DEBUG": "1"}, "FLASK_DEBUG"),
        (LIVE | {"REQUIRE_HTTPS": "0"}, "REQUIRE_HTTPS"),
        ({"AUDIT_RETENTION_DAYS": "30"}, "AUDIT_RETENTION_DAYS"),
        ({"MASKED_RETENTION_DAYS": "30"}, "MASKED_RETENTION_DAYS"),
        ({"TLS_CERTFILE": "cert.pem"}, "TLS_CERTFILE"),
        ({"SENANG_SIGNATURE_ALGORITHM": "md5"}, "SENANG_SIGNATURE_SCHEME"),
        ({"SENANG_PAYLOAD_FIELDS": "colour=x"}, "SENANG_PAYLOAD_FIELDS"),
        ({"WORKER_PROCESSES": "0"}, "WORKER_PROCESSES"),
        ({"SENANG_TIMESTAMP_ZONE": "Malaysia"}, "SENANG_TIMESTAMP_ZONE"),
        ({"SENANG_TIMESTAMP_ZONE": "Asia"}, "SENANG_TIMESTAMP_ZONE"),
        ({"SENANG_TIMESTAMP_ZONE": "../etc/passwd"}, "SENANG_TIMESTAMP_ZONE"),
        ({"SENANG_TIMESTAMP_ZONE": "+08:00"}, "SENANG_TIMESTAMP_ZONE"),
        ({"SENANG_CHANGING_FIELDS": "attempt,event_id"}, "SENANG_CHANGING_FIELDS"),
        ({"SENANG_CHANGING_FIELDS": "meta", "SENANG_PAYLOAD_FIELDS": "event_id=meta.id"}, "SENANG_CHANGING_FIELDS"),
    ],
)
def test_an_unsafe_combination_refuses_to_start(environment, changes, named):
    assert any(named in mistake for mistake in mistakes(environment | changes))


def test_a_known_platform_trusts_one_proxy_and_requires_https(environment):
    settings = load_settings(environment | {"DYNO": "web.1", "DATABASE_URL": "postgres://u:p@db/x"})

    assert (settings.trusted_proxies, settings.require_https) == (1, True)
    assert settings.database_url == "postgresql+psycopg://u:p@db/x"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://u:hunter2@h:54x2/d", "port"),
        ("postgresql://u:hun@hunter2@h/d", "more than one @"),
        ("postgresql://u:hunter2@h:543210/d", "port"),
        ("postgresql://u:p@h:1,hunter2:2/d", "port"),
        ("postgresql://u:hunter2@h", "database"),
        ("mysql://u:hunter2@h/d", "postgresql://"),
        ("jdbc:postgresql://u:hunter2@h/d", "postgresql://"),
        ("postgres+ssl://u:hunter2@h/d", "postgresql://"),
        ("'postgresql://u:hunter2@h/d'", "quotation marks"),
        ("postgresql:/u:hunter2@h/d", "postgresql://"),
        ("hunter2", "postgresql://"),
        ("/var/hunter2.db", "sqlite:///"),
        ("sqlite:hunter2.db", "sqlite:///"),
        ("sqlite://hunter2.db", "three slashes"),
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("sqlite:///file:hunter2?mode=memory&uri=true", "memory"),
        ("sqlite:////tmp", "folder"),
        ("sqlite:///hunter2.db?mode=ro", "options"),
        ("postgresql://u:hunter2@h/d?schema=public", "csearch_path"),
        ("postgresql://u:hunter2@h/d?pgbouncer=true", "DATABASE_POOLER"),
        ("postgresql://u:hunter2@h/d?sslmode=require&connection_limit=5", "connection_limit"),
        ("postgresql://u:hunter2@h/d?ssl=true", "sslmode=require"),
        ("postgresql://u:hunter2@h/d?hunter3=x", "option"),
        ("postgresql://u:hunter2@h/d?sslmode=hunter3", "sslmode"),
        ("postgresql://u:hunter2@h/d?pooler=none", "option"),
    ],
)
def test_an_address_that_cannot_work_is_refused_with_a_sentence_and_without_a_value(environment, url, named):
    found = mistakes(environment | {"DATABASE_URL": url})

    assert [mistake.split(":")[0] for mistake in found] == ["DATABASE_URL"]
    assert named in found[0]
    assert "hunter" not in found[0]


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("POSTGRESQL://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        (" postgresql://u:p@h/d ", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@[::1]:5433/d", "postgresql+psycopg://u:p@[::1]:5433/d"),
        ("postgresql://h/d?sslmode=verify-full&sslrootcert=/ca.pem", "sslmode=verify-full"),
        ("postgresql:///d?host=/var/run/postgresql", "postgresql+psycopg:///d?host="),
        ("sqlite:////tmp/receiver.db", "sqlite:////tmp/receiver.db"),
        ("sqlite+pysqlite:////tmp/receiver.db", "sqlite:////tmp/receiver.db"),
    ],
)
def test_an_address_that_another_tool_writes_works(environment, url, meant):
    assert meant in load_settings(environment | {"DATABASE_URL": url}).database_url


@pytest.mark.parametrize("password", ["p/w", "p#w", "p%w", "p:w", "p?w", "p%40w"])
def test_a_password_with_unusual_characters_reaches_the_driver_as_it_is(environment, password):
    url = load_settings(environment | {"DATABASE_URL": f"postgresql://u:{password}@h:5433/d"}).database_url

    parsed = make_url(url)
    assert (parsed.password, parsed.host, parsed.port) == (password.replace("%40", "@"), "h", 5433)


def test_options_that_a_pooler_would_refuse_are_refused_at_the_start(environment):
    url = "postgresql://u:p@h/d?options=-csearch_path%3Dinbox"

    assert load_settings(environment | {"DATABASE_URL": url})
    assert "options" in mistakes(environment | {"DATABASE_URL": url, "DATABASE_POOLER": "1"})[0]


def test_an_address_that_cannot_work_ends_every_command_with_78(environment):
    receiver = Receiver({**environment, "DATABASE_URL": "postgresql://u:hun@hunter2:54x/d"})

    command = receiver.flask("db", "upgrade", check=False)

    assert command.returncode == 78
    assert "DATABASE_URL" in command.stderr
    assert "hun" not in command.stderr


def test_commands_and_gunicorn_alike_exit_with_78(environment):
    receiver = Receiver({**environment, "SECRET_KEY": "short"})

    web = receiver.start("-m", "gunicorn", "wsgi:app")
    command = receiver.flask("events", "list", check=False)

    assert (command.returncode, web.wait(PATIENCE_SECONDS)) == (78, 78)
    assert "SECRET_KEY" in command.stderr
    assert "short" not in command.stderr.replace("too_short", "")


@pytest.mark.parametrize("place", [{}, {"DYNO": "web.1", "DATABASE_URL": "postgres://u:p@db/x"}])
def test_a_copy_of_the_example_changes_no_default(environment, place):
    example = {name: value for name, value in dotenv_values(ROOT / ".env.example").items() if value}
    environment.pop("HANDLER_TIMEOUT")

    assert load_settings(example | environment | place) == load_settings(environment | place)


def test_an_empty_variable_does_not_hide_what_the_file_says(tmp_path, monkeypatch, environment):
    (tmp_path / ".env").write_text("MAX_ATTEMPTS=3\nWORKER_BATCH=7\nWORKER_PROCESSES=\n")
    monkeypatch.delenv("PYTHON_DOTENV_DISABLED")
    monkeypatch.setenv("MAX_ATTEMPTS", " ")
    monkeypatch.setenv("WORKER_BATCH", "9")
    monkeypatch.setenv("WORKER_PROCESSES", "2")

    load_env_file(tmp_path / ".env")
    settings = load_settings({**os.environ, **environment})

    assert (settings.max_attempts, settings.worker_batch, settings.worker_processes) == (3, 9, 2)


def test_a_file_is_kept_out_where_the_environment_says_so(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("MAX_ATTEMPTS=3\n")
    monkeypatch.setenv("MAX_ATTEMPTS", "")
    monkeypatch.setenv("PYTHON_DOTENV_DISABLED", "1")

    load_env_file(tmp_path / ".env")

    assert os.environ["MAX_ATTEMPTS"] == ""


@pytest.mark.parametrize("address", [{}, {"DATABASE_URL": ""}, {"DATABASE_URL": " "}])
@pytest.mark.parametrize("place", [LIVE, {"RENDER": "true"}, {"DYNO": "web.1"}])
def test_no_database_is_chosen_in_silence_where_events_are_real(environment, address, place):
    assert [mistake.split(":")[0] for mistake in mistakes(environment | place | address)] == ["DATABASE_URL"]


def test_a_file_that_is_named_serves_live_on_a_machine_of_ones_own(environment):
    assert load_settings(environment | LIVE | {"DATABASE_URL": "sqlite:////srv/receiver.db"})


def test_the_database_by_default_is_said_once(environment, tmp_path):
    with running(environment, DATABASE_URL="", EMBEDDED_WORKER="0") as receiver:
        receiver.log = tmp_path / "log"
        receiver.web()

    assert receiver.log.read_text().count("database_by_default") == 1


@pytest.mark.parametrize(
    ("changes", "named", "said"),
    [
        ({"SENANG_PAYLOAD_FIELDS": "event_id=id;event_type=type"}, "SENANG_PAYLOAD_FIELDS", "separates nothing"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=id event_type=type"}, "SENANG_PAYLOAD_FIELDS", "separates nothing"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=meta . id"}, "SENANG_PAYLOAD_FIELDS", "separates nothing"),
        ({"SENANG_PAYLOAD_FIELDS": 'event_id="id"'}, "SENANG_PAYLOAD_FIELDS", "separates nothing"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=a,event_id=b"}, "SENANG_PAYLOAD_FIELDS", "twice"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=a,event_type=a"}, "SENANG_PAYLOAD_FIELDS", "one and the same path"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id"}, "SENANG_PAYLOAD_FIELDS", "dotted path"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=a..b"}, "SENANG_PAYLOAD_FIELDS", "dotted path"),
        ({"SENANG_WEBHOOK_SECRET": "x"}, "SENANG_WEBHOOK_SECRET", "SENANG_WEBHOOK_SECRETS"),
        ({"SENANG_SIGNATURE_HEADERS": "x"}, "SENANG_SIGNATURE_HEADERS", "SENANG_SIGNATURE_HEADER"),
        ({"SENANG_ENVIROMENT": "live"}, "SENANG_ENVIROMENT", "SENANG_ENVIRONMENT"),
        ({"HANDLER_TIMEOUT": "nan"}, "HANDLER_TIMEOUT", "nan"),
        ({"HANDLER_TIMEOUT": "inf"}, "HANDLER_TIMEOUT", "infinity"),
        ({"PORT": "http"}, "PORT", "integer"),
        ({"PORT": "70000"}, "PORT", "65535"),
        ({"WEB_CONCURRENCY": "two"}, "WEB_CONCURRENCY", "integer"),
        ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY", "1"),
        ({"TLS_CERTFILE": "/no/cert.pem", "TLS_KEYFILE": "/no/key.pem"}, "TLS_CERTFILE", "readable"),
        ({"SENANG_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, x"}, "SENANG_WEBHOOK_SECRETS", "white"),
        ({"SENANG_SIGNATURE_ID_HEADER": "none"}, "SENANG_SIGNATURE_SCHEME", "id"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name_with_a_sentence(environment, changes, named, said):
    found = mistakes(environment | changes)

    assert [mistake.split(":")[0].split(" ")[0] for mistake in found] == [named]
    assert said in found[0]


def test_a_variable_of_the_partners_own_may_begin_as_ours_do(environment):
    assert load_settings(environment | {"SENANG_API_KEY": "x", "SENANG_API_SECRET": "y", "SENANG_BASE_URL": "z"})


def test_a_certificate_needs_its_own_key(environment, tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    certificate, key = self_signed(tmp_path / "one")
    _, foreign = self_signed(tmp_path / "other")

    assert load_settings(environment | {"TLS_CERTFILE": str(certificate), "TLS_KEYFILE": str(key)})
    assert "TLS_KEYFILE" in mistakes(environment | {"TLS_CERTFILE": str(certificate), "TLS_KEYFILE": str(foreign)})[0]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:x@h/d?port=hunter2",
        "postgresql://u:x@h/d?port=hunter2,5",
        "postgresql://u:x@h/d?port=99999",
        "postgresql://u:x@hunter2..x/d",
        f"postgresql://u:x@{'hunter2' * 10}/d",
        "postgresql://u:x@h/d?sslmode=require&sslmode=disable",
        "postgresql://u:x@h/d?gssencmode=hunter2",
        "postgresql://u:x@h/d?connect_timeout=hunter2",
        f"sqlite:///{'hunter2' * 50}.db",
        "sqlite:////proc/hunter2/x.db",
    ],
)
def test_an_address_that_nothing_can_be_reached_at_is_refused_without_its_value(environment, url):
    (mistake,) = mistakes(environment | {"DATABASE_URL": url})

    assert mistake.startswith("DATABASE_URL: cannot be used:")
    assert "hunter2" not in mistake


@pytest.mark.parametrize("url", ["postgresql://u:x@/d?host=a:1&host=b:2", "postgresql://u:x@/d?host=h1,h2&port=1,2"])
def test_an_address_of_several_hosts_may_be_used(environment, url):
    assert load_settings(environment | {"DATABASE_URL": url}).database_url
