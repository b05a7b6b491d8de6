"""Typed texts: how a text in a file becomes a value, and how an editor sees it.

The one law: what a file says is a text as it was typed; each kind of value has one parser here, which refuses with one
sentence. Spans come out as µs, matchers and templates parsed; local times stay local until a zone is known.
"""

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from math import isfinite
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema
from pydantic_core.core_schema import ValidationInfo

from rules.instants import DAY, MINUTE, SECOND, Instant, Span, format_instant, parse_instant, parse_span
from rules.localtime import Local, exists, instant_of, local_of
from rules.matcher_syntax import parse_matcher
from rules.matching import Matcher, matcher
from rules.model import PRIORITIES
from rules.policy import ACTIONS, Allowed, Throttle
from rules.recurrence import Cron
from rules.templates import Template
from rules.words import meant, meant_or_list, shown

ID_CHARS_MAX: Final = 100
REPEAT_MAX: Final = 1_000
PERCENT_MAX: Final = 100
THROTTLE_MAX: Final = 1_000  # messages to one address whose times are kept
MONTH_DAYS_MAX: Final = 31
MONTHS_MAX: Final = 120  # of one turn
SHARE_MAX: Final = 1_000  # percent of a time allowed that a warning can wait for
NAMED_MAX: Final = 3  # words of a closed list that documents name instead of the list's name
T = TypeVar("T")
_ID: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{ID_CHARS_MAX - 1}}}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_LOCAL: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})", re.ASCII)
_MONTHS: Final = re.compile(r"([0-9]{1,3})mo", re.ASCII)
_CLOCK: Final = re.compile(r"([0-9]{2}):([0-9]{2})", re.ASCII)
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WILD: Final = re.compile(r"[*?\[]")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def _words(wrong: object) -> str:
    return "a list" if isinstance(wrong, list) else "a map" if isinstance(wrong, dict) else f"{wrong!r}"


class TextOf(Generic[T]):
    """A text that a parser turns into a value; what the parser refuses is a mistake at the text's place."""

    def __init__(self, parse: Callable[[str], T], called: str = "text", **schema: object) -> None:
        """`parse` raises ValueError; `called`: in documents; `schema` describes the text in the JSON Schema."""
        self.parse = parse
        self.called = called
        self.schema = {"type": "string", **schema}

    def __call__(self, raw: object) -> T:
        """The value."""
        if not isinstance(raw, str):
            raise ValueError(f"must be a text, not {_words(raw)}")  # noqa: TRY004 - pydantic collects ValueErrors
        return self.parse(raw)

    def __get_pydantic_core_schema__(self, _type: object, _handler: object) -> CoreSchema:
        """How pydantic calls it."""
        return core_schema.no_info_plain_validator_function(self)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """How editors see it."""
        return dict(self.schema)


class Surroundings(NamedTuple):
    """What a text may be about beyond itself: the context that pydantic hands to the texts that ask for it.

    `folder`: of the file that holds the text, to its last slash, "" where the process stands; None: it is in none.
    `credentials`: the names that config.toml has; None: they are not known, and any name may be right.
    """

    folder: str | None = ""
    credentials: Collection[str] | None = None


class TextAmong(TextOf[str]):
    """A text whose value depends on its surroundings."""

    def __init__(self, parse: Callable[[str, Surroundings], str], called: str = "text", **schema: object) -> None:
        """`parse` raises ValueError."""
        super().__init__(lambda text: parse(text, Surroundings()), called, **schema)
        self.parse_among = parse

    def __get_pydantic_core_schema__(self, _type: object, _handler: object) -> CoreSchema:
        """How pydantic calls it."""
        return core_schema.with_info_plain_validator_function(self._among)

    def _among(self, raw: object, info: ValidationInfo[Any]) -> str:
        if not isinstance(raw, str):
            raise ValueError(f"must be a text, not {_words(raw)}")  # noqa: TRY004 - pydantic collects ValueErrors
        context = info.context
        return self.parse_among(raw, context if isinstance(context, Surroundings) else Surroundings())


def one_of(what: str, words: Collection[str]) -> TextOf[str]:
    """A text out of a closed list, with "did you mean"."""

    def known(text: str) -> str:
        if text not in words:
            raise ValueError(f"{shown(text)} is no {what}{meant_or_list(text, words)}")
        return text

    called = " or ".join(f"`{word}`" for word in words) if len(words) <= NAMED_MAX else what
    return TextOf(known, called, enum=list(words))


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} cannot be an id: letters, digits and _ . - only, at most {ID_CHARS_MAX}")
    return text


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is not a whole number{_why_no_number(text)}")
    return int(text)


def _count(text: str) -> int:
    if (number := _number(text)) < 1:
        raise ValueError("must be at least 1, not 0")
    return number


def _decimal(text: str) -> float:
    if _DECIMAL.fullmatch(text) is None:
        why = _why_no_number(text) or " such as 800, -0.5 or 1e6; units are not written"
        raise ValueError(f"{shown(text)} is not a number{why}")
    if not isfinite(number := float(text)):
        raise ValueError(f"{shown(text)} is too large for a number")
    return number


def _why_no_number(text: str) -> str:
    plain = text.strip().lower().lstrip("+-").replace("_", "")
    if plain in {"nan", ".nan", "inf", ".inf", "infinity"}:
        return ": nothing can be compared with it"
    if plain.startswith(("0x", "0o", "0b")):
        return "; write it in decimal digits"
    if (zeros := re.fullmatch(r"(-?)0+((?:0|[1-9][0-9]*)(?:\.[0-9]+)?)", text, re.ASCII)) is not None:
        return f"; write {zeros[1]}{zeros[2]}, without zeros before it"
    if "_" in text and _DECIMAL.fullmatch(text.replace("_", "")) is not None:
        return f"; write {text.replace('_', '')}, without underscores"
    if plain.startswith("."):
        return "; write a digit before the point, such as 0.5"
    return ""


def _percent(text: str) -> float:
    if not 0 <= (number := _decimal(text.removesuffix("%"))) <= PERCENT_MAX:
        raise ValueError(f"a percentage lies between 0 and 100, {shown(text)} does not")
    return number


def _share(text: str) -> int:
    if not text.endswith("%"):
        raise ValueError(f"{shown(text)} is no percentage such as 75%")
    number = _number(text[:-1])
    if not 0 < number <= SHARE_MAX:
        raise ValueError(f"{shown(text)} must lie above 0% and not above {SHARE_MAX}%")
    return number


def _day(text: str) -> Local:
    try:
        if _DATE.fullmatch(text) is not None:
            return parse_instant(f"{text}T00:00:00Z")
    except ValueError:
        raise ValueError(f"{shown(text)} is no day of the calendar") from None
    raise ValueError(f"{shown(text)} is not a date such as 2026-01-31")


def _until(text: str) -> Instant:
    if _DATE.fullmatch(text) is not None:
        return _day(text)
    try:
        return parse_instant(text)
    except ValueError:
        if _LOCAL.fullmatch(text) is None:
            raise ValueError(f"{shown(text)} is no date such as 2026-01-31 and no time with a zone") from None
        raise ValueError(f"{shown(text)} needs a zone: write {text.replace(' ', 'T')}:00Z for UTC") from None


def _local(text: str) -> Local:
    found = _LOCAL.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(text)} is not a local date and time such as 2026-03-01T09:00")
    return _day(found[1]) + _clock(found[2])


def local_instant(local: Local, timezone: str) -> Instant:
    """The instant of a local time in a zone; of one that happens twice, the first. ValueError: it never happens."""
    zone = ZoneInfo(timezone)
    if not exists(local, zone):
        said = f"{_shown_local(local)} never happens in {timezone}: the clocks are put forward over it"
        raise ValueError(f"{said}; write {_shown_local(local_of(instant_of(local, zone), zone))}")
    return instant_of(local, zone)


def _shown_local(local: Local) -> str:
    return format_instant(local)[:16]


def _clock(text: str, *, last: bool = False) -> Span:
    """Time since local midnight; 24:00 only as the `last` of a day."""
    found = _CLOCK.fullmatch(text)
    span = (int(found[1]) * 60 + int(found[2])) * MINUTE if found is not None and found[2] < "60" else -1
    if not 0 <= span < DAY and not (last and span == DAY):
        raise ValueError(f"{shown(text)} is no time of a day such as 09:00")
    return span


class Handoff(NamedTuple):
    """When a rotation goes on to the next: so long after local midnight, on a weekday (0 Monday) or on any day.

    `day`: of the month, the last of a shorter one.
    """

    weekday: int | None
    time: Span
    day: int | None = None


def _handoff(text: str) -> Handoff:
    day, blank, clock = text.rpartition(" ")
    if not blank:
        return Handoff(None, _clock(clock))
    if day.isdecimal() and day.isascii():
        if not 1 <= int(day) <= MONTH_DAYS_MAX or day.startswith("0"):
            raise ValueError(f"{shown(day)} is no day of a month")
        return Handoff(None, _clock(clock), int(day))
    if day.lower() not in WEEKDAYS:
        raise ValueError(f"{shown(day)} is no weekday{meant_or_list(day, [one.title() for one in WEEKDAYS])}")
    return Handoff(WEEKDAYS.index(day.lower()), _clock(clock))


class Every(NamedTuple):
    """How long a turn is: a span, or so many months (then `span` is 0)."""

    span: Span
    months: int = 0


def _every(text: str) -> Every:
    if (found := _MONTHS.fullmatch(text)) is None:
        return Every(_long(text))
    if not 1 <= (months := int(found[1])) <= MONTHS_MAX:
        raise ValueError(f"a turn lasts from 1mo to {MONTHS_MAX}mo, not {text}")
    return Every(0, months)


class Hours(NamedTuple):
    """Open from `start` to `end` after local midnight; an `end` that is not above `start` is the next day's."""

    start: Span
    end: Span


def _hours(text: str) -> Hours:
    start, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f'{shown(text)} is no span of a day such as "09:00-17:00"')
    hours = Hours(_clock(start.strip()), _clock(end.strip(), last=True))
    if hours.start == hours.end:
        raise ValueError(f'{shown(text)} is no time at all; the whole day is "00:00-24:00"')
    return hours


def _allowed(text: str) -> Allowed:
    span = text.removesuffix(" working")
    return Allowed(_long(span), working=span != text)


def _throttle(text: str) -> Throttle:
    number, slash, span = text.partition("/")
    if not slash:
        raise ValueError(f"{shown(text)} is not so many messages in a time, such as 10/1h")
    at_most = _count(number)
    if at_most > THROTTLE_MAX:
        raise ValueError(f"at most {THROTTLE_MAX} messages are counted, not {at_most}")
    return Throttle(at_most, _long(span))


def _repeat(text: str) -> int:
    if (number := _number(text)) > REPEAT_MAX:
        raise ValueError(f"at most {REPEAT_MAX} rounds, not {number}")
    return number


def _version(text: str) -> int:
    if text != "1":
        raise ValueError(f"{shown(text)} is not a version of this language; write version: 1")
    return 1


def _long(text: str) -> Span:
    if (span := parse_span(text)) < SECOND:
        raise ValueError(f"must be at least 1s, not {shown(text)}")
    return span


def _on_off(text: str) -> str:
    if text not in {"on", "off"}:
        raise ValueError(f"write on or off, not {shown(text)}")
    return text


def _cron(text: str) -> str:
    Cron(text)
    return text


def _beside(text: str, folder: str | None) -> str:
    if not text or "\0" in text:
        raise ValueError("must be the path of a file")
    if text.startswith("/"):
        return text
    if folder is None:
        raise ValueError(f"{shown(text)}: what ships with the product stands in no folder; write a path from / on")
    return folder + text


def _path(text: str, among: Surroundings) -> str:
    return _beside(text, among.folder)


def _paths(text: str, among: Surroundings) -> str:
    folder = among.folder
    return _beside(text, folder and _WILD.sub(r"[\g<0>]", folder))


def _credential(text: str, among: Surroundings) -> str:
    if among.credentials is not None and text not in among.credentials:
        raise ValueError(no_credential(text, among.credentials))
    return text


def no_credential(name: str, known: Collection[str]) -> str:
    """What is said of a name that config.toml has no credentials for."""
    said = f"config.toml has no [credentials.{name}]" if name.isprintable() else f"config.toml has no {shown(name)}"
    return f"{said}{meant_or_list(name, sorted(known))}"


def _regex(text: str) -> str:
    matcher("", "=~", text)
    return text


def _language(text: str) -> str:
    if _LANGUAGE.fullmatch(text) is None:
        raise ValueError(f'{shown(text)} is not a language tag such as "en", "ar" or "pt-BR"')
    return text


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _timezone(text: str) -> str:
    if text != "UTC" and text not in _zones():
        if not _zones():
            raise ValueError(f"{shown(text)} cannot be looked up: this machine has no time zone data; install tzdata")
        raise ValueError(f"{shown(text)} is no time zone{meant(text, _zones()) or '; write it such as Europe/Berlin'}")
    return text


SPAN_PATTERN: Final = r"([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?"
_NUMBER_SCHEMA: Final = {"type": ["number", "string"], "pattern": f"^{_DECIMAL.pattern}$"}
_COUNT_SCHEMA: Final = {"type": ["integer", "string"], "minimum": 1, "pattern": "^[1-9][0-9]{0,8}$"}
_DATE_PATTERN: Final = f"^{_DATE.pattern}$"
Id = Annotated[str, TextOf(_id, "id", pattern=rf"^{_ID.pattern}$")]
LabelName = Annotated[str, Field(min_length=1)]
SpanText = Annotated[
    Span,
    TextOf(
        lru_cache(maxsize=1024)(parse_span),
        "duration",
        type=["string", "integer"],
        pattern=f"^(0|{SPAN_PATTERN})$",
        maximum=0,
        minimum=0,
    ),
]
LongSpanText = Annotated[Span, TextOf(_long, "duration", pattern=f"^{SPAN_PATTERN}$")]
NumberText = Annotated[float, TextOf(lru_cache(maxsize=1024)(_decimal), "number", **_NUMBER_SCHEMA)]
CountText = Annotated[int, TextOf(_count, "whole number", **_COUNT_SCHEMA)]
PercentText = Annotated[
    float,
    TextOf(_percent, "percentage", type=["number", "string"], minimum=0, maximum=PERCENT_MAX, pattern=r"^[0-9.]+%?$"),
]
ShareText = Annotated[int, TextOf(_share, "percentage", pattern=r"^[1-9][0-9]{0,3}%$")]
DateText = Annotated[Local, TextOf(_day, "date", pattern=_DATE_PATTERN)]
UntilText = Annotated[Instant, TextOf(_until, "date or time")]
LocalTimeText = Annotated[Local, TextOf(_local, "local time", pattern=f"^{_LOCAL.pattern}$")]
HandoffText = Annotated[Handoff, TextOf(_handoff, "day and time")]
EveryText = Annotated[Every, TextOf(_every, "duration", pattern=rf"^({_MONTHS.pattern}|{SPAN_PATTERN})$")]
HoursText = Annotated[Hours, TextOf(_hours, "hours", pattern=r"^\s*[0-9]{2}:[0-9]{2}\s*-\s*[0-9]{2}:[0-9]{2}\s*$")]
AllowedText = Annotated[Allowed, TextOf(_allowed, "duration", pattern=rf"^{SPAN_PATTERN}( working)?$")]
ThrottleText = Annotated[Throttle, TextOf(_throttle, "number per duration", pattern=rf"^[1-9][0-9]*/{SPAN_PATTERN}$")]
MatcherText = Annotated[Matcher, TextOf(parse_matcher, "matcher")]
TemplateText = Annotated[Template, TextOf(Template.parse, "template")]
PriorityName = Annotated[str, one_of("priority", PRIORITIES)]
ActionName = Annotated[str, one_of("action", ACTIONS)]
Repeat = Annotated[int, TextOf(_repeat, "whole number", type="integer", minimum=0, maximum=REPEAT_MAX)]
WholeText = Annotated[
    int, TextOf(_number, "whole number", type=["integer", "string"], minimum=0, pattern=f"^({_NUMBER.pattern})$")
]
Version = Annotated[int, TextOf(_version, "number", type="integer", const=1)]
CronText = Annotated[str, TextOf(lru_cache(maxsize=256)(_cron), "cron expression")]
LanguageTag = Annotated[str, TextOf(_language, "language tag")]
TimeZone = Annotated[str, TextOf(_timezone, "time zone")]
PathText = Annotated[str, TextAmong(_path, "path")]  # relative to the file that holds it
GlobText = Annotated[str, TextAmong(_paths, "glob")]  # likewise; the folder's own are plain
CredentialName = Annotated[str, TextAmong(_credential, "name in config.toml")]  # of a table [credentials.NAME]
RegexText = Annotated[str, TextOf(_regex, "expression")]  # one that RE2 takes, as it was typed
OnOff = Annotated[str, TextOf(_on_off, "`on` or `off`", enum=["on", "off"])]


class Shape(BaseModel):
    """What all parts of a file have in common: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_alias=True, serialize_by_alias=True)
