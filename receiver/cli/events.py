"""The group `events`. Its commands stand in the modules below, by what they do. To add one, see `COMMANDS` there."""

from receiver.cli import acting, checking, listing, person, telling, upkeep
from receiver.cli.context import Commands

events = Commands(
    "events",
    refusals=person.REFUSALS,
    help="Show, replay, dismiss and check events, and apply retention, new keys and new masks.",
)

for room in (listing, acting, checking, telling, upkeep, person):
    for command in room.COMMANDS:
        events.add_command(command)
