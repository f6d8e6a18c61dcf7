"""`users`: who may sign in to the events page."""

import secrets

import click
import sqlalchemy as sa
from werkzeug.security import generate_password_hash

from app.cli.context import Commands, present_inbox
from app.database import writing
from app.inbox.models import User

users = Commands("users", help="Who may sign in to the events page.")


@users.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(["operator", "viewer"]), default="operator", show_default=True)
@click.option("--generate", is_flag=True, help="Make a password up and print it once.")
@click.option("--password", help="Asked for when neither this nor --generate is given.")
def add(name: str, role: str, generate: bool, password: str | None) -> None:
    """Add a user, or give an existing one a new password and role."""
    if generate:
        password = secrets.token_urlsafe(12)
    elif password is None:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if len(password or "") < 12:
        raise click.ClickException("A password needs at least 12 characters.")
    inbox = present_inbox()
    hashed = generate_password_hash(str(password))
    with writing(inbox.engine) as session:
        known = session.scalar(sa.select(User).where(User.name == name))
        if known is None:
            session.execute(sa.insert(User).values(name=name, password_hash=hashed, role=role, created_at=inbox.now()))
        else:
            known.password_hash, known.role, known.active = hashed, role, True
    click.echo(f"{role} {name}" + (f", password {password}" if generate else ""))
