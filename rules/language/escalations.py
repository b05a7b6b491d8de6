"""Escalations: from their shape to the policy's noun, and whom they leave out.

The one law: whoever an escalation names exists, and what it asks of them they can give.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from rules.language.nodes import Map, find
from rules.language.people import People
from rules.language.report import Place, Problem, at
from rules.language.shapes import EscalationShape, StepShape
from rules.model import Priority
from rules.policy import Contact, Escalation, Step, Target
from rules.words import listed, meant_or_list, shown

QUORUM_MAX: Final = 100

Path = tuple[int | str, ...]


class Escalations:
    """Builds escalations, after all contacts and schedules; `errors` and `warnings` grow meanwhile."""

    def __init__(self, people: People, known_calendars: Collection[str]) -> None:
        """`known_calendars`: the ids of all calendars that any file declares."""
        self.people = people
        self.known_calendars = known_calendars
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.built: dict[str, Escalation] = {}
        self.hold_places: dict[tuple[str, Priority], Place] = {}
        self._named: dict[str, set[str]] = {"contact": set(), "schedule": set()}

    def escalation(self, shape: EscalationShape, raw: Map) -> None:
        """Adds an escalation."""
        if not shape.steps and not shape.last_resort:
            self.errors.append(
                at(raw.place_of("id"), f"{shown(shape.id)} has no steps and no last_resort: nobody is told")
            )
        steps = tuple(self._step(one, raw, index, shape.id) for index, one in enumerate(shape.steps))
        last = self._targets(shape.last_resort, raw, ("last_resort",))
        if shape.last_resort and len(last) == len(shape.last_resort):
            self._note_unreachable(last, raw.place_of("last_resort"), f"the last resort of {shown(shape.id)}")
        told = self._built((*last, *(one for step in steps for one in step.notify)))
        if told and not any(_answers(one) for one in told):
            self.warnings.append(at(raw.place_of("id"), f"nobody whom {shown(shape.id)} tells may acknowledge"))
        for priority, name in shape.hold_until_open.items():
            place = self.hold_places[shape.id, priority] = find(raw, ("hold_until_open", priority))
            if name not in self.known_calendars and self.people.whole:
                said = f"there is no calendar {shown(name)}{meant_or_list(name, self.known_calendars)}"
                self.errors.append(at(place, f"hold_until_open: {said}"))
        self.built[shape.id] = Escalation(
            id=shape.id,
            steps=steps,
            repeat=shape.repeat,
            last_resort=last,
            last_resort_every=dict(shape.last_resort_every),
            acknowledge_expires=dict(shape.acknowledge_expires),
            hold_until_open=dict(shape.hold_until_open),
            on_policy_change=shape.on_policy_change,
        )

    def _step(self, shape: StepShape, raw: Map, index: int, name: str) -> Step:
        targets = self._targets(shape.notify, raw, ("steps", index, "notify"))
        if len(targets) == len(shape.notify):  # else errors have said more
            what = f"step {index + 1} of {shown(name)}"
            self._note_unreachable(targets, find(raw, ("steps", index)), what)
            self._check_quorum(shape.quorum, targets, find(raw, ("steps", index, "quorum")), what)
        return Step(targets, shape.wait, shape.tier, shape.quorum)

    def _check_quorum(self, quorum: int, targets: tuple[Target, ...], place: Place, what: str) -> None:
        if quorum > QUORUM_MAX:
            self.errors.append(at(place, f"quorum: at most {QUORUM_MAX} people, not {quorum}"))
            return
        if quorum == 1:
            return  # whether anybody may acknowledge is asked of the whole escalation
        if any(one.feeds for one in map(self.people.schedules.get, _schedules(targets)) if one is not None):
            return  # whom a calendar kept elsewhere names is no matter of these files
        ever = set().union(*map(self._meant, targets))
        if quorum > len(ever):
            names = f" ({listed(sorted(ever))})" if ever else ""
            said = f"quorum: {what} never tells more than {_people(len(ever))}{names}; {quorum} can never acknowledge"
            self.errors.append(at(place, said))
            return
        able = [one.id for one in self._built(targets) if _answers(one) and one.reach]
        if len(able) < quorum and ever <= self.people.contacts.keys():
            who = f"only {listed(sorted(able))}" if able else "nobody"
            said = f"quorum: {quorum} must acknowledge, and of those whom {what} tells {who} can be reached and may"
            self.warnings.append(at(place, said))

    def _targets(self, names: Iterable[str], raw: Map, path: Path) -> tuple[Target, ...]:
        targets = []
        for index, name in enumerate(names):
            if (wrong := self._target_problem(name)) is not None:
                self.errors.append(at(find(raw, (*path, index)), f"{path[-1]}: {wrong}"))
                continue
            kind, _, one = name.partition(":")
            self._named["schedule" if kind == "schedule" else "contact"].add(one)
            targets.append(Target(kind, one))
        return tuple(targets)

    def _target_problem(self, name: str) -> str | None:
        """Why a step's word for whom it tells means nobody, or None."""
        kind, colon, one = name.partition(":")
        known = {"contact": self.people.known, "schedule": self.people.known_schedules}
        if colon and kind not in known:
            return f"{shown(name)}: {shown(kind)} is nobody who can be told; write contact:ID or schedule:ID"
        if colon and one in known[kind]:
            return None
        bare = one if colon else name
        fit = next((other for other, names in known.items() if bare in names), None)
        if fit is not None:
            return f'{shown(name)}: write "{fit}:{bare}"'
        if not colon:
            return f"{shown(name)}: whom is written contact:ID or schedule:ID"
        return f"there is no {kind} {shown(one)}{meant_or_list(one, known[kind])}" if self.people.whole else None

    def _meant(self, target: Target) -> set[str]:
        """The ids of all contacts that a target can ever mean."""
        if target.kind == "contact":
            return {target.id}
        found = self.people.schedules.get(target.id)
        if found is None:
            return set()
        if any(one.feed is None for one in found.feeds):
            return set(self.people.known)  # what it will say is not known yet
        return set(found.ids())

    def _built(self, targets: Iterable[Target]) -> list[Contact]:
        """The contacts that targets can ever mean, nobody twice, as far as they could be built."""
        names = sorted(set().union(*map(self._meant, targets)))
        return [self.people.contacts[name] for name in names if name in self.people.contacts]

    def _note_unreachable(self, targets: tuple[Target, ...], place: Place, what: str) -> None:
        if not targets:
            self.warnings.append(at(place, f"nobody is told by {what}: it names nobody"))
            return
        meant_ones = set().union(*map(self._meant, targets))
        built = self._built(targets)
        if built and len(built) == len(meant_ones) and not any(one.reach and one.active for one in built):
            names = listed(one.id if one.kind == "contact" else f"{one.kind}:{one.id}" for one in targets)
            off = all(one.reach for one in built)
            why = f"of {names} nobody is active" if off else f"{names} can be reached in no way"
            self.warnings.append(at(place, f"nobody is told by {what}: {why}"))

    def note_unnamed(self) -> None:
        """Warns of contacts and schedules that no escalation names, after all escalations were built."""
        people = self.people
        for name in people.schedules.keys() - self._named["schedule"]:
            self.warnings.append(at(people.schedule_places[name], f"no escalation tells schedule {shown(name)}"))
        on_call = set().union(*(self._meant(Target("schedule", name)) for name in people.schedules))
        for name, contact in people.contacts.items():
            if contact.reach and contact.active and name not in self._named["contact"] and name not in on_call:
                self.warnings.append(at(people.places[name], f"no escalation tells contact {shown(name)}"))


def _schedules(targets: Iterable[Target]) -> Iterator[str]:
    return (one.id for one in targets if one.kind == "schedule")


def _answers(contact: Contact) -> bool:
    return contact.active and "acknowledge" in contact.may


def _people(count: int) -> str:
    return "one person" if count == 1 else f"{count} people" if count else "nobody"
