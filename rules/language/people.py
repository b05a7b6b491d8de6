"""Contacts and schedules: from their shapes to the policy's nouns.

The one law: whoever a schedule names exists, and each way to reach them is one that this daemon has.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from rules.instants import Instant
from rules.language.nodes import Map, find
from rules.language.people_shapes import ScheduleShape
from rules.language.report import Place, Problem, at
from rules.language.shapes import ContactShape
from rules.language.turns import Turns
from rules.model import PRIORITIES, Priority
from rules.policy import CHANNELS, Contact, Method, Schedule
from rules.response.feeds import Feed
from rules.typed import Shape
from rules.words import listed, meant, meant_or_list, shown

_REACH_KEYS: Final = ("after", "priorities", "bundle", "throttle")


class ProbeKind(Protocol):
    """What the language knows of a kind of probe: the class `Connector` of its file."""

    Options: ClassVar[type[Shape]]  # what may stand under the kind's name
    summary: ClassVar[str]  # what it looks at, in a line
    target: ClassVar[str]  # what a target is, for documents: "a URL"
    example: ClassVar[str]  # a target
    phases: ClassVar[Mapping[str, str]]  # what it measures the time of: name -> what happens then
    fields: ClassVar[Mapping[str, str]]  # what its samples hold beside what all do: name -> meaning, with its unit
    open_fields: ClassVar[bool]  # whether its options, or what it looks at, name further fields
    proof: ClassVar[str]  # what it takes from a credential; "": it knows none
    runs_programs: ClassVar[bool]  # whether config.toml must allow it

    @staticmethod
    def target_problem(target: str) -> str | None:
        """Why this cannot be a target of this kind, or None."""
        ...

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """What is wrong between options that are right by themselves: where, and why; or None."""
        ...


class DiscoveryKind(Protocol):
    """What the language knows of a place where targets are found."""

    Options: ClassVar[type[Shape]]  # what may stand under the kind's name
    summary: ClassVar[str]  # what is looked through, in a line


@dataclass(frozen=True, slots=True)
class LanguageKinds:
    """What the language knows of the daemon around it.

    `sources`: the kinds of sources. `notifiers`: for each kind, why a text cannot be an address of it, or None.
    `targets`: of kinds whose addresses are names in config.toml, the configured names; None for others.
    `unready`: kinds that nothing in config.toml sets up yet. `packs`: the names of the packs that `use` can take.
    `calendars`: the names of the calendars kept elsewhere that config.toml sets up. `probes` and `discoveries`: the
    kinds of probes, and of places where targets are found. `credentials`: the names that config.toml has of these.
    `commands`: whether config.toml allows probes to run programs. `here`: the words of a probe's `location` by which
    it runs at this daemon, "" for one without; None: every probe is checked as if it did.
    """

    sources: Collection[str] = ()
    notifiers: Mapping[str, Callable[[str], str | None]] = field(default_factory=dict)
    targets: Mapping[str, Collection[str] | None] = field(default_factory=dict)
    unready: Collection[str] = ()
    packs: Collection[str] = ()
    calendars: Collection[str] = ()
    probes: Mapping[str, ProbeKind] = field(default_factory=dict)
    discoveries: Mapping[str, DiscoveryKind] = field(default_factory=dict)
    credentials: Collection[str] = ()
    commands: bool = False
    here: Collection[str] | None = None


class People:
    """Builds contacts and schedules, in this order; `errors` and `warnings` grow meanwhile.

    `whole` is False when a file could not be read: then a name that nothing declares may stand there, and is no error.
    """

    def __init__(
        self,
        kinds: LanguageKinds,
        known: Collection[str],
        known_schedules: Collection[str] = (),
        *,
        whole: bool,
        texts: Mapping[str, str | Feed] | None = None,
        now: Instant | None = None,
    ) -> None:
        """`known`: the ids of all contacts that any file declares; `known_schedules`: of all schedules.

        `texts`: calendars kept elsewhere, by their names in config.toml.
        """
        self.kinds = kinds
        self.known = known
        self.known_schedules = known_schedules
        self.whole = whole
        self.priorities: frozenset[Priority] = frozenset(PRIORITIES)  # those that the matrix gives
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.contacts: dict[str, Contact] = {}
        self.schedules: dict[str, Schedule] = {}
        self.schedule_places: dict[str, Place] = {}
        self.places: dict[str, Place] = {}
        self._unready: set[str] = set()
        self.turns = Turns(
            known, self.contacts, kinds.calendars, texts or {}, now, self.errors, self.warnings, whole=whole
        )

    def contact(self, shape: ContactShape, raw: Map) -> None:
        """Adds a contact."""
        self.places[shape.id] = raw.place_of("id")
        self.contacts[shape.id] = Contact(
            id=shape.id,
            name=shape.name,
            language=shape.language,
            timezone=shape.timezone,
            may=frozenset(shape.may),
            scope=tuple(shape.scope),
            reach=tuple(self._noted(self._methods(shape, raw), raw)),
            active=shape.active == "on",
        )

    def _noted(self, methods: Iterable[tuple[int, Method]], raw: Map) -> Iterator[Method]:
        """The same methods; warns of those that are never taken."""
        taken: dict[tuple[str, str], tuple[int, frozenset[Priority]]] = {}
        for index, one in methods:
            only = frozenset(PRIORITIES) if one.priorities is None else one.priorities
            first, before = taken.get((one.kind, one.address), (index, frozenset[Priority]()))
            taken[one.kind, one.address] = (first, before | only)
            if not only & self.priorities:
                said = f"the matrix never gives {listed(sorted(only))}" if only else "it names none"
                place = find(raw, ("reach", index, "priorities"))
                self.warnings.append(at(place, f"priorities: {said}: nobody is told this way"))
            elif only <= before:
                line = find(raw, ("reach", first, one.kind))[1]
                said = f"an address counts once, and this one is at line {line}: nobody is told this way"
                self.warnings.append(at(find(raw, ("reach", index, one.kind)), f"{one.kind}: {said}"))
            yield one

    def _methods(self, shape: ContactShape, raw: Map) -> Iterator[tuple[int, Method]]:
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
                only = None if way.priorities is None else frozenset(way.priorities)
                yield index, Method(kind, address, way.after, only, way.bundle, way.throttle)

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

    def schedule(self, shape: ScheduleShape, raw: Map) -> None:
        """Adds a schedule."""
        self.schedule_places[shape.id] = raw.place_of("id")
        self.schedules[shape.id] = self.turns.schedule(shape, raw)
