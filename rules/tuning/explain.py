"""Why an instance of a rule is in its state: every gate on the way to a ticket, with its value of this moment.

The one law: it decides nothing; it asks the same conditions and looks at the same values as `decide` does, in the order
of the gates, and a gate that cannot be known here says so.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rules import dependencies, flapping
from rules.case import Case
from rules.instants import SECOND, Instant, Span, format_instant, format_span
from rules.model import LIVE, Instance, Labels, Phase, SampleMark, Verdict, Window
from rules.policy import Policy, Rule
from rules.response.oncall import turns
from rules.state import Bond, Concerns, State
from rules.tickets.identity import dedup_labels, group_key_of, key_of

_MARKED: Final[Mapping[SampleMark, str]] = {
    SampleMark.OWN_NETWORK: ", cut off itself: what it said before stands",
    SampleMark.GONE: ", and nobody looks there any more",
}
SERIES_MAX: Final = 50  # of one instance, told one by one
OTHERS_MAX: Final = 20
TOLD_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: what is, what would let it pass, and whether it does (None: it does not decide, or is not known)."""

    name: str
    value: str
    wanted: str = ""
    holds: bool | None = None
    note: str = ""
    series: str = ""  # of which series it speaks, where an instance has some

    def json(self) -> dict[str, Any]:
        """As the API says it."""
        return {
            "name": self.name, "value": self.value, "wanted": self.wanted, "holds": self.holds, "note": self.note,
            "series": self.series,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Explanation:
    """An instance: its state, and each gate. `because` is one sentence; `others`: instances that were not asked for."""

    rule: str
    labels: Labels  # that tell it from others of its rule
    key: str
    phase: str
    ticket: str | None
    ticket_status: str | None
    because: str
    gates: tuple[Gate, ...]
    others: tuple[Labels, ...] = ()

    def json(self) -> dict[str, Any]:
        """As the API says it."""
        return {
            "rule": self.rule,
            "labels": dict(self.labels),
            "key": self.key,
            "state": self.phase,
            "ticket": self.ticket,
            "ticket_status": self.ticket_status,
            "because": self.because,
            "gates": [gate.json() for gate in self.gates],
            "others": [dict(one) for one in self.others],
        }


def wants(policy: Policy, rule: Rule, labels: Labels) -> Concerns:
    """What has to be loaded to explain the instance of these labels."""
    dedup = dedup_labels(rule, labels)
    key = key_of(rule, dedup)
    wanted = Concerns(instances={key}, windows={key}, samples={key}, tallies=set(rule.ids), bonds={_near(rule, labels)})
    group = group_key_of(rule, labels)
    if group is not None:
        wanted.groups.add((group, key))
    dependencies.bonds(policy, rule, dedup, wanted)
    return wanted


def _near(rule: Rule, labels: Labels) -> Bond:
    """The instances that agree with what was given."""
    given = {name: value for name, value in dedup_labels(rule, labels).items() if name in labels}
    return Bond(rule.ids, tuple(sorted(given.items())))


def explain(
    policy: Policy,
    rule: Rule,
    labels: Labels,
    state: State,
    now: Instant,
    fields: Mapping[str, float] | None = None,
) -> Explanation:
    """The instance of these labels at `now`. `state` holds what `wants` names.

    `fields`: of a sample that is supposed to come next, at `now`.
    """
    dedup = dedup_labels(rule, labels)
    key = key_of(rule, dedup)
    asking = _Asking(policy, rule, labels, dedup, Case(state, now, policy), state.instances.get(key), fields or {})
    gates = tuple(asking.gates())
    instance = asking.instance
    ticket = state.tickets.get(instance.ticket) if instance is not None and instance.ticket is not None else None
    others: tuple[Labels, ...] = ()
    if instance is None:
        near = [state.instances[one] for one in state.bonds.get(_near(rule, labels), ()) if one in state.instances]
        others = tuple(one.labels for one in near[:OTHERS_MAX] if one.key != key)
    return Explanation(
        rule.id, instance.labels if instance is not None else dedup, key,
        (instance.phase if instance is not None else Phase.OK).value,
        None if ticket is None else f"T-{ticket.id}", None if ticket is None else ticket.status.value,
        _because(instance, gates, live=ticket is not None and ticket.status in LIVE), gates, others,
    )  # fmt: skip


def _because(instance: Instance | None, gates: tuple[Gate, ...], *, live: bool) -> str:
    """The first gate that stops it. A silence that stops it comes before what was last said."""
    if live:
        return "it has a live ticket"
    last = {gate.series: gate.holds for gate in gates if gate.series}  # the last gate of a series is its verdict
    stopping = [
        gate for gate in gates
        if gate.holds is False and gate.name not in _ALONE and not (gate.series and True in last.values())
    ]  # fmt: skip
    stops = min(stopping, key=lambda gate: _FIRST.get(gate.name, 2), default=None)
    if stops is None:
        return "nothing stops it" if instance is None or instance.phase is Phase.OK else "it has no live ticket"
    wanted = f"; wanted: {stops.wanted}" if stops.wanted else ""
    note = f" ({stops.note})" if stops.note else ""
    return f"{stops.name}: {stops.value}{wanted}{note}"


_ALONE: Final = frozenset({"escalation"})  # it stops no ticket
_FIRST: Final = {"match": 0, "no data": 1}


@dataclass(frozen=True, slots=True)
class _Asking:
    policy: Policy
    rule: Rule
    given: Labels
    dedup: Labels
    case: Case
    instance: Instance | None
    fields: Mapping[str, float]

    @property
    def now(self) -> Instant:
        return self.case.now

    @property
    def windows(self) -> list[Window]:
        key = self.instance.key if self.instance is not None else ""
        return sorted(self.case.state.windows.get(key, {}).values(), key=lambda one: sorted(one.labels.items()))

    @property
    def seen(self) -> Labels:
        """All labels that are known of it: those of its newest series, and those that were given."""
        newest = max(self.windows, key=lambda one: (one.at, one.fingerprint), default=None)
        series = self.case.state.samples.get(self.instance.key) if self.instance is not None else None
        known: Labels = newest.labels if newest is not None else series.labels if series is not None else {}
        return {**known, **(self.instance.labels if self.instance is not None else {}), **self.given}

    def gates(self) -> Iterator[Gate]:
        """In their order."""
        rule, instance = self.rule, self.instance
        labels = self.seen
        for one in rule.match:
            value = labels.get(one.name)
            have = f'{one.name}="{value}"' if value is not None else f"no label {one.name}"
            yield Gate("match", have, str(one), one.holds(labels))
        if rule.condition is None:
            count = instance.firing if instance is not None else 0
            yield Gate("alert", f"{count} firing", "at least 1 firing", count > 0)
        else:
            yield from self._series()
            yield from self._no_data()
            yield from self._quorum()
        yield from self._flap()
        yield self._for()
        yield from self._dependencies()
        yield self._state()
        yield Gate("shadow", f"mode {'shadow' if rule.shadow else 'live'}", "mode live", not rule.shadow)
        yield self._maintenance(labels)
        yield from self._group(labels)
        live = self.case.live_of(rule)
        note = "" if live < rule.max_open else "one storm ticket takes the rest"
        yield Gate("max_open", f"live tickets: {live}", f"fewer than {rule.max_open}", None, note)
        impact, urgency = rule.impact.of(labels), rule.urgency.of(labels)
        yield Gate("priority", f"{impact} × {urgency} = {self.policy.matrix.priority(impact, urgency)}")
        yield self._escalation()

    # ---- what is judged
    def _series(self) -> Iterator[Gate]:
        condition = self.rule.condition
        if condition is None:
            return
        windows = self.windows
        supposed = bool(self.fields)
        if supposed or not windows:
            points = condition.push((), self.now, self.fields) if supposed else ()
            of_same = next((one for one in windows if one.labels == self.given), None)
            if supposed and of_same is not None:
                points = condition.push(of_same.points, self.now, self.fields)
            for name, value, verdict in condition.tell(points, self.seen, self.now):
                yield Gate(
                    name, value, "bad", _holds(verdict), "if such a sample came now" if supposed else "no sample"
                )
            return
        for one in windows[:SERIES_MAX]:
            at = max(self.now, one.at) if condition.timed else one.at
            heard = "awaited" if one.expected else f"heard {_ago(self.now - one.heard_at)} ago"
            which = ", ".join(f"{name}={value}" for name, value in sorted(one.labels.items()) if name not in self.dedup)
            for name, value, verdict in condition.tell(one.points, one.labels, at):
                note = f"{which}: {heard}" if which else heard
                note += _MARKED.get(one.mark, "") + (f"; {one.note}" if one.note else "")
                yield Gate(name, value, "bad", _holds(verdict), note, series=which or "the only one")
        if len(windows) > SERIES_MAX:
            yield Gate("series", f"{len(windows)}", note=f"the first {SERIES_MAX} are told here")

    def _fresh(self) -> list[Window]:
        rule = self.rule
        windows = [one for one in self.windows if not one.expected and not one.mark]
        if rule.no_data is None:
            return windows
        return [one for one in windows if self.now - one.heard_at < rule.no_data.after]

    def _no_data(self) -> Iterator[Gate]:
        rule, instance = self.rule, self.instance
        if rule.no_data is None or (rule.condition is not None and rule.condition.timed):
            return
        newest = max((one.heard_at for one in self.windows), default=None)
        last = "never heard" if newest is None else f"last heard {_ago(self.now - newest)} ago"
        blind = instance is not None and instance.blind_at is not None
        needed = rule.quorum.min_reporting if rule.quorum is not None else 1
        wanted = f"{needed} heard within {format_span(rule.no_data.after)}"
        since = ""
        if blind and instance is not None and instance.blind_at is not None:
            since = f"blind since {format_instant(instance.blind_at)}; "
        then = {"hold": "everything stays as it is", "open": "silence is bad", "ok": "silence is clear"}
        enough = (
            len({one.labels.get(rule.quorum.by, "") for one in self._fresh()}) if rule.quorum else len(self._fresh())
        )
        holds: bool | None = enough >= needed and not blind
        if (not holds and rule.no_data.then == "open" and newest is not None) or (newest is None and self.fields):
            holds = None
        yield Gate("no data", last, wanted, holds, f"{since}without: {then.get(rule.no_data.then, rule.no_data.then)}")

    def _quorum(self) -> Iterator[Gate]:
        quorum = self.rule.quorum
        if quorum is None:
            return
        voices: dict[str, bool] = {}
        for one in self._fresh():
            name = one.labels.get(quorum.by, "")
            voices[name] = voices.get(name, False) or one.verdict is Verdict.BAD
        bad = sorted(name for name, is_bad in voices.items() if is_bad)
        said = f"{len(bad)} of {len(voices)} {quorum.by}s are bad" + (f": {', '.join(bad)}" if bad else "")
        holds = len(bad) >= quorum.at_least and len(voices) >= quorum.min_reporting
        wanted = f"at least {quorum.at_least} bad, {quorum.min_reporting} reporting"
        yield Gate("quorum", said, wanted, holds if self.windows else None)

    def _flap(self) -> Iterator[Gate]:
        flap = self.rule.flap
        if flap is None:
            return
        states = self.instance.states if self.instance is not None else ""
        share = flapping.percent(states, flap.window) if states else 0.0
        flaps = self.instance is not None and self.instance.flapping
        wanted = f"flaps from {flap.high:g} %, until {flap.low:g} %"
        note = "it is held open until it is calm" if flaps else ""
        yield Gate("flap", f"{'flaps' if flaps else 'calm'}, {share:.1f} % of change", wanted, None, note)

    # ---- what the machine waits for
    def _for(self) -> Gate:
        span, instance = self.rule.pending_for, self.instance
        wanted = f"bad for {format_span(span)}"
        phase = instance.phase if instance is not None else Phase.OK
        if phase is Phase.PENDING and instance is not None and instance.since is not None:
            passed = max(0, self.now - instance.since)
            reached = passed >= span
            note = "" if not reached else "the next bad sample completes it" if self.rule.condition else ""
            return Gate("for", f"bad for {_ago(passed)}", wanted, reached, note)
        if phase in {Phase.OPEN, Phase.RECOVERING}:
            return Gate("for", "reached", wanted, holds=True)
        if phase is Phase.SUPPRESSED:
            return Gate("for", "begins anew when it is no longer suppressed", wanted)
        return Gate("for", "it is not bad", wanted, holds=None if not span else False)

    def _dependencies(self) -> Iterator[Gate]:
        labels = self.instance.labels if self.instance is not None else self.dedup
        for one in self.rule.depends_on:
            on = ", ".join(f"{name}={labels.get(name, '')}" for name in one.on)
            found = dependencies.parents(self.case, one, labels)
            bad = next((parent for parent in found if parent.phase is not Phase.OK), None)
            wanted = f"{one.rule} ok" + (f" where {on}" if on else "")
            asked_at = self.instance.asked_at if self.instance is not None else None
            if bad is not None:
                yield Gate("dependency", f"{_named(one.rule, bad.labels)} is {bad.phase.value}", wanted, holds=False)
            elif not found:
                yield Gate("dependency", f"no instance of {one.rule}", wanted, holds=True)
            elif asked_at is not None and any(parent.judged_at < asked_at for parent in found):
                until = format_instant(asked_at + one.settle)
                note = f"not judged since; waited for until {until}"
                yield Gate("dependency", f"{_named(one.rule, found[0].labels)} is ok", wanted, holds=False, note=note)
            else:
                yield Gate("dependency", f"{_named(one.rule, found[0].labels)} is ok", wanted, holds=True)

    def _state(self) -> Gate:
        instance = self.instance
        if instance is None:
            return Gate("state", "ok", "open", holds=False, note="nothing is known of this instance")
        since = "" if instance.since is None else f" since {format_instant(instance.since)}"
        notes = [
            f"by {instance.by}" if instance.by is not None else "",
            f"no ticket: {instance.parked}" if instance.parked is not None else "",
        ]
        holds = instance.phase in {Phase.OPEN, Phase.RECOVERING}
        return Gate("state", f"{instance.phase.value}{since}", "open", holds, "; ".join(one for one in notes if one))

    # ---- whether, where and to whom
    def _maintenance(self, labels: Labels) -> Gate:
        held = self.policy.held({**labels, **self.rule.labels}, self.now)
        if held is None:
            return Gate("maintenance", "none", "none", holds=True)
        ids = [one.id for one in self.policy.maintenance if one.held({**labels, **self.rule.labels}, self.now)]
        return Gate("maintenance", f"{', '.join(ids)} until {format_instant(held[1])}", "none", holds=False)

    def _group(self, labels: Labels) -> Iterator[Gate]:
        group = self.rule.group
        if group is None:
            return
        key = self.instance.group_key if self.instance is not None else group_key_of(self.rule, labels)
        number = self.case.state.groups.get(key) if key is not None else None
        ticket = self.case.state.tickets.get(number) if number is not None else None
        by = ", ".join(f"{name}={labels.get(name, '')}" for name in group.by)
        wanted = f"a ticket of {by or 'the rule'} opened within {format_span(group.within)} is joined"
        if ticket is not None and ticket.status in LIVE and self.now - ticket.opened_at <= group.within:
            yield Gate("group", f"T-{ticket.id} would be joined", wanted)
        else:
            yield Gate("group", "no ticket to join", wanted)

    def _escalation(self) -> Gate:
        chosen = self.policy.escalation_for(self.rule)
        if chosen is None:
            return Gate("escalation", "none", "somebody to tell", holds=False, note="nobody would be told")
        told = [
            f"{contact} by {'/'.join(kinds)}{f' after {format_span(turn.after)}' if turn.after else ' at once'}"
            for turn in turns(self.policy, chosen, self.now) for contact, kinds in turn.contacts
        ]  # fmt: skip
        value = f"{chosen.id} tells {'; '.join(told[:TOLD_MAX])}" if told else f"{chosen.id} reaches nobody"
        return Gate("escalation", value, "somebody to tell", bool(told))


def _ago(span: Span) -> str:
    """In whole seconds: nobody reads more."""
    return format_span(max(0, span) // SECOND * SECOND)


def _holds(verdict: Verdict | None) -> bool | None:
    return None if verdict is None else verdict is Verdict.BAD


def _named(rule: str, labels: Labels) -> str:
    inside = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return f"{rule}{{{inside}}}" if inside else rule
