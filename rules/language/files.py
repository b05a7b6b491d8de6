"""How files come together: `use`, `defaults`, `templates` and `extends`, on trees that know where all is written.

The one law: later wins and values are replaced whole: used files' defaults, the file's own, the template, the rule.
What a rule inherits keeps the place where it was written, so a mistake is reported there.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from pydantic import BaseModel

from rules.language.nodes import Document, Map, Node, Seq
from rules.language.report import Place, Problem, at
from rules.language.shapes import RulePart, TemplateShape
from rules.words import meant, meant_or_list, shown

USED_MAX: Final = 1_000  # names in one `use`
PACK: Final = "pack:"  # the names of documents that ship with the product begin so


def keys_of(shape: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a shape, as files write them."""
    return tuple(one.alias or name for name, one in shape.model_fields.items())


_DEFAULT_KEYS: Final = frozenset(keys_of(RulePart))
_TEMPLATE_KEYS: Final = frozenset(keys_of(TemplateShape))


def _refusal(file: str, name: str) -> str | None:
    """Why a name cannot be used in a file, or None."""
    if name.startswith(PACK):
        return None
    if file.startswith(PACK):
        return f"{shown(name)}: a pack can use other packs only, as pack:NAME"
    if "/" in name or "\\" in name or name in {"", ".", ".."} or "\0" in name:
        return f"{shown(name)}: `use` names files beside this one, without folders, or pack:NAME"
    return None


def beside(file: str, name: str) -> str:
    """The name of a file that stands beside another, or of a pack."""
    if name.startswith(PACK):
        return name
    folder, slash, _ = file.rpartition("/")
    return f"{folder}{slash}{name}"


def used_files(document: Document) -> Iterator[str]:
    """The files (and packs) that a document's `use` names, as far as its names can be used."""
    return (beside(document.file, name) for name in document.uses[:USED_MAX] if _refusal(document.file, name) is None)


def _only(part: Map, keys: Iterable[str]) -> Map:
    """The map without keys that its shape does not have: those are reported where they stand, and once."""
    if part.keys() <= frozenset(keys):
        return part
    kept = Map(part.file, part.pos)
    for key in keys:
        if key in part:
            kept[key], kept.at[key] = part[key], part.at[key]
    return kept


class Files:
    """All files of a policy. `problems` grows as they are brought together."""

    def __init__(self, documents: Iterable[Document], packs: Collection[str] = ()) -> None:
        """Reads each file's `use`, `defaults` and `templates`. `packs`: the names of those that there are."""
        self.problems: list[Problem] = []
        self._packs = packs
        self.documents = {one.file: one for one in documents}
        # False when something of the policy could not be read: then what nothing declares may stand there.
        self.whole = not any(one.root is None and one.problems for one in self.documents.values())
        self._roots = {name: one.root for name, one in self.documents.items() if isinstance(one.root, Map)}
        self._used = {name: list(self._uses(name, root)) for name, root in self._roots.items()}
        self._defaults: dict[str, Map] = {}
        for name in self._used_first():
            self._defaults[name] = self._effective(name)
        self._templates: dict[str, Map] = {}
        self._find_templates()

    def roots(self) -> Mapping[str, Map]:
        """The trees, by file."""
        return self._roots

    def _uses(self, file: str, root: Map) -> Iterator[tuple[str, Place]]:
        names = root.get("use")
        if not isinstance(names, Seq):
            return
        if len(names) > USED_MAX:
            self.problems.append(at(names.place(), f"use: at most {USED_MAX} files, not {len(names)}"))
        for index, name in enumerate(names[:USED_MAX]):
            if not isinstance(name, str):
                continue  # its shape is reported with the others
            place = names.place_of(index)
            if (refusal := _refusal(file, name)) is not None:
                self.whole = False
                self.problems.append(at(place, refusal))
            elif (target := beside(file, name)) in self.documents:
                yield target, place
            elif name.startswith(PACK):
                self.whole = False
                near = meant_or_list(name.removeprefix(PACK), self._packs)
                self.problems.append(at(place, f"use: there is no pack {shown(name.removeprefix(PACK))}{near}"))
            else:
                self.whole = False
                near = meant(target, [one for one in self.documents if one != file]).replace(beside(file, ""), "")
                self.problems.append(at(place, f"use: {shown(name)} is not beside this file, or cannot be read{near}"))

    def _used_first(self) -> Iterator[str]:
        """The files, each after those that it uses; circles are reported where they close, and cut there."""
        done: set[str] = set()
        for start in self._roots:
            path: list[str] = []
            waiting: list[tuple[str, Iterator[tuple[str, Place]]]] = []
            if start not in done:
                path.append(start)
                waiting.append((start, iter(self._used[start])))
            while waiting:
                file, uses = waiting[-1]
                target, place = next(uses, ("", ("", 0, 0)))
                if not target:
                    waiting.pop()
                    path.pop()
                    done.add(file)
                    yield file
                elif target in path:
                    circle = [one.rpartition("/")[2] for one in (*path[path.index(target) :], target)]
                    self.problems.append(at(place, f"use goes in a circle: {' -> '.join(circle)}"))
                elif target not in done and target in self._roots:
                    path.append(target)
                    waiting.append((target, iter(self._used[target])))

    def _effective(self, file: str) -> Map:
        """What the rules of a file start from."""
        own = self._roots[file].get("defaults")
        lowest = [self._defaults[used] for used, _ in self._used[file] if used in self._defaults]
        mine = _only(own, _DEFAULT_KEYS) if isinstance(own, Map) else Map(file, 0)
        return mine.over(*lowest) if any(lowest) else mine

    def _find_templates(self) -> None:
        for root in self._roots.values():
            templates = root.get("templates")
            if not isinstance(templates, Map):
                continue
            for name, template in templates.items():
                if not isinstance(template, Map):
                    continue
                if (first := self._templates.get(name)) is not None:
                    self.problems.append(twice("template", name, templates.place_of(name, of_key=True), first.place()))
                else:
                    self._templates[name] = _only(template, _TEMPLATE_KEYS)

    def view(self, file: str) -> Map:
        """A file's tree with whole rules in it: what they inherit is laid under them."""
        root = self._roots[file]
        rules = root.get("rules")
        defaults = self._defaults[file]
        if not isinstance(rules, Seq):
            return root
        whole = Seq(rules.file, rules.pos)
        whole.at = rules.at
        whole.extend(self._whole(rule, defaults) for rule in rules)
        view = root.over()
        view["rules"] = whole
        return view

    def inherits(self, rule: Map) -> bool:
        """Whether all that the rule inherits was found."""
        name = rule.get("extends")
        return self.whole and (name is None or (isinstance(name, str) and name in self._templates))

    def _whole(self, rule: Node, defaults: Map) -> Node:
        if not isinstance(rule, Map):
            return rule
        name = rule.get("extends")
        if not isinstance(name, str):
            return rule.over(defaults) if defaults else rule
        template = self._templates.get(name)
        if template is None:
            if self.whole:
                near = meant_or_list(name, self._templates)
                self.problems.append(at(rule.place_of("extends"), f"extends: there is no template {shown(name)}{near}"))
            return rule.over(defaults)
        return rule.over(defaults, template)


def twice(what: str, name: str, place: Place, first: Place) -> Problem:
    """One name for two things: said at the second, naming the first."""
    return at(place, f"{what} {shown(name)} is there twice; the first is at {first[0]}:{first[1]}:{first[2]}")


def ids(roots: Iterable[Map], section: str) -> dict[str, Place]:
    """The ids that a section declares anywhere, also those of items that have mistakes in them."""
    found: dict[str, Place] = {}
    for root in roots:
        items = root.get(section)
        if isinstance(items, Seq):
            for item in items:
                if isinstance(item, Map) and isinstance(name := item.get("id"), str):
                    found.setdefault(name, item.place_of("id"))
    return found
