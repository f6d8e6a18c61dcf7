"""What `event.data` holds, by event type. Senang.io publishes no schema of it (§2.2), so these are examples: correct
them here when you know what you are sent.

Unknown fields are kept, and every field is optional until you say `required=True`. Data that does not fit makes its
event dead at once, with the reason code of each field. Mend the schema, then replay the event.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, fields
from marshmallow.validate import Length, Range

from receiver import DataSchema


def customer_text(data: Mapping[str, Any], name: str) -> str | None:
    """What the data says about the customer, or None.

    It is in no schema, since an odd customer must not stop the money. PHP writes an empty map as `[]`.
    """
    customer = data.get("customer")
    text = customer.get(name) if isinstance(customer, dict) else None
    return text if isinstance(text, str) else None


def _amount() -> fields.Decimal:
    """Money, exact: `99.50` and `"99.50"` are the same."""
    return fields.Decimal(validate=[Range(min=0, error="negative"), _fits_money])


def _fits_money(amount: Decimal) -> None:
    """Refuse what a column of `Money` can't keep."""
    if amount.copy_abs() >= 10**14:
        raise ValidationError("too_large")
    if amount != amount.quantize(Decimal("0.0001")):
        raise ValidationError("too_exact")


def _text(longest: int) -> fields.String:
    return fields.String(validate=Length(max=longest, error="too_long"))


class PaymentData(DataSchema):
    """Of `payment.success` and `payment.failed`."""

    amount = _amount()
    currency = _text(3)
    payment_method = _text(50)


class RefundData(DataSchema):
    """Of `refund.processed`. `refund_id` tells the refunds of one payment apart."""

    refund_id = _text(200)
    amount = _amount()
    currency = _text(3)


class PolicyData(DataSchema):
    """Of `policy.issued` and `policy.cancelled`."""

    product_code = _text(50)
    starts_on = fields.Date()
    ends_on = fields.Date()
    amount = _amount()
    currency = _text(3)


class ClaimData(DataSchema):
    """Of `claim.submitted` and `claim.updated`."""

    amount = _amount()
    currency = _text(3)


class AccountData(DataSchema):
    """Of `account.*` and `onboarding.*`."""

    reason = _text(200)
