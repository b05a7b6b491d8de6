"""What a rule judges by: from `when`, `clear` and what belongs to them to a condition and its gates.

The one law: what may stand under `when` and `clear` is what the condition kinds declare (`rules/conditions`); no kind
is named here. What a rule says and cannot mean is an error, also where it only inherits it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from rules.conditions.base import DIRECT, Asked, Condition, ConditionError, ConditionKind, Override
from rules.conditions.base import kinds as condition_kinds
from rules.instants import Instant, format_instant
from rules.language.files import keys_of
from rules.language.mistakes import validated
from rules.language.nodes import Map, Node, find
from rules.language.report import Problem, at
from rules.language.shapes import OF_SAMPLES, FlapShape, NoDataShape, QuorumShape, RuleShape
from rules.policy import SAMPLED, Flap, NoData, Quorum
from rules.templates import Template
from rules.words import listed, meant, shown

FLAP_WINDOW_MIN: Final = 2
FLAP_WINDOW_MAX: Final = 100
COUNTING: Final = ("fire", "recover", "overrides")  # what only kinds that count raw values can use
_OF_ALERTS: Final = frozenset({"annotations"})
_ONLY_OF_SAMPLES: Final = frozenset({"value", "fields"})


class Judging:
    """Makes the conditions of rules; `errors` and `warnings` grow meanwhile. `now` None: nothing is said of times."""

    def __init__(self, now: Instant | None) -> None:
        """For one load."""
        self.now = now
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []

    def condition(self, shape: RuleShape, raw: Map) -> Condition | None:
        """The condition of a rule over samples; None for rules over alerts, and where something is wrong."""
        if shape.source not in SAMPLED:
            return None
        when = raw.get("when")
        if not isinstance(when, Map):
            return None  # that it is missing, or wrong, has been said
        before = len(self.errors)
        name, kind, asked = self._kind(when)
        if kind is None or asked is None:
            return None
        said = validated(kind.When, asked, self.errors, ("when",))
        clear = self._clear(kind, raw.get("clear"))
        if shape.source not in kind.sources:
            wrong = f'when: {name} judges samples of {listed(sorted(kind.sources))}, and the source is "{shape.source}"'
            self.errors.append(at(raw.place_of("when", of_key=True), wrong))
        if not kind.counts:
            self._refuse(raw, COUNTING, f"means nothing to {name}: remove it")
        if len(self.errors) > before:
            return None
        return self._built(kind, said, clear, shape, raw)

    def check(self, part: Map) -> None:
        """`when` and `clear` of a template, which no rule may have taken yet."""
        when = part.get("when")
        if not isinstance(when, Map):
            return
        _, kind, asked = self._kind(when)
        if kind is not None and asked is not None:
            validated(kind.When, asked, self.errors, ("when",))
            self._clear(kind, part.get("clear"))

    def _kind(self, when: Map) -> tuple[str, type[ConditionKind] | None, Map | None]:
        """The kind's name, the kind, and the map that its shape describes."""
        kinds = condition_kinds()
        named = [key for key in when if key in kinds and key != DIRECT]
        if not named:
            return DIRECT, kinds[DIRECT], self._direct(when, kinds)
        name = named[0]
        for key in when:
            if key != name:
                said = f"when: {shown(name)} stands alone; remove {shown(key)}"
                self.errors.append(at(when.place_of(key, of_key=True), said))
        asked = when[name]
        if len(when) > 1:
            return name, None, None
        if not isinstance(asked, Map):
            given = "a text" if isinstance(asked, str) else "a list"
            keys = ", ".join(keys_of(kinds[name].When))
            self.errors.append(at(when.place_of(name), f"{name}: must be a map of {keys}; not {given}"))
            return name, None, None
        return name, kinds[name], asked

    def _direct(self, when: Map, kinds: Mapping[str, type[ConditionKind]]) -> Map | None:
        """The map without keys that nothing knows: among these names one may have meant a kind."""
        keys = keys_of(kinds[DIRECT].When)
        unknown = [key for key in when if key not in keys]
        names = [name for name in kinds if name != DIRECT]
        for key in unknown:
            near = meant(key, (*keys, *names)) or f"; there are {listed((*keys, *names))}"
            self.errors.append(at(when.place_of(key, of_key=True), f"when: unknown key {shown(key)}{near}"))
        if not unknown:
            return when
        if any(isinstance(when[key], Map) for key in unknown):
            return None  # a kind was meant: it is not told that keys of another are missing
        known = Map(when.file, when.pos)
        for key in when.keys() & set(keys):
            known[key], known.at[key] = when[key], when.at[key]
        return known

    def _clear(self, kind: type[ConditionKind], clear: Node | None) -> Any:
        if not isinstance(clear, Map):
            return None
        if not kind.Clear.model_fields:
            return kind.Clear()  # the kind says why there is nothing to say
        return validated(kind.Clear, clear, self.errors, ("clear",))

    def _refuse(self, raw: Map, keys: Iterable[str], said: str) -> None:
        for key in keys:
            if key in raw:
                self.errors.append(at(raw.place_of(key, of_key=True), f"{key}: {said}"))

    def _built(self, kind: type[ConditionKind], when: Any, clear: Any, shape: RuleShape, raw: Map) -> Condition | None:
        fire, recover = shape.fire, shape.recover
        asked = Asked(
            fire=None if fire is None else (fire.bad, fire.of),
            recover=None if recover is None else (recover.good, recover.of),
            overrides=tuple(
                Override(tuple(one.match), one.value, one.clear, one.why, one.until) for one in shape.overrides
            ),
        )
        for number, one in enumerate(shape.overrides):
            if self.now is not None and one.until is not None and one.until <= self.now:
                said = f"until: this override ended at {format_instant(one.until)} and no longer applies; remove it"
                self.warnings.append(at(find(raw, ("overrides", number, "until")), said))
        try:
            return kind.build(when, clear, asked)
        except ConditionError as error:
            names = [step for step in error.path if isinstance(step, str)]
            name = f"{names[-1]}: " if names else ""
            self.errors.append(at(find(raw, error.path), f"{name}{error.reason}"))
            return None

    def about_samples(self, raw: Map) -> None:
        """Refuses what only rules over samples can say, in a rule over alerts: once, at the first of it."""
        found = [key for key in OF_SAMPLES if key in raw]
        if not found:
            return
        source = raw.get("source")
        one = len(found) == 1
        said = f"{listed(map(shown, found))} {'is' if one else 'are'} about samples"
        if isinstance(source, str):
            said += f", and {shown(source)} brings alerts; remove {'it' if one else 'them'}, or take another source"
        else:
            said += "; say where they come from: source: probe, or source: heartbeat"
        self.errors.append(at(raw.place_of(found[0], of_key=True), said))

    def quorum(self, shape: QuorumShape | None, dedup: Collection[str] | None, raw: Map) -> Quorum | None:
        """How many places must agree."""
        if shape is None:
            return None
        if dedup is not None and shape.by in dedup and shape.at_least > 1:
            said = f"at_least: {shown(shape.by)} is in dedup, so each key has one of it: {shape.at_least} never agree"
            self.errors.append(at(find(raw, ("quorum", "at_least")), said))
        return Quorum(shape.by, shape.at_least, shape.at_least if shape.min_reporting is None else shape.min_reporting)

    def no_data(self, shape: NoDataShape | None, source: str | None, raw: Map) -> NoData | None:
        """What silence means; heartbeats have their own word for it."""
        if source == "probe":
            return NoData() if shape is None else NoData(shape.after, shape.then)
        if source in SAMPLED and shape is not None:
            said = f"no_data: a {source} that does not come is what its condition judges; remove it"
            self.errors.append(at(raw.place_of("no_data", of_key=True), said))
        return None

    def flap(self, shape: FlapShape | None, raw: Map) -> Flap | None:
        """When a problem that comes and goes is one problem."""
        if shape is None:
            return None
        if not FLAP_WINDOW_MIN <= shape.window <= FLAP_WINDOW_MAX:
            said = f"window: must be {FLAP_WINDOW_MIN} to {FLAP_WINDOW_MAX} changes, not {shape.window}"
            self.errors.append(at(find(raw, ("flap", "window")), said))
        if shape.high <= shape.low:
            place = find(raw, ("flap", "high" if "high" in shape.model_fields_set else "low"))
            self.errors.append(at(place, f"flap: high ({shape.high:g}) must lie above low ({shape.low:g})"))
        return Flap(shape.window, shape.high, shape.low)

    def templates(self, shape: RuleShape, raw: Map) -> None:
        """Refuses templates that name what a rule of this kind never has."""
        sampled = shape.source in SAMPLED
        for key, template in (("title", shape.title), ("description", shape.description)):
            for root in sorted(_never(template, sampled=sampled)):
                what, other = ("samples", "alerts") if sampled else ("alerts", "samples")
                said = f"{key}: {shown(shape.id)} judges {what}, which have no {shown(root)}; only {other} have"
                self.errors.append(at(raw.place_of(key), said))


def _never(template: Template | None, *, sampled: bool) -> Iterator[str]:
    if template is not None:
        yield from template.roots & (_OF_ALERTS if sampled else _ONLY_OF_SAMPLES)
