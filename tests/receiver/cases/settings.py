"""The settings under which each case of the field is accepted, as a person writes them."""

ZONE = "SENANG_TIMESTAMP_ZONE"
FIELDS = "SENANG_PAYLOAD_FIELDS"
EVENTS = "SENANG_PAYLOAD_EVENTS"
ACCEPTED = "SENANG_ACCEPTED_WEAKNESSES"


def plain(header, /, preset="hmac-sha256-hex", **axes):
    """The settings of a scheme: axes by their names. What is in capitals is another setting, without SENANG_."""
    found = {"SENANG_SIGNATURE_SCHEME": preset, "SENANG_SIGNATURE_MINIMUM_KEY_BYTES": "8"}
    axes = {"header": header} | axes if header else axes
    for axis, value in axes.items():
        found[f"SENANG_{axis}" if axis.isupper() else f"SENANG_SIGNATURE_{axis.upper()}"] = value
    return found


BASE64 = {"encoding": "base64"}
TAGGED = {"tag": "v1", "tag_separator": "="}
STAMPED = TAGGED | {"entry_separator": ",", "timestamp_tag": "t", "content": "{timestamp}.{body}"}
IN_BODY = {"header": "none"}

SETTINGS = {
    "2c2p": plain(
        "", **IN_BODY, body_field="payload", algorithm="jwt-hs256", content="{claims}", encoding="plain",
        PAYLOAD_FIELDS="event_id=tranRef,event_type=constant:payment,timestamp=transactionDateTime,status=respCode",
        TIMESTAMP_ZONE="Asia/Bangkok",
    ),
    "asana": plain(
        "X-Hook-Signature", PAYLOAD_EVENTS="events",
        PAYLOAD_FIELDS="event_id={resource.gid}:{action}:{created_at},event_type={resource.resource_type}.{action},"
        "timestamp=created_at",
    ),
    "billplz": plain(
        "", **IN_BODY, body_format="form", body_field="x_signature", content="{fields}", field_order="pair",
        field_separator="|", ACCEPTED_WEAKNESSES="ambiguous",
        PAYLOAD_FIELDS="event_id={id}:{state}:{paid_at},event_type=state,timestamp=paid_at",
    ),
    "calendly": plain(
        "Calendly-Webhook-Signature", **STAMPED,
        PAYLOAD_FIELDS="event_id={event}:{payload.uri}:{created_at},event_type=event,timestamp=created_at,data=payload",
    ),
    "chip": plain(
        "X-Signature", **BASE64, algorithm="rsa-sha256",
        PAYLOAD_FIELDS="event_id={id}:{event_type}:{updated_on},event_type=event_type,timestamp=updated_on,data=payment",
    ),
    "circleci": plain(
        "circleci-signature", **TAGGED, entry_separator=",",
        PAYLOAD_FIELDS="event_id=id,event_type=type,timestamp=happened_at",
    ),
    "docusign": plain(
        "X-DocuSign-Signature-1", **BASE64,
        PAYLOAD_FIELDS="event_id={event}:{data.envelopeId}:{generatedDateTime},event_type=event,timestamp=generatedDateTime",
    ),
    "doku": plain(
        "Signature", **BASE64, tag="HMACSHA256", tag_separator="=",
        content="Client-Id:{header:Client-Id}\\nRequest-Id:{id}\\nRequest-Timestamp:{timestamp}\\n"
        "Request-Target:{path}\\nDigest:{body_sha256_base64}",
        id_header="Request-Id", timestamp_header="Request-Timestamp", timestamp_format="rfc3339",
        PAYLOAD_FIELDS="event_id={order.invoice_number}:{transaction.status}:{transaction.date},"
        "event_type=transaction.status,timestamp=transaction.date,transaction_id=order.invoice_number",
    ),
    "dragonpay": plain(
        "", **IN_BODY, body_format="form", body_field="digest", algorithm="hash-sha1",
        content="{field:txnid}:{field:refno}:{field:status}:{field:message}:{secret}",
        ACCEPTED_WEAKNESSES="plain_hash,partial",
        PAYLOAD_FIELDS="event_id={refno}:{status},event_type=status,timestamp={received_at},transaction_id=txnid",
    ),
    "flutterwave-v3": plain(
        "verif-hash", algorithm="token", encoding="plain", ACCEPTED_WEAKNESSES="static_token,unsigned_id",
        PAYLOAD_FIELDS="event_id={data.id}:{data.status},event_type=event,timestamp=data.created_at",
    ),
    "flutterwave-v4": plain("flutterwave-signature", **BASE64, PAYLOAD_FIELDS="event_id=webhook_id,event_type=type"),
    "front": plain(
        "X-Front-Signature", **BASE64, content="{timestamp}:{body}", timestamp_header="X-Front-Request-Timestamp",
        timestamp_format="milliseconds",
        PAYLOAD_FIELDS="event_id=payload.id,event_type=type,timestamp=payload.emitted_at,data=payload",
    ),
    "greenhouse": plain(
        "Signature", tag="sha256", tag_separator="space",
        PAYLOAD_FIELDS="event_id={body_sha256},event_type=action,timestamp=payload.application.applied_at,data=payload",
    ),
    "guide-bearer": plain(
        "Authorization", tag="Bearer", tag_separator="space", algorithm="token", encoding="plain",
        ACCEPTED_WEAKNESSES="static_token,unsigned_id",
    ),
    "hitpay-v2": plain(
        "Hitpay-Signature", ACCEPTED_WEAKNESSES="unsigned_header",
        PAYLOAD_FIELDS="event_id={id}:{status}:{updated_at},event_type=header:Hitpay-Event-Object,timestamp=updated_at",
    ),
    "ipay88": plain(
        "", **IN_BODY, body_format="form", body_field="Signature", algorithm="hash-sha256", minimum_key_bytes="4",
        content="{secret}{field:MerchantCode}{field:PaymentId}{field:RefNo}{field:Amount|digits}{field:Currency}{field:Status}",
        ACCEPTED_WEAKNESSES="plain_hash,partial,ambiguous,unsigned_id",
        PAYLOAD_FIELDS="event_id=TransId,event_type=Status,timestamp={received_at},transaction_id=RefNo",
    ),
    "lazada": plain(
        "Authorization", content="123456{body}",
        PAYLOAD_FIELDS="event_id={data.trade_order_id}:{data.order_status}:{data.status_update_time},"
        "event_type=message_type,timestamp=timestamp,transaction_id=data.trade_order_id",
    ),
    "lemonsqueezy": plain(
        "X-Signature",
        PAYLOAD_FIELDS="event_id=meta.webhook_id,event_type=meta.event_name,timestamp=data.attributes.created_at",
    ),
    "mailgun": plain(
        "", **IN_BODY, body_field="signature.signature", content="{timestamp}{field:signature.token}",
        timestamp_field="signature.timestamp", ACCEPTED_WEAKNESSES="partial,unsigned_id,ambiguous",
        PAYLOAD_FIELDS="event_id=event-data.id,event_type=event-data.event,timestamp=event-data.timestamp,data=event-data",
    ),
    "mandrill": plain(
        "X-Mandrill-Signature", **BASE64, algorithm="sha1", body_format="form", content="{url}{fields}",
        url="https://partner.example/webhooks/senang", field_separator="none", ACCEPTED_WEAKNESSES="ambiguous",
        PAYLOAD_EVENTS="mandrill_events",
        PAYLOAD_FIELDS="event_id={_id}:{event}:{ts},event_type=event,timestamp=ts,data=msg",
    ),
    "mercadopago": plain(
        "x-signature", **(STAMPED | {"timestamp_tag": "ts"}), timestamp_format="milliseconds",
        id_header="x-request-id",
    ) | {
        "SENANG_SIGNATURE_CONTENT": "id:{query:data.id};request-id:{id};ts:{timestamp};",
        ACCEPTED: "partial,unsigned_id",
        FIELDS: "event_id=id,event_type=action,timestamp=date_created,transaction_id=data.id",
    },
    "mollie-next": plain(
        "X-Mollie-Signature", tag="sha256", tag_separator="=",
        PAYLOAD_FIELDS="event_id=id,event_type=type,timestamp=createdAt",
    ),
    "omise": plain(
        "Omise-Signature", content="{timestamp}.{body}", timestamp_header="Omise-Signature-Timestamp",
        entry_separator=",", secret_encoding="base64",
        PAYLOAD_FIELDS="event_id=id,event_type=key,timestamp=created_at",
    ),
    "openinsure": plain(
        "X-OpenInsure-Signature", **STAMPED, PAYLOAD_FIELDS="event_id=id,event_type=type,timestamp=created_at"
    ),
    "paddle": plain(
        "Paddle-Signature", tag="h1", tag_separator="=", entry_separator=";", timestamp_tag="ts",
        content="{timestamp}:{body}", PAYLOAD_FIELDS="timestamp=occurred_at",
    ),
    "payos": plain(
        "", **IN_BODY, body_field="signature", content="{fields}", fields_of="data", field_separator="&",
        value_separator="=", ACCEPTED_WEAKNESSES="partial", TIMESTAMP_ZONE="Asia/Ho_Chi_Minh",
        PAYLOAD_FIELDS="event_id=data.reference,event_type=code,timestamp=data.transactionDateTime",
    ),
    "paystack": plain(
        "X-Paystack-Signature", algorithm="sha512",
        PAYLOAD_FIELDS="event_id={event}:{data.id}:{data.status},event_type=event,timestamp=data.paid_at",
    ),
    "postmark": plain(
        "Authorization", tag="Basic", tag_separator="space", algorithm="token", encoding="base64",
        ACCEPTED_WEAKNESSES="static_token,unsigned_id",
        PAYLOAD_FIELDS="event_id={RecordType}:{MessageID}:{Recipient},event_type=RecordType,timestamp=DeliveredAt",
    ),
    "secretpay": plain(
        "X-Signature", content="{fields}", field_order="path-nocase", field_form="value", field_separator="none",
        ACCEPTED_WEAKNESSES="ambiguous", TIMESTAMP_ZONE="Asia/Kuala_Lumpur",
        PAYLOAD_FIELDS="event_id={docNo}:{transStatus},event_type=transType,timestamp=createdAt",
    ),
    "sentry": plain(
        "Sentry-Hook-Signature", ACCEPTED_WEAKNESSES="unsigned_header",
        PAYLOAD_FIELDS="event_id={body_sha256},event_type=action,timestamp=header:Sentry-Hook-Timestamp",
    ),
    "shopeepay": plain(
        "X-Airpay-Req-H", **BASE64,
        PAYLOAD_FIELDS="event_id={transaction_sn}:{transaction_status}:{update_time},event_type=transaction_type,"
        "timestamp=update_time,transaction_id=transaction_sn",
    ),
    "slack": {
        "SENANG_SIGNATURE_SCHEME": "slack",
        FIELDS: "event_id=event_id,event_type=event.type,timestamp=event_time,data=event",
    },
    "standard-v1a": {
        "SENANG_SIGNATURE_SCHEME": "standard-webhooks", "SENANG_SIGNATURE_TAG": "v1a",
        "SENANG_SIGNATURE_ALGORITHM": "ed25519", "SENANG_SIGNATURE_SECRET_PREFIX": "whpk_",
        "SENANG_SIGNATURE_SECRET_ENCODING": "hex", FIELDS: "event_id=id,event_type=type",
    },
    "tap": plain(
        "hashstring",
        content="x_id{field:id}x_amount{field:amount|decimals-3}x_currency{field:currency}x_gateway_reference"
        "{field:reference.gateway}x_payment_reference{field:reference.payment}x_status{field:status}x_created"
        "{field:transaction.created}",
        ACCEPTED_WEAKNESSES="partial,ambiguous",
        PAYLOAD_FIELDS="event_id={id}:{status}:{transaction.created},event_type=object,timestamp=transaction.created",
    ),
    "teams": plain(
        "Authorization", **BASE64, tag="HMAC", tag_separator="space", secret_encoding="base64",
        PAYLOAD_FIELDS="event_id=id,event_type=type",
    ),
    "telegram": plain(
        "X-Telegram-Bot-Api-Secret-Token", algorithm="token", encoding="plain",
        ACCEPTED_WEAKNESSES="static_token,unsigned_id",
        PAYLOAD_FIELDS="event_id=update_id,event_type=constant:update,timestamp=message.date,data=message",
    ),
    "trello": plain(
        "X-Trello-Webhook", **BASE64, algorithm="sha1", content="{body}{url}",
        url="https://partner.example/webhooks/senang",
        PAYLOAD_FIELDS="event_id=action.id,event_type=action.type,timestamp=action.date,data=action.data",
    ),
    "twitch": plain(
        "Twitch-Eventsub-Message-Signature", tag="sha256", tag_separator="=", content="{id}{timestamp}{body}",
        id_header="Twitch-Eventsub-Message-Id", timestamp_header="Twitch-Eventsub-Message-Timestamp",
        timestamp_format="rfc3339",
        PAYLOAD_FIELDS="event_id=header:Twitch-Eventsub-Message-Id,event_type=subscription.type,"
        "timestamp=header:Twitch-Eventsub-Message-Timestamp,data=event",
    ),
    "typeform": plain(
        "Typeform-Signature", **BASE64, tag="sha256", tag_separator="=",
        PAYLOAD_FIELDS="timestamp=form_response.submitted_at,data=form_response",
    ),
    "vertical-insure": plain(
        "VerticalInsure-Signature", TIMESTAMP_ZONE="America/New_York",
        PAYLOAD_FIELDS="event_id={event}:{data.id},event_type=event,timestamp=data.issued_date,"
        "policy_id=data.policy_number",
    ),
    "vonage": plain(
        "Authorization", tag="Bearer", tag_separator="space", algorithm="jwt-hs256", claim="payload_hash",
        content="{body_sha256}", timestamp_tag="iat",
        PAYLOAD_FIELDS="event_id={message_uuid}:{status}:{timestamp},event_type=channel",
    ),
    "wompi": plain(
        "", **IN_BODY, body_field="signature.checksum", algorithm="hash-sha256", timestamp_field="timestamp",
        content="{field:data.transaction.id}{field:data.transaction.status}{field:data.transaction.amount_in_cents}"
        "{timestamp}{secret}",
        ACCEPTED_WEAKNESSES="plain_hash,partial,ambiguous",
        PAYLOAD_FIELDS="event_id={data.transaction.id}:{data.transaction.status},event_type=event,timestamp=sent_at",
    ),
    "xero": plain(
        "x-xero-signature", **BASE64, PAYLOAD_EVENTS="events", TIMESTAMP_ZONE="UTC",
        PAYLOAD_FIELDS="event_id={resourceId}:{eventType}:{eventDateUtc},event_type={eventCategory}.{eventType},"
        "timestamp=eventDateUtc",
    ),
    "zendesk": plain(
        "X-Zendesk-Webhook-Signature", **BASE64, content="{timestamp}{body}",
        timestamp_header="X-Zendesk-Webhook-Signature-Timestamp", timestamp_format="rfc3339",
        PAYLOAD_FIELDS="event_id=id,event_type=type,timestamp=time,data=detail",
    ),
}  # fmt: skip
NOT_SIGNED = {"mollie-classic": "It carries no signature at all, so nobody knows who sent it."}
