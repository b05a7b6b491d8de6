"""Files to a policy, or every mistake of every file at once.

The one law: a policy comes out only when nothing is wrong anywhere; and one mistake never hides another.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeVar

from rules.instants import MINUTE, Instant, Span
from rules.language import outlook
from rules.language.escalations import Escalations
from rules.language.files import Files, ids, twice
from rules.language.judging import Judging
from rules.language.locations import RESERVED, location_rules
from rules.language.matrix import matrix_of
from rules.language.nodes import Document, Map, Node, Seq, find, read
from rules.language.people import LanguageKinds, People
from rules.language.people_shapes import ScheduleShape
from rules.language.probe_shapes import ProbeShape
from rules.language.probes import Probes, aimless
from rules.language.promise_shapes import CalendarShape, SlaShape
from rules.language.promises import Promises
from rules.language.relations import Relations
from rules.language.report import Place, Problem, at, once
from rules.language.sections import ITEM_NAMES, Parts, maps, parts_of
from rules.language.shapes import REQUIRED, ChoiceShape, ContactShape, EscalationShape, MaintenanceShape, RuleShape
from rules.matching import matcher
from rules.policy import (
    CATCH_ALL,
    SAMPLED,
    Choice,
    Dependency,
    Grouping,
    Maintenance,
    Matrix,
    Policy,
    Rule,
)
from rules.recurrence import Cron
from rules.response.feeds import Feed
from rules.typed import Shape
from rules.words import listed, meant_or_list, shown

PROBLEMS_MAX: Final = 1_000
MAX_OPEN_MAX: Final = 1_000_000
LOOKED_FROM: Final = 0  # some Thursday
STARTS_LOOKED_AT: Final = 100
S = TypeVar("S", bound=Shape)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The policy, or None and the errors. Warnings never fail a load."""

    policy: Policy | None
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def catch_all(matrix: Matrix) -> Rule:
    """The built-in rule for alerts that no other matches: with the usual matrix P2, P3 and P4."""
    first, middle, last = matrix.urgencies[0], matrix.urgencies[len(matrix.urgencies) // 2], matrix.urgencies[-1]
    return Rule(
        id=CATCH_ALL,
        match=(matcher("severity", "!=", "none"), matcher("alertname", "!~", "Watchdog|InfoInhibitor")),
        impact=Choice(matrix.impacts[-1]),
        urgency=Choice(last, "severity", {"critical": first, "page": first, "warning": middle}),
        group=Grouping(("alertname",), 5 * MINUTE),
    )


def load(
    texts: Mapping[str, str | bytes | Document],
    kinds: LanguageKinds,
    *,
    now: Instant | None = None,
    feeds: Mapping[str, str | Feed] | None = None,
) -> Loaded:
    """The policy that these files make together; names under `use` are looked up among them. Never raises.

    `now`: what is over by then is warned of; None: nothing is said of times. `feeds`: the calendars kept elsewhere, by
    their names in config.toml, as texts or as read by `rules.response.ical`.
    """
    documents = [text if isinstance(text, Document) else read(name, text) for name, text in texts.items()]
    building = _Building(documents, kinds, now, feeds)
    building.run()
    errors = once(building.errors)
    if len(errors) > PROBLEMS_MAX:
        last = errors[PROBLEMS_MAX - 1]
        more = Problem(last.file, last.line, last.col, f"{len(errors) - PROBLEMS_MAX} more mistakes are not listed")
        errors = (*errors[:PROBLEMS_MAX], more)
    if errors:
        return Loaded(None, errors, once(building.warnings))
    parts = [f"{one.file}\0{one.digest}\n" for one in sorted(documents, key=_name)]
    parts += [f"calendar {name}\0{feed.digest}\n" for name, feed in sorted(building.people.turns.feeds.items())]
    policy = building.policy(sha256("".join(parts).encode("utf-8", "surrogatepass")).hexdigest())
    if now is not None:
        building.warnings += outlook.gaps(policy, building.people.schedule_places, now)
        building.warnings += outlook.holds(policy, building.escalations.hold_places, now)
    return Loaded(policy, (), once(building.warnings))


def _never_ends(cron: Cron, span: Span) -> bool:
    """Whether a window of `span` from each instant of `cron` leaves no time between them, as far as is looked."""
    start = cron.next(LOOKED_FROM)
    for _ in range(STARTS_LOOKED_AT):
        following = cron.next(start)
        if following > start + span:
            return False
        start = following
    return True


def _only(names: Collection[str]) -> str | None:
    """The one of them, where there is one."""
    return next(iter(names)) if len(names) == 1 else None


def _name(document: Document) -> str:
    return document.file


def _rootless(documents: Iterable[Document]) -> Iterator[Problem]:
    for one in documents:
        if one.root is None and not one.problems:
            yield Problem(one.file, 1, 1, 'the file is empty; it needs at least "version: 1"')
        elif one.root is not None and not isinstance(one.root, Map):
            place = one.root.place() if isinstance(one.root, Seq) else (one.file, 1, 1)
            yield at(place, "a rule file is a map of keys; begin it with version: 1")


class _Building:
    """One load."""

    def __init__(
        self,
        documents: list[Document],
        kinds: LanguageKinds,
        now: Instant | None,
        feeds: Mapping[str, str | Feed] | None,
    ) -> None:
        self.kinds = kinds
        self.sources = {*kinds.sources, *SAMPLED}
        self.errors: list[Problem] = [problem for one in documents for problem in one.problems]
        self.warnings: list[Problem] = []
        self.documents = documents
        self.files = Files(documents, kinds.packs)
        self.whole = self.files.whole
        self.rules: dict[str, Rule] = {}
        self.maintenance: list[Maintenance] = []
        self.matrix = Matrix()
        self.matrix_known = self.whole
        self.default_escalation: str | None = None
        self.default_sla: str | None = None
        self.catch_all = True
        self.judging = Judging(now)
        roots = self.files.roots().values()
        self.known_escalations = ids(roots, "escalations")
        self.known_slas = ids(roots, "sla")
        self.known_rules = ids(roots, "rules")
        known_calendars = ids(roots, "calendars")
        contacts, schedules = ids(roots, "contacts"), ids(roots, "schedules")
        self.people = People(kinds, contacts, schedules, whole=self.whole, texts=feeds, now=now)
        self.escalations = Escalations(self.people, known_calendars)
        self.promises = Promises(known_calendars, now, whole=self.whole)
        self.probes = Probes(kinds)
        self._firsts: dict[tuple[str, str], Place] = {}

    def run(self) -> None:
        """Everything, section by section over all files, so that each section sees what it refers to."""
        parts = [self._parts(file) for file in self.files.roots()]
        self.errors += _rootless(self.documents)
        self.errors += self.files.problems
        for part in parts:
            self._settings(part)
        self.people.priorities = frozenset(cell for row in self.matrix.cells for cell in row)
        self._response(parts)
        for probe, raw in self._each(parts, "probes", ProbeShape):
            self.probes.probe(probe, raw)
        raws: dict[str, Map] = {}
        for rule, raw in self._each(parts, "rules", RuleShape):
            self.rules[rule.id], raws[rule.id] = self._rule(rule, raw), raw
        for window, raw in self._each(parts, "maintenance", MaintenanceShape):
            cron = Cron(window.cron, window.tz)
            if _never_ends(cron, window.span):
                said = f"maintenance: {shown(window.id)} never ends: each begins before the one before it is over"
                self.warnings.append(at(raw.place_of("for"), said))
            self.maintenance.append(Maintenance(window.id, tuple(window.match), cron, window.span))
        self.errors += Relations(self.rules, raws, self.known_rules, whole=self.whole).check()
        for built in (self.people, self.escalations, self.promises, self.judging, self.probes):
            self.errors += built.errors
        if not self.errors:
            for one in self.rules.values():
                self.probes.note_doubts(one, raws[one.id])
            self.escalations.note_unnamed()
            self._note_no_default(parts)
            self._note_no_default_sla(parts)
        for warned in (self.people, self.escalations, self.judging, self.probes):
            self.warnings += warned.warnings

    def _response(self, parts: list[Parts]) -> None:
        for contact, raw in self._each(parts, "contacts", ContactShape):
            self.people.contact(contact, raw)
        for schedule, raw in self._each(parts, "schedules", ScheduleShape):
            self.people.schedule(schedule, raw)
        for escalation, raw in self._each(parts, "escalations", EscalationShape):
            self.escalations.escalation(escalation, raw)
        for calendar, raw in self._each(parts, "calendars", CalendarShape):
            self.promises.calendar(calendar, raw)
        for sla, raw in self._each(parts, "sla", SlaShape):
            self.promises.sla(sla, raw)

    def policy(self, version: str) -> Policy:
        """What was built."""
        return Policy(
            version=version,
            rules={**self.rules, **location_rules(self.matrix)} if self.probes.built else self.rules,
            catch_all=catch_all(self.matrix) if self.catch_all else None,
            matrix=self.matrix,
            contacts=self.people.contacts,
            schedules=self.people.schedules,
            escalations=self.escalations.built,
            default_escalation=self.default_escalation,
            maintenance=tuple(self.maintenance),
            calendars=self.promises.calendars,
            slas=self.promises.slas,
            default_sla=self.default_sla if self.default_sla is not None else _only(self.promises.slas),
            probes=self.probes.built,
        )

    def _parts(self, file: str) -> Parts:
        view = self.files.view(file)
        self.errors += self._lacks(view.get("rules"))
        self.errors += aimless(view.get("probes"))
        parts = parts_of(view, self.errors)
        if not parts.whole and "priority" in view:
            self.matrix_known = False  # until one is accepted
        for template in parts.templates():
            self.judging.check(template)
        return parts

    def _each(self, parts: Iterable[Parts], section: str, shape: type[S]) -> Iterator[tuple[S, Map]]:
        """The items of a section over all files, without those whose id was there before."""
        what = ITEM_NAMES[section]
        for part in parts:
            for item, raw in part.of(section, shape):
                if self._new(what, raw.get("id"), raw):
                    yield item, raw

    def _lacks(self, rules: Node | None) -> Iterator[Problem]:
        for rule in maps(rules):
            sampled = any(rule.get("source") == source for source in SAMPLED)  # what is there may be a list
            required = (*REQUIRED, "when") if sampled else REQUIRED
            for key in required:
                if key not in rule and self.files.inherits(rule):
                    name = rule.get("id")
                    said = f"{shown(name)} has no" if isinstance(name, str) else "this rule has no"
                    why = ": what is bad about these samples?" if key == "when" else ""
                    yield at(rule.place(), f'{said} "{key}"{why}')

    def _new(self, what: str, name: object, raw: Map) -> bool:
        """Whether this id is the first of its kind; else it is an error that names the first."""
        place = raw.place_of("id")
        if what == "rule" and name == CATCH_ALL:
            said = f'"{CATCH_ALL}" is the built-in rule; take another id, or turn it off with catch_all: off'
            self.errors.append(at(place, said))
            return False
        if what in {"rule", "probe"} and str(name).startswith(RESERVED):
            said = f"{what} {shown(str(name))}: ids that begin with {RESERVED} are those of ticketd's own; take another"
            self.errors.append(at(place, said))
            return False
        return self._first(what, str(name), place)

    def _first(self, what: str, name: str, place: Place) -> bool:
        first = self._firsts.setdefault((what, name), place)
        if first is not place:
            self.errors.append(twice(what, name, place, first))
        return first is place

    def _setting(self, part: Parts, key: str) -> bool:
        """Whether a file is the first to say something that holds for all."""
        place = part.root.place_of(key, of_key=True)
        first = self._firsts.setdefault(("", key), place)
        if first is not place:
            where = f"{first[0]}:{first[1]}:{first[2]}"
            self.errors.append(at(place, f'"{key}" holds for all files and is said once; the first is at {where}'))
        return first is place

    def _settings(self, part: Parts) -> None:
        if part.priority is not None and self._setting(part, "priority"):
            matrix = matrix_of(part.priority, part.root, self.errors)
            self.matrix, self.matrix_known = matrix or self.matrix, matrix is not None
        if part.catch_all is not None and self._setting(part, "catch_all"):
            self.catch_all = part.catch_all == "on"
        if (name := part.default_escalation) is not None and self._setting(part, "default_escalation"):
            self.default_escalation = name
            place = part.root.place_of("default_escalation")
            self._exists(name, "escalation", self.known_escalations, place, "default_escalation")
        if (name := part.default_sla) is not None and self._setting(part, "default_sla"):
            self.default_sla = name
            self._exists(name, "sla", self.known_slas, part.root.place_of("default_sla"), "default_sla")

    def _rule(self, shape: RuleShape, raw: Map) -> Rule:
        if shape.source is not None and shape.source not in self.sources:
            near = meant_or_list(shape.source, sorted(self.sources))
            self.errors.append(at(raw.place_of("source"), f"there is no source {shown(shape.source)}{near}"))
        elif "source" in raw.at and "source" not in raw:
            pass  # it was wrong in shape, and left out here: what it would be is not known
        elif self.files.inherits(raw):
            if shape.source not in SAMPLED:
                self.judging.about_samples(raw)
            self.judging.templates(shape, raw)
        if shape.escalation is not None:
            place = raw.place_of("escalation")
            self._exists(shape.escalation, "escalation", self.known_escalations, place, "escalation")
        if shape.sla is not None:
            self._exists(shape.sla, "sla", self.known_slas, raw.place_of("sla"), "sla")
        dedup = None if shape.dedup is None else tuple(shape.dedup)
        group = shape.group
        return Rule(
            id=shape.id,
            match=tuple(shape.match),
            impact=self._choice(shape.impact, self.matrix.impacts, raw, "impact"),
            urgency=self._choice(shape.urgency, self.matrix.urgencies, raw, "urgency"),
            source=shape.source,
            pending_for=shape.pending_for,
            keep_firing_for=shape.keep_firing_for,
            dedup=dedup,
            group=None if group is None else Grouping(tuple(group.by), group.within),
            title=shape.title,
            description=shape.description,
            labels=shape.labels,
            escalation=shape.escalation,
            sla=shape.sla,
            reopen_within=shape.reopen_within,
            condition=self.judging.condition(shape, raw),
            quorum=self.judging.quorum(shape.quorum, dedup, raw),
            no_data=self.judging.no_data(shape.no_data, shape.source, raw),
            flap=self.judging.flap(shape.flap, raw),
            depends_on=tuple(Dependency(one.rule, tuple(one.on), one.settle) for one in shape.depends_on),
            max_open=self._max_open(shape.max_open, raw),
            shadow=shape.mode == "shadow",
            moved_from=tuple(shape.moved_from),
        )

    def _max_open(self, number: int, raw: Map) -> int:
        if number > MAX_OPEN_MAX:
            self.errors.append(at(raw.place_of("max_open"), f"max_open: at most {MAX_OPEN_MAX}, not {number}"))
        return number

    def _choice(self, shape: ChoiceShape | None, words: tuple[str, ...], raw: Map, key: str) -> Choice:
        if shape is None:
            return Choice(words[-1])  # that it is missing, or wrong, has been said
        if self.matrix_known:
            if shape.default not in words:
                self._no_word(shape.default, words, raw, (key, "else"))
            for have, word in shape.table.items():
                if word not in words:
                    self._no_word(word, words, raw, (key, "map", have))
        return Choice(shape.default, shape.label, shape.table)

    def _no_word(self, word: str, words: tuple[str, ...], raw: Map, path: tuple[str, ...]) -> None:
        said = f"{shown(word)} is no {path[0]} of the matrix{meant_or_list(word, words)}"
        self.errors.append(at(find(raw, path), said))

    def _exists(self, name: str, what: str, known: Collection[str], place: Place, key: str) -> None:
        if name not in known and self.whole:
            self.errors.append(at(place, f"{key}: there is no {what} {shown(name)}{meant_or_list(name, known)}"))

    def _note_no_default(self, parts: list[Parts]) -> None:
        for part in parts:
            if part.items.get("contacts") and self.default_escalation is None:
                said = "there are contacts but no default_escalation: tickets of rules without escalation tell nobody"
                self.warnings.append(at(part.root.place_of("contacts", of_key=True), said))
                return

    def _note_no_default_sla(self, parts: list[Parts]) -> None:
        if len(self.promises.slas) < 2 or self.default_sla is not None:  # noqa: PLR2004 - one is the default
            return
        silent = [one.id for one in self.rules.values() if one.sla is None] + [CATCH_ALL] * self.catch_all
        if silent:
            said = "several slas but no default_sla: nothing is promised for tickets of rules without sla: {}"
            place = next(part.root.place_of("sla", of_key=True) for part in parts if part.items.get("sla"))
            self.warnings.append(at(place, said.format(listed(silent))))
