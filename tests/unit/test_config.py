"""What stops a start: every mistake at once, by name, never by value."""

import pytest

from app.config import ConfigurationError, load_settings
from tests.processes import PATIENCE_SECONDS, Receiver

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
    ],
)
def test_an_unsafe_combination_refuses_to_start(environment, changes, named):
    assert any(named in mistake for mistake in mistakes(environment | changes))


def test_a_known_platform_trusts_one_proxy_and_requires_https(environment):
    settings = load_settings(environment | {"DYNO": "web.1", "DATABASE_URL": "postgres://u:p@db/x"})

    assert (settings.trusted_proxies, settings.require_https) == (1, True)
    assert settings.database_url == "postgresql+psycopg://u:p@db/x"


def test_commands_and_gunicorn_alike_exit_with_78(environment):
    receiver = Receiver({**environment, "SECRET_KEY": "short"})

    web = receiver.start("-m", "gunicorn", "wsgi:app")
    command = receiver.flask("events", "list", check=False)

    assert (command.returncode, web.wait(PATIENCE_SECONDS)) == (78, 78)
    assert "SECRET_KEY" in command.stderr
    assert "short" not in command.stderr.replace("too_short", "")
