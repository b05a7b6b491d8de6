"""How rules stand to one another: parents, and ids of the past.

The one law: whatever a rule names is there, once, and nothing depends on itself; a circle is named in full where it
closes.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from rules.language.nodes import Map, find
from rules.language.report import Place, Problem, at
from rules.policy import CATCH_ALL, Rule
from rules.words import meant_or_list, shown

CIRCLE_MAX: Final = 40  # rules of a circle that are named
CIRCLES_MAX: Final = 100  # that are reported


class Relations:
    """Checks the rules of a policy against one another. `known`: all ids that files declare, also of broken rules."""

    def __init__(
        self, rules: Mapping[str, Rule], raws: Mapping[str, Map], known: Mapping[str, Place], *, whole: bool
    ) -> None:
        """`whole` False: some file could not be read, and a name that nothing declares may stand there."""
        self.rules = rules
        self.raws = raws
        self.known = known
        self.whole = whole
        self.errors: list[Problem] = []
        self._circled = 0

    def check(self) -> list[Problem]:
        """Every mistake."""
        was = self._moved()
        for rule in self.rules.values():
            for number, one in enumerate(rule.depends_on):
                if one.rule in self.rules:
                    self._on(rule, self.rules[one.rule], number)
                elif one.rule not in self.known:
                    self._no_parent(rule, number, one.rule, was)
        self._circles()
        return self.errors

    def _moved(self) -> Mapping[str, str]:
        """Each old id, with the id that it has now."""
        now: dict[str, str] = {}
        for rule in self.rules.values():
            for number, old in enumerate(rule.moved_from):
                wrong: str | None = None
                if old == CATCH_ALL:
                    wrong = f'"{CATCH_ALL}" is the built-in rule and never moves'
                elif old in self.known:
                    line = ":".join(map(str, self.known[old]))
                    wrong = f"{shown(old)} is a rule that there is, at {line}: only one that is gone can have moved"
                elif old in now:
                    there = "here already" if now[old] == rule.id else f"where {shown(now[old])} came from"
                    wrong = f"{shown(old)} is {there}; a rule moves to one id, once"
                if wrong is not None:
                    place = find(self.raws[rule.id], ("moved_from", number))
                    self.errors.append(at(place, f"moved_from: {wrong}"))
                else:
                    now[old] = rule.id
        return now

    def _no_parent(self, rule: Rule, number: int, name: str, was: Mapping[str, str]) -> None:
        if name == CATCH_ALL:
            wrong = f'nothing can depend on "{CATCH_ALL}": it judges what nobody named'
        elif name in was:
            wrong = f"{shown(name)} is called {shown(was[name])} now; write that"
        elif self.whole:
            wrong = f"there is no rule {shown(name)}{meant_or_list(name, self.known)}"
        else:
            return
        self.errors.append(at(find(self.raws[rule.id], ("depends_on", number, "rule")), f"depends_on: {wrong}"))

    def _on(self, rule: Rule, parent: Rule, number: int) -> None:
        for index, name in enumerate(rule.depends_on[number].on):
            for one in (rule, parent):
                if _keyed(one, name):
                    continue
                why = (
                    f"is not in the dedup of {shown(one.id)}"
                    if one.dedup is not None
                    else (f"never enters the key of {shown(one.id)}, which says no dedup")
                )
                place = find(self.raws[rule.id], ("depends_on", number, "on", index))
                self.errors.append(at(place, f"on: {shown(name)} {why}: it cannot be compared"))
                break

    def _circles(self) -> None:
        done: set[str] = set()
        for start in self.rules:
            if start in done or self._circled >= CIRCLES_MAX:
                continue
            path = {start: None}  # in order
            waiting: list[tuple[str, Iterator[tuple[int, str]]]] = [(start, self._parents(start))]
            while waiting:
                name, parents = waiting[-1]
                number, parent = next(parents, (-1, ""))
                if number < 0:
                    waiting.pop()
                    del path[name]
                    done.add(name)
                elif parent in path and self._circled < CIRCLES_MAX:
                    self._circled += 1
                    names = list(path)
                    self._circle(name, number, [*names[names.index(parent) :], parent])
                elif parent not in done and parent not in path:
                    path[parent] = None
                    waiting.append((parent, self._parents(parent)))

    def _parents(self, name: str) -> Iterator[tuple[int, str]]:
        found = enumerate(self.rules[name].depends_on)
        return ((number, one.rule) for number, one in found if one.rule in self.rules)

    def _circle(self, name: str, number: int, circle: list[str]) -> None:
        if len(circle) > CIRCLE_MAX:
            half = CIRCLE_MAX // 2
            circle = [*circle[:half], f"({len(circle) - CIRCLE_MAX} more)", *circle[-half:]]
        said = f"depends_on goes in a circle: {' -> '.join(circle)}"
        self.errors.append(at(find(self.raws[name], ("depends_on", number, "rule")), said))


def _keyed(rule: Rule, label: str) -> bool:
    return label not in rule.unkeyed if rule.dedup is None else label in rule.dedup
