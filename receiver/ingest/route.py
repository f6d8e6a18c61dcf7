"""Where Senang.io knocks: Flask's way to the door."""

from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from receiver.config import WEBHOOK_PATH
from receiver.ingest.answering import Reply
from receiver.ingest.door import take, turn_away
from receiver.ingest.intake import present_intake
from receiver.ingest.reading import Incoming, read
from receiver.logs import LOGGED
from receiver.present import request_id, request_started

blueprint = Blueprint("webhooks", __name__)


@blueprint.route(WEBHOOK_PATH, methods=["POST"], provide_automatic_options=False)
def receive() -> Response:
    """Take one delivery."""
    intake = present_intake()
    return _response(take(intake, read(request.environ, intake.inbox.settings, **_trace())))


@blueprint.errorhandler(HTTPException)
def refuse_unread(error: HTTPException) -> Response:
    """Refuse a delivery before anything of it is judged."""
    return _response(turn_away(present_intake(), Incoming(request.environ, b"", **_trace()), error))


def _trace() -> dict[str, Any]:
    return {"request_id": request_id(), "started": request_started()}


def _response(reply: Reply) -> Response:
    request.environ[LOGGED] = True
    return Response(reply.body, reply.status, reply.headers, content_type=reply.media_type)
