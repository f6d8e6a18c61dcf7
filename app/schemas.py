"""What `event.data` holds, by event type. Senang.io publishes no schema of it (§2.2), so these are examples: correct
them here when you know what you are sent.

Unknown fields are kept, and every field is optional until you say `required=True`. Data that does not fit makes its
event dead at once, with the reason code of each field. Mend the schema, then replay the event.
"""

from marshmallow import fields
from marshmallow.validate import Length, Range

from receiver import DataSchema


def _amount() -> fields.Decimal:
    """Money, exact: `99.50` and `"99.50"` are the same."""
    return fields.Decimal(validate=Range(min=0, error="negative"))


def _text(longest: int) -> fields.String:
    return fields.String(validate=Length(max=longest, error="too_long"))


class Payer(DataSchema):
    """Who paid."""

    email = _text(254)


class PaymentData(DataSchema):
    """Of `payment.success` and `payment.failed`."""

    customer = fields.Nested(Payer)
    amount = _amount()
    currency = _text(3)
    payment_method = _text(50)


class RefundData(DataSchema):
    """Of `refund.processed`. `refund_id` tells the refunds of one payment apart."""

    refund_id = _text(200)
    amount = _amount()
    currency = _text(3)


class Insured(DataSchema):
    """Who is insured."""

    name = _text(200)


class PolicyData(DataSchema):
    """Of `policy.issued` and `policy.cancelled`."""

    product_code = _text(50)
    starts_on = fields.Date()
    ends_on = fields.Date()
    amount = _amount()
    currency = _text(3)
    customer = fields.Nested(Insured)


class ClaimData(DataSchema):
    """Of `claim.submitted` and `claim.updated`."""

    amount = _amount()
    currency = _text(3)


class AccountData(DataSchema):
    """Of `account.*` and `onboarding.*`."""

    reason = _text(200)
