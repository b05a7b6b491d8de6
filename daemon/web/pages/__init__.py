"""The pages people see, rendered with everything escaped, and the headers that keep them harmless.

The one law: no script, no frame, no outside resource, nothing cached, and no referrer that would carry a token away.
"""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape

from daemon.web.pages.words import ENGLISH, PageWords

if TYPE_CHECKING:
    from jinja2 import Template

_FILES: Final = files("daemon.web.pages")
_STYLE: Final = _FILES.joinpath("style.css").read_text(encoding="utf-8")
_PAGE: Final = _FILES.joinpath("page.html").read_text(encoding="utf-8")
_STYLE_HASH: Final = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@cache
def _page() -> "Template":
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - two megabytes that most daemons' days need not

    return Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)


def render(
    heading: str,
    *,
    said: str = "",
    ticket: dict[str, Any] | None = None,
    facts: Sequence[tuple[str, str]] = (),
    button: str = "",
    person: str = "",
    state: str = "",
    words: PageWords = ENGLISH,
) -> str:
    """The page. `ticket` is the API's shape, `state` its status in words; `button` "" shows no form."""
    who = Markup('<strong dir="auto">{}</strong>').format(person)
    return _page().render(
        heading=heading,
        said=said,
        ticket=ticket,
        facts=facts,
        button=button,
        answer_as=escape(words.answer_as).format(who=who),
        state=state,
        words=words,
        style=Markup(_STYLE),  # noqa: S704 - our own file, and its hash is in the policy above
    )
