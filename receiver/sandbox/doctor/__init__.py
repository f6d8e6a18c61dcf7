"""Finds out how a captured delivery is really signed, and what to write into the settings (§4.1).

Senang.io publishes no header name, algorithm or JSON key, so the doctor examines one delivery. `diagnose()` has all
steps: look for a signature; search all schemes; if none fits, prove a cause; then read the payload. The diagnosis
never holds a secret.
"""

import time
from collections.abc import Sequence
from datetime import timedelta

from receiver.protocol.captured import Captured
from receiver.protocol.errors import UnusableSecret
from receiver.protocol.schemes import key_bytes
from receiver.protocol.signatures import encode_digest
from receiver.protocol.weaknesses import weakness
from receiver.sandbox.diagnosis import Diagnosis
from receiver.sandbox.doctor.causes import USUAL, prove
from receiver.sandbox.doctor.payload_fields import REQUIRED, fields_setting, guess_fields, still_unusable
from receiver.sandbox.doctor.search import Find, search, settings_for
from receiver.sandbox.doctor.space import MOST_PLACES, places

MOST_NAMED = 12
"""How many of the places that looked like a signature are named."""
TOLERANCE = timedelta(minutes=5)
ASK = (
    "Ask Senang.io (customercare@senang.io): 1. Are our webhooks signed (§4.1 says may)? 2. In which header or field? "
    "3. Which algorithm and encoding? 4. Over which bytes: body, timestamp, ID? 5. Is the secret text, hex or base64?"
)


def diagnose(
    captured: Captured, secrets: Sequence[str], *, others: Sequence[str] = (), seconds: float = 20.0
) -> Diagnosis:
    """Examine one delivery. `secrets` are ours; `others` are those of another environment.

    A body of ordinary size takes a fraction of a second. For a giant body, the search gives up after `seconds`.
    """
    until = time.monotonic() + seconds
    found = places(captured)
    if not found:
        diagnosis = Diagnosis("unsigned", "This delivery carries no signature: nothing in it has the shape of one.")
        diagnosis.warnings.append(f"Without a signature nobody knows who sent it, so it is refused (§4.2). {ASK}")
    else:
        result = search(captured, secrets, until=until)
        diagnosis = (
            _found(captured, result.find, secrets) if result.find else _not_found(captured, secrets, others, until)
        )
        diagnosis.combinations = result.tried
        if not result.complete:
            diagnosis.warnings.append("The body is so large that not every combination was tried.")
        if len(found) >= MOST_PLACES:
            diagnosis.warnings.append(f"Of what looks like a signature, the {MOST_PLACES} likeliest were looked at.")
    _read_payload(captured, diagnosis)
    return diagnosis


def _found(captured: Captured, find: Find, secrets: Sequence[str]) -> Diagnosis:
    secret, scheme = secrets[find.secret_index], find.scheme
    settings = settings_for(captured, find, secret)
    diagnosis = Diagnosis("found", f"Found: {_in_words(find)}.", settings)
    diagnosis.reasons.append("verify() accepts this delivery under these settings, and refuses it with a byte changed.")
    diagnosis.warnings += _cautions(find) + _clock(captured, find)
    if find.secret_index:
        diagnosis.warnings.append(f"It is signed with secret number {find.secret_index + 1} of yours, not the newest.")
    try:
        key_bytes(scheme, secret)
    except UnusableSecret as error:
        diagnosis.warnings.append(f"The receiver will not start with this secret: {error}. Ask for a better one.")
    return diagnosis


def _not_found(captured: Captured, secrets: Sequence[str], others: Sequence[str], until: float) -> Diagnosis:
    proof = prove(captured, secrets, others, until=until)
    if proof:
        settings = settings_for(proof.captured, proof.find, proof.secret)
        diagnosis = Diagnosis("proven_cause", f"{proof.sentence} Once that is mended, these settings fit.", settings)
        diagnosis.reasons.append(f"With that undone the signature is right: {_in_words(proof.find)}.")
        diagnosis.warnings += _clock(captured, proof.find)
        return diagnosis
    diagnosis = Diagnosis("not_found", "No scheme and secret that were tried make this signature.")
    looked_at = sorted({f"header {p.header}" if p.header else f"field {p.body_field}" for p in places(captured)})
    more = f", and {len(looked_at) - MOST_NAMED} more" if len(looked_at) > MOST_NAMED else ""
    diagnosis.reasons.append(f"Looked like a signature: {', '.join(looked_at[:MOST_NAMED])}{more}.")
    diagnosis.reasons += [f"{number}. {cause}" for number, cause in enumerate(USUAL, 1)]
    diagnosis.warnings.append(ASK)
    return diagnosis


def _in_words(find: Find) -> str:
    scheme = find.scheme
    where = f"header {scheme.header}" if scheme.header else f"field {scheme.body_field}"
    tag = f", behind {scheme.tag}{scheme.tag_separator}" if scheme.tag else ""
    key = {"utf-8": "as text", "hex": "decoded from hex", "base64": "decoded from base64"}[scheme.secret_encoding]
    after = f" after {scheme.secret_prefix}" if scheme.secret_prefix else ""
    return (
        f"HMAC-{scheme.algorithm} in {scheme.encoding}, {where}{tag}, over {scheme.content!r}, the secret {key}{after}"
    )


def _cautions(find: Find) -> list[str]:
    scheme, found = find.scheme, []
    if not (scheme.timestamp_header or scheme.timestamp_tag):
        found.append("No timestamp is signed: an old delivery can be replayed. Duplicates are still told by event ID.")
    if scheme.signs_fields:
        found.append("Only the values are signed, not the body's bytes: weaker, see receiver/protocol/fields.py.")
    if weak := weakness(scheme):
        found.append(f"SENANG_SIGNATURE_{weak.field.upper()} {weak.reason} The live environment refuses it.")
    if scheme.algorithm == "sha1":
        found.append("SHA-1 is outdated. Ask whether Senang.io can sign with SHA-256.")
    if scheme.encoding.startswith("base64") and not set(encode_digest("base64", find.digest)) & set("+/"):
        found.append("This signature doesn't show whether it is base64 or base64url: look at a second delivery too.")
    return found


def _clock(captured: Captured, find: Find) -> list[str]:
    if captured.received_at is None or find.timestamp is None:
        return []
    off = find.timestamp - captured.received_at
    if abs(off) <= TOLERANCE:
        return []
    side = "ahead of" if off > timedelta() else "behind"
    return [
        f"Its timestamp is {abs(off).total_seconds():.0f} s {side} the moment of receipt: that alone makes it a 401. "
        "Either a clock is off, or the sender repeats deliveries under their first timestamp "
        "(SENANG_TIMESTAMP_TOLERANCE)."
    ]


def _read_payload(captured: Captured, diagnosis: Diagnosis) -> None:
    guesses = guess_fields(captured.body)
    if setting := fields_setting(guesses):
        diagnosis.settings["SENANG_PAYLOAD_FIELDS"] = setting
    diagnosis.reasons += [f"{g.field} is probably `{g.path}`, by {g.reason}." for g in guesses.values()]
    missing = [name for name in REQUIRED if name not in guesses]
    if missing:
        diagnosis.warnings.append(f"No likely place for {', '.join(missing)}: such deliveries would be quarantined.")
    elif problems := still_unusable(captured.body, guesses):
        words = ", ".join(f"{name}: {'/'.join(reasons)}" for name, reasons in problems.items())
        diagnosis.warnings.append(f"The payload would still be quarantined: {words}.")
        if "missing_offset" in problems.get("timestamp", []):
            diagnosis.warnings.append("Its timestamp names no zone: SENANG_TIMESTAMP_ZONE says which one is meant.")
