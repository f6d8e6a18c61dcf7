"""The settings that the engine's tests share, in process and for the processes that they start."""

from base64 import b64encode
from secrets import token_bytes, token_hex

from receiver import testing

PARTNER_PACKAGE = "tests.receiver.partner"
"""Handlers and tables of our own: what a fork does in `app/` breaks no test of ours."""
ENVIRONMENT = testing.ENVIRONMENT | {"PARTNER_PACKAGE": PARTNER_PACKAGE}
LIVE = {
    "SENANG_ENVIRONMENT": "live",
    "SENANG_WEBHOOK_SECRETS": f"whsec_{b64encode(token_bytes(32)).decode()}",
    "PAYLOAD_KEYS": token_hex(32),
    "SECRET_KEY": token_hex(32),
}
"""What makes the environment of a test a live one: `live` refuses the secrets above, which everybody can read."""
