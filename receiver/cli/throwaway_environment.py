"""Which settings a throwaway copy shares with this installation, and which are its own.

What decides how events are verified, read and handled is shared; secrets, and what belongs to a place, are not. The
copy reads no .env, which would set again what is not taken over.
"""

import base64
import os
import secrets

from receiver.config import Settings
from receiver.protocol.schemes import SignatureScheme
from receiver.settings.platforms import PLATFORMS

LEAST_HANDLER_SECONDS = 10.0  # longer than the slow handler takes
NOT_TAKEN_OVER = (
    *(name for platform in PLATFORMS for name in platform.named_by),
    "ALERT_HEARTBEAT_URL",
    "ALERT_URLS",
    "CLIENT_ADDRESS_HEADER",
    "DATABASE_DIRECT_URL",
    "DATABASE_POOLER",
    "FORWARDED_FOR_HOPS",
    "FORWARDED_HOST_HOPS",
    "FORWARDED_PROTO_HOPS",
    "GUNICORN_CMD_ARGS",
    "HOSTING_PLATFORM",
    "METRICS_TOKEN",
    "SCRIPT_NAME",
    "STOP_SECONDS",
    "TLS_CERTFILE",
    "TLS_KEYFILE",
)
"""What belongs to the place where this installation runs."""


def throwaway_environment(partners: Settings) -> dict[str, str]:
    """Our own environment, with what differs. The database and the port are still to be set.

    The worker takes one event at a time, so that a kill leaves only one with a lease that has to run out.
    """
    secrets_of_its_own = (_fresh_secret(partners.scheme), _fresh_secret(partners.scheme))
    return {
        **os.environ,
        **partners.applied,
        **dict.fromkeys(NOT_TAKEN_OVER, ""),
        "PYTHON_DOTENV_DISABLED": "1",
        "FLASK_SKIP_DOTENV": "1",
        "SENANG_ENVIRONMENT": "sandbox",
        "SENANG_WEBHOOK_SECRETS": ",".join(secrets_of_its_own),
        "PAYLOAD_KEYS": secrets.token_hex(32),
        "SECRET_KEY": secrets.token_hex(32),
        "REQUIRE_HTTPS": "0",
        "EMBEDDED_WORKER": "0",
        "FOLLOW_UPS": "0",
        "WORKER_PROCESSES": "1",
        "SLOW_PROCESSES": "0",
        "WORKER_BATCH": "1",
        "HANDLER_TIMEOUT": str(max(partners.handler_timeout, LEAST_HANDLER_SECONDS)),
        "LOG_LEVEL": "WARNING",
    }


def _fresh_secret(scheme: SignatureScheme) -> str:
    key = secrets.token_bytes(max(32, scheme.minimum_key_bytes))
    text = key.hex() if scheme.secret_encoding in ("utf-8", "hex") else base64.b64encode(key).decode()
    return scheme.secret_prefix + text
