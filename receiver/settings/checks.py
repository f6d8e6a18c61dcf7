"""What each setting's own value can't show: combinations that are unsafe, and secrets that somebody could guess.

A check is a function in `UNSAFE`, `WEAK` or `CONSEQUENCES`. It yields a sentence for each setting that it finds wrong,
never a value. What is unsafe stops the start. What is weak is a doubt: `live` refuses it, and a sandbox says it. What
has a consequence that nobody may want is said everywhere, and refused nowhere.
"""

import sqlite3
import ssl
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url

from receiver.database.engine import has_pooler
from receiver.database.url import pooler_of
from receiver.protocol.placeholders import is_guessable, is_published, is_repeated
from receiver.protocol.weaknesses import weaknesses
from receiver.settings.openid import RETURN_PATH

OLDEST_SQLITE = (3, 36, 0)  # RETURNING came with 3.35, whose first releases did it wrong
LEAST_LIVE_KEY_BYTES = 16
LEAST_TOKEN_LENGTH = 16
READABLE = "everybody can read or guess it. `flask --app wsgi init` makes fresh secrets."


class Read(NamedTuple):
    """Settings whose values are right, each by itself."""

    values: dict[str, Any]  # by the fields of Settings
    source: dict[str, str]  # as they stand in the environment

    @property
    def is_live(self) -> bool:
        """Whether these are real events."""
        return bool(self.values["environment"] == "live")

    @property
    def is_on_sqlite(self) -> bool:
        """Whether the database is a file."""
        return make_url(self.values["database_url"]).get_backend_name() == "sqlite"


def unsafe(read: Read) -> list[str]:
    """A sentence for each combination that is not safe, though each setting looks right."""
    return [sentence for check in UNSAFE for sentence in check(read)]


def weak(read: Read) -> list[str]:
    """A sentence for each setting that works, and should not: somebody could guess it, or it would lose events."""
    return [sentence for check in WEAK for sentence in check(read)]


def consequences(read: Read) -> list[str]:
    """A sentence for each setting that makes the receiver do what nobody may want. It may be right all the same."""
    return [sentence for check in CONSEQUENCES for sentence in check(read)]


def _no_database(read: Read) -> Iterator[str]:
    if "DATABASE_URL" not in read.source and (platform := read.values["platform"]):
        yield (
            f"DATABASE_URL: is not set, or empty. The disk of this platform ({platform.name}) does not last: a database"
            " on it would lose every event. Add a PostgreSQL database."
        )
    elif "DATABASE_URL" not in read.source and read.is_live:
        yield "DATABASE_URL: is not set, or empty: a live receiver does not choose its database by itself."


def _lost_database(read: Read) -> Iterator[str]:
    if read.is_on_sqlite and (platform := read.values["platform"]):
        yield (
            f"DATABASE_URL: SQLite on a platform whose disk does not last ({platform.name}) loses every event with the"
            " next deploy, unless the file is on a volume."
        )


def _old_sqlite(read: Read) -> Iterator[str]:
    if read.is_on_sqlite and sqlite3.sqlite_version_info < OLDEST_SQLITE:
        yield (
            f"DATABASE_URL: SQLite {sqlite3.sqlite_version} is too old, for it can't do what is needed here."
            f" Use {'.'.join(map(str, OLDEST_SQLITE))} or newer, or PostgreSQL."
        )


def _debug_mode(read: Read) -> Iterator[str]:
    if read.is_live and read.source.get("FLASK_DEBUG", "0").lower() not in ("0", "false", "no"):
        yield "FLASK_DEBUG: debug mode is refused in the live environment."


def _ambiguous_signature(read: Read) -> Iterator[str]:
    accepted = read.values["accepted_weaknesses"]
    if not read.is_live:
        return
    for found in weaknesses(read.values["scheme"], read.values["payload_fields"]):
        if found.is_refused and found.code not in accepted:
            yield found.text
            return


def _plain_http(read: Read) -> Iterator[str]:
    if read.is_live and not read.values["require_https"]:
        yield "REQUIRE_HTTPS: may not be turned off in the live environment (§3.1)."


def _masked_for_less_long(read: Read) -> Iterator[str]:
    if read.values["masked_retention_days"] < read.values["payload_retention_days"]:
        yield "MASKED_RETENTION_DAYS: must not be shorter than PAYLOAD_RETENTION_DAYS."


def _certificate(read: Read) -> Iterator[str]:
    certificate, key = read.values["tls_certfile"], read.values["tls_keyfile"]
    if bool(certificate) != bool(key):
        yield "TLS_CERTFILE and TLS_KEYFILE: both or neither."
    elif certificate and not _belong_together(certificate, key):
        yield (
            "TLS_CERTFILE and TLS_KEYFILE: they can't be used. Both must be readable files in PEM form, without a"
            " passphrase, and the key must be that of the certificate."
        )


def _belong_together(certificate: str, key: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return False
    return True


def _person_index(read: Read) -> Iterator[str]:
    fields, keys = read.values["subject_fields"], read.values["subject_index_keys"]
    if fields and not keys:
        yield "SUBJECT_INDEX_KEYS: is not set, but SUBJECT_FIELDS is. `openssl rand -hex 32` makes a key."
    if {key.id for key in keys} & {key.id for key in read.values["payload_keys"]}:
        yield "SUBJECT_INDEX_KEYS: has a key of PAYLOAD_KEYS. The index needs keys of its own."


def _webhook_secrets(read: Read) -> Iterator[str]:
    keys = read.values["signature_keys"]
    if any(map(is_published, read.values["webhook_secrets"])) or any(map(is_repeated, keys)):
        yield "SENANG_WEBHOOK_SECRETS: everybody can read or guess one of them. Use what Senang.io gave you."
    elif min(map(len, keys)) < LEAST_LIVE_KEY_BYTES:
        yield f"SENANG_WEBHOOK_SECRETS: a key of less than {LEAST_LIVE_KEY_BYTES} bytes can be guessed."


def _own_secrets(read: Read) -> Iterator[str]:
    if any(map(is_guessable, read.source["PAYLOAD_KEYS"].split(","))):
        yield f"PAYLOAD_KEYS: {READABLE}"
    if read.values["subject_index_keys"] and any(map(is_guessable, read.source["SUBJECT_INDEX_KEYS"].split(","))):
        yield "SUBJECT_INDEX_KEYS: everybody can read or guess it. `openssl rand -hex 32` makes a key."
    if is_guessable(read.values["secret_key"]):
        yield f"SECRET_KEY: {READABLE}"


def _metrics_token(read: Read) -> Iterator[str]:
    token = read.values["metrics_token"]
    if token and len(token) < LEAST_TOKEN_LENGTH:
        yield f"METRICS_TOKEN: less than {LEAST_TOKEN_LENGTH} characters can be guessed."
    elif token and is_guessable(token):
        yield "METRICS_TOKEN: everybody can read or guess it."


def _all_refused(read: Read) -> Iterator[str]:
    if read.values["require_https"] and not read.values["forwarded_proto_hops"] and not read.values["tls_certfile"]:
        yield (
            "FORWARDED_PROTO_HOPS: is 0, and there is no TLS_CERTFILE. Every request will look like plain HTTP, and"
            " each delivery and page will be answered 403. If one router writes X-Forwarded-Proto, set it to 1."
        )


def _one_client(read: Read) -> Iterator[str]:
    is_known = read.values["forwarded_for_hops"] or read.values["client_address_header"]
    if read.values["forwarded_proto_hops"] and not is_known:
        yield (
            "FORWARDED_FOR_HOPS: is 0, and there is no CLIENT_ADDRESS_HEADER. All visitors will have the router's"
            " address, and some wrong passwords close the sign-in for everybody. Behind one router, set it to 1."
        )


def _unnamed_pooler(read: Read) -> Iterator[str]:
    pooler = pooler_of(make_url(read.values["database_url"]))
    if pooler and not has_pooler(read.values["database_url"]):
        yield (
            f"DATABASE_POOLER: is 0, and DATABASE_URL looks like an address of {pooler}. If it is one, set"
            " DATABASE_POOLER=1."
        )


def _half_an_operator(read: Read) -> Iterator[str]:
    if bool(read.values["first_operator_name"]) != bool(read.values["first_operator_hash"]):
        yield "FIRST_OPERATOR_NAME and FIRST_OPERATOR_PASSWORD_HASH: set both, or neither."


def _openid(read: Read) -> Iterator[str]:
    openid = read.values["openid"]
    if openid is None:
        if not read.values["password_sign_in"]:
            yield "PASSWORD_SIGN_IN: 0 needs OIDC_ISSUER, or nobody could sign in."
        return
    needed = {"CLIENT_ID": openid.client_id, "CLIENT_SECRET": openid.client_secret, "REDIRECT_URI": openid.redirect_uri}
    for name in (name for name, value in needed.items() if not value):
        yield f"OIDC_{name}: is needed beside OIDC_ISSUER."
    if not openid.operator_values and not openid.viewer_values:
        yield "OIDC_OPERATOR_VALUES: without it and OIDC_VIEWER_VALUES, nobody has a role."
    if "openid" not in openid.scopes.split():
        yield "OIDC_SCOPES: openid has to be one of them."
    path = read.values["script_name"] + RETURN_PATH
    if openid.redirect_uri and urlsplit(openid.redirect_uri).path != path:
        yield f"OIDC_REDIRECT_URI: it is the public address of this receiver, then {path}."
    addresses = {"OIDC_ISSUER": openid.issuer, "OIDC_REDIRECT_URI": openid.redirect_uri}
    for name in (name for name, value in addresses.items() if read.is_live and value.startswith("http://")):
        yield f"{name}: plain HTTP is refused in the live environment."


Check = Callable[[Read], Iterator[str]]
UNSAFE: tuple[Check, ...] = (
    _no_database, _old_sqlite, _debug_mode, _ambiguous_signature, _plain_http, _masked_for_less_long, _certificate,
    _half_an_operator, _person_index, _openid,
)  # fmt: skip
WEAK: tuple[Check, ...] = (_lost_database, _webhook_secrets, _own_secrets, _metrics_token)
CONSEQUENCES: tuple[Check, ...] = (_all_refused, _one_client, _unnamed_pooler)
