"""Writes a found scheme as settings: the preset that needs the fewest overrides, and the overrides.

An override is left out only where `verify()` accepts every capture without it.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

from receiver.protocol.captured import Captured
from receiver.protocol.schemes import ALIASES, FEWEST_DIFFERENT, JWTS, PUBLIC_KEYS, SCHEMES, SignatureScheme
from receiver.sandbox.doctor.search import Find, verified

GENERAL = ("standard-webhooks", "hmac-sha256-hex")
"""The presets to start from. The preset of another sender is named only when it fits exactly, or nearly."""
_AXES = tuple(axis.name for axis in fields(SignatureScheme) if axis.name not in ("name", "minimum_key_bytes"))


def settings_for(captured: Captured, find: Find, secret: str, others: Sequence[Captured] = ()) -> dict[str, str]:
    """The SENANG_SIGNATURE_* settings of this scheme. `others` are deliveries of the same sender."""
    samples = [captured, *(other for other in others if verified(other, find.scheme, secret))]
    needed = {name: _overrides(samples, find.scheme, preset, secret) for name, preset in SCHEMES.items()}
    nearest = min(needed, key=lambda name: len(needed[name]) + (2 if needed[name] and name not in GENERAL else 0))
    spelled = {text: alias for alias, text in ALIASES.items()}
    overrides = {axis: spelled.get(value, value).replace("\n", "\\n") for axis, value in needed[nearest].items()}
    is_shared = find.scheme.algorithm not in PUBLIC_KEYS and find.scheme.algorithm not in JWTS[1:]
    different = len(set(find.key))
    floor = min(len(find.key), different if different < FEWEST_DIFFERENT else len(find.key))
    if is_shared and floor < SCHEMES[nearest].minimum_key_bytes:
        overrides["minimum_key_bytes"] = str(floor)
    return {"SENANG_SIGNATURE_SCHEME": nearest} | {
        f"SENANG_SIGNATURE_{axis.upper()}": value for axis, value in overrides.items()
    }


def widened(captured: Captured, find: Find, secret: str, others: Sequence[Captured]) -> Find:
    """The find with the text between two signatures, if other captures show it: senders send two for a while."""
    if find.scheme.entry_separator or not find.scheme.header:
        return find
    best, most = find, _accepted(others, find.scheme, secret)
    for separator in (",", " ", ";"):
        scheme = replace(find.scheme, entry_separator=separator)
        count = _accepted(others, scheme, secret)
        if count > most and verified(captured, scheme, secret):
            best, most = replace(find, scheme=scheme), count
    return best


def _accepted(others: Sequence[Captured], scheme: SignatureScheme, secret: str) -> int:
    return sum(verified(other, scheme, secret) is not None for other in others)


def _overrides(
    samples: Sequence[Captured], scheme: SignatureScheme, preset: SignatureScheme, secret: str
) -> dict[str, str]:
    """The axes in which the scheme differs from the preset, without those that change nothing."""
    values = {axis: str(getattr(scheme, axis)) for axis in _AXES if getattr(scheme, axis) != getattr(preset, axis)}
    for axis in tuple(values):
        if axis == "timestamp_tag" and scheme.is_token_signed:
            continue  # without it, an old token would be accepted
        fewer = {known: value for known, value in values.items() if known != axis}
        made = replace(preset, **fewer)  # type: ignore[arg-type]  # every axis but one is text
        if all(verified(sample, made, secret) for sample in samples):
            values = fewer
    return values
