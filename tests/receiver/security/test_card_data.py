"""Card security codes, PINs and track data are in no sealed copy, in whatever shape they come (PCI DSS 3.3.1)."""

import json
from datetime import UTC, datetime

from receiver.privacy.card_data import drop_authentication_data, may_hold_authentication_data
from receiver.privacy.sealing import unseal
from receiver.protocol.envelope import DEFAULT_FIELDS
from receiver.sandbox.samples import sample
from receiver.store.models import StoredEvent

CODE = "739"
KEYS = (
    "cvv CVV2 cvc Cvc2 cvn cvd csc cid card_verification_code cardVerificationValue card-security-code SECURITY_CODE "
    "pin_block PINBlock track1 Track2Data track_2 magstripe ＣＶＶ c.v.v cvvNumber card_cvv customerCardCvv cvv_code "
    "encrypted_cvv pin card_pin pinCode cardCode Track2EquivalentData CARD_VERIFICATION_NUMBER cvv%32 dCVV icvv"
)
SHAPES = [
    *({key: CODE} for key in KEYS.split()),
    {"name": "cvv", "value": CODE},
    {"key": "Card-Security-Code", "val": 739},
    {"entries": [["exp", "12/26"], ["cvc", CODE]]},
    {"fields": [{"field": "PIN", "data": CODE}]},
    {"card": {"cvv": {"value": CODE}}},
    {f"cvv={CODE}": 1},
    {"note": f'{{"cvv":"{CODE}","a":1}}'},
    {"note": f'{{"card":{{"cvc":{CODE}}}}}'},
    {"note": f'[{{"name":"cvv","value":"{CODE}"}}]'},
    {"note": json.dumps({"x": json.dumps({"cvv": CODE})})},
    {"note": f'{{"a":{{"cvv":"{CODE}"}},"a":1}}'},
    {"note": f"b=1;cvv={CODE}&a=1"},
    {"note": f"note: cvv: {CODE}"},
    {"note": f"his CVV is {CODE}, he said"},
    {"note": f"card verification code {CODE}"},
    {"note": f"cc number validation code: {CODE}"},
    {"NOTE": f"CC NUMBER VALIDATION CODE: {CODE}"},
    {"note": f"security code: {CODE}"},
    {"note": f"<cvv>{CODE}</cvv>"},
    {"note": f"card[cvv]={CODE}"},
    {"note": f"cvv%3D{CODE}"},
    {"note": "ＣＶＶ：７３９"},
    {"note": f"PIN {CODE}456"},
    {"note": f"%B4111111111111111^AISYAH/NURUL^25121011{CODE}"},
    {"note": f";4111111111111111=25121011{CODE}0012345678?"},
    {"note": f"4111111111111111D25121011{CODE}0012345678F"},
]
HARMLESS = [
    {"cvc_check": "pass", "cvv_result": "M", "card_verification_status": "ok"},
    {"tracking_id": "T1234", "track_id": "1234", "security_deposit": "123", "card_number": "4111"},
    {"name": "cvv_result", "value": "M"},
    {"required": ["cvv", "pin"]},
    {"note": "policy 12345 of card 1234", "place": "Pinang: 1234", "url": "https://example.com/?a=1&b=2"},
    {"email_verification_code": "482913", "spin": "1", "timestamp": "2026-11-28T09:15:00Z"},
]


def test_card_authentication_data_is_dropped_in_every_shape():
    stays = [
        shape
        for shape in SHAPES
        if CODE in json.dumps(drop_authentication_data({"a": [shape]})[0])
        or not drop_authentication_data({"a": [shape]})[1]
    ]

    assert stays == []


def test_a_quick_look_at_the_body_passes_over_no_shape():
    bodies = [json.dumps(shape, ensure_ascii=ascii_only) for shape in SHAPES for ascii_only in (True, False)]

    bodies.append('{"p[\x7fat]in": "739"}')  # a control character that JSON may hold as it is

    assert [body for body in bodies if not may_hold_authentication_data(body.encode())] == []


def test_a_quick_look_at_the_body_is_enough_for_most_usual_events():
    """In a few, the random ID holds a run of digits like a track's."""
    payloads = [sample("payment.success", fields=DEFAULT_FIELDS, now=datetime.now(UTC)) for _ in range(100)]

    assert sum(may_hold_authentication_data(json.dumps(payload).encode()) for payload in payloads) < 30


def test_what_is_dropped_once_needs_no_second_time():
    once = [drop_authentication_data(shape)[0] for shape in SHAPES]

    assert [drop_authentication_data(shape) for shape in once] == [(shape, False) for shape in once]


def test_what_only_sounds_like_it_stays():
    assert [drop_authentication_data(shape) for shape in HARMLESS] == [(shape, False) for shape in HARMLESS]


def test_what_stands_beside_it_in_a_text_stays():
    notes = {"a": '{"cvv": "739", "b": 1}', "c": "paid, CVV is 739, thanks", "d": "e=1&cvv=739&f=2"}

    kept = drop_authentication_data(notes)[0]

    assert kept == {"a": '{"b": 1}', "c": "paid, CVV is , thanks", "d": "e=1&cvv=&f=2"}


def test_the_sealed_copy_of_an_event_has_none(perform, inbox):
    row = perform("payment.success", event_id="evt_1", data={"amount": "10.50", "shapes": SHAPES})

    sealed = unseal(row.sealed_payload, row=row.seal_id, keys=inbox.settings.payload_keys)
    assert CODE.encode() not in sealed
    assert b"10.50" in sealed


def test_the_sealed_copy_of_a_body_that_nobody_can_parse_has_none(sender, session, inbox):
    body = f'{{"cvv": "{CODE}", "note": "4111111111111111=25121011{CODE}00", "a": 1, "a": 2}}'

    assert sender.deliver(body.encode()).json["status"] == "quarantined"

    row = session.query(StoredEvent).one()
    sealed = unseal(row.sealed_payload, row=row.seal_id, keys=inbox.settings.payload_keys)
    assert CODE.encode() not in sealed
    assert sealed.endswith(b'"a": 1, "a": 2}')
