"""The OpenID provider at which people may sign in, as the settings OIDC_* name it."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

RETURN_PATH = "/sign-in/oidc/return"
"""Where the provider leads back to, behind SCRIPT_NAME."""


@dataclass(frozen=True, kw_only=True)
class OpenId:
    """One provider, and which role somebody has by which value of a claim."""

    issuer: str  # OIDC_ISSUER
    client_id: str  # OIDC_CLIENT_ID
    client_secret: str = field(repr=False)  # OIDC_CLIENT_SECRET
    redirect_uri: str  # OIDC_REDIRECT_URI: what is registered at the provider
    scopes: str  # OIDC_SCOPES
    role_claim: str  # OIDC_ROLE_CLAIM
    operator_values: frozenset[str]  # OIDC_OPERATOR_VALUES
    viewer_values: frozenset[str]  # OIDC_VIEWER_VALUES

    @property
    def host(self) -> str:
        """What the button of the sign-in page calls the provider."""
        return urlsplit(self.issuer).hostname or self.issuer

    def role_of(self, values: frozenset[str]) -> str | None:
        """The role of somebody whose claim has these values."""
        if values & self.operator_values:
            return "operator"
        return "viewer" if values & self.viewer_values else None
