"""Account and onboarding updates (§1.3). Senang.io does not publish their exact types, so patterns match them."""

from app.models import Account
from app.schemas import AccountData
from receiver import Event, Session, advance, handles


@handles("account.*", "onboarding.*", data=AccountData)
def account_updated(event: Event, session: Session) -> None:
    """Keep the latest status of each topic: `account` or `onboarding`."""
    topic = event.type.partition(".")[0]
    advance(session, Account, topic, status=(event.status or event.type)[:50], event=event)
