"""Every setting, once, with its comment. To add one: a field here, a line in docs/settings.md and in .env.example.

`load_settings()` reads the environment, lists all mistakes at once by name (never by value) and refuses
combinations that are unsafe. What may well be a mistake, and would hurt a first try if it were refused, is a doubt:
`live` refuses it, and in a sandbox the start says it. An entry point that catches `ConfigurationError` exits with 78
(EX_CONFIG).
"""

import os
import re
import sqlite3
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, tzinfo
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from environs import Env
from marshmallow.validate import OneOf, Range
from sqlalchemy.engine import make_url

from receiver.database.engine import through_pooler
from receiver.database.url import UnusableUrl, normalise_url
from receiver.privacy.columns import Showing
from receiver.privacy.sealing import SealingKey, UnusableKey, parse_keys
from receiver.protocol.envelope import DEFAULT_FIELDS, Event, changing_from, fields_from, parse_event, zone_from
from receiver.protocol.errors import InvalidScheme, UnusableSecret
from receiver.protocol.placeholders import is_guessable, is_published, is_repeated, is_unfilled
from receiver.protocol.schemes import SignatureScheme, key_bytes, scheme_from, weakness

EXIT_CONFIGURATION = 78
OLDEST_SQLITE = (3, 36, 0)  # RETURNING came with 3.35, whose first releases did it wrong
WEBHOOK_PATH = "/webhooks/senang"
LIKENESS = 0.65  # of a name that we don't know to one that we know, where both begin with SENANG_
LIKENESS_OF_OTHERS = 0.88  # where neither does: the environment is full of other people's names
LEAST_LIVE_KEY_BYTES = 16
LEAST_TOKEN_LENGTH = 16
LEAST_SESSION_SECRET_LENGTH = 32
OWN_PATHS = frozenset(
    {
        "webhooks", "healthz", "readyz", "metrics", "sign-in", "sign-out", "events", "replays", "subjects", "audit",
        "support", "captures", "static",
    }
)  # fmt: skip
"""What the paths of our routes begin with."""
DEFAULT_DATABASE = "sqlite:///instance/receiver.db"
AUDIT_HORIZON_DAYS = 365  # the database itself refuses to delete audit rows younger than this
READ_BY_COMMANDS = ("SENANG_OTHER_SECRETS", "RELAY_SECRET")
PLATFORMS = ("DYNO", "RENDER", "FLY_APP_NAME", "RAILWAY_ENVIRONMENT")
SCHEME_AXES = tuple(field.name for field in fields(SignatureScheme) if field.name != "name")


class UnusablePath(Exception):
    """A path prefix that can't be served; the message says why, and never quotes it."""


class UnusableToken(Exception):
    """A bearer token that nobody could send; the message says why, and never quotes it."""


class ConfigurationError(Exception):
    """The settings do not allow a start. `mistakes` has a sentence per mistake, and never a value."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(["The receiver cannot start:", *(f"  - {m}" for m in mistakes)]))


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """What the environment says, checked and ready to use. It does not show itself: it holds every secret."""

    # DATABASE_URL: SQLite or PostgreSQL. It carries DATABASE_POOLER, that a pooler in transaction mode is in between,
    # and DATABASE_DIRECT_URL, the address past that pooler.
    database_url: str
    log_level: str  # LOG_LEVEL: INFO has a line per delivery and attempt
    environment: str  # SENANG_ENVIRONMENT: sandbox or live (§8.3)
    scheme: SignatureScheme  # SENANG_SIGNATURE_SCHEME and its overrides, one per axis
    webhook_secrets: tuple[str, ...]  # SENANG_WEBHOOK_SECRETS, newest first, as they were written
    signature_keys: tuple[bytes, ...]  # what the scheme makes of them; any may match
    timestamp_tolerance: timedelta  # SENANG_TIMESTAMP_TOLERANCE: seconds, past and future alike
    payload_fields: Mapping[str, str]  # SENANG_PAYLOAD_FIELDS: the dotted path of each envelope field
    timestamp_zone: tzinfo | None  # SENANG_TIMESTAMP_ZONE: for moments that name no zone; without it nobody guesses
    changing_fields: tuple[str, ...]  # SENANG_CHANGING_FIELDS: dotted paths in which one event's deliveries may differ
    partner_id: str  # SENANG_PARTNER_ID: for support requests (§12.2)
    payload_keys: tuple[SealingKey, ...]  # PAYLOAD_KEYS: sealing keys, newest first
    secret_key: str  # SECRET_KEY: signs the sessions of the events page
    metrics_token: str  # METRICS_TOKEN: bearer token of /metrics; empty turns the route off
    trusted_proxies: int  # TRUSTED_PROXIES: hops of X-Forwarded-* that are believed
    script_name: str  # SCRIPT_NAME: the path under which a router serves the receiver; empty at its root
    require_https: bool  # REQUIRE_HTTPS: refuse plain HTTP
    embedded_worker: bool  # EMBEDDED_WORKER: gunicorn keeps a worker process beside its web workers
    worker_processes: int  # WORKER_PROCESSES: processes of `flask worker`
    worker_batch: int  # WORKER_BATCH: events leased at once, at most
    handler_timeout: float  # HANDLER_TIMEOUT: seconds that one attempt may take
    max_attempts: int  # MAX_ATTEMPTS: attempts before an event is dead; 16 reach over at least a day
    fast_lane: bool  # FAST_LANE: plain deliveries skip Flask's routing, contexts and hooks
    keep_alive_seconds: int  # KEEP_ALIVE_SECONDS: a connection may be idle for so long; longer than routers keep it
    max_body_bytes: int  # MAX_BODY_BYTES: larger deliveries are answered 413
    payload_retention_days: int  # PAYLOAD_RETENTION_DAYS: then sealed payloads are erased
    masked_retention_days: int  # MASKED_RETENTION_DAYS: then masked payloads are erased
    audit_retention_days: int  # AUDIT_RETENTION_DAYS: then audit rows are deleted
    partner_package: str  # PARTNER_PACKAGE: where handlers, models and templates are found
    doubts: tuple[str, ...]  # no setting: what a start has to say of the others, a sentence each, without a value

    @property
    def webhook_path(self) -> str:
        """Where Senang.io delivers, as it is seen from outside."""
        return self.script_name + WEBHOOK_PATH

    @cached_property
    def showing(self) -> Showing:
        """How texts that a sender chose are shown to people."""
        return Showing(self.secret_key)

    def read_event(self, body: bytes, received_at: datetime | None = None) -> Event:
        """The event that the bytes describe, read as these settings say. Raises UnusablePayload."""
        return parse_event(body, self.payload_fields, self.timestamp_zone, received_at)


def load_env_file(path: Path) -> None:
    """Set what the file says where the environment says nothing. An empty variable says nothing.

    PYTHON_DOTENV_DISABLED=1 keeps every file out, as python-dotenv has it.
    """
    if os.environ.get("PYTHON_DOTENV_DISABLED", "").lower() in ("1", "true", "t", "yes", "y"):
        return
    for name, value in dotenv_values(path).items():
        if value and not os.environ.get(name, "").strip():
            os.environ[name] = value


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the process, or of `environ` alone.

    Raises ConfigurationError with every mistake found.
    """
    source = {k: v for k, v in (os.environ if environ is None else environ).items() if v.strip()}
    env = _Environment(source)
    values = _read(env, on_platform=any(name in source for name in PLATFORMS))
    _check_server(env)
    doubts = env.note_misspelt("SENANG_")
    mistakes = env.mistakes()
    if not mistakes:
        mistakes = _unsafe(values, source)
        doubts += _weak(values, source)
    if values["environment"] == "live":
        mistakes, doubts = mistakes + doubts, []
    if mistakes:
        raise ConfigurationError(mistakes)
    return Settings(**values, doubts=(*doubts, *env.unknown("SENANG_")))


class _Environment(Env):
    """environs, reading one mapping instead of the process's environment, and noting every mistake."""

    def __init__(self, source: Mapping[str, str]) -> None:
        super().__init__(eager=False, expand_vars=False)
        self._source = source
        self._asked = set(READ_BY_COMMANDS)

    def _get_value(self, env_key: str, default: Any) -> Any:
        self._asked.add(env_key)
        return self._source.get(env_key, default)

    def parsed(self, name: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
        """What `parse` makes of the setting's text; its typed errors become mistakes."""
        raw = self._get_value(name, default)
        if raw is None:
            self._errors[name].append("is not set. `flask --app wsgi init` writes a .env with fresh secrets.")
            return None
        try:
            return parse(raw)
        except (InvalidScheme, UnusableSecret, UnusableKey, UnusableUrl, UnusablePath, UnusableToken) as error:
            self._errors[name].append(f"cannot be used: {error}")
            return None

    def note(self, name: str, mistake: str) -> None:
        """One more mistake, a sentence without a value."""
        self._errors[name].append(mistake)

    def note_misspelt(self, prefix: str) -> list[str]:
        """Note what has our prefix, looks like a setting and is none. Returns the doubts about other names."""
        ours = [name.removeprefix(prefix) for name in sorted(self._asked) if name.startswith(prefix)]
        others = [name for name in sorted(self._asked) if not name.startswith(prefix) and name != "PORT"]
        doubts = []
        for name in sorted(self._source.keys() - self._asked):
            if name.startswith(prefix):
                if nearest := get_close_matches(name.removeprefix(prefix), ours, n=1, cutoff=LIKENESS):
                    self.note(name, f"is no setting. Is {prefix}{nearest[0]} meant?")
                continue
            nearest = get_close_matches(name, others, n=1, cutoff=LIKENESS_OF_OTHERS)
            if nearest and f"_{nearest[0]}_" not in f"_{name}_":  # DATABASE_URL_2 is somebody's own
                doubts.append(f"{name}: is no setting. Is {nearest[0]} meant?")
        return doubts

    def unknown(self, prefix: str) -> list[str]:
        """A sentence for each name that has our prefix and is no setting. It may be the partner's own."""
        known = sorted(self._asked.difference(READ_BY_COMMANDS))
        ours = [name.removeprefix(prefix).split("_") for name in known if name.startswith(prefix)]
        found = []
        for name in sorted(self._source.keys() - self._asked):
            theirs = name.removeprefix(prefix).split("_")
            if name.startswith(prefix):
                meant = next((it for it in ours if _is_part_of(theirs, it)), None)
                hint = f" Is {prefix}{'_'.join(meant)} meant?" if meant else ""
                found.append(f"{name}: is no setting of the receiver, which leaves it alone.{hint}")
        return found

    def mistakes(self) -> list[str]:
        """A sentence for each setting that is missing or wrong."""
        return [f"{name}: {' '.join(messages)}" for name, messages in sorted(self._errors.items())]


def _read(env: _Environment, *, on_platform: bool) -> dict[str, Any]:
    environment = env.str("SENANG_ENVIRONMENT", "sandbox", validate=OneOf(["sandbox", "live"]))
    scheme = env.parsed("SENANG_SIGNATURE_SCHEME", lambda preset: _scheme(preset, env), "standard-webhooks")
    payload_fields = env.parsed("SENANG_PAYLOAD_FIELDS", fields_from, "")
    return {
        "database_url": _database(env),
        "environment": environment,
        "log_level": env.str("LOG_LEVEL", "INFO", validate=OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])),
        "scheme": scheme,
        "webhook_secrets": tuple(env.str("SENANG_WEBHOOK_SECRETS", "").split(",")),
        "signature_keys": env.parsed("SENANG_WEBHOOK_SECRETS", lambda text: _keys(scheme, text)),
        "timestamp_tolerance": timedelta(seconds=_whole(env, "SENANG_TIMESTAMP_TOLERANCE", 300, 1, 86400)),
        "payload_fields": payload_fields,
        "timestamp_zone": env.parsed("SENANG_TIMESTAMP_ZONE", zone_from, ""),
        "changing_fields": env.parsed(
            "SENANG_CHANGING_FIELDS", lambda text: changing_from(text, payload_fields or DEFAULT_FIELDS), ""
        ),
        "partner_package": env.str("PARTNER_PACKAGE", "app"),
        "partner_id": env.str("SENANG_PARTNER_ID", ""),
        "payload_keys": env.parsed("PAYLOAD_KEYS", _payload_keys),
        "secret_key": env.parsed("SECRET_KEY", _session_secret),
        "metrics_token": env.parsed("METRICS_TOKEN", _bearer_token, ""),
        "trusted_proxies": _whole(env, "TRUSTED_PROXIES", int(on_platform), 0, 10),
        "script_name": env.parsed("SCRIPT_NAME", _path_prefix, ""),
        "require_https": env.bool("REQUIRE_HTTPS", on_platform or environment == "live"),
        "embedded_worker": env.bool("EMBEDDED_WORKER", True),
        "worker_processes": _whole(env, "WORKER_PROCESSES", 1, 1, 64),
        "worker_batch": _whole(env, "WORKER_BATCH", 256, 1, 1000),
        "handler_timeout": env.float("HANDLER_TIMEOUT", 30.0, validate=Range(0.1, 3600)) or 30.0,
        "max_attempts": _whole(env, "MAX_ATTEMPTS", 16, 1, 100),
        "fast_lane": env.bool("FAST_LANE", True),
        "keep_alive_seconds": _whole(env, "KEEP_ALIVE_SECONDS", 650, 1, 3600),
        "max_body_bytes": _whole(env, "MAX_BODY_BYTES", 1024 * 1024, 1024, 64 * 1024 * 1024),
        "payload_retention_days": _whole(env, "PAYLOAD_RETENTION_DAYS", 90, 7, 3650),
        "masked_retention_days": _whole(env, "MASKED_RETENTION_DAYS", 365, 7, 3650),
        "audit_retention_days": _whole(env, "AUDIT_RETENTION_DAYS", 730, AUDIT_HORIZON_DAYS, 36500),
    }


def _database(env: _Environment) -> str | None:
    url: str | None = env.parsed("DATABASE_URL", normalise_url, DEFAULT_DATABASE)
    direct_url = env.parsed("DATABASE_DIRECT_URL", _postgresql, "")
    pooler = env.bool("DATABASE_POOLER", False)
    if not (pooler and url) or url.startswith("sqlite"):
        return url
    if "options" in make_url(url).query:
        env.note("DATABASE_URL", "a pooler in transaction mode passes no options on: leave them out.")
    return through_pooler(url, direct_url)


def _postgresql(text: str) -> str:
    url = normalise_url(text) if text else ""
    if url and make_url(url).get_backend_name() != "postgresql":
        raise UnusableUrl("only PostgreSQL has poolers.")
    return url


def _check_server(env: _Environment) -> None:
    """What is read elsewhere, by gunicorn.conf.py or Flask, before it has to fail there."""
    for name in ("TLS_CERTFILE", "TLS_KEYFILE", "FLASK_DEBUG"):
        env.str(name, "")
    env.int("PORT", None, validate=Range(0, 65535))
    env.int("WEB_CONCURRENCY", None, validate=Range(1, 256))


def _whole(env: _Environment, name: str, default: int, low: int, high: int) -> int:
    value = env.int(name, default, validate=Range(low, high))
    return default if value is None else value


def _scheme(preset: str, env: _Environment) -> SignatureScheme:
    overrides = {axis: env.str(f"SENANG_SIGNATURE_{axis.upper()}", "") for axis in SCHEME_AXES}
    return scheme_from(preset, {axis: value for axis, value in overrides.items() if value})


def _keys(scheme: SignatureScheme | None, text: str) -> tuple[bytes, ...]:
    if scheme is None:
        return ()
    return tuple(key_bytes(scheme, secret) for secret in text.split(","))


def _path_prefix(text: str) -> str:
    """Without a slash at its end, as WSGI wants it. A prefix that begins like a page could not be told from it."""
    prefix = text.rstrip("/")
    if not re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*", prefix):
        raise UnusablePath("it begins with / and has letters, digits, -, _, . and ~ between slashes, such as /pay.")
    if prefix.split("/")[1:2] and prefix.split("/")[1] in OWN_PATHS:
        raise UnusablePath("the receiver has a page or route of that name itself.")
    return prefix


def _session_secret(text: str) -> str:
    if is_unfilled(text):
        raise UnusableSecret("placeholder")
    if len(text) < LEAST_SESSION_SECRET_LENGTH or len(set(text)) < 8:
        raise UnusableSecret("too_short")
    return text


def _bearer_token(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise UnusableToken("a bearer token has letters, digits and -._~+/ only, and = at its end (RFC 6750).")
    if is_unfilled(text):
        raise UnusableToken("placeholder")
    return text


def _payload_keys(text: str) -> tuple[SealingKey, ...]:
    if any(map(is_unfilled, text.split(","))):
        raise UnusableKey("placeholder")
    return parse_keys(text)


def _is_part_of(theirs: list[str], ours: list[str]) -> bool:
    """Whether the words are how ours begin or end: ENV for ENVIRONMENT, SECRET for WEBHOOK_SECRETS."""
    return any(
        len(part) == len(theirs) and all(b.startswith(a) for a, b in zip(theirs, part, strict=True))
        for part in (ours[: len(theirs)], ours[-len(theirs) :])
    )


def _weak(values: Mapping[str, Any], source: Mapping[str, str]) -> list[str]:
    """Secrets that work, and that somebody could guess or look up. A sentence for each setting that has one."""
    readable = "everybody can read or guess it. `flask --app wsgi init` makes fresh secrets."
    found = []
    if any(map(is_published, values["webhook_secrets"])) or any(map(is_repeated, values["signature_keys"])):
        found.append("SENANG_WEBHOOK_SECRETS: everybody can read or guess one of them. Use what Senang.io gave you.")
    elif min(map(len, values["signature_keys"])) < LEAST_LIVE_KEY_BYTES:
        found.append(f"SENANG_WEBHOOK_SECRETS: a key of less than {LEAST_LIVE_KEY_BYTES} bytes can be guessed.")
    if any(map(is_guessable, source["PAYLOAD_KEYS"].split(","))):
        found.append(f"PAYLOAD_KEYS: {readable}")
    if is_guessable(values["secret_key"]):
        found.append(f"SECRET_KEY: {readable}")
    if token := values["metrics_token"]:
        if len(token) < LEAST_TOKEN_LENGTH:
            found.append(f"METRICS_TOKEN: less than {LEAST_TOKEN_LENGTH} characters can be guessed.")
        elif is_guessable(token):
            found.append("METRICS_TOKEN: everybody can read or guess it.")
    return found


def _unsafe(values: Mapping[str, Any], source: Mapping[str, str]) -> list[str]:
    """Combinations that each look right and together are not safe."""
    found = []
    live = values["environment"] == "live"
    embedded_database = make_url(values["database_url"]).get_backend_name() == "sqlite"
    if embedded_database and any(name in source for name in PLATFORMS):
        found.append("DATABASE_URL: SQLite on a platform whose disk does not last would lose every event.")
    elif live and "DATABASE_URL" not in source:
        found.append("DATABASE_URL: is not set, or empty: a live receiver does not choose its database by itself.")
    if embedded_database and sqlite3.sqlite_version_info < OLDEST_SQLITE:
        found.append(
            f"DATABASE_URL: SQLite {sqlite3.sqlite_version} is too old, for it can't do what is needed here."
            f" Use {'.'.join(map(str, OLDEST_SQLITE))} or newer, or PostgreSQL."
        )
    if live and source.get("FLASK_DEBUG", "0").lower() not in ("0", "false", "no"):
        found.append("FLASK_DEBUG: debug mode is refused in the live environment.")
    if live and (weak := weakness(values["scheme"])):
        found.append(f"SENANG_SIGNATURE_{weak.field.upper()}: {weak.reason} It is refused in the live environment.")
    if live and not values["require_https"]:
        found.append("REQUIRE_HTTPS: may not be turned off in the live environment (§3.1).")
    if values["masked_retention_days"] < values["payload_retention_days"]:
        found.append("MASKED_RETENTION_DAYS: must not be shorter than PAYLOAD_RETENTION_DAYS.")
    if bool(source.get("TLS_CERTFILE")) != bool(source.get("TLS_KEYFILE")):
        found.append("TLS_CERTFILE and TLS_KEYFILE: both or neither.")
    elif source.get("TLS_CERTFILE") and not _belong_together(source["TLS_CERTFILE"], source["TLS_KEYFILE"]):
        found.append(
            "TLS_CERTFILE and TLS_KEYFILE: they can't be used. Both must be readable files in PEM form, without a"
            " passphrase, and the key must be that of the certificate."
        )
    return found


def _belong_together(certificate: str, key: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return False
    return True
