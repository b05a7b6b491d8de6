"""Which rules, and which of their keys, the tests have touched at all.

The one law: a key counts as touched when something happened in a test that only this key brings about; whether a test
would notice a change of its value is what `mutate` says.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from rules.commands import Decision, PutInstance, PutSeries, PutTicket, PutWindow, Record
from rules.events import Event, PolicyLoaded
from rules.instants import Instant
from rules.matching import all_hold
from rules.model import LIVE, Instance, Labels, Phase, Series, Verdict, Window
from rules.policy import MAX_OPEN, Choice, Policy, Rule
from rules.tickets.timeline import What

_ELSE: Final = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """A rule, or a key of it, that no test touches."""

    rule: str  # "" for what belongs to no rule
    key: str
    said: str

    def __str__(self) -> str:
        """One line."""
        name = f"{self.rule}.{self.key}" if self.rule and self.key else self.rule or self.key
        return f"{name}: {self.said}"


class Coverage:
    """What the tests of one policy touched. `listen` hears every decision of every test."""

    def __init__(self, policy: Policy, ids: Collection[str] | None = None) -> None:
        """Nothing is touched yet. `ids`: the rules that count; None: all."""
        self.policy = policy
        self.rules = [one for one in policy.rules.values() if ids is None or one.id in ids]
        self._facts: set[tuple[str, str, Any]] = set()  # (rule, what, which)
        self._known: dict[str, Instance] = {}
        self._labels: dict[str, Labels] = {}  # key -> the labels of its newest series

    def listen(self, now: Instant, event: Event, decision: Decision) -> None:
        """One decision."""
        if isinstance(event, PolicyLoaded):  # a test begins: nothing is known
            self._known.clear()
            self._labels.clear()
        self._remember(now, decision)
        for command in decision.commands:
            if type(command) is PutWindow:
                self._series(command.window, now, command.window.verdict)
            elif type(command) is PutSeries:
                self._series(command.series, now)
            elif type(command) is PutTicket:
                self._ticket(command)
            elif type(command) is Record and command.entry.what == What.JOINED:
                instance = self._known.get(str(command.entry.data.get("key", "")))
                if instance is not None:
                    self._note(instance.rule, "joined")

    def _remember(self, now: Instant, decision: Decision) -> None:
        """Labels first, then instances, whose overlays ask for those."""
        for command in decision.commands:
            if type(command) is PutWindow:
                self._labels[command.window.key] = command.window.labels
            elif type(command) is PutSeries:
                self._labels[command.series.key] = command.series.labels
        for command in decision.commands:
            if type(command) is PutInstance:
                self._instance(now, command.instance)

    def _ticket(self, command: PutTicket) -> None:
        ticket = command.ticket
        if command.was is not None and command.was not in LIVE and ticket.status in LIVE:
            self._note(ticket.rule, "reopened")
        if ticket.storm:
            self._note(ticket.rule, "storm")

    def _note(self, rule_id: str, what: str, which: object = None) -> None:
        rule = self.policy.rule(rule_id)
        self._facts.add((rule.id if rule is not None else rule_id, what, which))

    def _instance(self, now: Instant, instance: Instance) -> None:
        known = self._known.get(instance.key)
        self._known[instance.key] = instance
        rule = instance.rule
        self._note(rule, "instance")
        self._note(rule, instance.phase.value)
        if instance.phase is Phase.OK and known is not None and known.phase in {Phase.OPEN, Phase.RECOVERING}:
            self._note(rule, "recovered")
        if instance.by is not None:
            self._note(rule, "by", instance.by)
        if instance.blind_at is not None:
            self._note(rule, "blind")
        if instance.flapping:
            self._note(rule, "flapping")
        if instance.parked is not None:
            self._note(rule, instance.parked)
            if instance.parked == "maintenance":
                labels = self._labels.get(instance.key, instance.labels)
                for one in self.policy.maintenance:
                    if one.held(labels, now) is not None:
                        self._facts.add(("", "maintenance", one.id))

    def _series(self, seen: Window | Series, now: Instant, verdict: Verdict = Verdict.BETWEEN) -> None:
        instance = self._known.get(seen.key)
        rule = self.policy.rule(instance.rule) if instance is not None else None
        if instance is None or rule is None:
            return
        labels = seen.labels
        if verdict is Verdict.BAD and instance.phase is Phase.OK:
            self._note(rule.id, "outvoted")
        for key, choice in (("impact", rule.impact), ("urgency", rule.urgency)):
            if choice.label is not None:
                value = labels.get(choice.label, "")
                self._facts.add((rule.id, key, value if value in choice.table else _ELSE))
        for number, one in enumerate(_overrides(rule)):
            if (one.until is None or now < one.until) and all_hold(one.match, labels):
                self._facts.add((rule.id, "override", number))
                break

    # ---- telling
    def gaps(self) -> tuple[Gap, ...]:
        """Everything that no test touches, by rule in the order of the files."""
        found: list[Gap] = []
        for rule in self.rules:
            if not self._has(rule, "instance"):
                found.append(Gap(rule.id, "", "no test touches this rule"))
            else:
                found += [Gap(rule.id, key, told) for key, told, touched in self._keys(rule) if not touched]
        for one in self.policy.maintenance:
            if ("", "maintenance", one.id) not in self._facts:
                found.append(Gap("", f"maintenance.{one.id}", "no test has something bad in it"))
        return tuple(found)

    def touched(self) -> Iterator[tuple[str, str, bool]]:
        """(rule, key, whether it is touched), for each rule (with the key "") and each of its keys."""
        for rule in self.rules:
            yield rule.id, "", self._has(rule, "instance")
            yield from ((rule.id, key, touched) for key, _, touched in self._keys(rule))
        for one in self.policy.maintenance:
            yield "", f"maintenance.{one.id}", ("", "maintenance", one.id) in self._facts

    def _has(self, rule: Rule, what: str, which: object = None) -> bool:
        return (rule.id, what, which) in self._facts

    def _keys(self, rule: Rule) -> Iterator[tuple[str, str, bool]]:
        """(key, what is missing, whether it is touched)."""
        opens = self._has(rule, "open")
        yield "match" if rule.condition is None else "when", "it never opens in a test", opens
        back = self._has(rule, "recovered")
        yield "clear" if rule.condition is not None else "resolved", "it never comes back to ok in a test", back
        for number, override in enumerate(_overrides(rule)):
            told = f"no test has a series that it holds for ({', '.join(map(str, override.match))})"
            yield f"overrides[{number}]", told, self._has(rule, "override", number)
        if rule.quorum is not None:
            yield "quorum", "no test has bad series that are too few", self._has(rule, "outvoted")
        if rule.pending_for:
            yield "for", "it is never pending in a test", self._has(rule, "pending")
        if rule.keep_firing_for:
            yield "keep_firing_for", "it is never recovering in a test", self._has(rule, "recovering")
        if rule.condition is not None and rule.no_data is not None:
            yield "no_data", "no test lets its series fall silent", self._has(rule, "blind")
        if rule.flap is not None:
            yield "flap", "it never flaps in a test", self._has(rule, "flapping")
        for number, one in enumerate(rule.depends_on):
            parent = self.policy.rule(one.rule)
            ids = parent.ids if parent is not None else (one.rule,)
            told = f"{one.rule} never suppresses it, and is never linked to it"
            yield f"depends_on[{number}]", told, any(self._has(rule, "by", name) for name in ids)
        if rule.group is not None:
            yield "group", "no instance joins the ticket of another in a test", self._has(rule, "joined")
        if rule.max_open != MAX_OPEN:
            yield "max_open", "no test reaches it", self._has(rule, "storm")
        if rule.shadow:
            yield "mode", "it would never open in a test", self._has(rule, "shadow")
        for key, choice in (("impact", rule.impact), ("urgency", rule.urgency)):
            yield from self._rows(rule, key, choice)

    def _rows(self, rule: Rule, key: str, choice: Choice) -> Iterator[tuple[str, str, bool]]:
        if choice.label is None:
            return
        for value in (*choice.table, _ELSE):
            name = f"{key}.map[{value}]" if value else f"{key}.else"
            told = f"no test has {choice.label}={value}" if value else f"no test has another {choice.label}"
            yield name, told, self._has(rule, key, value)


def _overrides(rule: Rule) -> tuple[Any, ...]:
    """The overrides of a rule, where its kind of condition has any."""
    return tuple(getattr(rule.condition, "overrides", ()))


def merged(coverages: Collection[Coverage]) -> tuple[tuple[Gap, ...], dict[str, int]]:
    """What no test of several policies touches, and how many rules and keys there are and are touched.

    A rule that stands in two of the policies is touched by the tests of either.
    """
    known: dict[tuple[str, str], bool] = {}
    for one in coverages:
        for rule, key, touched in one.touched():
            known[rule, key] = known.get((rule, key), False) or touched
    gaps: dict[tuple[str, str], Gap] = {}
    for one in coverages:
        for gap in one.gaps():
            if not known[gap.rule, gap.key]:
                gaps.setdefault((gap.rule, gap.key), gap)
    rules = [touched for (_, key), touched in known.items() if not key]
    keys = [touched for (_, key), touched in known.items() if key]
    totals = {"rules": len(rules), "rules_touched": sum(rules), "keys": len(keys), "keys_touched": sum(keys)}
    return tuple(gaps.values()), totals
