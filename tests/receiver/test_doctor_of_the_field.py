"""The doctor examines deliveries of 45 real senders' schemes: its settings accept them, or it says truly why none do.

The cases are those of test_cases_of_the_field.py. Here nobody wrote the settings by hand.
"""

from dataclasses import replace
from datetime import datetime

from receiver.sandbox.doctor import diagnose
from receiver.sandbox.doctor.reading import read_capture
from tests.receiver.cases.settings import SETTINGS
from tests.receiver.test_cases_of_the_field import CASES, Case, problems_of

NAMED = {
    "lazada": ("not_found", "has the length of HMAC-SHA256 in hex", "application key"),
    "mollie-classic": ("unsigned", "carries no signature", "Are your webhooks signed?"),
}
"""What no setting can accept from the delivery alone: what the doctor says first, and what it says to do."""
OTHERWISE = {
    "vonage: type delivered",  # the status says more than the channel
    "hitpay-v2: type succeeded",  # the type is in a header that is not signed
    "payos: type event",  # the code of the answer is no type
    "dragonpay: ID TX1:S",  # our own reference, which is signed too
    "ipay88: ID A00000001:1",  # the ID that is signed
}
"""Where the doctor's guess is another than the sender's own documentation says, and no worse."""


def captured_of(case, *names):
    """Deliveries as capture mode keeps them."""
    received_at = datetime.fromisoformat(case["signed_at"])
    return [replace(read_capture(case["deliveries"][name].encode()), received_at=received_at) for name in names]


def diagnosis_of(case, names, secret=None, seconds=60, texts=()):
    first, *others = captured_of(case, *names)
    return diagnose(first, [secret or case["secret"]], captures=others, texts=texts, seconds=seconds)


def test_every_case_is_found_and_accepted_as_its_event_or_named_truly(environment, assemble):
    wrong = []
    for slug, case in CASES.items():
        diagnosis = diagnosis_of(case, ("delivery", "second", "third"))
        if slug in NAMED:
            verdict, first, advice = NAMED[slug]
            text = " ".join([*diagnosis.reasons, diagnosis.mail])
            if diagnosis.verdict != verdict or first not in diagnosis.summary or advice not in text:
                wrong.append(f"{slug}: {diagnosis.verdict}: {diagnosis.summary}")
        elif diagnosis.verdict != "found":
            wrong.append(f"{slug}: {diagnosis.verdict}: {diagnosis.summary}")
        else:
            accepting = Case(slug, environment, assemble, diagnosis.settings)
            wrong += [problem for problem in problems_of(accepting) if problem not in OTHERWISE]
            accepting.forget()

    assert wrong == []


def test_a_text_that_is_signed_and_in_no_part_of_the_request_is_taken_from_whoever_knows_it(environment, assemble):
    case, key = CASES["lazada"], SETTINGS["lazada"]["SENANG_SIGNATURE_CONTENT"].partition("{body}")[0]

    diagnosis = diagnosis_of(case, ("delivery", "second", "third"), texts=("another", key))

    assert diagnosis.settings["SENANG_SIGNATURE_CONTENT"] == f"{key}{{body}}"
    assert problems_of(Case("lazada", environment, assemble, diagnosis.settings)) == []


def test_for_a_wrong_secret_nothing_is_claimed_in_any_case():
    wrong = []
    for slug, case in CASES.items():
        diagnosis = diagnosis_of(case, ("delivery",), secret="another-secret-9f3b17c2d4", seconds=0.05)
        claims = [name for name in diagnosis.settings if name.startswith("SENANG_SIGNATURE") and "FORMAT" not in name]
        if diagnosis.verdict in ("found", "proven_cause") or claims:
            wrong.append(f"{slug}: {diagnosis.summary}")
        if diagnosis.verdict == "unsigned" and slug != "mollie-classic":
            wrong.append(f"{slug}: {diagnosis.summary}")

    assert wrong == []


def test_settings_are_rehearsed_on_all_captures():
    case = CASES["paystack"]

    diagnosis = diagnosis_of(case, ("delivery", "second", "delivery", "third", "tampered"))

    assert diagnosis.rehearsal == (
        "Under these settings 3 of 5 captures would have been accepted; duplicates: 1; "
        "refused, since their signature is not right: 1."
    )
