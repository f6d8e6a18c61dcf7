"""The mail to Senang.io: it asks exactly what the doctor could not find out."""

from collections.abc import Sequence

from receiver.sandbox.doctor.payload_fields import GUESSED, Reading

ADDRESS = "customercare@senang.io"
_UNSIGNED = (
    "Are your webhooks signed? §4.1 of the guide says that they may be. Please switch it on for our endpoint.",
    "In which header or field is the signature, with which algorithm (we ask for HMAC-SHA256) and which encoding?",
    "Which bytes are signed: the body, a timestamp, an ID? In which order, and with what between them?",
)
_UNKNOWN = (
    "How is this signature made: which algorithm, and which encoding (hex or base64)?",
    "Exactly which bytes are signed, in which order, and with what between them? Does a text belong to it that is not "
    "in the request, such as an application key or our partner code?",
    "Is the secret used as text, or decoded from hex or base64? Is it that of this environment (§8.3)?",
    "Please send one example: a secret for tests, the bytes that are signed, and the signature.",
)


def mail(verdict: str, where: Sequence[str], reading: Reading | None) -> str:
    """The text, or nothing when there is nothing to ask."""
    questions = list({"unsigned": _UNSIGNED, "not_found": _UNKNOWN}.get(verdict, ()))
    if verdict == "not_found" and where:
        questions.insert(0, f"We see what may be a signature in: {', '.join(where)}. Which of them is it?")
    guesses = reading.guesses if reading else {}
    if "event_id" not in guesses or guesses["event_id"].place.startswith("{"):
        questions.append(
            "Which field is the ID of the event, the same when the event is sent again, and never that of two events?"
        )
    for field, meaning in (("event_type", "the type of the event"), ("timestamp", "the moment of the event")):
        if field in guesses and guesses[field].trust == GUESSED:
            questions.append(f"Which field is {meaning}?")
    if reading and reading.zone:
        questions.append("In which time zone are your timestamps? They name none.")
    if not questions:
        return ""
    lines = [f"To: {ADDRESS}", "Subject: How to verify your webhooks", "", "Hello,", ""]
    lines += ["we receive your webhooks and could not find out the following:", ""]
    lines += [f"{number}. {question}" for number, question in enumerate(questions, 1)]
    return "\n".join([*lines, "", "Thank you."])
