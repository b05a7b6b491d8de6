"""The rules that a policy with probes has without saying so: a location that is cut off, and one that is not heard of.

The one law: they are rules like any other, over the sample by which a location speaks of itself; what they open is one
ticket for a location, however many targets it looks at.
"""

from collections.abc import Mapping
from typing import Final

from rules.conditions.threshold import INVERSE, Threshold
from rules.instants import MINUTE
from rules.matching import matcher
from rules.policy import Choice, Matrix, NoData, Rule
from rules.reference import BEACON
from rules.templates import Template

CUT_OFF: Final = "ticketd.location-cut-off"
SILENT: Final = "ticketd.location-silent"
RESERVED: Final = "ticketd."  # no rule and no probe of a file has an id that begins so


def location_rules(matrix: Matrix) -> Mapping[str, Rule]:
    """Both rules, by id."""
    impact = Choice(matrix.impacts[len(matrix.impacts) // 2])
    urgency = Choice(matrix.urgencies[len(matrix.urgencies) // 2])
    match = (matcher("probe", "=", BEACON),)
    cut_off = Rule(
        CUT_OFF, match, impact, urgency, source="probe", dedup=("location",), no_data=NoData(),
        condition=Threshold("own_network", "==", 1.0, INVERSE["=="], None),
        title=Template.parse("location {{ labels.location }} is cut off from the network"),
        description=Template.parse(
            "{{ fields.references_failing }} of {{ fields.references }} references cannot be reached from there. "
            "What it cannot reach is not judged until they can: tickets stay as they are, and none is opened."
        ),
    )  # fmt: skip
    silent = Rule(
        SILENT, match, impact, urgency, source="probe", dedup=("location",), no_data=NoData(5 * MINUTE, "open"),
        condition=Threshold("up", "==", 0.0, INVERSE["=="], None),
        title=Template.parse("location {{ labels.location }} reports nothing"),
        description=Template.parse(
            "Nothing has come from it for five minutes: look whether its ticketd runs, and whether it can reach this "
            "one. Rules over what it looks at have no data meanwhile."
        ),
    )  # fmt: skip
    return {CUT_OFF: cut_off, SILENT: silent}
