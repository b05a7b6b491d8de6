"""The `priority` section: from its shape to the matrix.

The one law: a matrix has a priority in each cell, and no name twice on one side.
"""

from typing import Final

from rules.language.nodes import Map, find
from rules.language.report import Problem, at
from rules.language.shapes import PriorityShape
from rules.policy import Matrix
from rules.words import shown

AXIS_MAX: Final = 10  # names on one side of the matrix


def matrix_of(shape: PriorityShape, root: Map, problems: list[Problem]) -> Matrix | None:
    """The matrix, or None and every mistake added to `problems`. `root`: the file's tree."""
    before = len(problems)
    for axis, names in (("impact", shape.impact), ("urgency", shape.urgency)):
        if not 1 <= len(names) <= AXIS_MAX:
            problems.append(at(find(root, ("priority", axis)), f"{axis}: 1 to {AXIS_MAX} names, not {len(names)}"))
        for index, name in enumerate(names):
            if name in names[:index]:
                problems.append(at(find(root, ("priority", axis, index)), f"{axis}: {shown(name)} is there twice"))
    if len(shape.matrix) != len(shape.impact):
        said = f"matrix: {len(shape.impact)} impacts need as many rows, not {len(shape.matrix)}"
        problems.append(at(find(root, ("priority", "matrix")), said))
    for index, row in enumerate(shape.matrix):
        if len(row) != len(shape.urgency):
            said = f"matrix: {len(shape.urgency)} urgencies need as many priorities in a row, not {len(row)}"
            problems.append(at(find(root, ("priority", "matrix", index)), said))
    if len(problems) > before:
        return None
    return Matrix(tuple(shape.impact), tuple(shape.urgency), tuple(map(tuple, shape.matrix)))
