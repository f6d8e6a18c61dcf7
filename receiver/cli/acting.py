"""`events replay`, `dismiss`, `pause`, `resume`: what a person does with events. Each act is audited."""

from collections import Counter
from collections.abc import Callable, Iterator

import click
from flask.cli import with_appcontext

from receiver.actions import pause as pausing
from receiver.actions.bulk import LEFT_ALONE, Act, left_alone_by
from receiver.actions.dismiss import CannotDismiss, Dismissed
from receiver.actions.dismiss import dismiss as dismiss_event
from receiver.actions.replay import CannotReplay, Replayed
from receiver.actions.replay import replay as replay_event
from receiver.cli.chosen import event_filter, found_event
from receiver.cli.context import ACTOR, acting_inbox, say
from receiver.database.engine import reading
from receiver.queries.filters import BadFilter, Filter, fits_a_column
from receiver.queries.search import Row, stream
from receiver.store.inbox import Inbox
from receiver.store.lifecycle import DISMISSABLE, EVERY, REPLAYABLE
from receiver.store.models import StoredEvent
from receiver.store.shown import shown


@click.command("replay")
@click.argument("reference", required=False)
@click.option("--state", type=click.Choice([state.value for state in sorted(REPLAYABLE)]))
@click.option("--failing", is_flag=True, help="Try failing events at once, without a wait for their next attempt.")
@click.option("--type", "event_type")
@click.option("--cause", help="Every failure of this cause, as `events failures` names it.")
@click.option("--reason")
@with_appcontext
def replay(
    reference: str | None,
    state: str | None,
    failing: bool,
    event_type: str | None,
    cause: str | None,
    reason: str | None,
) -> None:
    """Make one event due again, or all events of a --state, --failing or --cause (and of a --type).

    What waits runs now.
    """
    if [reference is not None, state is not None, failing, cause is not None].count(True) != 1:
        raise click.UsageError("Give either an event, or a --state, or --failing, or a --cause.")
    inbox = acting_inbox()

    def act(row: Row | StoredEvent) -> tuple[str, bool]:
        result = replay_event(inbox, row.id, actor=ACTOR, reason=reason)
        return result, result is Replayed.DUE

    wanted = event_filter(state, event_type, failing=failing, cause=cause)
    _act(inbox, Act.REPLAY, "replayed", act, reference, wanted)


@click.command("dismiss")
@click.argument("reference", required=False)
@click.option("--state", type=click.Choice([state.value for state in sorted(DISMISSABLE)]))
@click.option("--type", "event_type")
@click.option("--cause", help="Every dead or quarantined event of this cause, as `events failures` names it.")
@click.option("--reason", required=True, help="Why. The audit log keeps it.")
@with_appcontext
def dismiss(reference: str | None, state: str | None, event_type: str | None, cause: str | None, reason: str) -> None:
    """Close one event that is dead, unhandled or quarantined, or all of a --state or --cause (and of a --type)."""
    if [reference is not None, state is not None, cause is not None].count(True) != 1:
        raise click.UsageError("Give either an event, or a --state, or a --cause.")
    if not reason.strip():
        raise click.UsageError("The reason is empty.")
    inbox = acting_inbox()

    def act(row: Row | StoredEvent) -> tuple[str, bool]:
        result = dismiss_event(inbox, row.id, actor=ACTOR, reason=reason)
        return result, result is Dismissed.DONE

    wanted = event_filter(state, event_type, failing=False, cause=cause)
    _act(inbox, Act.DISMISS, "dismissed", act, reference, wanted)


@click.command("pause")
@click.argument("event_type", metavar="TYPE", required=False)
@click.option("--all", "every", is_flag=True, help="Every type, follow-ups too.")
@click.option("--reason", required=True, help="Why. Every page shows it, and the audit log keeps it.")
@with_appcontext
def pause(event_type: str | None, every: bool, reason: str) -> None:
    """Run no handler of this event type, or follow-up of this name, until `events resume`. Deliveries are accepted."""
    if not reason.strip():
        raise click.UsageError("The reason is empty.")
    is_new = pausing.pause(acting_inbox(), _type_or_every(event_type, every=every), actor=ACTOR, reason=reason)
    say("paused" if is_new else "paused already")


@click.command("resume")
@click.argument("event_type", metavar="TYPE", required=False)
@click.option("--all", "every", is_flag=True, help="The pause of every type. A type that was paused alone stays so.")
@click.option("--reason")
@with_appcontext
def resume(event_type: str | None, every: bool, reason: str | None) -> None:
    """Let the handlers of this event type run again."""
    is_ended = pausing.resume(acting_inbox(), _type_or_every(event_type, every=every), actor=ACTOR, reason=reason)
    if not is_ended:
        raise click.ClickException("It is not paused.")
    say("resumed")


def _type_or_every(event_type: str | None, *, every: bool) -> str:
    if every == (event_type is not None):
        raise click.UsageError("Give either a type, or --all.")
    if event_type is not None and not fits_a_column(event_type):
        raise BadFilter("type")
    return event_type or EVERY


def _act(
    inbox: Inbox,
    act: Act,
    done_word: str,
    do: Callable[[Row | StoredEvent], tuple[str, bool]],
    reference: str | None,
    wanted: Filter,
) -> None:
    """Do it to the one event, or to all events of the filter. Exits with 1 when one of them refuses."""
    done, refused = 0, Counter[str]()
    for row in _chosen(inbox, reference, wanted):
        if reference is None and (left_alone := left_alone_by(act, row, wanted)):
            refused[left_alone] += 1
            continue
        try:
            result, is_done = do(row)
            done += is_done
        except (CannotReplay, CannotDismiss) as error:
            result = str(error)
            refused[error.reason] += 1
        say(f"{shown(row, inbox.settings.showing).command_name}: {result}")
    if reference is None:
        why = "".join(f"; {LEFT_ALONE[code]}: {number:,}" for code, number in refused.most_common())
        click.echo(f"{done:,} {done_word}, {refused.total():,} refused{why}")
    if refused.keys() - {"done"}:
        raise SystemExit(1)


def _chosen(inbox: Inbox, reference: str | None, wanted: Filter) -> Iterator[Row | StoredEvent]:
    """The one event, or all events of the filter, the newest first."""
    if reference is None:
        yield from stream(inbox.engine, wanted)
        return
    with reading(inbox.engine) as session:
        row = found_event(session, reference)
    yield row


COMMANDS = (
    replay,
    dismiss,
    pause,
    resume,
)
