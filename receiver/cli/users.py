"""`users`: who may sign in to the events page. The command asks for a password, or makes one up and prints it once.

To add a command, write a function here that calls receiver/actions/users.py. An AccountError there says why not.
"""

import json
import secrets
from datetime import datetime
from typing import Any

import click

from receiver.actions import second_factor
from receiver.actions import users as accounts
from receiver.cli.context import ACTOR, Commands, as_json, say
from receiver.present import present_inbox
from receiver.protocol.moments import written
from receiver.store.models import User

generated = click.option("--generate", is_flag=True, help="Make up a password and print it once.")


users = Commands("users", refusals=(accounts.AccountError,), help="Who may sign in to the events page.")


@users.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["operator", "viewer"]), default="operator", show_default=True)
@generated
@click.option("--password", help="For scripts only: everybody on this machine can read it while the command runs.")
@click.option("--replace", is_flag=True, help="Give an existing user this password and role, and end their sessions.")
def add(name: str, role: str, generate: bool, password: str | None, replace: bool) -> None:
    """Add a user."""
    password = _new_password(generate) if generate or password is None else password
    accounts.add(present_inbox(), name, password, role=role, actor=ACTOR, replace=replace)
    click.echo(f"{role} {name}" + (f", password {password}" if generate else ""))


@users.command("list")
@as_json
def list_(as_json: bool) -> None:
    """List every user, disabled ones too."""
    rows = accounts.all_users(present_inbox())
    if as_json:
        click.echo(json.dumps([_document(user) for user in rows]))
        return
    width = max((len(user.name) for user in rows), default=0)
    for user in rows:
        state = "active" if user.active else "disabled"
        last = f"last sign-in {_minute(user.last_sign_in_at)}" if user.last_sign_in_at else "never signed in"
        how = "  second factor" if user.second_factor_at else "  at the OpenID provider" if user.identity else ""
        say(f"{user.name:<{width}}  {user.role:<8}  {state:<8}  added {_minute(user.created_at)}  {last}{how}")


@users.command("passwd")
@click.argument("name")
@generated
def change_password(name: str, generate: bool) -> None:
    """Set a new password, and end the user's sessions."""
    password = _new_password(generate)
    accounts.change_password(present_inbox(), name, password, actor=ACTOR)
    click.echo(f"{name}: " + (f"password {password}" if generate else "password changed"))


@users.command("hash")
@generated
def hash_(generate: bool) -> None:
    """Print the hash of a password, for FIRST_OPERATOR_PASSWORD_HASH."""
    password = _new_password(generate)
    click.echo(accounts.hash_of(password) + (f"\npassword {password}" if generate else ""))


@users.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Disable a user, and end their sessions."""
    accounts.disable(present_inbox(), name, actor=ACTOR)
    click.echo(f"{name}: disabled")


@users.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Enable a user again: one who was disabled, or whose name was closed after too many tries."""
    accounts.enable(present_inbox(), name, actor=ACTOR)
    click.echo(f"{name}: enabled")


@users.command("reset")
@click.argument("name")
def reset_second_factor(name: str) -> None:
    """Turn off the second factor of a user who has lost it, and end their sessions."""
    second_factor.reset(present_inbox(), name, actor=ACTOR)
    click.echo(f"{name}: the second factor is off")


def _document(user: User) -> dict[str, Any]:
    last = user.last_sign_in_at
    return {
        "name": user.name,
        "role": user.role,
        "active": user.active,
        "created_at": str(user.created_at),
        "last_sign_in_at": str(last) if last else None,
        "second_factor": user.second_factor_at is not None,
        "openid": user.identity is not None,
    }


def _minute(moment: datetime) -> str:
    return f"{written(moment)[:-3]}Z"


def _new_password(generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(12)
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
