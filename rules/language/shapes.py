"""The shape of a rule file: which keys there are and what each holds. Nothing here knows what another file says.

The one law: a key is declared here once, with its meaning; checking, the JSON Schema and "did you mean" follow from it.
Spans come out as µs, matchers and templates parsed.
"""

import re
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Annotated, Final, Generic, TypeVar
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from rules.instants import HOUR, MINUTE, SECOND, Span, parse_span
from rules.language.matchers import parse_matcher
from rules.language.report import meant, meant_or_list, shown
from rules.matching import Matcher
from rules.model import PRIORITIES
from rules.policy import ACTIONS
from rules.templates import Template

ID_CHARS_MAX: Final = 100
REPEAT_MAX: Final = 1_000
T = TypeVar("T")
_ID: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{ID_CHARS_MAX - 1}}}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


def _words(wrong: object) -> str:
    return "a list" if isinstance(wrong, list) else "a map" if isinstance(wrong, dict) else f"{wrong!r}"


class TextOf(Generic[T]):
    """A text that a parser turns into a value; what the parser refuses is a mistake at the text's place."""

    def __init__(self, parse: Callable[[str], T], **schema: object) -> None:
        """`parse` raises ValueError; `schema` describes the text in the JSON Schema."""
        self.parse = parse
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


def one_of(what: str, words: Collection[str]) -> TextOf[str]:
    """A text out of a closed list, with "did you mean"."""

    def known(text: str) -> str:
        if text not in words:
            raise ValueError(f"{shown(text)} is no {what}{meant_or_list(text, words)}")
        return text

    return TextOf(known, enum=list(words))


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} cannot be an id: letters, digits and _ . - only, at most {ID_CHARS_MAX}")
    return text


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} is not a whole number")
    return int(text)


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


_SPAN_PATTERN: Final = r"^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$"
Id = Annotated[str, TextOf(_id, pattern=rf"^{_ID.pattern}$")]
LabelName = Annotated[str, Field(min_length=1)]
SpanText = Annotated[Span, TextOf(lru_cache(maxsize=1024)(parse_span), pattern=_SPAN_PATTERN)]
LongSpanText = Annotated[Span, TextOf(_long, pattern=_SPAN_PATTERN)]
MatcherText = Annotated[Matcher, TextOf(parse_matcher)]
TemplateText = Annotated[Template, TextOf(Template.parse)]
PriorityName = Annotated[str, one_of("priority", PRIORITIES)]
ActionName = Annotated[str, one_of("action", ACTIONS)]
Repeat = Annotated[int, TextOf(_repeat, type="integer", minimum=0, maximum=REPEAT_MAX)]
Version = Annotated[int, TextOf(_version, type="integer", const=1)]
OnOff = Annotated[str, TextOf(_on_off, enum=["on", "off"])]


class Shape(BaseModel):
    """What all parts of a file have in common: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_by_alias=True, serialize_by_alias=True)


class ChoiceShape(Shape):
    """An impact or an urgency: one word, or looked up by a label."""

    label: LabelName | None = Field(None, alias="from", description="the label that decides")
    table: dict[str, str] = Field(default_factory=dict, alias="map", description="the label's value: the word")
    default: str = Field(alias="else", description="the word when `map` has none")

    @model_validator(mode="before")
    @classmethod
    def _one_word(cls, raw: object) -> object:
        return {"else": raw} if isinstance(raw, str) else raw

    @model_validator(mode="after")
    def _both(self) -> "ChoiceShape":
        if (self.label is None) != (not self.table):
            raise ValueError('"from" and "map" belong together')
        return self


class GroupShape(Shape):
    """Which live ticket a further instance joins."""

    by: list[LabelName] = Field(description="labels that must be equal")
    within: SpanText = Field(description="how long after its opening a ticket takes others")


class RulePart(Shape):
    """What `defaults` can give to every rule of a file."""

    source: str | None = Field(None, description="a source's kind; without it, alerts from any")
    pending_for: SpanText = Field(0, alias="for", description="continuous truth before a ticket opens")
    keep_firing_for: SpanText = Field(0, description="clear this long before the ticket resolves")
    impact: ChoiceShape | None = Field(None, description="a row of the matrix, or {from, map, else}")
    urgency: ChoiceShape | None = Field(None, description="a column of the matrix, or {from, map, else}")
    dedup: list[LabelName] | None = Field(None, description="the labels of the ticket's key")
    group: GroupShape | None = Field(None, description="{by, within}: join a live ticket instead of opening one")
    title: TemplateText | None = Field(None, description="a template")
    description: TemplateText | None = Field(None, description="a template")
    escalation: str | None = Field(None, description="an escalation's id")
    labels: dict[str, str] = Field(default_factory=dict, description="added to the ticket's")
    reopen_within: SpanText = Field(HOUR, description="a refiring this soon after the resolve reopens the ticket")


class TemplateShape(RulePart):
    """What a rule takes with `extends`."""

    match: list[MatcherText] = Field(default_factory=list, description="matchers, ANDed; [] matches every alert")


class RuleShape(TemplateShape):
    """One rule, with what it inherits already in it. What it must have (`REQUIRED`) may come from there."""

    id: Id = Field(description="the rule's only identity")
    extends: str | None = Field(None, description="a template's name")


REQUIRED: Final = ("match", "impact", "urgency")


class PriorityShape(Shape):
    """impact x urgency -> P1 (gravest) to P4."""

    impact: list[str] = Field(description="the rows' names, gravest first")
    urgency: list[str] = Field(description="the columns' names, gravest first")
    matrix: list[list[PriorityName]] = Field(description="a row for each impact")


class ReachShape(Shape):
    """One way to reach a contact: `{<notifier's kind>: address, after, priorities}`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]

    after: SpanText = Field(0, description="from the step's start")
    priorities: list[PriorityName] | None = Field(None, description="only for these; without it, for all")


class ContactShape(Shape):
    """A person."""

    id: Id
    name: str = ""
    language: Annotated[str, TextOf(_language)] = Field("en", description="a BCP 47 tag")
    timezone: Annotated[str, TextOf(_timezone)] = Field("UTC", description="an IANA name")
    may: list[ActionName] = Field(default_factory=list, description="what this person is authorised to do")
    scope: list[MatcherText] = Field(default_factory=list, alias="for", description="on which tickets; default: all")
    reach: list[ReachShape] = Field(default_factory=list, description="in this order")


class StepShape(Shape):
    """Tell, wait, give way."""

    tier: str = ""
    notify: list[str] = Field(description="contact:ID, …")
    wait: LongSpanText = Field(5 * MINUTE, description="before the next step")


class EscalationShape(Shape):
    """Who is told when nobody answers."""

    id: Id
    steps: list[StepShape] = Field(default_factory=list)
    repeat: Repeat = Field(0, description="further rounds of the steps")
    last_resort: list[str] = Field(default_factory=list, description="told after the last round, until answered")
    last_resort_every: dict[PriorityName, LongSpanText] = Field(default_factory=dict)
    acknowledge_expires: dict[PriorityName, LongSpanText] = Field(default_factory=dict)


class FileShape(Shape):
    """A whole file."""

    version: Version = Field(description="of this language: 1")
    use: list[str] = Field(default_factory=list, description="names of files beside this one")
    defaults: RulePart | None = Field(None, description="for every rule of this file, and of those that use it")
    templates: dict[Id, TemplateShape] = Field(default_factory=dict, description="parts of rules, taken by `extends`")
    priority: PriorityShape | None = None
    rules: list[RuleShape] = Field(default_factory=list)
    contacts: list[ContactShape] = Field(default_factory=list)
    escalations: list[EscalationShape] = Field(default_factory=list)
    default_escalation: str | None = Field(None, description="of tickets whose rule names none")
    catch_all: OnOff | None = Field(None, description="on (the default): an alert that no rule matches opens a ticket")
