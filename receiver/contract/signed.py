"""How a delivery proves where it comes from, as the settings have it: its headers, and what is signed.

Senang.io publishes that it signs (§4.1), but neither a header nor an algorithm, so all of this is configured.
"""

from dataclasses import asdict

from receiver.config import Settings
from receiver.contract.sources import Part, configured
from receiver.protocol.schemes import HMACS, TIMESTAMP_FORMATS, SignatureScheme

SECURITY = "signature"


def parameters(scheme: SignatureScheme) -> dict[str, Part]:
    """The headers that a delivery needs, by the name of their setting's axis."""
    schemas: dict[str, Part] = {
        "header": {"type": "string"},
        "id_header": {"type": "string", "pattern": "^[!-~]{1,200}$"},
        "timestamp_header": {"type": "string", "pattern": f"^{TIMESTAMP_FORMATS[scheme.timestamp_format]}$"},
    }
    return {
        axis: {"name": getattr(scheme, axis), "in": "header", "required": True, "schema": schema}
        | configured(f"SENANG_SIGNATURE_{axis.upper()}")
        for axis, schema in schemas.items()
        if getattr(scheme, axis)
    }


def verification(settings: Settings) -> Part:
    """What the receiver checks, axis by axis. It holds no secret."""
    axes = {axis: value for axis, value in asdict(settings.scheme).items() if value != ""}
    if settings.scheme.signs_timestamp:
        axes["timestamp_tolerance_seconds"] = int(settings.timestamp_tolerance.total_seconds())
    return axes | configured("SENANG_SIGNATURE_SCHEME")


def security_schemes(scheme: SignatureScheme) -> dict[str, Part]:
    """The security schemes of the document. A signature in the body is none that OpenAPI knows."""
    if not scheme.header:
        return {}
    kind = f"HMAC with {scheme.algorithm}" if scheme.algorithm in HMACS else scheme.algorithm
    described = (
        f"{kind} over {scheme.content}, in {scheme.encoding}. See x-verification for the rest. "
        "It is verified over the raw bytes, before anything reads them (§4.2)."
    )
    return {SECURITY: {"type": "apiKey", "in": "header", "name": scheme.header, "description": described}}
