"""How addresses are built: by a function that Werkzeug writes for each rule, here when the rule is first asked for one.

Werkzeug writes them all when the app is put together, which takes most of that time. A worker builds no address, and a
web process few.
"""

from collections.abc import Callable
from functools import cache, partial

from werkzeug.routing import Rule


class LateRule(Rule):
    """A rule that learns how to build its address when it first has to."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        written = cache(partial(super()._compile_builder, append_unknown))
        return lambda rule, **values: written()(rule, **values)
