"""The policy in force: rules, people and escalations as frozen values, as `rules/language` builds them from files.

The one law: a policy is complete and consistent; every reference in it resolves, so `decide` never checks again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from rules.instants import HOUR, MINUTE, Span
from rules.matching import Matcher, RuleIndex
from rules.model import PRIORITIES, Priority
from rules.templates import Template

CATCH_ALL: Final = "catch-all"
LAST_RESORT_EVERY: Final[Span] = 4 * HOUR
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
class Rule:
    """One rule. `dedup` None: all labels but `unkeyed`."""

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
    reopen_within: Span = HOUR

    @property
    def unkeyed(self) -> frozenset[str]:
        """Labels that never enter the default key: a change of one is the same problem, graver or milder."""
        return frozenset({"severity", self.impact.label or "severity", self.urgency.label or "severity"})


@dataclass(frozen=True, slots=True)
class Method:
    """One way to reach a contact. `kind` is a notifier's; `priorities` None: all."""

    kind: str
    address: str
    after: Span = 0
    priorities: frozenset[Priority] | None = None


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
class Target:
    """Whom a step tells: `kind` is "contact" (later also a schedule), `id` names it."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Step:
    """Tell `notify`, wait `wait`, give way to the next."""

    notify: tuple[Target, ...]
    wait: Span = 5 * MINUTE
    tier: str = ""


@dataclass(frozen=True, slots=True)
class Escalation:
    """Steps, `repeat` more rounds of them, then the last resort until somebody answers."""

    id: str
    steps: tuple[Step, ...]
    repeat: int = 0
    last_resort: tuple[Target, ...] = ()
    last_resort_every: Mapping[Priority, Span] = field(default_factory=dict)
    acknowledge_expires: Mapping[Priority, Span] = field(default_factory=dict)

    def every(self, priority: Priority) -> Span:
        """How often the last resort is told again."""
        return self.last_resort_every.get(priority, LAST_RESORT_EVERY)


@dataclass(frozen=True, eq=False)  # a policy is itself: two loads are two policies, and it can be a key
class Policy:
    """All that the files say. `version` is a hash of their texts."""

    version: str = "empty"
    rules: Mapping[str, Rule] = field(default_factory=dict)
    catch_all: Rule | None = None
    matrix: Matrix = Matrix()
    contacts: Mapping[str, Contact] = field(default_factory=dict)
    escalations: Mapping[str, Escalation] = field(default_factory=dict)
    default_escalation: str | None = None

    @cached_property
    def index(self) -> RuleIndex:
        """The rules by their equality matchers, so that an alert meets only those that may hold."""
        return RuleIndex(self.rules.values())

    def rule(self, rule_id: str) -> Rule | None:
        """The rule of this id, the catch-all included."""
        if self.catch_all is not None and rule_id == self.catch_all.id:
            return self.catch_all
        return self.rules.get(rule_id)

    def escalation_for(self, rule: Rule | None) -> Escalation | None:
        """By rule, else the default."""
        name = (rule.escalation if rule else None) or self.default_escalation
        return self.escalations.get(name) if name else None


def gravity(priority: Priority) -> int:
    """1 for P1 to 4 for P4."""
    return PRIORITIES.index(priority) + 1
