"""Contacts and escalations: from their shapes to the policy's nouns.

The one law: whoever an escalation names exists, and each way to reach them is one that this daemon has.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rules.language.nodes import Map, find
from rules.language.report import Place, Problem, at, listed, meant, meant_or_list, shown
from rules.language.shapes import ContactShape, EscalationShape
from rules.policy import Contact, Escalation, Method, Step, Target

_REACH_KEYS = ("after", "priorities")


@dataclass(frozen=True, slots=True)
class LanguageKinds:
    """What the language knows of the daemon around it.

    `sources`: the kinds of sources. `notifiers`: for each kind, why a text cannot be an address of it, or None.
    `targets`: of kinds whose addresses are names in config.toml, the configured names; None for others.
    `unready`: kinds that nothing in config.toml sets up yet.
    """

    sources: Collection[str] = ()
    notifiers: Mapping[str, Callable[[str], str | None]] = field(default_factory=dict)
    targets: Mapping[str, Collection[str] | None] = field(default_factory=dict)
    unready: Collection[str] = ()


class People:
    """Builds contacts and escalations; `errors` and `warnings` grow meanwhile.

    `whole` is False when a file could not be read: then a name that nothing declares may stand there, and is no error.
    """

    def __init__(self, kinds: LanguageKinds, known: Collection[str], *, whole: bool) -> None:
        """`known`: the ids of all contacts that any file declares."""
        self.kinds = kinds
        self.known = known
        self.whole = whole
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.contacts: dict[str, Contact] = {}
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
            for key in given.keys() - kinds.keys():
                near = meant(key, (*kinds, *_REACH_KEYS)) or f"; there are {listed(kinds)}"
                self.errors.append(at(find(raw, ("reach", index, key), of_key=True), f"unknown key {shown(key)}{near}"))
            known = [key for key in given if key in kinds]
            if len(known) > 1:
                place = find(raw, ("reach", index, known[1]), of_key=True)
                self.errors.append(at(place, f"reach: {listed(known)} in one item; give each way an item of its own"))
            elif not given:
                place = find(raw, ("reach", index))
                self.errors.append(at(place, f"reach: names no way; give one of {listed(kinds)} with an address"))
            for kind in known[:1]:
                address = given[kind]
                place = find(raw, ("reach", index, kind))
                if (wrong := self._address_problem(kind, address)) is not None:
                    self.errors.append(at(place, f"{kind}: {wrong}"))
                elif kind in self.kinds.unready and kind not in self._unready:
                    self._unready.add(kind)  # said once: it is one thing to do
                    self.warnings.append(at(place, f"{kind} is not set up in config.toml: nobody can be told this way"))
                yield Method(kind, address, way.after, None if way.priorities is None else frozenset(way.priorities))

    def _address_problem(self, kind: str, address: str) -> str | None:
        if (wrong := self.kinds.notifiers[kind](address)) is not None:
            return wrong
        targets = self.kinds.targets.get(kind)
        if targets is None or address in targets:
            return None
        if not targets:
            return f"{shown(address)} is not configured: config.toml names no {kind}"
        return f"{shown(address)} is not configured in config.toml{meant_or_list(address, sorted(targets))}"

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
            self.contacts[one.id]
            for one in (*last, *(one for step in steps for one in step.notify))
            if one.id in self.contacts
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
            kind, colon, contact = name.partition(":")
            wrong: str | None = None
            if not colon and name in self.known:
                wrong = f'{shown(name)}: write "contact:{name}"'
            elif not colon:
                wrong = f"{shown(name)}: whom is written contact:ID"
            elif kind == "schedule":
                wrong = f"{shown(name)}: this version has no schedules; name a contact: contact:ID"
            elif kind != "contact":
                wrong = f"{shown(name)}: {shown(kind)} is nobody who can be told; write contact:ID"
            elif contact not in self.known and self.whole:
                wrong = f"there is no contact {shown(contact)}{meant_or_list(contact, self.known)}"
            if wrong is not None:
                self.errors.append(at(find(raw, (*path, index)), f"{path[-1]}: {wrong}"))
                continue
            self._named.add(contact)
            targets.append(Target(kind, contact))
        return tuple(targets)

    def _note_unreachable(self, targets: tuple[Target, ...], place: Place, what: str) -> None:
        built = [self.contacts.get(one.id) for one in targets]
        if None not in built and not any(one.reach for one in built if one is not None):
            why = f"{listed(one.id for one in targets)} can be reached in no way" if targets else "it names nobody"
            self.warnings.append(at(place, f"nobody is told by {what}: {why}"))

    def note_unnamed(self) -> None:
        """Warns of contacts whom no escalation names, after all escalations were built."""
        for name, contact in self.contacts.items():
            if contact.reach and name not in self._named:
                self.warnings.append(at(self._places[name], f"no escalation tells contact {shown(name)}"))
