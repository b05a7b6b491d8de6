"""Contacts, schedules and escalations: from their shapes to the policy's nouns.

The one law: whoever an escalation names exists, and each way to reach them is one that this daemon has.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from rules.instants import DAY, HOUR, WEEK, Instant, format_span
from rules.language.nodes import Map, find
from rules.language.people_shapes import RotationShape, ScheduleShape
from rules.language.report import Place, Problem, at
from rules.language.shapes import ContactShape, EscalationShape
from rules.localtime import Local
from rules.policy import (
    CHANNELS,
    Contact,
    Escalation,
    Method,
    Rotation,
    Schedule,
    ScheduleOverride,
    Step,
    Target,
)
from rules.typed import local_instant
from rules.words import listed, meant, meant_or_list, shown

EVERY_MIN: Final = HOUR
_REACH_KEYS: Final = ("after", "priorities")
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class LanguageKinds:
    """What the language knows of the daemon around it.

    `sources`: the kinds of sources. `notifiers`: for each kind, why a text cannot be an address of it, or None.
    `targets`: of kinds whose addresses are names in config.toml, the configured names; None for others.
    `unready`: kinds that nothing in config.toml sets up yet. `packs`: the names of the packs that `use` can take.
    """

    sources: Collection[str] = ()
    notifiers: Mapping[str, Callable[[str], str | None]] = field(default_factory=dict)
    targets: Mapping[str, Collection[str] | None] = field(default_factory=dict)
    unready: Collection[str] = ()
    packs: Collection[str] = ()


class People:
    """Builds contacts, schedules and escalations, in this order; `errors` and `warnings` grow meanwhile.

    `whole` is False when a file could not be read: then a name that nothing declares may stand there, and is no error.
    """

    def __init__(
        self, kinds: LanguageKinds, known: Collection[str], known_schedules: Collection[str] = (), *, whole: bool
    ) -> None:
        """`known`: the ids of all contacts that any file declares; `known_schedules`: of all schedules."""
        self.kinds = kinds
        self.known = known
        self.known_schedules = known_schedules
        self.whole = whole
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.contacts: dict[str, Contact] = {}
        self.schedules: dict[str, Schedule] = {}
        self._schedule_places: dict[str, Place] = {}
        self._named_schedules: set[str] = set()
        self._places: dict[str, Place] = {}
        self._named: set[str] = set()
        self._unready: set[str] = set()

    def contact(self, shape: ContactShape, raw: Map) -> None:
        """Adds a contact."""
        self._places[shape.id] = raw.place_of("id")
        self.contacts[shape.id] = Contact(
            id=shape.id,
            name=shape.name,
            language=shape.language,
            timezone=shape.timezone,
            may=frozenset(shape.may),
            scope=tuple(shape.scope),
            reach=tuple(self._methods(shape, raw)),
        )

    def _methods(self, shape: ContactShape, raw: Map) -> Iterator[Method]:
        kinds = self.kinds.notifiers
        for index, way in enumerate(shape.reach):
            given: dict[str, str] = way.model_extra or {}
            for key in given.keys() - kinds.keys() - CHANNELS:
                near = meant(key, {*kinds, *CHANNELS, *_REACH_KEYS}) or f"; there are {listed(kinds)}"
                self.errors.append(at(find(raw, ("reach", index, key), of_key=True), f"unknown key {shown(key)}{near}"))
            known = [key for key in given if key in kinds or key in CHANNELS]
            if len(known) > 1:
                place = find(raw, ("reach", index, known[1]), of_key=True)
                self.errors.append(at(place, f"reach: {listed(known)} in one item; give each way an item of its own"))
            elif not given:
                place = find(raw, ("reach", index))
                self.errors.append(at(place, f"reach: names no way; give one of {listed(kinds)} with an address"))
            elif known and known[0] not in kinds:
                self._note_unsent(known[0], find(raw, ("reach", index, known[0]), of_key=True))
                continue
            for kind in known[:1]:
                address = given[kind]
                place = find(raw, ("reach", index, kind))
                if (wrong := self._address_problem(kind, address)) is not None:
                    self.errors.append(at(place, f"{kind}: {wrong}"))
                elif kind in self.kinds.unready and kind not in self._unready:
                    self._unready.add(kind)  # said once: it is one thing to do
                    self.warnings.append(at(place, f"{kind} is not set up in config.toml: nobody can be told this way"))
                yield Method(kind, address, way.after, None if way.priorities is None else frozenset(way.priorities))

    def _note_unsent(self, kind: str, place: Place) -> None:
        if kind not in self._unready:  # said once, as what is not set up
            self._unready.add(kind)
            self.warnings.append(at(place, f"no notifier sends {kind} in this version: nobody is told this way"))

    def _address_problem(self, kind: str, address: str) -> str | None:
        if (wrong := self.kinds.notifiers[kind](address)) is not None:
            return wrong
        targets = self.kinds.targets.get(kind)
        if targets is None or address in targets:
            return None
        if not targets:
            return f"{shown(address)} is not configured: config.toml names no {kind}"
        return f"{shown(address)} is not configured in config.toml{meant_or_list(address, sorted(targets))}"

    def schedule(self, shape: ScheduleShape, raw: Map) -> Schedule:
        """Adds a schedule."""
        place = self._schedule_places[shape.id] = raw.place_of("id")
        if shape.ical:
            said = "ical: this version reads no calendars kept elsewhere; write rotations and overrides here"
            self.errors.append(at(raw.place_of("ical"), said))
        if not shape.rotations:
            when = "outside its overrides" if shape.overrides else "at any time"
            self.warnings.append(at(place, f"{shown(shape.id)} has no rotations: nobody is on call {when}"))
        found = Schedule(
            id=shape.id,
            timezone=shape.timezone,
            rotations=tuple(self._rotation(one, raw, index) for index, one in enumerate(shape.rotations)),
            overrides=tuple(self._overrides(shape, raw)),
        )
        self.schedules[shape.id] = found
        return found

    def _rotation(self, shape: RotationShape, raw: Map, index: int) -> Rotation:
        path = ("rotations", index)
        for number, name in enumerate(shape.who):
            self._on_call(name, raw, (*path, "who", number))
        if not shape.who:
            self.warnings.append(at(find(raw, (*path, "who")), "nobody is on call by this rotation: `who` is empty"))
        handoff = shape.handoff
        if shape.every < EVERY_MIN:
            said = f"every: a turn is at least {format_span(EVERY_MIN)} long, not {format_span(shape.every)}"
            self.errors.append(at(find(raw, (*path, "every")), said))
        elif handoff.weekday is not None and shape.every % WEEK:
            said = f"handoff: turns of {format_span(shape.every)} end on other weekdays too; write the time alone"
            self.errors.append(at(find(raw, (*path, "handoff")), said))
        first = shape.since + handoff.time
        if handoff.weekday is not None:
            first += (handoff.weekday - _EPOCH_WEEKDAY - shape.since // DAY) % 7 * DAY
        return Rotation(tuple(shape.who), shape.every, first)

    def _overrides(self, shape: ScheduleShape, raw: Map) -> Iterator[ScheduleOverride]:
        for index, one in enumerate(shape.overrides):
            path = ("overrides", index)
            self._on_call(one.who, raw, (*path, "who"))
            since = self._moment(one.since, shape.timezone, raw, (*path, "from"))
            until = self._moment(one.until, shape.timezone, raw, (*path, "to"))
            if since is None or until is None:
                continue
            if until <= since:
                self.errors.append(at(find(raw, (*path, "to")), "to: must be later than `from`"))
            yield ScheduleOverride(one.who, since, until, one.why)

    def _moment(self, local: Local, timezone: str, raw: Map, path: tuple[int | str, ...]) -> Instant | None:
        try:
            return local_instant(local, timezone)
        except ValueError as error:
            self.errors.append(at(find(raw, path), f"{path[-1]}: {error}"))
            return None

    def _on_call(self, name: str, raw: Map, path: tuple[int | str, ...]) -> None:
        """Whoever a schedule names exists, and should be within reach."""
        place = find(raw, path)
        contact = self.contacts.get(name)
        if name in self.known:
            if contact is not None and not contact.reach:
                self.warnings.append(
                    at(place, f"nobody is told in turns of {shown(name)}, who can be reached in no way")
                )
        elif name.startswith("contact:") and (bare := name.removeprefix("contact:")) in self.known:
            self.errors.append(at(place, f"who: write {shown(bare)} alone; a schedule names nothing but contacts"))
        elif self.whole:
            near = meant_or_list(name, self.known)
            self.errors.append(at(place, f"who: there is no contact {shown(name)}{near}"))

    def escalation(self, shape: EscalationShape, raw: Map) -> Escalation:
        """The escalation."""
        if not shape.steps and not shape.last_resort:
            self.errors.append(
                at(raw.place_of("id"), f"{shown(shape.id)} has no steps and no last_resort: nobody is told")
            )
        steps = []
        for number, step in enumerate(shape.steps):
            place = find(raw, ("steps", number))
            targets = self._targets(step.notify, raw, ("steps", number, "notify"))
            if len(targets) == len(step.notify):  # else errors have said more
                self._note_unreachable(targets, place, f"step {number + 1} of {shown(shape.id)}")
            steps.append(Step(targets, step.wait, step.tier))
        last = self._targets(shape.last_resort, raw, ("last_resort",))
        if shape.last_resort and len(last) == len(shape.last_resort):
            self._note_unreachable(last, raw.place_of("last_resort"), f"the last resort of {shown(shape.id)}")
        told = [
            self.contacts[name]
            for one in (*last, *(one for step in steps for one in step.notify))
            for name in self._meant(one)
            if name in self.contacts
        ]
        if told and not any("acknowledge" in contact.may for contact in told):
            self.warnings.append(at(raw.place_of("id"), f"nobody whom {shown(shape.id)} tells may acknowledge"))
        return Escalation(
            id=shape.id,
            steps=tuple(steps),
            repeat=shape.repeat,
            last_resort=last,
            last_resort_every=dict(shape.last_resort_every),
            acknowledge_expires=dict(shape.acknowledge_expires),
        )

    def _targets(self, names: Iterable[str], raw: Map, path: tuple[int | str, ...]) -> tuple[Target, ...]:
        targets = []
        for index, name in enumerate(names):
            if (wrong := self._target_problem(name)) is not None:
                self.errors.append(at(find(raw, (*path, index)), f"{path[-1]}: {wrong}"))
                continue
            kind, _, one = name.partition(":")
            (self._named_schedules if kind == "schedule" else self._named).add(one)
            targets.append(Target(kind, one))
        return tuple(targets)

    def _target_problem(self, name: str) -> str | None:
        """Why a step's word for whom it tells means nobody, or None."""
        kind, colon, one = name.partition(":")
        known = {"contact": self.known, "schedule": self.known_schedules}
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
        return f"there is no {kind} {shown(one)}{meant_or_list(one, known[kind])}" if self.whole else None

    def _meant(self, target: Target) -> set[str]:
        """The ids of all contacts that a target can ever mean."""
        if target.kind == "contact":
            return {target.id}
        found = self.schedules.get(target.id)
        if found is None:
            return set()
        return {name for one in found.rotations for name in one.who} | {one.who for one in found.overrides}

    def _note_unreachable(self, targets: tuple[Target, ...], place: Place, what: str) -> None:
        if not targets:
            self.warnings.append(at(place, f"nobody is told by {what}: it names nobody"))
            return
        meant_ones = set().union(*map(self._meant, targets))
        built = [self.contacts.get(name) for name in meant_ones]
        if built and None not in built and not any(one.reach for one in built if one is not None):
            names = listed(one.id if one.kind == "contact" else f"{one.kind}:{one.id}" for one in targets)
            self.warnings.append(at(place, f"nobody is told by {what}: {names} can be reached in no way"))

    def note_unnamed(self) -> None:
        """Warns of contacts and schedules that no escalation names, after all escalations were built."""
        for name in self.schedules.keys() - self._named_schedules:
            place = self._schedule_places[name]
            self.warnings.append(at(place, f"no escalation tells schedule {shown(name)}"))
        on_call = set().union(*(self._meant(Target("schedule", name)) for name in self.schedules))
        for name, contact in self.contacts.items():
            if contact.reach and name not in self._named and name not in on_call:
                self.warnings.append(at(self._places[name], f"no escalation tells contact {shown(name)}"))
