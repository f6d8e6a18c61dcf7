"""What providers publish, or what their own libraries make of their documentation's example: each passes `verify()`.

Where a provider publishes no digest, an independent line of code beside the settings signs its documented example.
"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from receiver.protocol.errors import InvalidSignature
from receiver.protocol.schemes import SCHEMES, key_bytes, scheme_from
from receiver.protocol.signatures import verify

FORM = {"header": "none", "body_format": "form"}


def hexmac(key, text, name="sha256"):
    return hmac.new(key.encode(), text if isinstance(text, bytes) else text.encode(), name).hexdigest()


def base64mac(key, text, name="sha256"):
    return base64.b64encode(hmac.new(key, text, name).digest()).decode()


SLACK = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
    b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SQUARE = b'{"hello":"world"}'
BILLPLZ = {
    "id": "W_79pJDk", "collection_id": "599", "paid": "true", "state": "paid", "amount": "200", "paid_amount": "0",
    "due_at": "2020-12-31", "email": "api@billplz.com", "mobile": "+60112223333", "name": "MICHAEL API",
    "url": "http://billplz.dev/bills/W_79pJDk", "paid_at": "2015-03-09 16:23:59 +0800",
}  # fmt: skip
BILLPLZ_TEXT = (
    "amount200|collection_id599|due_at2020-12-31|emailapi@billplz.com|idW_79pJDk|mobile+60112223333|nameMICHAEL API|"
    "paid_amount0|paid_at2015-03-09 16:23:59 +0800|paidtrue|statepaid|urlhttp://billplz.dev/bills/W_79pJDk"
)
SENANGPAY = {"status_id": "1", "order_id": "56", "transaction_id": "1436536253363", "msg": "Payment_was_successful"}
IPAY88 = {
    "MerchantCode": "M00003", "PaymentId": "2", "RefNo": "A00000001", "Amount": "1.00", "Currency": "MYR",
    "Status": "1",
}  # fmt: skip
PAYOS_KEY = "1a54716c8f0efb2744fb28b6e38b25da7f67a925d98bc1c18bd8faaecadd7675"
PAYOS = {
    "orderCode": 123, "amount": 3000, "description": "VQRIO123", "accountNumber": "12345678",
    "reference": "TF230204212323", "transactionDateTime": "2023-02-04 18:25:00", "currency": "VND",
    "paymentLinkId": "124c33293c43417ab7879e14c8d9eb18", "code": "00", "desc": "Thành công",
    "counterAccountBankId": "", "counterAccountBankName": "", "counterAccountName": "", "counterAccountNumber": "",
    "virtualAccountName": "", "virtualAccountNumber": "",
}  # fmt: skip
ADYEN_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
ADYEN = {
    "pspReference": "7914073381342284", "originalReference": "", "merchantAccountCode": "TestMerchant",
    "merchantReference": "TestPayment-1407325143704", "amount": {"value": 1130, "currency": "EUR"},
    "eventCode": "AUTHORISATION", "success": "true",
    "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
}  # fmt: skip
ITEM = "notificationItems.0.NotificationRequestItem"
ADYEN_FIELDS = (
    "pspReference", "originalReference", "merchantAccountCode", "merchantReference", "amount.value", "amount.currency",
    "eventCode", "success",
)  # fmt: skip
HUBSPOT_URL = "https://partner.example/webhooks/senang"
SVIX_TEXT = b'{"test": 2432232314}'
STANDARD = SCHEMES["standard-webhooks"]

VECTORS = {
    "standard webhooks": (
        STANDARD,
        key_bytes(STANDARD, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        SVIX_TEXT,
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        1614265330,
    ),
    "svix": (
        scheme_from("standard-webhooks", {
            "header": "svix-signature", "id_header": "svix-id", "timestamp_header": "svix-timestamp",
        }),
        key_bytes(STANDARD, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        SVIX_TEXT,
        {
            "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "svix-timestamp": "1614265330",
            "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        1614265330,
    ),
    "github": (
        SCHEMES["github"],
        b"It's a Secret to Everybody",
        b"Hello, World!",
        {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        0,
    ),
    "slack": (
        SCHEMES["slack"],
        b"8f742231b10e8888abcd99yyyzzz85a5",
        SLACK,
        {
            "X-Slack-Request-Timestamp": "1531420618",
            "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        1531420618,
    ),
    "square": (
        scheme_from("hmac-sha256-hex", {
            "header": "x-square-hmacsha256-signature", "encoding": "base64", "content": "{url}{body}",
            "url": "https://example.com/webhook",
        }),
        b"asdf1234",
        SQUARE,
        {"x-square-hmacsha256-signature": "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og="},
        0,
    ),
    "billplz": (
        scheme_from("hmac-sha256-hex", FORM | {
            "body_field": "x_signature", "content": "{fields}", "field_order": "pair",
        }),
        b"S-s7b4yWpp9h7rrkNM1i3Z_g",
        urlencode(BILLPLZ | {"x_signature": hexmac("S-s7b4yWpp9h7rrkNM1i3Z_g", BILLPLZ_TEXT)}).encode(),
        {},
        0,
    ),
    "senangpay": (
        scheme_from("hmac-sha256-hex", FORM | {
            "body_field": "hash",
            "content": "{secret}{field:status_id}{field:order_id}{field:transaction_id}{field:msg}",
        }),
        b"53-784",
        urlencode(SENANGPAY | {"hash": hexmac("53-784", "53-784" + "".join(SENANGPAY.values()))}).encode(),
        {},
        0,
    ),
    "ipay88": (
        scheme_from("hmac-sha256-hex", FORM | {
            "body_field": "Signature", "algorithm": "hash-sha256",
            "content": "{secret}{field:MerchantCode}{field:PaymentId}{field:RefNo}{field:Amount|digits}"
            "{field:Currency}{field:Status}",
        }),
        b"apple",
        urlencode(IPAY88 | {"Signature": hashlib.sha256(b"appleM000032A00000001100MYR1").hexdigest()}).encode(),
        {},
        0,
    ),
    "payos": (
        scheme_from("hmac-sha256-hex", {
            "header": "none", "body_field": "signature", "content": "{fields}", "fields_of": "data",
            "value_separator": "=", "field_separator": "&",
        }),
        PAYOS_KEY.encode(),
        json.dumps({
            "code": "00", "desc": "success", "success": True, "data": PAYOS,
            "signature": "412e915d2871504ed31be63c8f62a149a4410d34c4c42affc9006ef9917eaa03",
        }).encode(),
        {},
        0,
    ),
    "adyen": (
        scheme_from("hmac-sha256-hex", {
            "header": "none", "body_field": f"{ITEM}.additionalData.hmacSignature", "encoding": "base64",
            "content": ":".join(f"{{field:{ITEM}.{name}}}" for name in ADYEN_FIELDS), "secret_encoding": "hex",
        }),
        bytes.fromhex(ADYEN_KEY),
        json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": ADYEN}]}).encode(),
        {},
        0,
    ),
    "hubspot": (
        scheme_from("hmac-sha256-hex", {
            "header": "X-HubSpot-Signature-v3", "encoding": "base64", "content": "{method}{url}{body}{timestamp}",
            "url": HUBSPOT_URL, "timestamp_header": "X-HubSpot-Request-Timestamp", "timestamp_format": "milliseconds",
        }),
        b"11111111-2222-3333-4444-555555555555",
        b'[{"eventId":1}]',
        {
            "X-HubSpot-Request-Timestamp": "1614265330000",
            "X-HubSpot-Signature-v3": base64mac(
                b"11111111-2222-3333-4444-555555555555",
                f"POST{HUBSPOT_URL}".encode() + b'[{"eventId":1}]' + b"1614265330000",
            ),
        },
        1614265330,
    ),
}  # fmt: skip


@pytest.mark.parametrize("provider", VECTORS)
def test_the_providers_example_verifies_and_a_changed_one_does_not(provider):
    scheme, key, body, headers, at = VECTORS[provider]
    now = datetime.fromtimestamp(at, UTC)

    def check(changed):
        return verify(changed, headers, scheme=scheme, keys=[key], now=now, tolerance=timedelta(seconds=300))

    assert check(body).key_index == 0
    signed = {"adyen": b"1130", "payos": b"3000", "billplz": b"=200", "senangpay": b"=56", "ipay88": b"=1.00"}
    old = signed.get(provider, body[1:2])
    with pytest.raises(InvalidSignature):
        check(body.replace(old, old[:-1] + bytes([old[-1] ^ 1])))
