"""`senang`: a Senang.io to test against. Each command has a file of its own."""

from receiver.cli.context import Commands
from receiver.cli.late import LateGroup, command_of

COMMANDS = {
    "trigger": command_of("receiver.cli.trigger", "trigger"),
    "scenarios": command_of("receiver.cli.scenarios", "scenarios"),
    "doctor": command_of("receiver.cli.doctor", "doctor"),
    "capture": command_of("receiver.cli.doctor", "capture"),
    "contract": command_of("receiver.cli.contract", "contract"),
    "alert": command_of("receiver.cli.alert", "alert"),
    "relay": command_of("receiver.cli.relay", "relay"),
}


class _Senang(LateGroup, Commands):
    """It loads a command when it is called, and tells a failure in one line."""


senang = _Senang("senang", COMMANDS, help="A Senang.io to test against.")
