"""Who says so: the mark that each type, field and header of the contract has.

`x-source` is `published` where Senang.io's page names the part; `x-sections` cites it. It is `configured` where a
setting, a handler or a schema of the partner's says it; `x-setting` names the setting. It is `observed` where real
deliveries had it. The page publishes what is sent but no names of fields, so the place of a field is always a setting.
When Senang.io publishes more, add it here.
"""

from typing import Any

Part = dict[str, Any]
"""A part of an OpenAPI document."""

OBSERVED: Part = {"x-source": "observed"}
_FIELDS = {
    "event_id": ["2.2", "7.2"],
    "event_type": ["2.2"],
    "timestamp": ["2.2"],
    "transaction_id": ["2.2"],
    "policy_id": ["2.2"],
    "status": ["2.2"],
    "data": ["2.2"],
}
_TYPES = frozenset(
    {
        "payment.success", "payment.failed", "policy.issued", "policy.cancelled", "refund.processed",
        "claim.submitted", "claim.updated",
    }
)  # fmt: skip


def published(*sections: str) -> Part:
    """The mark of what these sections of Senang.io's page name."""
    return {"x-source": "published", "x-sections": list(sections)}


def configured(setting: str = "") -> Part:
    """The mark of what a setting says, or a handler or schema of the partner's."""
    return {"x-source": "configured"} | ({"x-setting": setting} if setting else {})


def of_field(name: str) -> Part:
    """The mark of a field of the envelope."""
    if name not in _FIELDS:
        return configured("SENANG_PAYLOAD_FIELDS")
    return published(*_FIELDS[name]) | {"x-place": "configured", "x-setting": "SENANG_PAYLOAD_FIELDS"}


def of_type(name: str, *, is_observed: bool) -> Part:
    """The mark of an event type, or of a pattern that has a handler."""
    if name in _TYPES:
        return published("5.1")
    return OBSERVED if is_observed else configured()
