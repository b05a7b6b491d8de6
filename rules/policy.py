"""The policy in force: rules, people and escalations as frozen values, as `rules/language` builds them from files.

The one law: a policy is complete and consistent; every reference in it resolves, so `decide` never checks again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Final

from msgspec import to_builtins
from msgspec.json import encode

from rules.conditions.base import Condition
from rules.instants import HOUR, MINUTE, SECOND, Instant, Span
from rules.matching import Matcher, RuleIndex, all_hold
from rules.model import PRIORITIES, Labels, Priority
from rules.recurrence import Cron
from rules.response.feeds import Feed
from rules.templates import Template

CATCH_ALL: Final = "catch-all"
MAX_OPEN: Final = 100  # live tickets of a rule before a storm ticket takes the rest
SAMPLED: Final = frozenset({"probe", "heartbeat"})  # sources of samples, where others bring alerts
LAST_RESORT_EVERY: Final[Span] = 4 * HOUR
EVERYWHERE: Final = "*"  # among a probe's locations
CHANNELS: Final = frozenset({  # ways to a person that the language knows; those with a notifier can be sent
    "apprise", "email", "mattermost", "ntfy", "slack", "sms", "telegram", "voice", "webhook",
})  # fmt: skip
ACTIONS: Final = (
    "acknowledge", "hold", "release", "resolve", "close", "reopen", "comment", "escalate", "priority", "open",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """An impact or an urgency: always `default`, or looked up by the label `label` in `table` first."""

    default: str
    label: str | None = None
    table: Mapping[str, str] = field(default_factory=dict)

    def of(self, labels: Mapping[str, str]) -> str:
        """The value for these labels."""
        return self.table.get(labels.get(self.label, ""), self.default) if self.label else self.default


@dataclass(frozen=True, slots=True)
class Matrix:
    """impact x urgency -> priority; rows are impacts."""

    impacts: tuple[str, ...] = ("site", "service", "user")
    urgencies: tuple[str, ...] = ("high", "medium", "low")
    cells: tuple[tuple[Priority, ...], ...] = (("P1", "P1", "P2"), ("P1", "P2", "P3"), ("P2", "P3", "P4"))

    def priority(self, impact: str, urgency: str) -> Priority:
        """The cell; an impact or urgency that the matrix no longer has counts as the mildest."""
        row = self.cells[self.impacts.index(impact)] if impact in self.impacts else self.cells[-1]
        return row[self.urgencies.index(urgency)] if urgency in self.urgencies else row[-1]


@dataclass(frozen=True, slots=True)
class Grouping:
    """Instances entering open within `within` of a live ticket with equal `by` labels attach to it."""

    by: tuple[str, ...]
    within: Span


@dataclass(frozen=True, slots=True)
class Quorum:
    """Bad when `at_least` values of the label `by` are bad; blind when fewer than `min_reporting` report."""

    by: str
    at_least: int
    min_reporting: int


@dataclass(frozen=True, slots=True)
class NoData:
    """After this silence `then` holds: "hold" (freeze the clocks), "open" (bad) or "ok" (clear)."""

    after: Span = 5 * MINUTE
    then: str = "hold"


@dataclass(frozen=True, slots=True)
class Flap:
    """Flapping from `high` percent of weighted change over `window` changes, until `low`: then it is held open."""

    window: int = 20
    high: float = 30.0
    low: float = 20.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """Suppressed while an instance of `rule` with equal `on` labels is not ok; an unjudged one is awaited `settle`."""

    rule: str
    on: tuple[str, ...]
    settle: Span = MINUTE


@dataclass(frozen=True, slots=True)
class Maintenance:
    """From each instant of `cron`, for `span`, nothing opens for these labels and nobody is paged."""

    id: str
    match: tuple[Matcher, ...]
    cron: Cron
    span: Span

    def held(self, labels: Labels, at: Instant) -> tuple[Instant, Instant] | None:
        """The window [start, end) that holds these labels at `at`, or None."""
        if not all_hold(self.match, labels):
            return None
        start = self.cron.last(at)
        return (start, start + self.span) if start is not None and at < start + self.span else None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `dedup` None: all labels but `unkeyed`. `condition` None: what it judges by is an alert's own word."""

    id: str
    match: tuple[Matcher, ...]
    impact: Choice
    urgency: Choice
    source: str | None = None  # a source connector's kind; None: alerts from any
    pending_for: Span = 0  # the file's `for`
    keep_firing_for: Span = 0
    dedup: tuple[str, ...] | None = None
    group: Grouping | None = None
    title: Template | None = None
    description: Template | None = None
    labels: Mapping[str, str] = field(default_factory=dict)  # added to the ticket's
    escalation: str | None = None
    sla: str | None = None
    reopen_within: Span = HOUR
    condition: Condition | None = None  # over samples
    quorum: Quorum | None = None
    no_data: NoData | None = None  # only where samples come regularly
    flap: Flap | None = None
    depends_on: tuple[Dependency, ...] = ()
    max_open: int = MAX_OPEN
    shadow: bool = False
    moved_from: tuple[str, ...] = ()  # the ids that it had before, the newest first

    @property
    def root(self) -> str:
        """The first id that it had: keys are made of it, so a renamed rule keeps its tickets."""
        return self.moved_from[-1] if self.moved_from else self.id

    @property
    def ids(self) -> tuple[str, ...]:
        """Its id, and those that it had before."""
        return (self.id, *self.moved_from)

    @property
    def unkeyed(self) -> frozenset[str]:
        """Labels that never enter the default key: a change of one is the same problem, graver or milder."""
        names = {"severity", self.impact.label or "severity", self.urgency.label or "severity"}
        return frozenset(names if self.quorum is None else {*names, self.quorum.by})


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What a probe looks at, written as its kind writes it, and the labels that its samples get for it."""

    target: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Discovery:
    """Where further targets of a probe are found. `options` is a value of that kind's `Options`."""

    kind: str
    options: object


@dataclass(frozen=True, slots=True)
class Probe:
    """What ticketd looks at by itself. `options` is a value of the kind's `Options`, checked when the files were read.

    `locations`: where it runs; (): at the daemon that keeps the tickets; EVERYWHERE among them: at every one.
    `credentials`: a name in config.toml. `reference`: its targets tell a location's own failure from that of others.
    """

    id: str
    kind: str
    options: object
    interval: Span = MINUTE
    timeout: Span = 10 * SECOND
    targets: tuple[ProbeTarget, ...] = ()
    discoveries: tuple[Discovery, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    locations: tuple[str, ...] = ()
    credentials: str | None = None
    reference: bool = False
    template: str = ""  # holds {target}, which each target is put in for; "": targets are taken as they are


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `at_most` messages within any span of `per`; what is more waits, and then goes in one message."""

    at_most: int
    per: Span


@dataclass(frozen=True, slots=True)
class Method:
    """One way to reach a contact. `kind` is a notifier's; `priorities` None: all.

    `bundle`: messages wait so long for others, and go as one. P1 passes bundling and throttling.
    """

    kind: str
    address: str
    after: Span = 0
    priorities: frozenset[Priority] | None = None
    bundle: Span = 0
    throttle: Throttle | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """A person. `may` is authority (words of ACTIONS), `scope` the tickets it holds for."""

    id: str
    name: str = ""
    language: str = "en"
    timezone: str = "UTC"
    may: frozenset[str] = frozenset()
    scope: tuple[Matcher, ...] = ()
    reach: tuple[Method, ...] = ()
    active: bool = True


@dataclass(frozen=True, slots=True)
class Rotation:
    """Contacts who take turns: `who[0]` from `first`, the next after their turn, and so on around.

    `first` is an instant of the schedule's own clock (`rules.localtime`), and turns are counted there too. A turn lasts
    `every`, at least 1h; or `months`, from day `day` of a month (the last of a shorter one) to that day of another; or
    as long as `lengths` say, one after the other, and from the beginning again. The others are 0 and empty then.
    """

    who: tuple[str, ...]
    every: Span
    first: int
    months: int = 0
    day: int = 0
    lengths: tuple[Span, ...] = ()
    during: "Calendar | None" = None  # the hours in which it gives anybody at all; None: always
    layer: int = 1


@dataclass(frozen=True, slots=True)
class ScheduleOverride:
    """`who` alone is on call in [since, until), whatever the rotations say; of several, the last one that holds."""

    who: str
    since: Instant
    until: Instant
    why: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleFeed:
    """Turns kept in a calendar elsewhere: the feed `name` of config.toml. `feed` None: there is no copy of it yet.

    `people`: the contacts whom its events can mean, by address and name as `rules.response.feeds.named` writes them.
    """

    name: str
    layer: int = 1
    feed: Feed | None = None
    people: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def ids(self) -> frozenset[str]:
        """The contacts whom any of its events means."""
        events = self.feed.named if self.feed is not None else ()
        return frozenset(name for one in events for name in one.who(self.people))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Who is on call when. Of the layers that give somebody at an instant, the highest wins.

    Within a layer each rotation gives one person, each event of a feed those whom it names, and all are on call.
    """

    id: str
    timezone: str = "UTC"
    rotations: tuple[Rotation, ...] = ()
    overrides: tuple[ScheduleOverride, ...] = ()
    feeds: tuple[ScheduleFeed, ...] = ()
    handoff_notice: bool = True

    def ids(self) -> frozenset[str]:
        """Everybody who may ever be on call by it."""
        turns = frozenset(name for one in self.rotations for name in one.who)
        return turns.union((one.who for one in self.overrides), *(one.ids() for one in self.feeds))


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a step tells: `kind` is "contact" or "schedule", `id` names it."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Step:
    """Tell `notify`, wait `wait`, give way to the next."""

    notify: tuple[Target, ...]
    wait: Span = 5 * MINUTE
    tier: str = ""
    quorum: int = 1  # so many contacts must acknowledge while this step is the current one


@dataclass(frozen=True, slots=True)
class Escalation:
    """Steps, `repeat` more rounds of them, then the last resort until somebody answers.

    `on_policy_change`: a run "pin"s the text that it began with, "migrate"s to the new one, or "restart"s with it.
    """

    id: str
    steps: tuple[Step, ...]
    repeat: int = 0
    last_resort: tuple[Target, ...] = ()
    last_resort_every: Mapping[Priority, Span] = field(default_factory=dict)
    acknowledge_expires: Mapping[Priority, Span] = field(default_factory=dict)
    hold_until_open: Mapping[Priority, str] = field(default_factory=dict)  # calendars' ids
    on_policy_change: str = "pin"

    def every(self, priority: Priority) -> Span:
        """How often the last resort is told again."""
        return self.last_resort_every.get(priority, LAST_RESORT_EVERY)


@dataclass(frozen=True, slots=True)
class Holidays:
    """Public holidays: ISO 3166-1 country, and ISO 3166-2 subdivision without the country."""

    country: str
    subdivision: str | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """When somebody is in, on the calendar's own clock.

    `week`: Monday first, each day's [start, end) in µs after local midnight; an end above 24 h is on the next day.
    `closed` and `opened` name local days by their number since 1970-01-01: whole days closed, and hours open although
    the weekday, a closure or a holiday says otherwise.
    """

    id: str
    timezone: str = "UTC"
    week: tuple[tuple[tuple[Span, Span], ...], ...] = ((), (), (), (), (), (), ())
    holidays: Holidays | None = None
    closed: Mapping[int, str] = field(default_factory=dict)  # day -> why
    opened: Mapping[int, tuple[tuple[Span, Span], ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allowed:
    """A time allowed: elapsed, or `working`: counted in open hours only."""

    span: Span
    working: bool = False


@dataclass(frozen=True, slots=True)
class Allowance:
    """The time that one clock has, for tickets opened inside the calendar's open hours and outside them."""

    inside: Allowed
    outside: Allowed


@dataclass(frozen=True, slots=True)
class Promise:
    """How soon a ticket of one priority is answered and resolved. None: nothing is promised."""

    respond: Allowance | None = None
    resolve: Allowance | None = None


@dataclass(frozen=True, slots=True)
class Sla:
    """What was promised. `calendar` None: open at all times. `warn_at`: percent, ascending; 100 is always judged."""

    id: str
    calendar: str | None = None
    promises: Mapping[Priority, Promise] = field(default_factory=dict)
    warn_at: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)  # a policy is itself: two loads are two policies, and it can be a key
class Policy:
    """All that the files say. `version` is a hash of their texts."""

    version: str = "empty"
    rules: Mapping[str, Rule] = field(default_factory=dict)
    catch_all: Rule | None = None
    matrix: Matrix = Matrix()
    contacts: Mapping[str, Contact] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    escalations: Mapping[str, Escalation] = field(default_factory=dict)
    default_escalation: str | None = None
    maintenance: tuple[Maintenance, ...] = ()
    calendars: Mapping[str, Calendar] = field(default_factory=dict)
    slas: Mapping[str, Sla] = field(default_factory=dict)
    default_sla: str | None = None
    probes: Mapping[str, Probe] = field(default_factory=dict)

    @cached_property
    def plans(self) -> Mapping[str, str]:
        """The digest of each escalation, by id: equal as long as it reads the same."""
        return {name: digest_of(one) for name, one in self.escalations.items()}

    def sla_for(self, rule: Rule | None) -> Sla | None:
        """By rule, else the default."""
        name = (rule.sla if rule else None) or self.default_sla
        return self.slas.get(name) if name else None

    @cached_property
    def index(self) -> RuleIndex:
        """The rules by their equality matchers, so that an alert meets only those that may hold."""
        return RuleIndex(self.rules.values())

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of this id, the catch-all included."""
        if self.catch_all is not None and rule_id == self.catch_all.id:
            return self.catch_all
        return self.rules.get(rule_id) or self._renamed.get(rule_id)

    @cached_property
    def _renamed(self) -> Mapping[str, Rule]:
        return {old: rule for rule in self.rules.values() for old in rule.moved_from if old not in self.rules}

    @cached_property
    def dependents(self) -> Mapping[str, tuple[tuple[Rule, Dependency], ...]]:
        """For each rule's id, the rules that depend on it."""
        found: dict[str, list[tuple[Rule, Dependency]]] = {}
        for rule in self.rules.values():
            for one in rule.depends_on:
                found.setdefault(one.rule, []).append((rule, one))
        return {parent: tuple(children) for parent, children in found.items()}

    def held(self, labels: Labels, at: Instant) -> tuple[Instant, Instant] | None:
        """The maintenance that these labels are under at `at`, from the first start to the last end; None: none."""
        if not self.maintenance:
            return None
        found = [span for one in self.maintenance if (span := one.held(labels, at)) is not None]
        return (min(start for start, _ in found), max(end for _, end in found)) if found else None

    def escalation_for(self, rule: Rule | None) -> Escalation | None:
        """By rule, else the default."""
        name = (rule.escalation if rule else None) or self.default_escalation
        return self.escalations.get(name) if name else None


def digest_of(value: object) -> str:
    """A short name of a frozen value of this file, equal for equal values only."""
    return sha256(encode(to_builtins(value, str_keys=True, order="deterministic"))).hexdigest()[:16]


def gravity(priority: Priority) -> int:
    """1 for P1 to 4 for P4."""
    return PRIORITIES.index(priority) + 1
