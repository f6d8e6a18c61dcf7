"""`senang`: be Senang.io for a while, against a sandbox. Each command has a file of its own."""

from app.cli.context import Commands
from app.cli.doctor import capture, doctor
from app.cli.relay import relay
from app.cli.scenarios import scenarios
from app.cli.trigger import trigger

senang = Commands("senang", help="A Senang.io to test against.")
for command in (trigger, scenarios, doctor, capture, relay):
    senang.add_command(command)
