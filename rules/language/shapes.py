"""The shape of a rule file: which keys there are and what each holds. Nothing here knows what another file says.

The one law: a key is declared here once, with its meaning; checking, the JSON Schema and "did you mean" follow from it.
"""

from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, field_validator, model_validator

from rules.instants import HOUR, MINUTE
from rules.language.people_shapes import ScheduleShape
from rules.language.probe_shapes import ProbeShape
from rules.language.promise_shapes import CalendarShape, SlaShape
from rules.policy import MAX_OPEN
from rules.typed import (
    ActionName,
    CountText,
    CronText,
    Id,
    LabelName,
    LanguageTag,
    LongSpanText,
    MatcherText,
    NumberText,
    OnOff,
    PercentText,
    PriorityName,
    Repeat,
    Shape,
    SpanText,
    TemplateText,
    ThrottleText,
    TimeZone,
    UntilText,
    Version,
    one_of,
)

Reason = Annotated[str, Field(min_length=1)]
Then = Annotated[str, one_of("choice of no_data", ("hold", "open", "ok"))]
FlapThen = Annotated[str, one_of("choice of flap", ("hold_open",))]
Mode = Annotated[str, one_of("mode", ("live", "shadow"))]
Effect = Annotated[str, one_of("effect", ("hold",))]
OnChange = Annotated[str, one_of("choice of on_policy_change", ("pin", "migrate", "restart"))]
MOVED_MAX: Final = 20  # ids that one rule had before
PARENTS_MAX: Final = 100  # rules that one depends on


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


class FireShape(Shape):
    """How many of a series' last raw values must be bad."""

    bad: CountText = Field(description="so many of them")
    of: CountText = Field(description="the last so many; at most 1000")


class RecoverShape(Shape):
    """How many of a series' last raw values must be clear."""

    good: CountText = Field(description="so many of them")
    of: CountText = Field(description="the last so many; at most 1000")


class OverrideShape(Shape):
    """Another limit for some labels; the first that matches wins."""

    match: list[MatcherText] = Field(description="matchers, ANDed")
    value: NumberText = Field(description="instead of the value of `when`")
    clear: NumberText | None = Field(None, description="instead of the value of `clear`")
    until: UntilText | None = Field(None, description="from then on it no longer applies: a date (UTC) or a time")
    why: Reason = Field(description="for whoever wonders later")


class QuorumShape(Shape):
    """How many places must agree."""

    by: LabelName = Field(description="the label that tells places apart; each of its values counts once")
    at_least: CountText = Field(description="so many bad ones open")
    min_reporting: CountText | None = Field(None, description="with fewer, `no_data` applies; default: `at_least`")


class NoDataShape(Shape):
    """What silence means."""

    after: LongSpanText = Field(5 * MINUTE, description="no sample for this long")
    then: Then = Field("hold", description="hold (nothing moves), open (it is bad) or ok (it is clear)")


class FlapShape(Shape):
    """When a problem that comes and goes is one problem."""

    window: CountText = Field(20, description="so many changes are looked at: 2 to 100")
    high: PercentText = Field(30.0, description="percent of change from which it flaps")
    low: PercentText = Field(20.0, description="percent of change at which it no longer does")
    then: FlapThen = Field("hold_open", description="one ticket is kept open meanwhile")


class DependencyShape(Shape):
    """What this rule's problems may come from."""

    rule: str = Field(description="the parent's id")
    on: list[LabelName] = Field(description="labels that must be equal; [] for any instance of the parent")
    settle: SpanText = Field(MINUTE, description="how long a parent that was not evaluated yet is waited for")


class RulePart(Shape):
    """What `defaults` can give to every rule of a file."""

    source: str | None = Field(
        None,
        description="probe or heartbeat: it judges samples; else alerts from there; default: alerts from any",
    )
    fire: FireShape | None = Field(None, description="{bad, of}: N of the last M raw values; default: 1 of 1")
    recover: RecoverShape | None = Field(None, description="{good, of}; default: the numbers of `fire`")
    quorum: QuorumShape | None = Field(None, description="{by, at_least, min_reporting}: how many places must agree")
    pending_for: SpanText = Field(0, alias="for", description="continuous truth before a ticket opens")
    keep_firing_for: SpanText = Field(0, description="clear this long before the ticket resolves")
    no_data: NoDataShape | None = Field(None, description="{after, then}: what silence means; for probes 5m, hold")
    flap: FlapShape | None = Field(None, description="{window, high, low, then}: one ticket for what comes and goes")
    depends_on: list[DependencyShape] = Field(
        default_factory=list,
        max_length=PARENTS_MAX,
        description="rules whose problems explain this rule's: [{rule, on, settle}]",
    )
    impact: ChoiceShape | None = Field(None, description="a row of the matrix, or {from, map, else}")
    urgency: ChoiceShape | None = Field(None, description="a column of the matrix, or {from, map, else}")
    dedup: list[LabelName] | None = Field(
        None,
        description="labels of the ticket's key; default: all but severity, quorum.by, those of impact and urgency",
    )
    group: GroupShape | None = Field(None, description="{by, within}: join a live ticket instead of opening one")
    max_open: CountText = Field(MAX_OPEN, description="live tickets of the rule, beyond which one ticket has the rest")
    mode: Mode = Field("live", description="shadow: everything is evaluated and counted, nothing is opened")
    title: TemplateText | None = Field(None, description="default: the name and the labels")
    description: TemplateText | None = Field(None, description="default: the annotations of the alert")
    escalation: str | None = Field(None, description="an escalation's id")
    sla: str | None = Field(None, description="the id of what was promised for its tickets")
    labels: dict[str, str] = Field(default_factory=dict, description="added to the ticket's")
    reopen_within: SpanText = Field(HOUR, description="a refiring this soon after the resolve reopens the ticket")


class TemplateShape(RulePart):
    """What a rule takes with `extends`."""

    match: list[MatcherText] = Field(default_factory=list, description="matchers, ANDed; [] matches everything")
    when: dict[str, Any] | None = Field(None, description="what is bad; only over samples")
    clear: dict[str, Any] | None = Field(None, description="what is clear; default: the inverse of `when`")
    overrides: list[OverrideShape] = Field(default_factory=list, description="other limits for some labels")


class RuleShape(TemplateShape):
    """One rule; whatever is an error to leave out may come from `defaults` or a template, but `id`."""

    id: Id = Field(description="the rule's only identity")
    extends: str | None = Field(None, description="a template's name")
    moved_from: list[Id] = Field(default_factory=list, max_length=MOVED_MAX, description="its ids before, newest first")

    @field_validator("moved_from", mode="before")
    @classmethod
    def _one_id(cls, raw: object) -> object:
        """One id may stand without brackets."""
        return [raw] if isinstance(raw, str) else raw


REQUIRED: Final = ("match", "impact", "urgency")
OF_SAMPLES: Final = ("when", "clear", "overrides", "fire", "recover", "quorum", "no_data")  # keys of rules over samples


class PriorityShape(Shape):
    """Impact and urgency give P1 (gravest) to P4."""

    impact: list[str] = Field(description="the rows' names, gravest first")
    urgency: list[str] = Field(description="the columns' names, gravest first")
    matrix: list[list[PriorityName]] = Field(description="a row for each impact")


class ReachShape(Shape):
    """One way to reach a contact."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str]

    after: SpanText = Field(0, description="from the step's start")
    priorities: list[PriorityName] | None = Field(None, description="only for these; without it, for all")
    bundle: SpanText = Field(0, description="messages wait this long for others, and go as one; P1 does not wait")
    throttle: ThrottleText | None = Field(
        None, description='"10/1h": no more than so many; what is more waits and goes as one; P1 does not wait'
    )


class ContactShape(Shape):
    """A person."""

    id: Id = Field(description="what `contact:ID` names")
    name: str = Field("", description="as messages and pages show it")
    language: LanguageTag = Field("en", description="a BCP 47 tag")
    timezone: TimeZone = Field("UTC", description="an IANA name")
    may: list[ActionName] = Field(default_factory=list, description="what this person is authorised to do")
    scope: list[MatcherText] = Field(default_factory=list, alias="for", description="on which tickets; default: all")
    reach: list[ReachShape] = Field(default_factory=list, description="in this order")
    active: OnOff = Field("on", description="off: is told nothing and may do nothing, until it is on again")


class StepShape(Shape):
    """Tell, wait, give way."""

    tier: str = Field("", description="as messages show it: L1, L2, …")
    notify: list[str] = Field(description="contact:ID, schedule:ID, …")
    wait: LongSpanText = Field(5 * MINUTE, description="before the next step")
    quorum: CountText = Field(1, description="so many people must acknowledge; at most 100")


class EscalationShape(Shape):
    """Who is told when nobody answers."""

    id: Id = Field(description="what `escalation` and `default_escalation` name")
    steps: list[StepShape] = Field(default_factory=list, description="one after the other")
    repeat: Repeat = Field(0, description="further rounds of the steps")
    last_resort: list[str] = Field(default_factory=list, description="told after the last round, until answered")
    last_resort_every: dict[PriorityName, LongSpanText] = Field(
        default_factory=dict, description="how often the last resort is told; 4h for priorities not named"
    )
    acknowledge_expires: dict[PriorityName, LongSpanText] = Field(
        default_factory=dict, description="acknowledged this long without more: from the first step again"
    )
    hold_until_open: dict[PriorityName, str] = Field(
        default_factory=dict,
        description="a calendar's id, by priority: outside its hours nobody is told until it opens",
    )
    on_policy_change: OnChange = Field(
        "pin", description="what runs goes by the text it began with (pin), by the new one (migrate), or anew (restart)"
    )


class MaintenanceShape(Shape):
    """When nothing opens."""

    id: Id = Field(description="its identity")
    match: list[MatcherText] = Field(description="matchers, ANDed; [] is everything")
    cron: CronText = Field(description="when it begins: minute hour day month weekday")
    span: LongSpanText = Field(alias="for", description="how long it lasts")
    tz: TimeZone = Field("UTC", description="the time zone of `cron`")
    effect: Effect = Field("hold", description="what is still bad at the end opens then")


class FileShape(Shape):
    """A whole file."""

    version: Version = Field(description="of this language: 1")
    use: list[str] = Field(default_factory=list, description="names of files beside this one, and pack:NAME")
    defaults: RulePart | None = Field(
        None,
        description="for every rule of this file, and of those that use it: of the keys below, those from source on",
    )
    templates: dict[Id, TemplateShape] = Field(
        default_factory=dict, description="parts of rules, taken by `extends`: of the keys below, those from match on"
    )
    priority: PriorityShape | None = Field(None, description="the matrix; said once for all files")
    probes: list[ProbeShape] = Field(default_factory=list, description="what ticketd looks at by itself")
    rules: list[RuleShape] = Field(default_factory=list, description="what becomes a ticket")
    maintenance: list[MaintenanceShape] = Field(default_factory=list, description="when nothing opens")
    contacts: list[ContactShape] = Field(default_factory=list, description="people")
    schedules: list[ScheduleShape] = Field(default_factory=list, description="who is on call when")
    escalations: list[EscalationShape] = Field(default_factory=list, description="who is told when nobody answers")
    calendars: list[CalendarShape] = Field(default_factory=list, description="when somebody is in")
    sla: list[SlaShape] = Field(default_factory=list, description="what was promised")
    default_sla: str | None = Field(None, description="of tickets whose rule names none; where there is one sla, that")
    default_escalation: str | None = Field(None, description="of tickets whose rule names none")
    catch_all: OnOff | None = Field(None, description="on (the default): an alert that no rule matches opens a ticket")
