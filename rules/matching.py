"""Matchers on labels, in Alertmanager's sense: ANDed, fully anchored RE2, a missing label equals "".

The one law: matching is data about labels alone; it never looks at time or state, and it answers for any text.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import re2

if TYPE_CHECKING:
    from rules.policy import Rule

OPERATORS: Final = ("=~", "!~", "!=", "=")
CHOICES_MAX: Final = 1_000  # an expression of more alternatives is left to RE2
VERDICTS_MAX: Final = 64  # remembered by one matcher: labels that rules match on have few values
VERDICT_CHARS_MAX: Final = 100
_LITERALS: Final = re.compile(r"[^\\.+*?()\[\]{}^$]*")  # nothing but texts and |
_BARE_NAME: Final = re.compile(r"[^\s{}!=~,\\\"'`]+")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quote(text: str) -> str:
    """The text in double quotes, as matchers are written."""
    return f'"{text.translate(_ESCAPES)}"'


@dataclass(frozen=True, slots=True)
class Matcher:
    """`name op value`. `pattern` is the compiled RE2 expression of =~ and !~; `choices` all the texts it accepts.

    Two are equal when they are written alike.
    """

    name: str
    op: str
    value: str
    pattern: Any = field(default=None, compare=False, repr=False)
    choices: frozenset[str] | None = field(default=None, compare=False, repr=False)  # known of plain alternatives
    verdicts: dict[str, bool] = field(default_factory=dict, compare=False, repr=False)  # of the first texts met

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels satisfy the matcher."""
        have = labels.get(self.name, "")
        match self.op:
            case "=":
                return have == self.value
            case "!=":
                return have != self.value
            case "=~":
                return self._accepts(have)
            case _:
                return not self._accepts(have)

    def _accepts(self, have: str) -> bool:
        if self.choices is not None:
            return have in self.choices
        verdict = self.verdicts.get(have)
        if verdict is None:
            # As bytes: half the cost of str, and half a surrogate pair is no reason to fail.
            verdict = self.pattern.fullmatch(have.encode("utf-8", "surrogatepass")) is not None
            if len(self.verdicts) < VERDICTS_MAX and len(have) <= VERDICT_CHARS_MAX:
                self.verdicts[have] = verdict
        return verdict

    def __str__(self) -> str:
        """As it is written in a file."""
        name = self.name if _BARE_NAME.fullmatch(self.name) else quote(self.name)
        return f"{name}{self.op}{quote(self.value)}"


def matcher(name: str, op: str, value: str) -> Matcher:
    """A matcher with its pattern compiled. Raises ValueError for an expression that RE2 refuses."""
    if op in {"=", "!="}:
        return Matcher(name, op, value)
    if _LITERALS.fullmatch(value) and len(choices := frozenset(value.split("|"))) <= CHOICES_MAX:
        return Matcher(name, op, value, choices=choices)
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = 8 << 20
    try:
        return Matcher(name, op, value, re2.compile(value, options))
    except re2.error as error:
        reason = error.args[0] if error.args else "not an RE2 expression"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        shown = value if len(value) <= 80 else value[:80] + "…"  # noqa: PLR2004 - what fits on a line
        raise ValueError(f"RE2 refuses {shown!r}: {text[:200]}") from None


def all_hold(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher holds (none at all holds)."""
    return all(one.holds(labels) for one in matchers)


def _keys(rule: "Rule") -> list[tuple[str, tuple[str, ...]]]:
    """The label values of which the rule needs one, by each of its matchers that says so."""
    keys: list[tuple[str, tuple[str, ...]]] = []
    for one in rule.match:
        if one.op == "=" and one.value:
            keys.append((one.name, (one.value,)))
        elif one.op == "=~" and one.choices is not None and "" not in one.choices:
            keys.append((one.name, tuple(sorted(one.choices))))
    return keys


class RuleIndex:
    """Rules found by one of their matchers' texts, so that cost does not grow with rules that cannot match."""

    def __init__(self, rules: Iterable["Rule"]) -> None:
        """Indexes each rule under its rarest label values, else among those always tried."""
        all_rules = tuple(rules)
        self._order = {rule.id: number for number, rule in enumerate(all_rules)}
        keys_of = [_keys(rule) for rule in all_rules]
        counts: dict[tuple[str, str], int] = {}
        for keys in keys_of:
            for name, values in keys:
                for value in values:
                    counts[name, value] = counts.get((name, value), 0) + 1
        self._by_label: dict[str, dict[str, list[Rule]]] = {}
        self._always: list[Rule] = []
        for rule, keys in zip(all_rules, keys_of, strict=True):
            if not keys:
                self._always.append(rule)
                continue
            name, values = min(keys, key=lambda key: sum(counts[key[0], value] for value in key[1]))
            by_value = self._by_label.setdefault(name, {})
            for value in values:  # one label has one value, so a rule is found at most once
                by_value.setdefault(value, []).append(rule)

    def matching(self, source: str, labels: Mapping[str, str]) -> "list[Rule]":
        """Every rule that matches, in the order of the files."""
        candidates = self._always.copy()
        for name, by_value in self._by_label.items():
            value = labels.get(name)
            if value is not None and (found := by_value.get(value)):
                candidates += found
        held = [
            rule
            for rule in candidates
            if (rule.source is None or rule.source == source) and all_hold(rule.match, labels)
        ]
        if len(held) > 1:
            held.sort(key=lambda rule: self._order[rule.id])
        return held
