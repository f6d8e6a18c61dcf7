"""POSTs that miss the webhook's path. Each leaves a trace: a sender that gets a 404 gives up, and nobody would notice.

The answer does not change. A POST is noted if its path looks like the webhook's, or if it carries a signature. A
stranger's scan for other software does neither. The path is shown only if it looks like ours. To note other paths,
change `looks_like_ours()`.
"""

import re
from difflib import SequenceMatcher
from urllib.parse import quote

from flask import Flask, Response, request

from receiver.config import WEBHOOK_PATH
from receiver.ingest.door import note_refusal
from receiver.ingest.intake import present_intake
from receiver.ingest.reading import Incoming
from receiver.present import request_id, request_started
from receiver.privacy.columns import Showing
from receiver.privacy.grammar import is_reference

LONGEST_PATH = 100
LONGEST_SHOWN = 200
ALIKE = 0.75
"""How much of their letters a misspelt path and ours have in common, at least."""
RIGHT = "webhooks.receive"
NOT_FOUND = {403, 404, 405}
"""Without HTTPS, no route has the path, or no route has it for POST."""
_NO_LETTER = re.compile("[^a-z]")
_OURS = _NO_LETTER.sub("", WEBHOOK_PATH)


def init_app(app: Flask) -> None:
    """Note wrong paths, and redirect none: a redirected POST of a sender is lost."""
    app.url_map.merge_slashes = False
    app.after_request(_note)


def looks_like_ours(path: str) -> bool:
    """Whether somebody meant the webhook: another slash, case, prefix or ending, a missing part, a slip of the pen."""
    if len(path) > LONGEST_PATH:
        return False
    letters = _NO_LETTER.sub("", path.casefold())
    return "senang" in letters or "webhook" in letters or SequenceMatcher(None, letters, _OURS).ratio() >= ALIKE


def _note(response: Response) -> Response:
    if request.method == "POST" and request.endpoint != RIGHT:
        intake = present_intake()
        settings = intake.inbox.settings
        path = request.environ["PATH_INFO"].encode("latin-1").decode(errors="replace")  # Flask's has fewer slashes
        is_near = request.endpoint is None and response.status_code in NOT_FOUND and looks_like_ours(path)
        if is_near or settings.scheme.header in request.headers:  # no page's form has a signature
            shown = _shown(request.script_root + path, settings.showing) if is_near else None
            incoming = Incoming(request.environ, b"", request_id=request_id(), started=request_started())
            note_refusal(intake, incoming, "wrong_path", detail=shown)
    return response


def _shown(path: str, showing: Showing) -> str:
    """The path as people see it: a part that looks like nothing of ours and like no reference may be anything."""
    parts = [quote(part, safe="~") if _is_plain(part) else showing(part) for part in path.split("/")]
    return "/".join(parts)[:LONGEST_SHOWN]


def _is_plain(part: str) -> bool:
    return not part or looks_like_ours(part) or is_reference(part)
