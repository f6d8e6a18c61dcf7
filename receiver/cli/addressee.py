"""Where the `senang` commands send to: the address, and the scheme and key that sign the deliveries.

A command that sends takes its `--to` as an `Address` and its `--scheme` from `scheme_option`.
"""

from typing import Any

import click

from receiver.protocol.errors import UnusableSecret
from receiver.protocol.schemes import SCHEMES, SignatureScheme, key_bytes
from receiver.sandbox.sender import check_address


class Address(click.ParamType[str]):
    """An http(s) URL that a delivery can go to."""

    name = "URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the URL before anything is signed for it."""
        try:
            return check_address(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


scheme_option = click.option(
    "--scheme",
    "preset",
    type=click.Choice(list(SCHEMES)),
    help="Sign by this preset, without any SENANG_SIGNATURE_* override. Default: the configured scheme.",
)


def key_for(scheme: SignatureScheme, secret: str, setting: str) -> bytes:
    """The key that this scheme makes of the setting's secret. Without one, the command ends with one line."""
    try:
        return key_bytes(scheme, secret)
    except UnusableSecret as error:
        expected = f"{scheme.secret_encoding}, at least {scheme.minimum_key_bytes} bytes"
        message = f"{setting} can't be used with {scheme.name}, which takes {expected}: {error.reason}."
        raise click.ClickException(message) from None
