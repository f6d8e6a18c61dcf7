"""RFC 9457 problem details: what a machine hears when something is no success. A problem never quotes the request."""

import json

PROBLEM = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
UNEXPECTED_ERROR = ("Internal Server Error", "Something went wrong; the log has the request ID.")


def problem_text(status: int, title: str, detail: str) -> str:
    """The text of a problem document."""
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
