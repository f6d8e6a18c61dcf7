"""What stops a start: every mistake at once, by name, never by value."""

import json
import os
import re
import shutil
from base64 import b64encode
from secrets import token_bytes, token_hex, token_urlsafe
from urllib.parse import quote, unquote

import pytest
from dotenv import dotenv_values
from sqlalchemy.engine import make_url

from receiver.config import SCHEME_AXES, ConfigurationError, load_settings
from receiver.settings.budget import OF_A_COMMAND
from receiver.settings.env_file import doubts_of, load_env_file
from receiver.settings.platforms import PLATFORMS
from receiver.settings.source import READ_ELSEWHERE
from receiver.testing.certificates import self_signed
from receiver.testing.waiting import PATIENCE_SECONDS, eventually
from tests.receiver.faults.test_two_releases import PARTS
from tests.receiver.processes import ROOT, Receiver, running
from tests.receiver.settings import LIVE


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

    assert (settings.forwarded_for_hops, settings.forwarded_proto_hops, settings.require_https) == (1, 1, True)
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
        ("jdbc:postgresql://u:hunter2@h/d", "`jdbc:` is Java's"),
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


def test_parameters_of_other_tools_are_all_named_with_what_to_set_instead(environment):
    cases = {
        "pgbouncer=true&connection_limit=hunter1": ["`pgbouncer`", "DATABASE_POOLER=1", "`connection_limit`"],
        "connect_timeout=15&supa=base-pooler.x": ["`supa`", "DATABASE_POOLER=1"],
        "pool=5&checkout_timeout=5&encoding=unicode": ["`pool`", "DATABASE_CONNECTIONS", "`encoding`"],
        "prepared_statements=false&schema_search_path=x": ["`prepared_statements`", "`schema_search_path`"],
        "conn_max_age=600&ssl_require=true": ["`conn_max_age`", "`ssl_require`", "sslmode=require"],
        "pool_size=20&max_overflow=0&pool_pre_ping=true": ["`pool_size`", "`max_overflow`", "`pool_pre_ping`"],
        "currentSchema=x&prepareThreshold=0&ssl=true": ["`currentSchema`", "`prepareThreshold`", "`ssl`"],
        "statement_cache_size=0": ["`statement_cache_size`", "DATABASE_POOLER=1"],
        "pool_max_conns=4&TimeZone=Asia/Kuala_Lumpur": ["`pool_max_conns`", "`TimeZone`"],
        "serverVersion=16&charset=utf8": ["`serverVersion`", "`charset`"],
    }
    for query, named in cases.items():
        (found,) = mistakes(environment | {"DATABASE_URL": f"postgresql://u:hunter2@h/d?{query}"})

        assert [name for name in named if name not in found] == [], found
        assert "hunter" not in found


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
        ("postgresql://h/d?options=-csearch_path=inbox", "options=-csearch_path%3Dinbox"),
        (
            "postgres://postgres.ref:p@x.pooler.supabase.com:6543/postgres",
            "psycopg://postgres.ref:p@x.pooler.supabase.com:6543",
        ),
        ("postgres://doadmin:p@x.db.ondigitalocean.com:25061/pool?sslmode=require", ":25061/pool?sslmode=require"),
        ("postgres://u:p@pgbouncer.x.flympg.net/fly-db", "psycopg://u:p@pgbouncer.x.flympg.net/fly-db"),
        ("postgres://u:p@ep-x-pooler.neon.tech/d?sslmode=require&channel_binding=require", "channel_binding=require"),
        ("postgres://u:p@x.scalingo-dbs.com:30000/d?sslmode=prefer", "sslmode=prefer"),
        ("postgresql:///d?host=/var/run/postgresql", "postgresql+psycopg:///d?host="),
        ("sqlite:////tmp/receiver.db", "sqlite:////tmp/receiver.db"),
        ("sqlite+pysqlite:////tmp/receiver.db", "sqlite:////tmp/receiver.db"),
    ],
)
def test_an_address_that_another_tool_writes_works(environment, url, meant):
    assert meant in load_settings(environment | {"DATABASE_URL": url}).database_url


def test_a_password_with_unusual_characters_reaches_the_driver_as_it_is(environment):
    for written in ("p/w", "p#w", "p%w", "p:w", "p?w", "p+w", "p&=w", *map(quote, "@:/#%?+ é"), "%40%3A%2F%23%25"):
        url = load_settings(environment | {"DATABASE_URL": f"postgresql://u:{written}@h:5433/d"}).database_url

        parsed = make_url(url)
        assert (parsed.password, parsed.host, parsed.port) == (unquote(written), "h", 5433), written


def test_the_processes_of_a_small_plan_keep_within_its_connections_with_room_for_a_release_and_a_command(environment):
    on_postgresql = environment | {"DATABASE_URL": "postgresql://u:p@h/d"}

    def given(**settings):
        found = load_settings(on_postgresql | settings)
        return found.connections, found.share.deliveries, found.share.pages

    assert given() == (15, 3, 2)  # 3 of them for the worker, and 1 in each web process for new events
    assert given()[0] + 2 * OF_A_COMMAND <= 20
    assert given(EMBEDDED_WORKER="0") == (12, 3, 2)
    assert given(WEB_CONCURRENCY="4", WORKER_PROCESSES="2") == (29, 3, 2)
    assert given(DATABASE_CONNECTIONS="11") == (11, 1, 2)
    assert given(DATABASE_CONNECTIONS="21") == (21, 4, 4)


def test_an_address_of_a_poolers_form_is_said_at_the_start_unless_the_pooler_is_named(environment):
    for address, pooler in (
        ("postgres://postgres.ref:p@aws-0-x.pooler.supabase.com:6543/postgres", "Supavisor"),
        ("postgres://u:p@pgbouncer.x.flympg.net/fly-db", "PgBouncer"),
        ("postgres://u:p@h:6432/d", "PgBouncer"),
        ("postgres://u:p@ep-x-pooler.y.neon.tech/d?sslmode=require", "Neon's pooler"),
        ("postgres://doadmin:p@x.db.ondigitalocean.com:25061/pool?sslmode=require", "DigitalOcean's pool"),
    ):
        named = environment | {"DATABASE_URL": address}
        (said,) = [doubt for doubt in load_settings(named).doubts if doubt.startswith("DATABASE_POOLER")]

        assert pooler in said, address
        assert "DATABASE_POOLER" not in "".join(load_settings(named | {"DATABASE_POOLER": "1"}).doubts)
    direct = environment | {"DATABASE_URL": "postgres://u:p@direct.x.flympg.net/fly-db"}
    assert "DATABASE_POOLER" not in "".join(load_settings(direct).doubts)


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
    receiver = Receiver({**environment, "SECRET_KEY": "short", "PARTNER_PACKAGE": "nowhere"})

    web = receiver.start("-m", "gunicorn", "wsgi:app")
    command = receiver.flask("events", "list", check=False)

    assert (command.returncode, web.wait(PATIENCE_SECONDS)) == (78, 78)
    assert "SECRET_KEY" in command.stderr
    assert "PARTNER_PACKAGE: cannot be used: there is no such package" in command.stderr
    assert "Traceback" not in command.stderr
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


def test_a_line_of_the_file_that_sets_nothing_is_a_doubt_which_live_refuses(tmp_path, environment):
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    lines = [
        "# a comment",
        "LOG_LEVEL=INFO",
        "",
        "PAYLOAD_KEYS hunter2",
        "export SECRET_KEY",
        "METRICS_TOKEN=",
        "hunter3",
    ]
    (tmp_path / ".env").write_text("\n".join(lines))
    doubts = [f".env: line {number} sets nothing. A setting is NAME=value, on one line." for number in (4, 5, 7)]

    live = environment | LIVE | {"DATABASE_URL": f"sqlite:///{tmp_path}/x.db", "PYTHON_DOTENV_DISABLED": "0"}
    command = Receiver(live, tmp_path).flask("events", "list", check=False)

    assert command.returncode == 78
    assert command.stderr.splitlines()[-3:] == [f"  - {doubt}" for doubt in doubts]
    assert "hunter" not in command.stderr


def test_a_file_that_is_kept_out_raises_no_doubt(tmp_path):
    (tmp_path / ".env").write_text("hunter2\n")

    assert doubts_of(tmp_path / ".env") == []


@pytest.mark.parametrize("address", [{}, {"DATABASE_URL": ""}, {"DATABASE_URL": " "}])
@pytest.mark.parametrize("place", [LIVE, {"RENDER": "true"}, {"DYNO": "web.1"}])
def test_no_database_is_chosen_in_silence_where_events_are_real(environment, address, place):
    assert [mistake.split(":")[0] for mistake in mistakes(environment | place | address)] == ["DATABASE_URL"]


def test_a_file_that_is_named_on_a_disk_that_does_not_last_is_a_doubt_which_live_refuses(environment):
    heroku = environment | {"DYNO": "web.1", "DATABASE_URL": "sqlite:////srv/receiver.db"}

    (said,) = [doubt for doubt in load_settings(heroku).doubts if doubt.startswith("DATABASE_URL")]
    assert "loses every event" in said
    assert said in mistakes(heroku | LIVE)


def test_a_platform_is_recognised_by_a_variable_of_its_own_or_named(environment):
    on_a_server = environment | {"DATABASE_URL": "postgres://u:p@db/x"}
    for platform in PLATFORMS:
        for variables in ({"HOSTING_PLATFORM": platform.name}, *({name: "x"} for name in platform.named_by)):
            settings = load_settings(on_a_server | variables)
            assert settings.platform == platform
            assert (settings.require_https, settings.stop_seconds) == (True, platform.stop_seconds)
            assert [*settings.doubts] == [*load_settings(on_a_server).doubts], variables

    assert load_settings(on_a_server | {"DYNO": "web.1", "HOSTING_PLATFORM": "none"}).platform is None
    assert named(mistakes(on_a_server | {"HOSTING_PLATFORM": "nowhere"})) == ["HOSTING_PLATFORM"]


def test_a_connection_outlives_the_time_for_which_each_router_keeps_it_idle(environment):
    known = [platform.idle_seconds for platform in PLATFORMS if platform.idle_seconds is not None]

    assert load_settings(environment).keep_alive_seconds > max(known)


def test_a_start_that_will_answer_every_delivery_403_says_so_and_names_the_setting(live, environment, tmp_path):
    alone = live | {"FORWARDED_FOR_HOPS": "0", "FORWARDED_PROTO_HOPS": "0"}
    certificate, key = self_signed(tmp_path)

    (said,) = load_settings(alone).doubts
    assert said.startswith("FORWARDED_PROTO_HOPS: is 0")
    assert "answered 403" in said
    assert load_settings(alone | {"TLS_CERTFILE": str(certificate), "TLS_KEYFILE": str(key)}).doubts == ()
    assert not [doubt for doubt in load_settings(environment).doubts if "403" in doubt]


def test_a_start_that_will_take_all_visitors_for_one_says_so(live):
    (said,) = load_settings(live | {"FORWARDED_FOR_HOPS": "0"}).doubts

    assert said.startswith("FORWARDED_FOR_HOPS: is 0")
    assert load_settings(live | {"FORWARDED_FOR_HOPS": "0", "CLIENT_ADDRESS_HEADER": "X-Real-IP"}).doubts == ()


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
        ({"SENANG_PAYLOAD_FIELDS": "event_id=id;event_type=type"}, "SENANG_PAYLOAD_FIELDS", "no path may have"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=id event_type=type"}, "SENANG_PAYLOAD_FIELDS", "no path may have"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=meta . id"}, "SENANG_PAYLOAD_FIELDS", "no path may have"),
        ({"SENANG_PAYLOAD_FIELDS": 'event_id="id"'}, "SENANG_PAYLOAD_FIELDS", "no path may have"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=a,event_id=b"}, "SENANG_PAYLOAD_FIELDS", "twice"),
        ({"SENANG_PAYLOAD_FIELDS": "event_id=a,event_type=a"}, "SENANG_PAYLOAD_FIELDS", "have the same path"),
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
        ({"PARTNER_PACKAGE": "nowhere"}, "PARTNER_PACKAGE", "no such package"),
        ({"PARTNER_PACKAGE": "receiver.nowhere"}, "PARTNER_PACKAGE", "no such package"),
        ({"PARTNER_PACKAGE": "receiver.clock"}, "PARTNER_PACKAGE", "no such package"),
        ({"PARTNER_PACKAGE": "./app"}, "PARTNER_PACKAGE", "no such package"),
        ({"PARTNER_PACKAGE": "receiver.store"}, "PARTNER_PACKAGE", "no handlers"),
        ({"SENANG_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, x"}, "SENANG_WEBHOOK_SECRETS", "white"),
        ({"SENANG_SIGNATURE_ID_HEADER": "none"}, "SENANG_SIGNATURE_SCHEME", "id"),
        ({"CLIENT_ADDRESS_HEADER": "X-Real-IP: 1"}, "CLIENT_ADDRESS_HEADER", "letters"),
        ({"CLIENT_ADDRESS_HEADER": "x-forwarded-for"}, "CLIENT_ADDRESS_HEADER", "FORWARDED_FOR_HOPS"),
        ({"CLIENT_ADDRESS_HEADER": "X-Real-IP", "FORWARDED_FOR_HOPS": "1"}, "CLIENT_ADDRESS_HEADER", "Set one"),
        ({"FORWARDED_PROTO_HOPS": "11"}, "FORWARDED_PROTO_HOPS", "10"),
        ({"STOP_SECONDS": "1"}, "STOP_SECONDS", "2"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name_with_a_sentence(environment, changes, named, said):
    found = mistakes(environment | changes)

    assert [mistake.split(":")[0].split(" ")[0] for mistake in found] == [named]
    assert said in found[0]


def test_every_setting_is_explained_in_the_table_and_in_the_example():
    """What config.py asks its source for is a setting."""
    asked = re.findall(r'env\.\w+\(\s*"([A-Z_]*[A-Z])"', (ROOT / "receiver" / "config.py").read_text())
    axes = {f"SENANG_SIGNATURE_{axis.upper()}" for axis in SCHEME_AXES}
    named = {*asked, *READ_ELSEWHERE} - {"FLASK_DEBUG"}
    example = (ROOT / ".env.example").read_text()
    table = (ROOT / "docs" / "settings.md").read_text()

    assert {"PORT", "WEB_CONCURRENCY", "TLS_CERTFILE", "TLS_KEYFILE", "RELAY_SECRET", "PARTNER_PACKAGE"} <= named
    assert set(re.findall(r"^#?([A-Z_]+)=", example, re.M)) == named | axes
    assert set(re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.M)))) == named
    assert "| `SENANG_SIGNATURE_*` |" in table


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


GUESSABLE = {
    "SECRET_KEY": [
        "0123456789abcdef0123456789abcdef", "my-super-secret-key-for-the-receiver",
        "Passw0rd-password-PASSWORD-1234567",
        "qwertyuiopasdfghjklzxcvbnm123456", "abcdefghijklmnopqrstuvwxyz012345", "insecure-9fe1c7b2a4d8e3f6b5a1c2d7",
    ],
    "METRICS_TOKEN": [
        "a", "0123456789abcde", "metrics-password-7", "x" * 40, "abcabcabcabcabcabc", "deadbeefdeadbeef9",
        "secret-of-prometheus",
    ],
    "PAYLOAD_KEYS": [
        "0123456789abcdef" * 4, "8f1c2b7d4e5a69780123456789abcdef0fedcba98765432113579bdf02468ace",
        "deadbeefcafef00d" * 4,
    ],
    "SENANG_WEBHOOK_SECRETS": [
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", f"whsec_{'MTIzNDU2' * 5}",
    ],
}  # fmt: skip
"""Secrets that work, and that everybody can read or guess."""
UNFILLED = {
    "SECRET_KEY": [
        "please-change-me-please-change-me-1", "CHANGE_THIS_TO_SOMETHING_RANDOM_12",
        "your-secret-key-goes-here-0123456789",
        "<replace with your own secret key 1>", "example-example-example-0123456789",
        "placeholder0123456789abcdefghijkl",
    ],
    "METRICS_TOKEN": [
        "changeme-changeme-9", "your-token-0123456789", "token-here-0123456789", "a token", '"quoted-0123456789"',
    ],
    "PAYLOAD_KEYS": ["changemeChangeme0123456789abcdefABCDEFghij0=", "your-payload-key-here"],
    "SENANG_WEBHOOK_SECRETS": [
        "whsec_changemechangemechangemechangeme", "whsec_yourSecretHere0123456789abcdefghij",
    ],
}  # fmt: skip
"""What asks to be replaced."""


@pytest.fixture
def live(environment):
    """Settings with which `live` starts, and has nothing to say."""
    routers = {"FORWARDED_FOR_HOPS": "1", "FORWARDED_PROTO_HOPS": "1"}
    return environment | LIVE | routers | {"DATABASE_URL": "sqlite:////srv/receiver.db"}


def named(found):
    return [sentence.split(":")[0] for sentence in found]


def test_live_refuses_what_everybody_can_read_or_guess_by_name_and_a_sandbox_says_it(environment, live):
    sandbox = {**live, "SENANG_ENVIRONMENT": "sandbox"}
    assert load_settings(live).doubts == load_settings(sandbox).doubts == ()

    for name, values in GUESSABLE.items():
        for value in values:
            found, doubts = mistakes(live | {name: value}), load_settings(sandbox | {name: value}).doubts

            assert (named(found), named(doubts)) == ([name], [name]), value
            assert value == "a" or value not in found[0]


def test_what_asks_to_be_replaced_is_refused_everywhere(environment):
    taken = []
    for name, values in UNFILLED.items():
        for value in values:
            try:
                load_settings(environment | {name: value})
                taken.append(value)
            except ConfigurationError as error:
                assert named(error.mistakes) == [name], value  # noqa: PT017 - one test walks all cases

    assert taken == []


def test_live_refuses_a_signature_key_that_can_be_guessed_whatever_its_encoding(live, environment):
    short = {"SENANG_SIGNATURE_MINIMUM_KEY_BYTES": "1"}
    for scheme, encoding, secret in (
        ("github", "utf-8", "a1b2c3"),
        ("github", "utf-8", "a1b2c3d4e5f6g7h"),
        ("github", "hex", "a1b2c3d4e5f60718293a4b5c6d7e8f"),
        ("stripe", "base64", "obLD1OX2Bxgp"),
        ("standard-webhooks", "", "whsec_obLD1OX2Bxgp"),
    ):
        changes = short | {
            "SENANG_SIGNATURE_SCHEME": scheme,
            "SENANG_SIGNATURE_SECRET_ENCODING": encoding,
            "SENANG_WEBHOOK_SECRETS": secret,
        }
        assert named(mistakes(live | changes)) == ["SENANG_WEBHOOK_SECRETS"], secret
        assert named(load_settings(environment | LIVE | changes | {"SENANG_ENVIRONMENT": "sandbox"}).doubts) == [
            "SENANG_WEBHOOK_SECRETS"
        ]


def test_fresh_secrets_are_never_taken_for_guessable_ones(live):
    for _ in range(300):
        fresh = {"METRICS_TOKEN": token_urlsafe(24), "PAYLOAD_KEYS": token_hex(32), "SECRET_KEY": token_urlsafe(32)}
        assert load_settings(live | fresh | {"SENANG_WEBHOOK_SECRETS": f"whsec_{b64encode(token_bytes(32)).decode()}"})


def test_a_secret_may_be_called_so_by_whoever_issues_it(live):
    assert load_settings(live | {"SENANG_SIGNATURE_SCHEME": "github", "SENANG_WEBHOOK_SECRETS": "secret_live_9aQx7Lr2"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("METRIC_TOKEN", "METRICS_TOKEN"),
        ("PAYLOAD_KEY", "PAYLOAD_KEYS"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("TLS_CERT_FILE", "TLS_CERTFILE"),
        ("REQUIRE_HTTP", "REQUIRE_HTTPS"),
        ("MAX_ATTEMPT", "MAX_ATTEMPTS"),
        ("AUDIT_RETENTION_DAY", "AUDIT_RETENTION_DAYS"),
        ("FORWARDED_PROTO_HOP", "FORWARDED_PROTO_HOPS"),
        ("WEB_CONCURENCY", "WEB_CONCURRENCY"),
        ("FLASK_DEBUGG", "FLASK_DEBUG"),
    ],
)
def test_a_name_that_is_nearly_a_setting_is_refused_in_live_and_said_in_a_sandbox(live, name, meant):
    said = [f"{name}: is no setting. Is {meant} meant?"]

    assert mistakes(live | {name: "x"}) == said
    assert list(load_settings({**live, "SENANG_ENVIRONMENT": "sandbox", name: "x"}).doubts) == said


def test_names_of_other_programs_raise_no_doubt(live):
    theirs = (
        "PATH", "HOME", "PORTS", "PGDATABASE", "DATABASE_PUBLIC_URL", "DATABASE_PRIVATE_URL", "DATABASE_URL_2",
        "SECRET_KEY_BASE",
        "TEST_DATABASE_URL", "DJANGO_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "HEROKU_APP_NAME", "FLASK_APP", "FLASK_ENV",
        "GUNICORN_CMD_ARGS", "PROMETHEUS_MULTIPROC_DIR", "PYTHON_DOTENV_DISABLED", "RELAY_SECRET", "WORKER_ID", "TZ",
    )  # fmt: skip

    assert load_settings(live | dict.fromkeys(theirs, "x")).doubts == ()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SENANG_SECRET", " Is SENANG_WEBHOOK_SECRETS meant?"),
        ("SENANG_ENV", " Is SENANG_ENVIRONMENT meant?"),
        ("SENANG_TOLERANCE", " Is SENANG_TIMESTAMP_TOLERANCE meant?"),
        ("SENANG_SCHEME", " Is SENANG_SIGNATURE_SCHEME meant?"),
        ("SENANG_API_KEY", ""),
    ],
)
def test_a_name_of_ours_that_is_no_setting_is_said_and_may_be_the_partners_own(live, name, hint):
    said = (f"{name}: is no setting of the receiver, which leaves it alone.{hint}",)

    assert load_settings(live | {name: "x"}).doubts == said


def test_a_start_says_its_doubts_once_and_without_a_value(environment, tmp_path):
    with running(environment, METRICS_TOKEN="hunter2", SENANG_TENANT="hunter3") as receiver:
        receiver.log = tmp_path / "log"
        receiver.web()
        eventually(lambda: "worker_started" in receiver.log.read_text() or receiver.answers("/readyz"))

    said = [line for line in receiver.log.read_text().splitlines() if "doubtful_setting" in line]
    assert sorted(json.loads(line)["setting"] for line in said) == [
        "METRICS_TOKEN", "PAYLOAD_KEYS", "SECRET_KEY", "SENANG_TENANT", "SENANG_WEBHOOK_SECRETS",
    ]  # fmt: skip
    assert sum("less than 16 characters" in line for line in said) == 1
    assert "hunter" not in receiver.log.read_text()
