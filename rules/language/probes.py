"""Probes: from their shapes to the policy's nouns, and what rules about them hardly mean.

The one law: what a kind of probe takes, the kind itself declares; no kind is named here, and one that no file uses is
not even looked at.
"""

from collections.abc import Iterator
from typing import Any, Final

from rules.instants import SECOND, format_span
from rules.language.files import PACK, keys_of
from rules.language.mistakes import validated
from rules.language.nodes import Map, Node, find
from rules.language.people import LanguageKinds, ProbeKind
from rules.language.probe_shapes import ProbeShape
from rules.language.report import Place, Problem, at
from rules.language.sections import maps
from rules.policy import EVERYWHERE, Discovery, Probe, ProbeTarget, Rule
from rules.probing import TARGETS_MAX, placed
from rules.typed import Shape, Surroundings, no_credential
from rules.words import listed, meant, meant_or_list, shown

TIMEOUT: Final = 10 * SECOND
COMMON_FIELDS: Final = ("up", "latency_ms")  # of every kind's samples
_KEYS: Final = frozenset(keys_of(ProbeShape))


def fields_of(kind: ProbeKind) -> tuple[str, ...]:
    """All fields that samples of this kind can have, as far as the kind itself knows."""
    return (*COMMON_FIELDS, *(f"{phase}_ms" for phase in kind.phases), *kind.fields)


def aimless(probes: Node | None) -> Iterator[Problem]:
    """An error for each probe that has nothing to look at."""
    for one in maps(probes):
        if not one.get("targets") and not one.get("discover"):
            name = one.get("id")
            said = shown(name) if isinstance(name, str) else "this probe"
            yield at(one.place(), f"{said} has neither targets nor discover: what is it to look at?")


class Probes:
    """Builds probes; `errors` and `warnings` grow meanwhile."""

    def __init__(self, kinds: LanguageKinds) -> None:
        """For one load."""
        self.kinds = kinds
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.built: dict[str, Probe] = {}
        self._listed = 0  # targets

    def probe(self, shape: ProbeShape, raw: Map) -> None:
        """Adds a probe."""
        locations = tuple(shape.location or ())
        self._locations(locations, raw)
        here = self.kinds.here is None or any(one in self.kinds.here for one in locations or ("",))
        among = Surroundings(_folder(raw.file), self.kinds.credentials if here else None)
        kind = self._kind(shape.kind, raw, here=here)
        self._keys(shape, raw, kind)
        options = None if kind is None else self._options(shape.kind, kind, raw, among)
        if shape.credentials is not None:
            self._credentials(shape.credentials, kind, raw, among)
        discoveries = tuple(self._discoveries(raw, among))
        timeout = shape.timeout if shape.timeout is not None else min(TIMEOUT, shape.interval)
        if timeout > shape.interval and not _left_out(raw, "interval"):
            said = f"timeout: {format_span(timeout)} is longer than the interval of {format_span(shape.interval)}"
            self.errors.append(at(raw.place_of("timeout"), f"{said}: a look ends before the next begins"))
        probe = self.built[shape.id] = Probe(
            id=shape.id,
            kind=shape.kind,
            options=options,
            interval=shape.interval,
            timeout=timeout,
            targets=tuple(ProbeTarget(one.target, one.labels) for one in shape.targets),
            discoveries=discoveries,
            labels=shape.labels,
            locations=locations,
            credentials=shape.credentials,
            reference=shape.reference == "on",
            template=shape.template or "",
        )
        if kind is not None:
            self._targets(probe, kind, raw)
        self._listed += len(probe.targets)
        if self._listed > TARGETS_MAX >= self._listed - len(probe.targets):
            said = f"with these the files list more than {TARGETS_MAX} targets, and further ones are not looked at"
            self.errors.append(at(raw.place_of("targets"), f"targets: {said}"))

    def _locations(self, locations: tuple[str, ...], raw: Map) -> None:
        for index, one in enumerate(locations):
            if one in locations[:index]:
                self.errors.append(at(find(raw, ("location", index)), f"location: {shown(one)} is there twice"))
            elif one == EVERYWHERE and len(locations) > 1:
                said = f'location: "{EVERYWHERE}" is every location: let it stand alone'
                self.errors.append(at(find(raw, ("location", index)), said))

    def _kind(self, name: str, raw: Map, *, here: bool) -> ProbeKind | None:
        if name not in self.kinds.probes:
            near = meant_or_list(name, list(self.kinds.probes))
            self.errors.append(at(raw.place_of("kind"), f"there is no kind of probe {shown(name)}{near}"))
            return None
        kind = self.kinds.probes[name]
        if kind.runs_programs and here and not self.kinds.commands:
            said = f"kind: {name} runs programs on this machine: [probing] commands = true in config.toml allows it"
            self.errors.append(at(raw.place_of("kind"), said))
        return kind

    def _keys(self, shape: ProbeShape, raw: Map, kind: ProbeKind | None) -> None:
        """Keys that a probe of this kind does not have."""
        for key in shape.model_extra or {}:
            if key == shape.kind:
                continue
            if key in self.kinds.probes:
                said = f"{shown(key)} holds the options of that kind, and the kind of this probe is {shown(shape.kind)}"
            elif kind is not None and key in keys_of(kind.Options):
                said = f"unknown key {shown(key)}: it is an option of {shape.kind}; write it under `{shape.kind}`"
            else:
                known = _KEYS if kind is None else _KEYS | {shape.kind}
                said = f"unknown key {shown(key)}{meant(key, sorted(known))}"
            self.errors.append(at(raw.place_of(key, of_key=True), said))

    def _options(self, name: str, kind: ProbeKind, raw: Map, among: Surroundings) -> Any:
        """The kind's options, or None and every mistake noted."""
        options = self._given(name, kind.Options, raw, raw.place_of("kind"), among)
        if options is not None and (wrong := kind.options_problem(options)) is not None:
            path, why = wrong
            place = find(raw, (name, *path)) if name in raw else raw.place_of("kind")
            names = [step for step in (name, *path) if isinstance(step, str)]
            self.errors.append(at(place, f"{names[-1]}: {why}"))
            return None
        return options

    def _given(self, name: str, shape: type[Shape], raw: Map, without: Place, among: Surroundings) -> Shape | None:
        """What stands under a kind's name; nothing is an empty map, whose mistakes are said at `without`."""
        node: Node | None = raw.get(name)
        if isinstance(node, Map):
            return validated(shape, node, self.errors, (name,), among)
        if node is not None:
            given = shown(node) if isinstance(node, str) else "a list"
            keys = listed(keys_of(shape)) or "nothing"
            self.errors.append(at(raw.place_of(name), f"{name}: must be a map of {keys}; not {given}"))
            return None
        found: list[Problem] = []
        options = validated(shape, Map(raw.file, raw.pos), found, (name,), among)
        self.errors += (at(without, one.message) for one in found)
        return options

    def _credentials(self, name: str, kind: ProbeKind | None, raw: Map, among: Surroundings) -> None:
        place = raw.place_of("credentials")
        if kind is not None and not kind.proof:
            self.errors.append(at(place, f"credentials: {raw['kind']} proves itself to nobody; remove them"))
        elif among.credentials is not None and name not in among.credentials:
            self.errors.append(at(place, f"credentials: {no_credential(name, among.credentials)}"))

    def _discoveries(self, raw: Map, among: Surroundings) -> Iterator[Discovery]:
        known = self.kinds.discoveries
        for node in maps(raw.get("discover")):
            ways = [key for key in node if key in known]
            for key in node:
                if key not in ways[:1]:
                    self._stray(key, ways, node)
            if not node:
                self.errors.append(at(node.place(), f"discover: names no way; give one of {listed(known)}"))
            for name in ways[:1]:
                options = self._given(name, known[name].Options, node, node.place(), among)
                if options is not None:
                    yield Discovery(name, options)

    def _stray(self, key: str, ways: list[str], node: Map) -> None:
        """A key of an item of `discover` that is not its way."""
        known = self.kinds.discoveries
        if key in ways:
            said = f"discover: {listed(ways)} in one item; give each way an item of its own"
        elif ways and key in keys_of(known[ways[0]].Options):
            said = f"discover: {shown(key)} is an option of {ways[0]}; write it under `{ways[0]}`"
        elif ways:
            said = f"discover: unknown key {shown(key)}; remove it"
        else:
            said = f"discover: there is no way {shown(key)} to find targets{meant_or_list(key, list(known))}"
        self.errors.append(at(node.place_of(key, of_key=True), said))

    def _targets(self, probe: Probe, kind: ProbeKind, raw: Map) -> None:
        """Each target as it will be looked at: one that the kind takes, and once."""
        seen: dict[tuple[str, frozenset[tuple[str, str]]], int] = {}
        for index, one in enumerate(probe.targets):
            target = placed(probe, one.target)
            first = seen.setdefault((target, frozenset({**probe.labels, **one.labels}.items())), index)
            if first != index:
                line = find(raw, ("targets", first, "target"))[1]
                said = f"{shown(one.target)} is there twice; the first is at line {line}"
                self.errors.append(at(find(raw, ("targets", index, "target")), f"targets: {said}"))
            elif (wrong := kind.target_problem(target)) is not None:
                self.errors.append(at(find(raw, ("targets", index, "target")), f"targets: {wrong}"))

    def note_doubts(self, rule: Rule, raw: Map) -> None:
        """Warns of what a rule says about one probe and hardly means. `raw`: the rule's tree."""
        names = [one.value for one in rule.match if one.name == "probe" and one.op == "=" and one.value]
        if rule.source != "probe" or len(names) != 1:
            return
        probe = self.built.get(names[0])
        if probe is None:
            if near := meant(names[0], self.built):  # its samples may come over HTTP
                number = next(number for number, one in enumerate(rule.match) if one.name == "probe" and one.op == "=")
                self._doubt(raw, ("match", number), f"match: no file has a probe {shown(names[0])}{near}")
            return
        self._note_field(probe, raw)
        self._note_quorum(probe, rule, raw)
        self._note_silence(probe, rule, raw)

    def _doubt(self, raw: Map, path: tuple[str | int, ...], said: str) -> None:
        self.warnings.append(at(find(raw, path), said))

    def _note_field(self, probe: Probe, raw: Map) -> None:
        kind = self.kinds.probes[probe.kind]
        path = _field_path(raw)
        if kind.open_fields or path is None:
            return
        name, fields = _text_at(raw, path), fields_of(kind)
        if name not in fields:
            said = f"field: {probe.kind}, the kind of {shown(probe.id)}, writes no {shown(name)}"
            self._doubt(raw, path, said + meant_or_list(name, fields))

    def _note_quorum(self, probe: Probe, rule: Rule, raw: Map) -> None:
        if rule.quorum is None or rule.quorum.by != "location" or EVERYWHERE in probe.locations:
            return
        number = len(probe.locations) or 1
        where = f"runs at {number} location{'s' if number > 1 else ''}"
        where = where if probe.locations else "names no location, and so runs at one"
        for key, wanted in (("at_least", rule.quorum.at_least), ("min_reporting", rule.quorum.min_reporting)):
            if wanted > number:
                never = f"{wanted} never agree" if key == "at_least" else f"{wanted} never report"
                self._doubt(raw, ("quorum", key), f"{key}: {shown(probe.id)} {where}: {never}")
                return

    def _note_silence(self, probe: Probe, rule: Rule, raw: Map) -> None:
        if rule.no_data is not None and rule.no_data.after <= probe.interval:
            silence, interval = format_span(rule.no_data.after), format_span(probe.interval)
            said = f"{shown(probe.id)} is looked at every {interval}: between two looks there is no data for {silence}"
            self._doubt(raw, ("no_data", "after"), f"no_data: {said}; let `after` be longer")


def _folder(file: str) -> str | None:
    """What a path beside this file begins with; None: packs have no folder."""
    return None if file.startswith(PACK) else "".join(file.rpartition("/")[:2])


def _left_out(raw: Map, key: str) -> bool:
    """Whether a key's value was wrong in shape, and was left out of what is looked at here."""
    return key in raw.at and key not in raw


def _field_path(raw: Map) -> tuple[str, ...] | None:
    """Where a rule names the field that it judges: under `when`, or under the kind of condition there."""
    when = raw.get("when")
    if not isinstance(when, Map):
        return None
    inner = next(((key, one) for key, one in when.items() if isinstance(one, Map)), None)
    path, holder = (("when",), when) if inner is None else (("when", inner[0]), inner[1])
    return (*path, "field") if isinstance(holder.get("field"), str) else None


def _text_at(raw: Map, path: tuple[str, ...]) -> str:
    node: Any = raw
    for step in path:
        node = node[step]
    return str(node)
