"""`init` writes a .env with fresh secrets, if there is none. This module also says what runs without valid settings."""

import base64
import os
import secrets
import sys

import click
from flask import Flask

from receiver.cli.late import LateGroup, command_of
from receiver.config import EXIT_CONFIGURATION, ConfigurationError
from receiver.private_files import create_private
from receiver.settings.env_file import ENV_FILE


@click.command()
def init() -> None:
    """Write .env with fresh secrets for a sandbox."""
    lines = [
        "# Written by `flask --app wsgi init`. .env.example explains every setting.",
        "SENANG_ENVIRONMENT=sandbox",
        "# Replace this with the secret that Senang.io gave you.",
        f"SENANG_WEBHOOK_SECRETS=whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
        f"PAYLOAD_KEYS={secrets.token_hex(32)}",
        f"SECRET_KEY={secrets.token_hex(32)}",
    ]
    try:
        with os.fdopen(create_private(ENV_FILE), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError:
        raise click.ClickException(".env already exists. It was not changed.") from None
    click.echo("Wrote .env with fresh secrets. Next: flask --app wsgi db upgrade")


def app_without_settings(error: ConfigurationError) -> Flask:
    """An app that has `init` and the doctor only. Anything else lists the mistakes and ends the process with 78."""
    app = Flask("receiver")
    app.cli.add_command(init)
    app.cli.add_command(LateGroup("senang", {"doctor": command_of("receiver.cli.doctor", "doctor")}))
    if not any(command in sys.argv[1:] for command in ("init", "doctor")):
        click.echo(str(error), err=True)
        raise SystemExit(EXIT_CONFIGURATION)
    return app
