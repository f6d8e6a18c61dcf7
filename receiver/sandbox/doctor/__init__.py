"""Finds out how a captured delivery is really signed, and what to write into the settings (§4.1).

Senang.io publishes no header name, algorithm or JSON key, so the doctor examines deliveries. `diagnose()` has all
steps: search all schemes; if none fits, prove a cause; then read the payload and rehearse the settings. The diagnosis
never holds a secret.
"""

from collections.abc import Sequence
from datetime import timedelta

from receiver.protocol.captured import Captured
from receiver.protocol.envelope import fields_from
from receiver.protocol.errors import UnusableSecret
from receiver.protocol.schemes import HMACS, SignatureScheme, key_bytes
from receiver.protocol.signatures import encode_digest
from receiver.protocol.weaknesses import weaknesses
from receiver.sandbox.diagnosis import Diagnosis
from receiver.sandbox.doctor.budget import Budget
from receiver.sandbox.doctor.causes import prove, usual_causes
from receiver.sandbox.doctor.envelopes import envelope
from receiver.sandbox.doctor.facts import facts, md5, unexplained
from receiver.sandbox.doctor.mail import mail
from receiver.sandbox.doctor.payload_fields import Reading, read_fields, still_unusable
from receiver.sandbox.doctor.places import MOST_PLACES, SIGNATURE_NAME, places
from receiver.sandbox.doctor.rehearsing import rehearse
from receiver.sandbox.doctor.search import Find, search
from receiver.sandbox.doctor.settings import settings_for, widened
from receiver.sandbox.doctor.tokens import jwts
from receiver.sandbox.doctor.view import View

SECONDS = 2.0
"""How long a search may compute."""
MOST_NAMED = 12
"""How many of the places that looked like a signature, and of the fields that are not signed, are named."""
UNSIGNED = "This delivery carries no signature: nothing in it has the shape of one."
TOLERANCE = timedelta(minutes=5)


def diagnose(
    captured: Captured,
    secrets: Sequence[str],
    *,
    others: Sequence[str] = (),
    captures: Sequence[Captured] = (),
    texts: Sequence[str] = (),
    seconds: float = SECONDS,
) -> Diagnosis:
    """Examine one delivery. `secrets` are ours; `others` are those of another environment.

    `captures` are more deliveries: they show which values differ from event to event. `texts` may be signed, though
    they are in no part of the request, such as an application key. Most schemes are found in a
    fraction of a second. The search stops after `seconds` of computing.
    """
    budget, view = Budget(seconds), View(captured)
    texts = [text for text in texts if text and text.isprintable() and not set(text) & set("{}")]
    result = search(captured, secrets, texts=texts, budget=budget)
    find, secret = result.find, ""
    if find:
        secret = secrets[find.secret_index]
        find = widened(captured, find, secret, captures)
        diagnosis = _found(captured, find, secrets, captures)
    else:
        diagnosis, view, find, secret = _not_found(view, secrets, others, Budget(seconds))
    diagnosis.combinations = result.tried
    if not result.complete:
        diagnosis.warnings.append(
            f"Not every combination was tried in {seconds:g} seconds. On the command line, --seconds 60 tries more."
        )
    if len(places(view)) >= MOST_PLACES:
        diagnosis.warnings.append(f"Of what looks like a signature, the {MOST_PLACES} likeliest were looked at.")
    views = [view, *map(View, captures)]
    reading = _read_payload(views, find, secret, diagnosis)
    if find and reading and captures:
        diagnosis.rehearsal = rehearse(views, find, secret, reading)
    diagnosis.mail = mail(diagnosis.verdict, _looked_at(view), reading)
    return diagnosis


def _found(captured: Captured, find: Find, secrets: Sequence[str], captures: Sequence[Captured]) -> Diagnosis:
    secret, scheme = secrets[find.secret_index], find.scheme
    settings = settings_for(captured, find, secret, captures)
    diagnosis = Diagnosis("found", f"Found: {in_words(find)}.", settings)
    if "body" in scheme.part_names and scheme.coverage is None:
        proof = "verify() accepts this delivery under these settings, and refuses it with a byte changed."
    else:
        proof = "verify() accepts this delivery under these settings."
    diagnosis.reasons.append(proof)
    diagnosis.warnings += _cautions(captured, find) + _clock(captured, find)
    if find.secret_index:
        diagnosis.warnings.append(f"It is signed with secret number {find.secret_index + 1} of yours, not the newest.")
    try:
        key_bytes(scheme, secret)
    except UnusableSecret as error:
        diagnosis.warnings.append(
            f"The receiver will not start with this secret unless SENANG_SIGNATURE_MINIMUM_KEY_BYTES allows it: "
            f"{error}. Ask for a better one."
        )
    return diagnosis


def _not_found(
    view: View, secrets: Sequence[str], others: Sequence[str], budget: Budget
) -> tuple[Diagnosis, View, Find | None, str]:
    """A proven cause, or what is certain. With the delivery as it was signed, where that is proven."""
    captured = view.captured
    proof = prove(captured, secrets, others, budget=budget)
    if proof:
        settings = settings_for(proof.captured, proof.find, proof.secret)
        diagnosis = Diagnosis("proven_cause", f"{proof.sentence} Once that is mended, these settings fit.", settings)
        diagnosis.reasons.append(f"With that undone the signature is right: {in_words(proof.find)}.")
        diagnosis.warnings += _clock(captured, proof.find)
        return diagnosis, View(proof.captured), proof.find, proof.secret
    if broken := md5(view, secrets, budget):
        return Diagnosis("proven_cause", broken), view, None, ""
    known = facts(view, secrets)
    if not (_looked_at(view) or any("MD5" in fact for fact in known)):
        diagnosis = Diagnosis("unsigned", UNSIGNED, reasons=known)
        diagnosis.warnings.append(
            "Without a signature nobody knows who sent it, so it is refused (§4.2). Send the mail below."
        )
        return diagnosis, view, None, ""
    first = f" What is certain: {known[0]}" if known else ""
    diagnosis = Diagnosis("not_found", f"No scheme and secret that were tried make this signature.{first}")
    looked_at = _looked_at(view)
    if looked_at:
        diagnosis.reasons.append(f"Looked like a signature: {_named(looked_at)}.")
    diagnosis.reasons += known[1:]
    causes = usual_causes(captured, others)
    diagnosis.reasons += [f"{number}. {cause}" for number, cause in enumerate(causes, 1)]
    return diagnosis, view, None, ""


def _looked_at(view: View) -> list[str]:
    """What may be a signature, what is named so first."""
    found = dict.fromkeys(place.words for place in places(view))
    found |= dict.fromkeys(unexplained(view))
    for place, _, _ in jwts(view):
        axis = next(axis for axis in ("header", "body_field", "query") if axis in place)
        found[f"{axis.split('_')[-1]} {place[axis]}"] = None
    return sorted(found, key=lambda words: not SIGNATURE_NAME.search(words.partition(" ")[2]))


def in_words(find: Find) -> str:
    """The scheme in one line."""
    scheme = find.scheme
    where = (
        f"header {scheme.header}" if scheme.header else f"field {scheme.body_field}" if scheme.body_field
        else f"query parameter {scheme.query}"
    )  # fmt: skip
    behind = scheme.tag_separator.replace(" ", " and a space")
    tag = f", behind {scheme.tag}{behind}" if scheme.tag else ""
    after = f" after {scheme.secret_prefix}" if scheme.secret_prefix else ""
    if scheme.algorithm == "token":
        return f"the secret itself in {where}{tag}, {'as it is' if scheme.encoding == 'plain' else 'in base64'}"
    if scheme.is_token_signed:
        says = f"whose claim {scheme.claim} is {scheme.content}" if scheme.claim else "that holds the event"
        return f"a JWT ({scheme.algorithm.removeprefix('jwt-').upper()}) in {where}{tag}, {says}"
    content = f"over {scheme.content!r}"
    if scheme.has_public_key:
        return f"{scheme.algorithm} in {scheme.encoding}, {where}{tag}, {content}, checked with the public key{after}"
    name = f"a plain {scheme.algorithm[5:]}" if scheme.algorithm.startswith("hash-") else f"HMAC-{scheme.algorithm}"
    key = {"utf-8": "as text", "hex": "decoded from hex", "base64": "decoded from base64"}.get(
        scheme.secret_encoding, f"as its {scheme.secret_encoding}"
    )
    return f"{name} in {scheme.encoding}, {where}{tag}, {content}, the secret {key}{after}"


def _cautions(captured: Captured, find: Find) -> list[str]:
    scheme, found = find.scheme, []
    if (
        find.digest
        and scheme.encoding.startswith("base64")
        and not set(encode_digest("base64", find.digest)) & set("+/")
    ):
        found.append("This signature doesn't show whether it is base64 or base64url: look at a second delivery too.")
    if scheme.header and not scheme.entry_separator and scheme.tag_separator != " " and scheme.algorithm in HMACS:
        found.append(
            "It doesn't show what stands between two signatures while a secret is changed. Capture a delivery then, or "
            "ask Senang.io."
        )
    if scheme.signs_fields and _signed_fields(captured, scheme) == 1:
        found.append("Only one field is signed, so this delivery doesn't show what stands between two fields.")
    if "test" in f"{scheme.header} {scheme.tag}".lower():
        found.append("Its name says test. In live the header or tag may have another name.")
    return found


def _signed_fields(captured: Captured, scheme: SignatureScheme) -> int:
    """How many fields of this delivery are signed."""
    return sum(
        scheme.coverage is None or scheme.coverage.covers(path)
        for path in View(captured).values
        if path != scheme.body_field
    )


def _weak(view: View, scheme: SignatureScheme, setting: str) -> list[str]:
    """What the scheme and the places leave open, how `live` takes it, and what of this delivery is not signed."""
    sentences = [weak.text for weak in weaknesses(scheme, fields_from(setting, scheme))]
    coverage = scheme.coverage
    unsigned = [path for path in view.values if coverage and not coverage.covers(path) and path != scheme.body_field]
    if unsigned:
        sentences.append(f"Not signed in this delivery: {_named(unsigned)}.")
    return sentences


def _named(names: Sequence[str]) -> str:
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


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


def _read_payload(views: list[View], find: Find | None, secret: str, diagnosis: Diagnosis) -> Reading | None:
    """Where the fields of the envelope stand. The settings for it go into the diagnosis."""
    held = envelope(views, find, secret)
    if held is None or not held.deliveries:
        diagnosis.warnings.append("The body holds no JSON object and no form: such deliveries would be quarantined.")
        return None
    scheme = find.scheme if find else None
    reading = read_fields(held.deliveries, scheme)
    if find is None and views[0].body_format == "form":
        diagnosis.settings["SENANG_SIGNATURE_BODY_FORMAT"] = "form"
    settings = {
        "SENANG_PAYLOAD_EVENTS": held.events,
        "SENANG_PAYLOAD_FIELDS": reading.setting(),
        "SENANG_TIMESTAMP_ZONE": reading.zone,
    }
    diagnosis.settings |= {name: value for name, value in settings.items() if value}
    diagnosis.reasons += [f"{g.field} is `{g.place}` ({g.trust}): {g.reason}." for g in reading.guesses.values()]
    diagnosis.warnings += reading.cautions
    problems = still_unusable(held.deliveries[0][0], reading, scheme)
    if problems:
        words = ", ".join(f"{name}: {'/'.join(reasons)}" for name, reasons in problems.items())
        diagnosis.warnings.append(f"The payload would still be quarantined: {words}.")
    if find and "payload_fields" not in problems:
        diagnosis.weak = _weak(views[0], find.scheme, reading.setting())
    return reading
