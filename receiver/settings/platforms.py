"""Which platform we run on, and what its router says about clients.

A platform is recognised by a variable that it sets in every process, or named by HOSTING_PLATFORM. To add one: a row in
`PLATFORMS`, and a shape of its router in tests/receiver/security/test_routers.py.

A row trusts one thing for the client's address: the header that the router always writes itself, or a number of hops of
`X-Forwarded-For`, counted from its end. What stands further left comes from the client, who can write what it likes.
`source` says where it was read, and what is old or unknown. A platform's file in the root may set anything else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN = "none"
"""The value of HOSTING_PLATFORM for a platform that has no row, whatever variables there are."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What is true of every process on one platform. All of these disks are new with each deploy."""

    name: str
    named_by: tuple[str, ...]  # variables, one of which is set in every process; none: HOSTING_PLATFORM has to name it
    client_header: str = ""  # the header in which the router names the client; empty: it is in X-Forwarded-For
    for_hops: int = 0  # of X-Forwarded-For
    proto_hops: int = 1  # of X-Forwarded-Proto
    needs_one_field: bool = False  # a header that comes in several fields is the client's work
    stop_seconds: int  # from the signal to SIGKILL, unless the platform's file says otherwise
    idle_seconds: int | None  # how long its router keeps an idle connection to us; None: nobody says
    source: str


PLATFORMS = (
    Platform(
        name="heroku",
        named_by=("DYNO",),
        for_hops=1,
        needs_one_field=True,
        stop_seconds=30,
        idle_seconds=90,
        source=(
            "devcenter.heroku.com/articles/http-routing (December 2024), and heroku/vegur, the legacy router (2021): "
            "it appends to X-Forwarded-For, and replaces X-Forwarded-Proto. But of several fields of one name it "
            "changes the first only, and passes on the others as the client sent them. Router 2.0 was not seen in "
            "source. Dokku sets DYNO too: its nginx replaces X-Forwarded-For and X-Forwarded-Proto, and waits 30 s "
            "(dokku/dokku, August 2026)."
        ),
    ),
    Platform(
        name="render",
        named_by=("RENDER",),
        client_header="CF-Connecting-IP",
        stop_seconds=30,
        idle_seconds=None,
        source=(
            "Render's documentation does not name the header. Two routers are in front: Cloudflare, then Render's "
            "own, so X-Forwarded-For ends with an address of Cloudflare "
            "(rohitpaulk.com/articles/render-rails-remote-ip). Cloudflare writes CF-Connecting-IP itself "
            "(developers.cloudflare.com/fundamentals/reference/http-headers, July 2026), and keeps idle connections "
            "for 900 s; how long Render's router does is unknown. "
            "Stop: render.com/docs/blueprint-spec, maxShutdownDelaySeconds."
        ),
    ),
    Platform(
        name="railway",
        named_by=("RAILWAY_ENVIRONMENT_ID", "RAILWAY_ENVIRONMENT_NAME", "RAILWAY_ENVIRONMENT"),
        client_header="X-Real-IP",
        stop_seconds=30,
        idle_seconds=60,
        source=(
            "railwayapp/docs (August 2026): networking/public-networking/specs-and-limits, variables/reference, which "
            "no longer lists RAILWAY_ENVIRONMENT. X-Forwarded-For is not documented. The 60 s are those of clients; "
            "those to us are unknown. Without drainingSeconds there is no time to stop: railway.json says 30."
        ),
    ),
    Platform(
        name="fly",
        named_by=("FLY_APP_NAME",),
        client_header="Fly-Client-IP",
        stop_seconds=5,
        idle_seconds=600,
        source=(
            "superfly/docs (August 2026): networking/request-headers, reference/configuration. X-Forwarded-For ends "
            "with the app's own address, which all visitors share. The idle time is the one of the page's example; "
            "the default is not documented. Other apps of your organisation reach the process without Fly's proxy, "
            "and can write any header."
        ),
    ),
    Platform(
        name="scalingo",
        named_by=("SCALINGO_APPLICATION_ID",),
        client_header="X-Real-IP",
        stop_seconds=30,
        idle_seconds=60,
        source=(
            "Scalingo/documentation (August 2026): the pages on routing, on environment variables and on container "
            "management. The routers 'add or update' X-Real-IP and X-Forwarded-For; "
            "whether they append to the latter is not said. How long they keep an idle connection to us is not said "
            "either: 60 s is the longest pause within an answer."
        ),
    ),
    Platform(
        name="digitalocean",
        named_by=(),
        client_header="DO-Connecting-IP",
        stop_seconds=120,
        idle_seconds=None,
        source=(
            "docs.digitalocean.com/products/app-platform/how-to/configure-termination. App Platform sets no variable "
            "by itself: the app spec names it. The header is known from its users alone "
            "(digitalocean.com/community/questions/app-platform-client-ip), and so is X-Forwarded-Proto."
        ),
    ),
    Platform(
        name="caprover",
        named_by=("CAPROVER_GIT_COMMIT_SHA",),
        for_hops=1,
        stop_seconds=10,
        idle_seconds=60,
        source=(
            "caprover/caprover (August 2026): template/server-block-conf.ejs. nginx appends to X-Forwarded-For, "
            "replaces X-Forwarded-Proto, and keeps no connection to us. The variable is set where the code comes from "
            "Git; elsewhere name the platform. Docker's 10 s."
        ),
    ),
    Platform(
        name="coolify",
        named_by=("COOLIFY_RESOURCE_UUID", "COOLIFY_FQDN"),
        for_hops=1,
        stop_seconds=30,
        idle_seconds=90,
        source=(
            "coollabsio/coolify (August 2026): ApplicationDeploymentJob, bootstrap/helpers/proxy.php, constants.php. "
            "It starts Traefik, which believes no client: it replaces X-Forwarded-For and X-Forwarded-Proto, and "
            "keeps idle connections for 90 s (doc.traefik.io: forwardedHeaders, serversTransport). Caddy replaces "
            "them too."
        ),
    ),
    Platform(
        name="kamal",
        named_by=("KAMAL_VERSION",),
        for_hops=1,
        stop_seconds=10,
        idle_seconds=90,
        source=(
            "basecamp/kamal-proxy (internal/server/target.go): with `ssl: true` it replaces X-Forwarded-For and "
            "-Proto. With `forward_headers: true` it appends to the first, and passes on the second: set that only "
            "behind another router. Kamal sets the variable in each container (basecamp/kamal, June 2026: "
            "lib/kamal/commands/app.rb). The 10 s are those of Docker."
        ),
    ),
    Platform(
        name="cloud-run",
        named_by=("K_SERVICE",),
        for_hops=1,
        stop_seconds=10,
        idle_seconds=600,
        source=(
            "cloud.google.com/run/docs/container-contract. The headers are not documented for Cloud Run. Google's "
            "documents of Cloud Functions say that the client is in X-Forwarded-For, and users see that it is "
            "replaced (2022, 2024); where it is appended to, one hop is right too. 600 s is the time of Google's load "
            "balancers. Behind a load balancer of your own, set FORWARDED_FOR_HOPS=2."
        ),
    ),
)
NAMES = tuple(platform.name for platform in PLATFORMS)


def platform_of(source: Mapping[str, str]) -> Platform | None:
    """The platform on which a process with this environment runs. None when nobody says."""
    named = source.get("HOSTING_PLATFORM", "")
    for platform in PLATFORMS:
        if platform.name == named or (not named and any(name in source for name in platform.named_by)):
            return platform
    return None
