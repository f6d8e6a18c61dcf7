"""§4: what is not provably from Senang.io is refused, and everything else is not."""

import json
from dataclasses import replace
from datetime import timedelta

from receiver.clock import Clock
from receiver.sandbox.scenarios.steps import (
    acknowledge,
    deliver,
    expect,
    expect_acknowledged,
    expect_refused,
    make,
    told,
)
from receiver.sandbox.scenarios.target import NotJudged, Target
from receiver.sandbox.sender import Answer

BEYOND = timedelta(minutes=1)


def a_wrong_signature_is_refused(target: Target) -> None:
    """Signed with another secret; and signed right, but for another body."""
    stranger = replace(target.sender, key=target.sender.key[::-1])
    expect_refused(deliver(stranger, make(target)), "a delivery signed with another secret")

    payload = make(target, status="original")
    signed = target.sender.signed(json.dumps(payload).encode())
    forged = signed.body.replace(b'"original"', b'"tampered"')
    answer = target.sender.post(target.sender.url, forged, signed.headers)
    expect_refused(answer, "a delivery whose body was changed after it was signed")


def a_missing_signature_is_refused(target: Target) -> None:
    """No signature at all."""
    expect_refused(_unsigned(target, json.dumps(make(target)).encode()), "a delivery without a signature")


def the_signature_is_checked_before_the_body_is_parsed(target: Target) -> None:
    """A stranger's broken body gets the answer of every stranger, and a signed one passes however it is spelled."""
    whole = _unsigned(target, json.dumps(make(target)).encode())
    broken = _unsigned(target, b'{"sandbox": true, "event_id": ')
    expect(
        broken.status == whole.status,
        f"a broken body without a signature to be answered {whole.status} like a whole one",
        f"it {told(broken)}",
    )

    spelled = json.dumps(make(target, status="diluluskan ✓"), indent=3, ensure_ascii=False) + "\n"
    answer = deliver(target.sender, spelled.encode())
    expect_acknowledged(answer, "a signed body with unusual spacing, whose signature covers its very bytes,")


def a_rotated_secret_is_accepted(target: Target) -> None:
    """While both secrets are set, Senang.io may sign with either."""
    rotating = target.rotating()

    expect_acknowledged(deliver(rotating, make(target)), "a delivery signed with the secret that is being rotated out")
    acknowledge(target, make(target), "a delivery signed with the newest secret")


def a_stale_signature_is_refused(target: Target) -> None:
    """A delivery that somebody recorded and plays back later."""
    _expect_untimely(target, -target.tolerance - BEYOND, "old")


def a_signature_from_the_future_is_refused(target: Target) -> None:
    """It could be played back for as long as it lies ahead."""
    _expect_untimely(target, target.tolerance + BEYOND, "ahead of time")


def _expect_untimely(target: Target, offset: timedelta, how: str) -> None:
    scheme = target.sender.scheme
    if not scheme.signs_timestamp:
        raise NotJudged(f"the scheme {scheme.name} signs no timestamp")
    untimely = replace(target.sender, clock=Clock(target.sender.clock.offset + offset))
    minutes = abs(offset).total_seconds() / 60
    expect_refused(deliver(untimely, make(target)), f"a delivery whose signature is {minutes:g} minutes {how}")


def _unsigned(target: Target, body: bytes) -> Answer:
    """Everything that goes with a delivery, but for its signature."""
    scheme = target.sender.scheme
    signed = target.sender.signed(json.dumps(make(target)).encode())
    headers = {name: value for name, value in signed.headers.items() if name != scheme.header}
    return target.sender.post(target.sender.url, body, headers)
