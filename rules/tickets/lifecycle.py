"""How a ticket's status moves: a table, and nothing but the table.

The one law: every pair of status and action has its answer here: a new status, `SAME` (already in force, harmless) or
a sentence saying why not. Monitoring's own moves (recovered, refired …) are rows like those of people.
"""

from typing import Final

from rules.model import Status

SAME: Final = "same"

_OPEN, _ACK, _HOLD = Status.OPEN, Status.ACKNOWLEDGED, Status.ON_HOLD
_RESOLVED, _CLOSED = Status.RESOLVED, Status.CLOSED

# What people may ask for. `comment`, `escalate` and `priority` leave the status to their own rules.
ACTIONS: Final = (
    "acknowledge", "hold", "release", "resolve", "close", "reopen", "comment", "escalate", "priority",
)  # fmt: skip

# Answering a ticket ends its escalation; the others do not.
ANSWERS: Final = frozenset({"acknowledge", "hold", "resolve", "close"})

# The authority an action needs, where it is not the action's own name.
AUTHORITY: Final = {"release": "hold"}

_OVER: Final = "it is over: reopen it first"

MOVES: Final[dict[tuple[Status, str], Status | str]] = {
    (_OPEN, "acknowledge"): _ACK,
    (_ACK, "acknowledge"): SAME,
    (_HOLD, "acknowledge"): _ACK,
    (_RESOLVED, "acknowledge"): "it is resolved: there is nothing to acknowledge",
    (_CLOSED, "acknowledge"): "it is closed: there is nothing to acknowledge",
    (_OPEN, "hold"): _HOLD,
    (_ACK, "hold"): _HOLD,
    (_HOLD, "hold"): _HOLD,
    (_RESOLVED, "hold"): _OVER,
    (_CLOSED, "hold"): _OVER,
    (_OPEN, "release"): SAME,
    (_ACK, "release"): SAME,
    (_HOLD, "release"): _OPEN,  # or acknowledged, as it was before the hold
    (_RESOLVED, "release"): _OVER,
    (_CLOSED, "release"): _OVER,
    (_OPEN, "resolve"): _RESOLVED,
    (_ACK, "resolve"): _RESOLVED,
    (_HOLD, "resolve"): _RESOLVED,
    (_RESOLVED, "resolve"): SAME,
    (_CLOSED, "resolve"): SAME,
    (_OPEN, "close"): "resolve it first",
    (_ACK, "close"): "resolve it first",
    (_HOLD, "close"): "resolve it first",
    (_RESOLVED, "close"): _CLOSED,
    (_CLOSED, "close"): SAME,
    (_OPEN, "reopen"): SAME,
    (_ACK, "reopen"): SAME,
    (_HOLD, "reopen"): SAME,
    (_RESOLVED, "reopen"): _OPEN,
    (_CLOSED, "reopen"): _OPEN,
    (_OPEN, "escalate"): _OPEN,
    (_ACK, "escalate"): _OPEN,
    (_HOLD, "escalate"): _OPEN,
    (_RESOLVED, "escalate"): _OVER,
    (_CLOSED, "escalate"): _OVER,
    (_OPEN, "priority"): _OPEN,
    (_ACK, "priority"): _ACK,
    (_HOLD, "priority"): _HOLD,
    (_RESOLVED, "priority"): _OVER,
    (_CLOSED, "priority"): _OVER,
    (_OPEN, "comment"): _OPEN,
    (_ACK, "comment"): _ACK,
    (_HOLD, "comment"): _HOLD,
    (_RESOLVED, "comment"): _RESOLVED,
    (_CLOSED, "comment"): _CLOSED,
    # monitoring and time
    (_OPEN, "recovered"): _RESOLVED,
    (_ACK, "recovered"): _RESOLVED,
    (_HOLD, "recovered"): _RESOLVED,
    (_RESOLVED, "recovered"): SAME,
    (_CLOSED, "recovered"): SAME,
    (_OPEN, "refired"): SAME,
    (_ACK, "refired"): SAME,
    (_HOLD, "refired"): SAME,
    (_RESOLVED, "refired"): _OPEN,
    (_CLOSED, "refired"): "it is closed: a successor opens",
    (_OPEN, "expired"): SAME,
    (_ACK, "expired"): _OPEN,  # acknowledged and then forgotten
    (_HOLD, "expired"): SAME,
    (_RESOLVED, "expired"): SAME,
    (_CLOSED, "expired"): SAME,
    (_OPEN, "lapsed"): SAME,  # the time to reopen it has passed
    (_ACK, "lapsed"): SAME,
    (_HOLD, "lapsed"): SAME,
    (_RESOLVED, "lapsed"): _CLOSED,
    (_CLOSED, "lapsed"): SAME,
}


def move(status: Status, action: str) -> Status | str:
    """The new status, SAME, or the reason why not. Raises KeyError for an action that does not exist."""
    return MOVES[status, action]
