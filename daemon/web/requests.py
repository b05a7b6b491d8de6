"""What people may send: the bodies and queries of the API as strict models, and how they are read.

The one law: a body is taken whole or refused with every error at its path; unknown keys are errors with "did you mean".
`openapi.py` describes the API from these same models, so the description cannot drift.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, TypeVar

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from daemon.layers import suggestion
from daemon.web.errors import ProblemError
from rules.instants import Instant, parse_instant
from rules.model import PRIORITIES, Status
from rules.response.clocks import CLOCKS
from rules.tickets.view import parse_ticket_id

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 500
LABELS_MAX: Final = 100  # of one query
ERRORS_MAX: Final = 50
NUMBER_CHARS_MAX: Final = 8
TEXT_CHARS_MAX: Final = 1_000
SHARE_MAX: Final = 1_000  # percent
_YES_NO: Final = {"true": True, "false": False}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NUL: Final = re.compile(r"\x00")
_LABEL: Final = re.compile(r"([^=]{1,200})=(.{0,1000})", re.DOTALL)


def _line(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not hold control characters or line ends")
    return text


def _text(text: str) -> str:
    if _NUL.search(text):
        raise ValueError("must not hold U+0000")
    return text


def _moment(text: str) -> str:
    parse_instant(text)
    return text


_ONE_LINE: Final = (AfterValidator(_line), Field(json_schema_extra={"pattern": "^[^\\u0000-\\u001f\\u007f]*$"}))
_ANY_TEXT: Final = (AfterValidator(_text), Field(json_schema_extra={"pattern": "^[^\\u0000]*$"}))
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), *_ONE_LINE]
Line = Annotated[str, StringConstraints(max_length=200), *_ONE_LINE]
Title = Annotated[str, StringConstraints(min_length=1, max_length=1_000), *_ONE_LINE]
Text = Annotated[str, StringConstraints(max_length=10_000), *_ANY_TEXT]
Moment = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})
]


class Body(BaseModel):
    """A JSON object with nothing in it that is not asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Answering(Body):
    """An answer to a ticket."""

    by: Name | None = Field(
        default=None, description="The contact who answers; a responder's token stands for its own."
    )
    note: Text = Field(default="", description="Goes onto the timeline.")
    generation: int | None = Field(
        default=None, ge=1, le=2**53, description="Refuse with 409 when the ticket has moved on since."
    )


class Commenting(Answering):
    """A comment, which is no answer."""

    note: Annotated[Text, Field(min_length=1)]


class Holding(Answering):
    """Wait until a time."""

    until: Moment = Field(description="RFC 3339, in the future.")
    note: Annotated[Text, Field(min_length=1, description="Why.")]

    @property
    def instant(self) -> Instant:
        """`until` as an instant."""
        return parse_instant(self.until)


class Resolving(Answering):
    """It is over."""

    force: bool = Field(default=False, description="Although alerts still fire.")


class Prioritising(Answering):
    """Another impact, another urgency, or both."""

    impact: Name | None = Field(default=None, description="A row of the policy's matrix.")
    urgency: Name | None = Field(default=None, description="A column of it.")


class Opening(Body):
    """A ticket opened by hand."""

    by: Name | None = Field(default=None, description="The contact who opens it.")
    title: Title
    impact: Name
    urgency: Name
    category: Line = ""
    labels: Annotated[dict[Name, Text], Field(max_length=100)] = Field(default_factory=dict)
    description: Text = ""


ACTIONS: Final[dict[str, type[Answering]]] = {
    "acknowledge": Answering,
    "hold": Holding,
    "release": Answering,
    "resolve": Resolving,
    "close": Answering,
    "reopen": Answering,
    "comment": Commenting,
    "escalate": Answering,
    "priority": Prioritising,
}

B = TypeVar("B", bound=Body)


def body_of(model: type[B], data: bytes) -> B:
    """The body as this model. Raises ProblemError (400) with every error's path."""
    try:
        return model.model_validate_json(data or b"{}")
    except ValidationError as error:
        raise ProblemError(400, "the body is not as it must be", _errors(model, error)) from None


def _errors(model: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:ERRORS_MAX]:
        path = ".".join(str(part)[:100] for part in one["loc"])
        match one["type"]:
            case "extra_forbidden":
                found.append((path, f"unknown key{suggestion(path, model.model_fields)}"))
            case "missing":
                found.append((path, "is required"))
            case _:
                said = one["msg"].removeprefix("Value error, ")
                found.append((path, said[:1].lower() + said[1:]))
    return found


def ticket_number(request: web.Request) -> int:
    """The ticket that the path names. Raises ProblemError (404)."""
    number = parse_ticket_id(request.match_info["ticket"])
    if number is None:
        raise ProblemError(404, "a ticket is named like T-1042")
    return number


class Filters(BaseModel):
    """The query of the tickets' listing."""

    model_config = ConfigDict(frozen=True)

    status: tuple[Status, ...] = ()
    priority: tuple[str, ...] = ()
    rule: str | None = None
    kind: str | None = None
    label: dict[str, str] = Field(default_factory=dict, description="name=value, may be repeated")
    q: str | None = None
    limit: int = LIMIT_DEFAULT
    cursor: str | None = None


class BreachFilters(BaseModel):
    """The query of the breaches' listing."""

    model_config = ConfigDict(frozen=True)

    ticket: int | None = None
    clock: str | None = None
    since: Instant = 0
    share: int | None = None
    superseded: bool = True
    limit: int = LIMIT_DEFAULT
    cursor: str | None = None


def breaches_of(request: web.Request) -> BreachFilters:
    """What the request's query asks for. Raises ProblemError (400) with every error."""
    query = request.query
    errors = _unknown(query, BreachFilters.model_fields)
    ticket = parse_ticket_id(query["ticket"]) if "ticket" in query else None
    if "ticket" in query and ticket is None:
        errors.append(("ticket", "a ticket is named like T-1042"))
    clock, superseded = query.get("clock"), query.get("superseded", "true")
    if clock is not None and clock not in CLOCKS:
        errors.append(("clock", f"{clock[:40]!r} is none of {', '.join(CLOCKS)}"))
    if superseded not in _YES_NO:
        errors.append(("superseded", f"{superseded[:40]!r} is none of {', '.join(_YES_NO)}"))
    since = 0
    try:
        since = parse_instant(query["since"]) if "since" in query else 0
    except ValueError as error:
        errors.append(("since", str(error)[:200]))
    share = _number(query, "share", None, SHARE_MAX, errors)
    limit = _number(query, "limit", LIMIT_DEFAULT, LIMIT_MAX, errors)
    errors += _texts(query, ("cursor",))
    if errors:
        raise ProblemError(400, "the query is not as it must be", errors[:ERRORS_MAX])
    return BreachFilters(
        ticket=ticket,
        clock=clock,
        since=since,
        share=share,
        superseded=_YES_NO[superseded],
        limit=limit or LIMIT_DEFAULT,
        cursor=query.get("cursor"),
    )


Query = Mapping[str, str]


def _unknown(query: Query, known: Iterable[str]) -> list[tuple[str, str]]:
    return [
        (name[:100], f"unknown parameter{suggestion(name, known)}")
        for name in dict.fromkeys(query)
        if name not in known
    ]


def _number(
    query: Query, name: str, default: int | None, most: int, errors: list[tuple[str, str]]
) -> int | None:  # fmt: skip
    text = query.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= NUMBER_CHARS_MAX else 0
    if not 1 <= number <= most:
        errors.append((name, f"must be a number from 1 to {most}"))
    return number


def _texts(query: Query, names: Iterable[str]) -> list[tuple[str, str]]:
    """Control characters anywhere, and texts that are too long."""
    errors = [(name, "must not hold control characters") for name in query if _CONTROL.search(query[name])]
    return errors + [(name, "is too long") for name in names if len(query.get(name, "")) > TEXT_CHARS_MAX]


def filters_of(request: web.Request) -> Filters:
    """The filters of the request's query. Raises ProblemError (400) with every error."""
    query = request.query
    errors = _unknown(query, Filters.model_fields)
    statuses = _words(query.getall("status", []))
    errors += [("status", f"{one[:40]!r} is none of {', '.join(Status)}") for one in statuses if one not in set(Status)]
    priorities = _words(query.getall("priority", []))
    errors += [
        ("priority", f"{one[:40]!r} is none of {', '.join(PRIORITIES)}") for one in priorities if one not in PRIORITIES
    ]
    labels = _labels(query.getall("label", []), errors)
    limit = _number(query, "limit", LIMIT_DEFAULT, LIMIT_MAX, errors)
    errors += _texts(query, ("rule", "kind", "q", "cursor"))
    if errors:
        raise ProblemError(400, "the query is not as it must be", errors[:ERRORS_MAX])
    return Filters(
        status=tuple(Status(one) for one in statuses),
        priority=tuple(priorities),
        rule=query.get("rule"),
        kind=query.get("kind"),
        label=labels,
        q=query.get("q"),
        limit=limit or LIMIT_DEFAULT,
        cursor=query.get("cursor"),
    )


def labels_of(request: web.Request) -> dict[str, str]:
    """The labels of a query of nothing else: `label=name=value`, repeated. Raises ProblemError (400)."""
    query = request.query
    errors = [(name[:100], f"unknown parameter{suggestion(name, ('label',))}") for name in query if name != "label"]
    labels = _labels(query.getall("label", []), errors)
    if len(labels) > LABELS_MAX:
        errors.append(("label", f"may be given {LABELS_MAX} times"))
    errors += [("label", "must not hold control characters") for one in labels.items() if _CONTROL.search("".join(one))]
    if errors:
        raise ProblemError(400, "the query is not as it must be", errors[:ERRORS_MAX])
    return labels


def _labels(given: Iterable[str], errors: list[tuple[str, str]]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for one in given:
        if (found := _LABEL.fullmatch(one)) is None:
            errors.append(("label", "must be name=value"))
        elif labels.setdefault(found[1], found[2]) != found[2]:
            errors.append(("label", f"{found[1][:60]!r} is given twice, with two values"))
    return labels


def _words(given: Iterable[str]) -> list[str]:
    """Repeated or separated by commas, each once."""
    return list(dict.fromkeys(word for one in given for word in one.split(",") if word))
