"""Every setting, once, with its comment. To add one: a field here, a line in docs/settings.md and in .env.example.

`load_settings()` reads the environment, lists all mistakes at once by name (never by value) and refuses
combinations that are unsafe (receiver/settings/checks.py). What may well be a mistake, and would hurt a first try if it
were refused, is a doubt: `live` refuses it, and in a sandbox the start says it. An entry point that catches
`ConfigurationError` exits with 78 (EX_CONFIG).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any

from marshmallow.validate import Length, OneOf, Range
from sqlalchemy.engine import make_url

from receiver.database.engine import through_pooler
from receiver.database.url import normalise_url
from receiver.discovery import partner_package
from receiver.privacy.columns import Showing
from receiver.privacy.person import Field, PersonIndex
from receiver.privacy.sealing import SealingKey
from receiver.protocol.documents import documents
from receiver.protocol.envelope import (
    DEFAULT_FIELDS,
    Event,
    changing_from,
    events_from,
    fields_from,
    parse_event,
    zone_from,
)
from receiver.protocol.errors import UnusablePayload
from receiver.protocol.kept import Kept, unpack
from receiver.protocol.places import LONGEST_HEADER, Beside, Places
from receiver.protocol.schemes import SignatureScheme, key_bytes, scheme_from
from receiver.protocol.weaknesses import Weakness, accepted_from, weaknesses
from receiver.settings import budget
from receiver.settings.checks import Read, consequences, unsafe, weak
from receiver.settings.env_file import doubts_of
from receiver.settings.openid import OpenId
from receiver.settings.platforms import NAMES, UNKNOWN, Platform, platform_of
from receiver.settings.source import Source
from receiver.settings.values import (
    alert_urls,
    bearer_token,
    header_name,
    index_keys,
    optional_address,
    password_hash,
    path_prefix,
    person_fields,
    postgresql_url,
    sealing_keys,
    session_secret,
    user_name,
    web_address,
)

EXIT_CONFIGURATION = 78
WEBHOOK_PATH = "/webhooks/senang"
LONGEST_NAME = 60
DEFAULT_DATABASE = "sqlite:///instance/receiver.db"
AUDIT_HORIZON_DAYS = 365  # the database itself refuses to delete audit rows younger than this
DELIVERY_SECONDS = 2.5  # for all that is to be stored of one, from when it was read: the answer is out within 3 s
DOCKER_STOP_SECONDS = 10  # what containers get where nobody says anything else
OPENTELEMETRY, SENTRY = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"), "sentry-sdk"
"""Packages that a partner adds, or not."""
SCHEME_AXES = tuple(field.name for field in fields(SignatureScheme) if field.name != "name")
FORMAT = (
    "SENANG_SIGNATURE_SCHEME", *(f"SENANG_SIGNATURE_{axis.upper()}" for axis in SCHEME_AXES),
    "SENANG_PAYLOAD_FIELDS", "SENANG_PAYLOAD_EVENTS", "SENANG_TIMESTAMP_ZONE",
)  # fmt: skip
"""The settings of how deliveries are signed and read: what the doctor finds out, and what an operator may apply."""


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
    database_connections: int | None  # DATABASE_CONNECTIONS: the most that one machine opens; see `connections`
    log_level: str  # LOG_LEVEL: INFO has a line per delivery and attempt
    environment: str  # SENANG_ENVIRONMENT: sandbox or live (§8.3)
    scheme: SignatureScheme  # SENANG_SIGNATURE_SCHEME and its overrides, one per axis
    webhook_secrets: tuple[str, ...]  # SENANG_WEBHOOK_SECRETS, newest first, as they were written
    signature_keys: tuple[bytes, ...]  # what the scheme makes of them; any may match
    timestamp_tolerance: timedelta  # SENANG_TIMESTAMP_TOLERANCE: seconds, past and future alike
    accepted_weaknesses: frozenset[str]  # SENANG_ACCEPTED_WEAKNESSES: codes that `live` takes on purpose
    payload_fields: Mapping[str, str]  # SENANG_PAYLOAD_FIELDS: the place of each envelope field
    payload_events: str  # SENANG_PAYLOAD_EVENTS: the dotted path of a list of events in the body, or of the one event
    timestamp_zone: tzinfo | None  # SENANG_TIMESTAMP_ZONE: for moments that name no zone; without it nobody guesses
    changing_fields: tuple[str, ...]  # SENANG_CHANGING_FIELDS: dotted paths in which one event's deliveries may differ
    partner_id: str  # SENANG_PARTNER_ID: for support requests (§12.2)
    payload_keys: tuple[SealingKey, ...]  # PAYLOAD_KEYS: sealing keys, newest first
    secret_key: str  # SECRET_KEY: signs the sessions of the events page
    first_operator_name: str  # FIRST_OPERATOR_NAME: is added while there is no operator; empty: a link in the log
    first_operator_hash: str  # FIRST_OPERATOR_PASSWORD_HASH: what `flask users hash` prints
    session_length: timedelta  # SESSION_HOURS: after so long a session ends, however busy it was
    session_idle: timedelta | None  # SESSION_IDLE_MINUTES: a session that nobody uses for so long ends; 0: it does not
    sign_in_attempts: int  # SIGN_IN_ATTEMPTS: refused tries that a name has from one address
    sign_in_attempts_anywhere: int  # SIGN_IN_ATTEMPTS_ANYWHERE: from all addresses
    sign_in_lockout: timedelta  # SIGN_IN_LOCKOUT_MINUTES: so long a name is closed afterwards
    require_second_factor: bool  # REQUIRE_SECOND_FACTOR: who signs in by a password has to set one up first
    password_sign_in: bool  # PASSWORD_SIGN_IN: 0 lets people in at the OpenID provider alone
    openid: OpenId | None  # OIDC_ISSUER and the other OIDC_ settings
    metrics_token: str  # METRICS_TOKEN: bearer token of /metrics; empty turns the route off
    platform: Platform | None  # HOSTING_PLATFORM: its row in platforms.py; else the one that its variables name
    client_address_header: str  # CLIENT_ADDRESS_HEADER: in which the router names the client
    forwarded_for_hops: int  # FORWARDED_FOR_HOPS: routers that write X-Forwarded-For, where no header names the client
    forwarded_proto_hops: int  # FORWARDED_PROTO_HOPS: routers that write X-Forwarded-Proto
    forwarded_host_hops: int  # FORWARDED_HOST_HOPS: routers that write X-Forwarded-Host
    script_name: str  # SCRIPT_NAME: the path under which a router serves the receiver; empty at its root
    require_https: bool  # REQUIRE_HTTPS: refuse plain HTTP
    embedded_worker: bool  # EMBEDDED_WORKER: gunicorn keeps a worker process beside its web workers
    worker_processes: int  # WORKER_PROCESSES: processes of `flask worker`
    slow_processes: int  # SLOW_PROCESSES: worker processes beside these, for follow-ups and slow handlers alone
    worker_batch: int  # WORKER_BATCH: the most events that a worker leases at once
    handler_timeout: float  # HANDLER_TIMEOUT: seconds that one attempt may take
    follow_ups: bool  # FOLLOW_UPS: workers do what handlers ask for; 0 leaves it, in a rehearsal or a copy
    max_attempts: int  # MAX_ATTEMPTS: attempts before an event is dead; 16 reach over at least a day
    fast_lane: str  # FAST_LANE: auto lets plain deliveries past Flask while nobody else listens to requests; 0 never
    keep_alive_seconds: int  # KEEP_ALIVE_SECONDS: a connection may be idle for so long; longer than routers keep it
    stop_seconds: int  # STOP_SECONDS: what still runs so long after SIGTERM is killed; stopping.py shares it out
    max_body_bytes: int  # MAX_BODY_BYTES: larger deliveries are answered 413
    payload_retention_days: int  # PAYLOAD_RETENTION_DAYS: then sealed payloads are erased
    masked_retention_days: int  # MASKED_RETENTION_DAYS: then masked payloads are erased
    audit_retention_days: int  # AUDIT_RETENTION_DAYS: then audit rows are deleted
    subject_fields: tuple[Field, ...]  # SUBJECT_FIELDS: where payloads name a person; empty: nobody can be found
    subject_index_keys: tuple[SealingKey, ...]  # SUBJECT_INDEX_KEYS: keys of the index of people, newest first
    name: str  # RECEIVER_NAME: what pages, the session's cookie and log lines call it; empty: "Senang.io receiver"
    partner_package: str  # PARTNER_PACKAGE: where handlers, models and templates are found
    port: int | None  # PORT: gunicorn listens on it at every address; without one, on 127.0.0.1:8000
    web_concurrency: int | None  # WEB_CONCURRENCY: gunicorn's web processes; see `web_processes`
    tls_certfile: str  # TLS_CERTFILE: the certificate, where no router terminates TLS; empty where one does
    tls_keyfile: str  # TLS_KEYFILE: the certificate's key
    alert_urls: tuple[str, ...]  # ALERT_URLS: where alerts go, as apprise writes addresses
    alert_heartbeat_url: str  # ALERT_HEARTBEAT_URL: is asked every two minutes while all is well
    otlp_endpoint: str  # OTEL_EXPORTER_OTLP_ENDPOINT: where OpenTelemetry's spans go; needs packages of the partner's
    sentry_dsn: str  # SENTRY_DSN: where errors are reported; needs a package of the partner's
    relay_secret: str  # RELAY_SECRET: of the receiver to which `senang relay` passes events on; empty: it asks
    delivery_seconds: float = DELIVERY_SECONDS  # no setting: longer in tests, for their machine may be busy
    format_set: tuple[str, ...]  # no setting: which of FORMAT the environment sets; then nothing else counts
    applied: Mapping[str, str]  # no setting: those of FORMAT that an operator applied, and that are in force
    doubts: tuple[str, ...]  # no setting: what a start has to say of the others, a sentence each, without a value

    @property
    def may_be_applied(self) -> bool:
        """Whether what an operator applies on the page counts: in a sandbox whose environment sets none of FORMAT."""
        return self.environment == "sandbox" and not self.format_set

    @property
    def webhook_path(self) -> str:
        """Where Senang.io delivers, as it is seen from outside."""
        return self.script_name + WEBHOOK_PATH

    @property
    def sends_alerts(self) -> bool:
        """Whether anything is told of what needs a person. A rehearsal or a copy (FOLLOW_UPS=0) tells nobody."""
        return self.follow_ups and bool(self.alert_urls or self.alert_heartbeat_url)

    @property
    def traces_to(self) -> str:
        """Where spans go. Empty: nowhere. A rehearsal or a copy (FOLLOW_UPS=0) sends none."""
        return self.otlp_endpoint if self.follow_ups else ""

    @property
    def reports_to(self) -> str:
        """Where errors are reported. Empty: nowhere. A rehearsal or a copy (FOLLOW_UPS=0) reports none."""
        return self.sentry_dsn if self.follow_ups else ""

    @property
    def web_processes(self) -> int:
        """How many web processes gunicorn starts. SQLite has one writer: a second process would only wait for it."""
        return self.web_concurrency or (1 if self.database_url.startswith("sqlite") else budget.WEB_PROCESSES)

    @property
    def beside_web(self) -> int | None:
        """How many worker processes run beside gunicorn's web processes. None: no worker does."""
        return self.worker_processes + self.slow_processes if self.embedded_worker else None

    @property
    def connections(self) -> int:
        """The most connections to PostgreSQL that gunicorn opens, with all that it starts."""
        return self.database_connections or budget.usual(self.web_processes, self.beside_web)

    @property
    def least_connections(self) -> int:
        """With fewer, gunicorn and what it starts can't work."""
        return budget.least(self.web_processes, self.beside_web)

    @cached_property
    def share(self) -> budget.Share:
        """The part of these that one web process may open."""
        if self.database_url.startswith("sqlite"):
            return budget.Share(budget.ON_SQLITE, budget.ON_SQLITE)
        return budget.share(self.connections, self.web_processes, self.beside_web)

    @cached_property
    def showing(self) -> Showing:
        """How texts that a sender chose are shown to people."""
        return Showing(self.secret_key)

    @cached_property
    def person_index(self) -> PersonIndex | None:
        """What finds one person's events. None where SUBJECT_FIELDS is empty."""
        return PersonIndex(self.subject_fields, self.subject_index_keys) if self.subject_fields else None

    @cached_property
    def weaknesses(self) -> tuple[Weakness, ...]:
        """All that is weak about how deliveries are signed."""
        return weaknesses(self.scheme, self.payload_fields)

    @cached_property
    def request_headers(self) -> tuple[str, ...]:
        """The headers that a delivery is verified and read by, in lower case."""
        return tuple(dict.fromkeys((*self.scheme.headers, *self._places.headers)))

    @cached_property
    def _holds_objects(self) -> bool:
        """Whether a body that is a JSON object is the event."""
        return self.scheme.vouched_format == "json" and not self.payload_events

    @cached_property
    def _places(self) -> Places:
        return self.payload_fields if isinstance(self.payload_fields, Places) else Places(self.payload_fields, {})

    def documents(self, body: bytes, beside: Beside) -> list[Kept]:
        """The events in a body that is authentic, each as it is to be kept. Raises UnusablePayload."""
        if body.startswith(b"{") and self._holds_objects:
            return [Kept(body, beside, self.scheme.coverage)]
        found = documents(
            body,
            body_format=self.scheme.vouched_format,
            events=self.payload_events,
            most_bytes=self.max_body_bytes,
            is_packed=self.scheme.signs_body,
        )
        return [Kept(document, beside, self.scheme.coverage) for document in found]

    def beside(self, headers: Mapping[str, str], now: datetime) -> Beside:
        """What of a delivery's headers and moment the envelope's fields may come from."""
        places = self._places
        used = {name: headers[name][:LONGEST_HEADER] for name in places.headers if headers.get(name)}
        return Beside(used, now if places.needs_arrival else None)

    def read_event(
        self, sealed: bytes, received_at: datetime | None = None, *, is_ours: bool = False, is_parsed: bool = True
    ) -> Event:
        """The event in the bytes that were sealed, read as these settings say.

        A follow-up `is_ours`: it has our own fields. Bytes that were not parsed when they came are read in the present
        format. Raises UnusablePayload.
        """
        kept = unpack(sealed)
        return self.read_kept(kept if is_parsed else self.parsed(kept), received_at, is_ours=is_ours)

    def parsed(self, raw: Kept) -> Kept:
        """The one event in a body that could not be read when it came. Raises UnusablePayload."""
        found = self.documents(raw.body, raw.beside)
        if len(found) > 1:
            raise UnusablePayload({"body": ["several_events"]})
        return found[0]._replace(coverage=raw.coverage)

    def read_kept(self, kept: Kept, received_at: datetime | None = None, *, is_ours: bool = False) -> Event:
        """The event in a document. Raises UnusablePayload."""
        return parse_event(
            kept.body,
            DEFAULT_FIELDS if is_ours else self.payload_fields,
            self.timestamp_zone,
            received_at,
            beside=kept.beside,
            coverage=kept.coverage,
            signed_headers=self.scheme.signed_headers,
        )


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the process, or of `environ` alone.

    Raises ConfigurationError with every mistake found.
    """
    source = {k: v for k, v in (os.environ if environ is None else environ).items() if v.strip()}
    env = Source(source)
    values = _read(env, platform_of(source))
    doubts = env.note_misspelt("SENANG_") + (doubts_of() if environ is None else [])
    mistakes = env.mistakes()
    if not mistakes:
        read = Read(values, source)
        mistakes, doubts = unsafe(read), doubts + weak(read)
    if values["environment"] == "live":
        mistakes, doubts = mistakes + doubts, []
    if mistakes:
        raise ConfigurationError(mistakes)
    format_set = tuple(name for name in FORMAT if name in source)
    return Settings(
        **values, format_set=format_set, applied={}, doubts=(*doubts, *consequences(read), *env.unknown("SENANG_"))
    )


def with_applied(settings: Settings, applied: Mapping[str, str]) -> Settings:
    """The same settings with these of FORMAT. Raises ConfigurationError when they can't be used."""
    env = Source({**applied, "SENANG_WEBHOOK_SECRETS": ",".join(settings.webhook_secrets)})
    values = _format(env)
    for name in applied.keys() - set(FORMAT):
        env.note(name, "can't be applied.")
    if mistakes := env.mistakes():
        raise ConfigurationError(mistakes)
    return replace(settings, **values, applied=applied)


def _format(env: Source) -> dict[str, Any]:
    """How deliveries are signed and read."""
    scheme = env.parsed("SENANG_SIGNATURE_SCHEME", lambda preset: _scheme(preset, env), "standard-webhooks")
    return {
        "scheme": scheme,
        "signature_keys": env.parsed("SENANG_WEBHOOK_SECRETS", lambda text: _keys(scheme, text)),
        "payload_fields": env.parsed("SENANG_PAYLOAD_FIELDS", lambda text: fields_from(text, scheme), ""),
        "payload_events": env.parsed("SENANG_PAYLOAD_EVENTS", events_from, ""),
        "timestamp_zone": env.parsed("SENANG_TIMESTAMP_ZONE", zone_from, ""),
    }


def _read(env: Source, platform: Platform | None) -> dict[str, Any]:
    environment = env.str("SENANG_ENVIRONMENT", "sandbox", validate=OneOf(["sandbox", "live"]))
    format_ = _format(env)
    payload_fields = format_["payload_fields"]
    return {
        **format_,
        "database_url": _database(env),
        "database_connections": env.int("DATABASE_CONNECTIONS", None, validate=Range(1, 10_000)),
        "environment": environment,
        "log_level": env.str("LOG_LEVEL", "INFO", validate=OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])),
        "webhook_secrets": tuple(env.str("SENANG_WEBHOOK_SECRETS", "").split(",")),
        "timestamp_tolerance": timedelta(seconds=env.whole("SENANG_TIMESTAMP_TOLERANCE", 300, 1, 86400)),
        "accepted_weaknesses": env.parsed("SENANG_ACCEPTED_WEAKNESSES", accepted_from, ""),
        "changing_fields": env.parsed(
            "SENANG_CHANGING_FIELDS", lambda text: changing_from(text, payload_fields or DEFAULT_FIELDS), ""
        ),
        "name": env.str("RECEIVER_NAME", "", validate=Length(max=LONGEST_NAME)),
        "partner_package": env.parsed("PARTNER_PACKAGE", partner_package, "app"),
        "port": env.int("PORT", None, validate=Range(0, 65535)),
        "web_concurrency": env.int("WEB_CONCURRENCY", None, validate=Range(1, 256)),
        "tls_certfile": env.str("TLS_CERTFILE", "").strip(),
        "tls_keyfile": env.str("TLS_KEYFILE", "").strip(),
        "alert_urls": env.parsed("ALERT_URLS", alert_urls, ""),
        "alert_heartbeat_url": env.parsed("ALERT_HEARTBEAT_URL", web_address, ""),
        "otlp_endpoint": env.parsed("OTEL_EXPORTER_OTLP_ENDPOINT", optional_address(*OPENTELEMETRY), ""),
        "sentry_dsn": env.parsed("SENTRY_DSN", optional_address(SENTRY), ""),
        "relay_secret": env.str("RELAY_SECRET", "").strip(),
        "partner_id": env.str("SENANG_PARTNER_ID", ""),
        "payload_keys": env.parsed("PAYLOAD_KEYS", sealing_keys),
        "subject_fields": env.parsed("SUBJECT_FIELDS", person_fields, ""),
        "subject_index_keys": env.parsed("SUBJECT_INDEX_KEYS", index_keys, ""),
        "secret_key": env.parsed("SECRET_KEY", session_secret),
        "first_operator_name": env.parsed("FIRST_OPERATOR_NAME", user_name, ""),
        "first_operator_hash": env.parsed("FIRST_OPERATOR_PASSWORD_HASH", password_hash, ""),
        **_sign_in(env),
        "metrics_token": env.parsed("METRICS_TOKEN", bearer_token, ""),
        **_router(env, platform),
        "script_name": env.parsed("SCRIPT_NAME", path_prefix, ""),
        "require_https": env.bool("REQUIRE_HTTPS", platform is not None or environment == "live"),
        "embedded_worker": env.bool("EMBEDDED_WORKER", True),
        "follow_ups": env.bool("FOLLOW_UPS", True),
        "worker_processes": env.whole("WORKER_PROCESSES", 1, 1, 64),
        "slow_processes": env.whole("SLOW_PROCESSES", 0, 0, 64),
        "worker_batch": env.whole("WORKER_BATCH", 256, 1, 1000),
        "handler_timeout": env.float("HANDLER_TIMEOUT", 30.0, validate=Range(0.1, 3600)) or 30.0,
        "max_attempts": env.whole("MAX_ATTEMPTS", 16, 1, 100),
        "fast_lane": env.str("FAST_LANE", "auto", validate=OneOf(["auto", "0"])),
        "keep_alive_seconds": env.whole("KEEP_ALIVE_SECONDS", 650, 1, 3600),
        "stop_seconds": env.whole("STOP_SECONDS", platform.stop_seconds if platform else DOCKER_STOP_SECONDS, 2, 3600),
        "max_body_bytes": env.whole("MAX_BODY_BYTES", 1024 * 1024, 1024, 64 * 1024 * 1024),
        "payload_retention_days": env.whole("PAYLOAD_RETENTION_DAYS", 90, 7, 3650),
        "masked_retention_days": env.whole("MASKED_RETENTION_DAYS", 365, 7, 3650),
        "audit_retention_days": env.whole("AUDIT_RETENTION_DAYS", 730, AUDIT_HORIZON_DAYS, 36500),
    }


def _sign_in(env: Source) -> dict[str, Any]:
    """How people sign in, and for how long. docs/security.md names the values that meet PCI DSS."""
    idle = env.whole("SESSION_IDLE_MINUTES", 60, 0, 1440)
    return {
        "session_length": timedelta(hours=env.whole("SESSION_HOURS", 12, 1, 168)),
        "session_idle": timedelta(minutes=idle) if idle else None,
        "sign_in_attempts": env.whole("SIGN_IN_ATTEMPTS", 10, 3, 100),
        "sign_in_attempts_anywhere": env.whole("SIGN_IN_ATTEMPTS_ANYWHERE", 50, 3, 1000),
        "sign_in_lockout": timedelta(minutes=env.whole("SIGN_IN_LOCKOUT_MINUTES", 15, 1, 1440)),
        "require_second_factor": env.bool("REQUIRE_SECOND_FACTOR", False),
        "password_sign_in": env.bool("PASSWORD_SIGN_IN", True),
        "openid": _openid(env),
    }


def _openid(env: Source) -> OpenId | None:
    openid = OpenId(
        issuer=env.parsed("OIDC_ISSUER", web_address, "") or "",
        client_id=env.str("OIDC_CLIENT_ID", "").strip(),
        client_secret=env.str("OIDC_CLIENT_SECRET", "").strip(),
        redirect_uri=env.parsed("OIDC_REDIRECT_URI", web_address, "") or "",
        scopes=env.str("OIDC_SCOPES", "openid profile email").strip(),
        role_claim=env.str("OIDC_ROLE_CLAIM", "roles").strip(),
        operator_values=_listed(env.str("OIDC_OPERATOR_VALUES", "")),
        viewer_values=_listed(env.str("OIDC_VIEWER_VALUES", "")),
    )
    return openid if openid.issuer else None


def _listed(text: str) -> frozenset[str]:
    return frozenset(filter(None, map(str.strip, text.split(","))))


def _router(env: Source, platform: Platform | None) -> dict[str, Any]:
    """Who stands in front of us. What is set for the client's address replaces what the platform's row says of it."""
    env.str("HOSTING_PLATFORM", "", validate=OneOf(["", UNKNOWN, *NAMES]))
    header = env.parsed("CLIENT_ADDRESS_HEADER", header_name, "") or ""
    hops = env.int("FORWARDED_FOR_HOPS", None, validate=Range(0, 10))
    if header and hops:
        env.note("CLIENT_ADDRESS_HEADER", "is one way to know the client, and FORWARDED_FOR_HOPS another. Set one.")
    if platform and not header and hops is None:
        header, hops = platform.client_header, platform.for_hops
    return {
        "platform": platform,
        "client_address_header": header,
        "forwarded_for_hops": hops or 0,
        "forwarded_proto_hops": env.whole("FORWARDED_PROTO_HOPS", platform.proto_hops if platform else 0, 0, 10),
        "forwarded_host_hops": env.whole("FORWARDED_HOST_HOPS", 0, 0, 10),
    }


def _database(env: Source) -> str | None:
    url: str | None = env.parsed("DATABASE_URL", normalise_url, DEFAULT_DATABASE)
    direct_url = env.parsed("DATABASE_DIRECT_URL", postgresql_url, "")
    pooler = env.bool("DATABASE_POOLER", False)
    if not (pooler and url) or url.startswith("sqlite"):
        return url
    if "options" in make_url(url).query:
        env.note("DATABASE_URL", "a pooler in transaction mode passes no options on: leave them out.")
    return through_pooler(url, direct_url)


def _scheme(preset: str, env: Source) -> SignatureScheme:
    overrides = {axis: env.str(f"SENANG_SIGNATURE_{axis.upper()}", "") for axis in SCHEME_AXES}
    return scheme_from(preset, {axis: value for axis, value in overrides.items() if value})


def _keys(scheme: SignatureScheme | None, text: str) -> tuple[bytes, ...]:
    if scheme is None:
        return ()
    return tuple(key_bytes(scheme, secret) for secret in text.split(","))
