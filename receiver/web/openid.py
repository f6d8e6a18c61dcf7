"""What is asked of the OpenID provider, by authlib: its description and keys, a token for a code, whose it is.

Only receiver/web/oidc.py loads this module, and only where a provider is configured: authlib costs memory.

Nothing here waits for long or takes much: each request has time limits, and an answer has a limit of bytes. TLS is
verified. Nothing is followed to another address. The description and the keys are kept for an hour; a token that names
an unknown key makes authlib ask for the keys once more. Tokens are signed by a key pair of the provider's, never by
a secret.

    ProviderError
    ├── Unreachable    no answer in time, or no answer that can be read
    ├── Refused        the provider said no, by a code of RFC 6749 or of OpenID Connect
    └── Untrusted      an answer that must not be believed
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

from authlib.integrations.base_client import BaseApp, OAuth2Mixin, OAuthError, OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from joserfc.errors import JoseError
from requests import RequestException, Response

from receiver.actions.single_sign_on import Identity
from receiver.green import within
from receiver.settings.openid import OpenId

T = TypeVar("T")
logging.getLogger("authlib").setLevel(logging.INFO)  # its DEBUG lines have the verifier of a sign-in

CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS = 3.0, 5.0, 8.0
MOST_BYTES = 512 * 1024
KEPT_SECONDS = 3600
LEEWAY_SECONDS = 60
LONGEST_HINT = 2000
"""The token is kept in the cookie until the sign-out. A cookie holds no more than 4 KB, and neither do some routers."""
SIGNED_BY_A_KEY_PAIR = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
NAMES = ("preferred_username", "email", "name")


class ProviderError(Exception):
    """The root of what goes wrong with a provider. `reason` is its stable code, `detail` is for the log."""

    reason = "provider"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(f"{self.reason}: {detail}")


class Unreachable(ProviderError):
    """No answer in time, or no answer that can be read."""

    reason = "unreachable"


class Refused(ProviderError):
    """The provider said no."""

    reason = "refused"


class Untrusted(ProviderError):
    """An answer that must not be believed."""

    reason = "untrusted"


class Known(NamedTuple):
    """Who signed in, and the token that says so."""

    identity: Identity
    id_token: str


class Begun(NamedTuple):
    """A sign-in that was begun: where it leads, and what has to come back."""

    address: str
    state: str
    nonce: str
    verifier: str


class _Requests(OAuth2Session):  # type: ignore[misc]  # authlib is not typed
    """Bounded requests: in time, in bytes, and to one address."""

    def request(self, method: str, url: str, **more: Any) -> Response:
        more |= {"allow_redirects": False, "stream": True, "timeout": (CONNECT_SECONDS, READ_SECONDS)}
        response: Response = super().request(method, url, **more)
        body = response.raw.read(MOST_BYTES + 1, decode_content=True)
        if len(body) > MOST_BYTES:
            raise RequestException("an answer that is too long")
        response._content = body
        return response


class _App(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # authlib is not typed
    client_cls = _Requests


class Provider:
    """One provider, and what is known of it."""

    def __init__(self, known: OpenId) -> None:
        self._known = known
        self._app, self._fresh_until = self._new_app(), 0.0

    def begin(self) -> Begun:
        """Where a browser has to go to sign in. Raises ProviderError."""
        self._describe()
        made = _asked(lambda: self._app.create_authorization_url(self._known.redirect_uri))
        return Begun(made["url"], made["state"], made["nonce"], made["code_verifier"])

    def identity(self, code: str, *, nonce: str, verifier: str) -> Known:
        """Who brought this code from the provider. Raises ProviderError."""
        self._describe()
        redirect_uri = self._known.redirect_uri
        token = _asked(
            lambda: self._app.fetch_access_token(redirect_uri=redirect_uri, code=code, code_verifier=verifier)
        )
        claims = _asked(lambda: self._app.parse_id_token(token, nonce=nonce, leeway=LEEWAY_SECONDS))
        if not claims or not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise Untrusted("no ID token")
        return Known(self._identity(self._with_role_claim(claims, token)), token["id_token"])

    def end_session(self, id_token: str, back_to: str) -> str | None:
        """Where a browser has to go to end the session at the provider, too. None if the provider has no such place."""
        endpoint = self._app.server_metadata.get("end_session_endpoint")
        if not isinstance(endpoint, str) or not _is_web_address(endpoint, self._known.issuer):
            return None
        joint = "&" if urlsplit(endpoint).query else "?"
        who = {"id_token_hint": id_token} if len(id_token) <= LONGEST_HINT else {"client_id": self._known.client_id}
        asked = {"post_logout_redirect_uri": back_to, **who}
        return f"{endpoint}{joint}{urlencode(asked)}"

    def _new_app(self) -> Any:
        known = self._known
        return _App(
            None,
            name="oidc",
            client_id=known.client_id,
            client_secret=known.client_secret,
            client_kwargs={"scope": known.scopes, "code_challenge_method": "S256"},
            server_metadata_url=f"{known.issuer.rstrip('/')}/.well-known/openid-configuration",
        )

    def _describe(self) -> None:
        """Know the provider's description, and that it is the description of this provider."""
        if time.monotonic() < self._fresh_until:
            return
        self._app, self._fresh_until = _asked(self._described), time.monotonic() + KEPT_SECONDS

    def _described(self) -> Any:
        """Authlib's side of a provider whose description was asked for and can be believed."""
        app = self._new_app()
        found = app.load_server_metadata()
        if str(found.get("issuer")).rstrip("/") != self._known.issuer.rstrip("/"):
            raise Untrusted("the description names another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not _is_web_address(found.get(name), self._known.issuer):
                raise Untrusted(f"the description has no {name}")
        offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
        found["id_token_signing_alg_values_supported"] = [name for name in SIGNED_BY_A_KEY_PAIR if name in offered]
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" not in methods:
            app.client_kwargs["token_endpoint_auth_method"] = "client_secret_post"  # noqa: S105 - a method
        return app

    def _with_role_claim(self, claims: Mapping[str, Any], token: Mapping[str, Any]) -> Mapping[str, Any]:
        """The claims, with those of the userinfo endpoint where the ID token says nothing of a role."""
        if values_of(claims, self._known.role_claim) or "userinfo_endpoint" not in self._app.server_metadata:
            return claims
        more = _asked(lambda: self._app.userinfo(token=token))
        if more.get("sub") != claims["sub"]:
            raise Untrusted("the userinfo is of somebody else")
        return {**more, **claims}

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        names = tuple(value for name in NAMES if isinstance(value := claims.get(name), str))
        values = values_of(claims, self._known.role_claim)
        return Identity(self._known.issuer, claims["sub"], names, self._known.role_of(values))


def values_of(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    """The values of a claim: a text, or a list of texts, at this name or dotted path. An address has to be verified."""
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if claim == "email" and claims.get("email_verified") is not True:
        return frozenset()
    values = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return frozenset(value for value in values if isinstance(value, str))


def _asked(ask: Callable[[], T]) -> T:
    """What the provider answers. Raises ProviderError."""
    try:
        return within(WHOLE_SECONDS, ask)
    except OAuthError as error:
        raise Refused(str(error.error)) from None
    except JoseError as error:
        raise Untrusted(" ".join(filter(None, (type(error).__name__, getattr(error, "claim", ""))))) from None
    except (RequestException, OSError) as error:
        raise Unreachable(type(error).__name__) from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise Untrusted(type(error).__name__) from None


def _is_web_address(text: object, issuer: str) -> bool:
    """Whether it is an address that is as safe as the issuer's own."""
    if not isinstance(text, str):
        return False
    found = urlsplit(text)
    return bool(found.netloc) and found.scheme in ("https", urlsplit(issuer).scheme)
