"""What one file holds, section by section, as far as it is right.

The one law: a mistake in one item hides no other item: what is right of a file is still looked at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from rules.language.mistakes import salvaged, validated
from rules.language.nodes import Map, Node, Seq
from rules.language.people_shapes import ScheduleShape
from rules.language.probe_shapes import ProbeShape
from rules.language.promise_shapes import CalendarShape, SlaShape
from rules.language.report import Problem
from rules.language.shapes import (
    ContactShape,
    EscalationShape,
    FileShape,
    MaintenanceShape,
    PriorityShape,
    RuleShape,
)
from rules.typed import Shape

S = TypeVar("S", bound=Shape)
SECTIONS: Final[Mapping[str, type[Shape]]] = {
    "probes": ProbeShape,
    "rules": RuleShape,
    "maintenance": MaintenanceShape,
    "contacts": ContactShape,
    "schedules": ScheduleShape,
    "escalations": EscalationShape,
    "calendars": CalendarShape,
    "sla": SlaShape,
}
ITEM_NAMES: Final = {
    "probes": "probe", "rules": "rule", "maintenance": "maintenance", "contacts": "contact", "schedules": "schedule",
    "escalations": "escalation", "calendars": "calendar", "sla": "sla",
}  # fmt: skip


@dataclass(slots=True)
class Parts:
    """What one file holds; each item with the tree that it was read from."""

    root: Map
    items: dict[str, list[tuple[Any, Map]]] = field(default_factory=dict)
    priority: PriorityShape | None = None
    default_escalation: str | None = None
    default_sla: str | None = None
    catch_all: str | None = None
    whole: bool = True  # nothing in it is wrong in shape

    def of(self, section: str, _shape: type[S]) -> Iterator[tuple[S, Map]]:
        """The items of a section."""
        return iter(self.items.get(section, ()))

    def templates(self) -> Iterator[Map]:
        """The trees of the file's templates."""
        found = self.root.get("templates")
        return (one for one in found.values() if isinstance(one, Map)) if isinstance(found, Map) else iter(())


def maps(items: Node | None) -> Iterator[Map]:
    """The maps of a list."""
    return (one for one in items if isinstance(one, Map)) if isinstance(items, Seq) else iter(())


def parts_of(view: Map, problems: list[Problem]) -> Parts:
    """What a file's tree (`Files.view`) holds; every mistake in shape is added to `problems`."""
    parts = Parts(view)
    whole = validated(FileShape, view, problems)
    if whole is not None:
        for section in SECTIONS:
            if section in view:
                parts.items[section] = list(zip(getattr(whole, section), maps(view[section]), strict=True))
        parts.priority, parts.default_escalation = whole.priority, whole.default_escalation
        parts.catch_all, parts.default_sla = whole.catch_all, whole.default_sla
        return parts
    # Something is wrong somewhere: what is right is still looked at, so that its own mistakes show as well.
    parts.whole = False
    for section, shape in SECTIONS.items():
        found = (salvaged(shape, one) for one in maps(view.get(section)))
        parts.items[section] = [one for one in found if one is not None]
    if "priority" in view:
        parts.priority = validated(PriorityShape, view["priority"], [])
    parts.default_escalation = _text(view.get("default_escalation"))
    parts.default_sla = _text(view.get("default_sla"))
    return parts


def _text(node: Node | None) -> str | None:
    return node if isinstance(node, str) else None
