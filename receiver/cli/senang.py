"""`senang`: a Senang.io to test against. Each command has a file of its own."""

from receiver.cli.context import Commands
from receiver.cli.doctor import capture, doctor
from receiver.cli.relay import relay
from receiver.cli.scenarios import scenarios
from receiver.cli.trigger import trigger

senang = Commands("senang", help="A Senang.io to test against.")
for command in (trigger, scenarios, doctor, capture, relay):
    senang.add_command(command)
