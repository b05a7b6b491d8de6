"""Files to a policy, or every mistake of every file at once.

The one law: a policy comes out only when nothing is wrong anywhere; and one mistake never hides another.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeVar

from rules.instants import MINUTE
from rules.language.files import Files, ids, twice
from rules.language.mistakes import salvaged, validated
from rules.language.nodes import Document, Map, Node, Seq, find, read
from rules.language.people import LanguageKinds, People
from rules.language.report import Place, Problem, at, meant_or_list, once, shown
from rules.language.shapes import (
    REQUIRED,
    ChoiceShape,
    ContactShape,
    EscalationShape,
    FileShape,
    PriorityShape,
    RuleShape,
    Shape,
)
from rules.matching import matcher
from rules.policy import CATCH_ALL, Choice, Escalation, Grouping, Matrix, Policy, Rule

PROBLEMS_MAX: Final = 1_000
AXIS_MAX: Final = 10  # names on one side of the matrix
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


def load(texts: Mapping[str, str | bytes | Document], kinds: LanguageKinds) -> Loaded:
    """The policy that these files make together; names under `use` are looked up among them. Never raises."""
    documents = [text if isinstance(text, Document) else read(name, text) for name, text in texts.items()]
    building = _Building(documents, kinds)
    building.run()
    errors, warnings = once(building.errors), once(building.warnings)
    if len(errors) > PROBLEMS_MAX:
        last = errors[PROBLEMS_MAX - 1]
        more = Problem(last.file, last.line, last.col, f"{len(errors) - PROBLEMS_MAX} more mistakes are not listed")
        errors = (*errors[:PROBLEMS_MAX], more)
    if errors:
        return Loaded(None, errors, warnings)
    digest = sha256(
        "".join(f"{one.file}\0{one.digest}\n" for one in sorted(documents, key=_name)).encode("utf-8", "surrogatepass")
    )
    return Loaded(building.policy(digest.hexdigest()), (), warnings)


def _name(document: Document) -> str:
    return document.file


def _rootless(documents: Iterable[Document]) -> Iterator[Problem]:
    for one in documents:
        if one.root is None and not one.problems:
            yield Problem(one.file, 1, 1, 'the file is empty; it needs at least "version: 1"')
        elif one.root is not None and not isinstance(one.root, Map):
            place = one.root.place() if isinstance(one.root, Seq) else (one.file, 1, 1)
            yield at(place, "a rule file is a map of keys; begin it with version: 1")


@dataclass(slots=True)
class _Parts:
    """What one file holds, as far as it is right; each with the tree that it was read from."""

    root: Map
    rules: list[tuple[RuleShape, Map]] = field(default_factory=list)
    contacts: list[tuple[ContactShape, Map]] = field(default_factory=list)
    escalations: list[tuple[EscalationShape, Map]] = field(default_factory=list)
    priority: PriorityShape | None = None
    default_escalation: str | None = None
    catch_all: str | None = None


def _paired(shapes: Iterable[S], items: Node | None) -> list[tuple[S, Map]]:
    return list(zip(shapes, _maps(items), strict=True))


def _right(shape: type[S], items: Node | None) -> list[tuple[S, Map]]:
    found = (salvaged(shape, one) for one in _maps(items))
    return [one for one in found if one is not None]


def _maps(items: Node | None) -> Iterator[Map]:
    return (one for one in items if isinstance(one, Map)) if isinstance(items, Seq) else iter(())


class _Building:
    """One load."""

    def __init__(self, documents: list[Document], kinds: LanguageKinds) -> None:
        self.kinds = kinds
        self.errors: list[Problem] = [problem for one in documents for problem in one.problems]
        self.warnings: list[Problem] = []
        self.documents = documents
        self.files = Files(documents)
        self.whole = self.files.whole
        self.rules: dict[str, Rule] = {}
        self.escalations: dict[str, Escalation] = {}
        self.matrix = Matrix()
        self.matrix_known = self.whole
        self.default_escalation: str | None = None
        self.catch_all = True
        roots = self.files.roots()
        self.known_escalations = ids(roots.values(), "escalations")
        self.people = People(kinds, ids(roots.values(), "contacts"), whole=self.whole)
        self._firsts: dict[tuple[str, str], Place] = {}

    def run(self) -> None:
        """Everything, section by section over all files, so that each section sees what it refers to."""
        parts = [self._parts(file) for file in self.files.roots()]
        self.errors += _rootless(self.documents)
        self.errors += self.files.problems
        for part in parts:
            self._settings(part)
        for part in parts:
            for contact, raw in part.contacts:
                if self._new("contact", contact.id, raw):
                    self.people.contact(contact, raw)
        for part in parts:
            for escalation, raw in part.escalations:
                if self._new("escalation", escalation.id, raw):
                    self.escalations[escalation.id] = self.people.escalation(escalation, raw)
        for part in parts:
            for rule, raw in part.rules:
                if self._new("rule", rule.id, raw):
                    self.rules[rule.id] = self._rule(rule, raw)
        self.errors += self.people.errors
        if not self.errors:
            self.people.note_unnamed()
            self._note_no_default(parts)
        self.warnings += self.people.warnings

    def policy(self, version: str) -> Policy:
        """What was built."""
        return Policy(
            version=version,
            rules=self.rules,
            catch_all=catch_all(self.matrix) if self.catch_all else None,
            matrix=self.matrix,
            contacts=self.people.contacts,
            escalations=self.escalations,
            default_escalation=self.default_escalation,
        )

    def _parts(self, file: str) -> _Parts:
        view = self.files.view(file)
        parts = _Parts(view)
        self.errors += self._lacks(view.get("rules"))
        whole = validated(FileShape, view, self.errors)
        if whole is not None:
            parts.rules = _paired(whole.rules, view.get("rules"))
            parts.contacts = _paired(whole.contacts, view.get("contacts"))
            parts.escalations = _paired(whole.escalations, view.get("escalations"))
            parts.priority = whole.priority
            parts.default_escalation, parts.catch_all = whole.default_escalation, whole.catch_all
            return parts
        # Something is wrong somewhere: what is right is still looked at, so that its own mistakes show as well.
        parts.rules = _right(RuleShape, view.get("rules"))
        parts.contacts = _right(ContactShape, view.get("contacts"))
        parts.escalations = _right(EscalationShape, view.get("escalations"))
        if "priority" in view:
            parts.priority = validated(PriorityShape, view["priority"], [])
            self.matrix_known = False  # until one is accepted
        name = view.get("default_escalation")
        parts.default_escalation = name if isinstance(name, str) else None
        return parts

    def _lacks(self, rules: Node | None) -> Iterator[Problem]:
        for rule in _maps(rules):
            for key in REQUIRED:
                if key not in rule and self.files.inherits(rule):
                    name = rule.get("id")
                    said = f"{shown(name)} has no" if isinstance(name, str) else "this rule has no"
                    yield at(rule.place(), f'{said} "{key}"')

    def _new(self, what: str, name: str, raw: Map) -> bool:
        """Whether this id is the first of its kind; else it is an error that names the first."""
        place = raw.place_of("id")
        if what == "rule" and name == CATCH_ALL:
            said = f'"{CATCH_ALL}" is the built-in rule; take another id, or turn it off with catch_all: off'
            self.errors.append(at(place, said))
            return False
        return self._first(what, name, place)

    def _first(self, what: str, name: str, place: Place) -> bool:
        first = self._firsts.setdefault((what, name), place)
        if first is not place:
            self.errors.append(twice(what, name, place, first))
        return first is place

    def _setting(self, part: _Parts, key: str) -> bool:
        """Whether a file is the first to say something that holds for all."""
        place = part.root.place_of(key, of_key=True)
        first = self._firsts.setdefault(("", key), place)
        if first is not place:
            where = f"{first[0]}:{first[1]}:{first[2]}"
            self.errors.append(at(place, f'"{key}" holds for all files and is said once; the first is at {where}'))
        return first is place

    def _settings(self, part: _Parts) -> None:
        if part.priority is not None and self._setting(part, "priority"):
            self._set_matrix(part.priority, part.root)
        if part.catch_all is not None and self._setting(part, "catch_all"):
            self.catch_all = part.catch_all == "on"
        if (name := part.default_escalation) is not None and self._setting(part, "default_escalation"):
            self.default_escalation = name
            self._escalation_exists(name, part.root, "default_escalation")

    def _set_matrix(self, shape: PriorityShape, root: Map) -> None:
        before = len(self.errors)
        for axis, names in (("impact", shape.impact), ("urgency", shape.urgency)):
            if not 1 <= len(names) <= AXIS_MAX:
                self.errors.append(
                    at(find(root, ("priority", axis)), f"{axis}: 1 to {AXIS_MAX} names, not {len(names)}")
                )
            for index, name in enumerate(names):
                if name in names[:index]:
                    self.errors.append(
                        at(find(root, ("priority", axis, index)), f"{axis}: {shown(name)} is there twice")
                    )
        if len(shape.matrix) != len(shape.impact):
            said = f"matrix: {len(shape.impact)} impacts need as many rows, not {len(shape.matrix)}"
            self.errors.append(at(find(root, ("priority", "matrix")), said))
        for index, row in enumerate(shape.matrix):
            if len(row) != len(shape.urgency):
                said = f"matrix: {len(shape.urgency)} urgencies need as many priorities in a row, not {len(row)}"
                self.errors.append(at(find(root, ("priority", "matrix", index)), said))
        if len(self.errors) == before:
            self.matrix = Matrix(tuple(shape.impact), tuple(shape.urgency), tuple(map(tuple, shape.matrix)))
            self.matrix_known = True
        else:
            self.matrix_known = False

    def _rule(self, shape: RuleShape, raw: Map) -> Rule:
        if shape.source is not None and shape.source not in self.kinds.sources:
            near = meant_or_list(shape.source, self.kinds.sources)
            self.errors.append(at(raw.place_of("source"), f"there is no source {shown(shape.source)}{near}"))
        if shape.escalation is not None:
            self._escalation_exists(shape.escalation, raw, "escalation")
        group = shape.group
        return Rule(
            id=shape.id,
            match=tuple(shape.match),
            impact=self._choice(shape.impact, self.matrix.impacts, raw, "impact"),
            urgency=self._choice(shape.urgency, self.matrix.urgencies, raw, "urgency"),
            source=shape.source,
            pending_for=shape.pending_for,
            keep_firing_for=shape.keep_firing_for,
            dedup=None if shape.dedup is None else tuple(shape.dedup),
            group=None if group is None else Grouping(tuple(group.by), group.within),
            title=shape.title,
            description=shape.description,
            labels=shape.labels,
            escalation=shape.escalation,
            reopen_within=shape.reopen_within,
        )

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

    def _escalation_exists(self, name: str, raw: Map, key: str) -> None:
        if name not in self.known_escalations and self.whole:
            said = f"{key}: there is no escalation {shown(name)}{meant_or_list(name, self.known_escalations)}"
            self.errors.append(at(raw.place_of(key), said))

    def _note_no_default(self, parts: list[_Parts]) -> None:
        for part in parts:
            if part.contacts and self.default_escalation is None:
                said = "there are contacts but no default_escalation: tickets of rules without escalation tell nobody"
                self.warnings.append(at(part.root.place_of("contacts", of_key=True), said))
                return
