"""`senang alert`: look at the conditions and tell the channels of ALERT_URLS at once, or send them a test message.

Workers do the same by themselves. A cron job that runs the command also tells when no worker runs.
"""

import click
from flask.cli import with_appcontext

from receiver.alerts.channels import channels_of, send
from receiver.alerts.messages import TEST
from receiver.alerts.sending import post_of, send_due
from receiver.alerts.watching import look
from receiver.cli.context import acting_inbox, say
from receiver.store.inbox import Inbox


@click.command()
@click.option("--test", "is_test", is_flag=True, help="Send a test message, and say what each channel answered.")
@with_appcontext
def alert(is_test: bool) -> None:
    """Tell ALERT_URLS what needs a person, once. Workers do so by themselves."""
    inbox = acting_inbox()
    if not channels_of(inbox.settings):
        raise click.ClickException("Nothing is sent: ALERT_URLS and ALERT_HEARTBEAT_URL are empty, or FOLLOW_UPS is 0.")
    if is_test:
        _test(inbox)
        return
    look(inbox)
    send_due(inbox.engine, post_of(inbox))


def _test(inbox: Inbox) -> None:
    failed = 0
    for channel in channels_of(inbox.settings):
        answer = send(channel, f"{post_of(inbox).receiver}: test", TEST)
        failed += bool(answer.reason)
        words = f" ({answer.words})" if answer.words else ""
        say(f"{channel.name}: {answer.reason or 'sent'}{words}")
    if failed:
        raise SystemExit(1)
