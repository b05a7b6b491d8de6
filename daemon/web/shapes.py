"""The shapes of answers, as the API's description shows them.

The one law: they say what `rules.tickets.view` and the handlers make; tests hold answers against them.
"""

from typing import Any, Final

from rules.model import PRIORITIES, Phase, Status
from rules.response.clocks import CLOCKS

Shape = dict[str, Any]

TIME: Final[Shape] = {"type": ["string", "null"], "format": "date-time"}
STRINGS: Final[Shape] = {"type": "object", "additionalProperties": {"type": "string"}}

PROBLEM: Final[Shape] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "reason"],
                "properties": {"path": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
        "more": {"type": "integer"},
    },
}
_COUNT: Final[Shape] = {"type": "integer", "minimum": 0}
_MAYBE: Final[Shape] = {"type": ["boolean", "null"]}
ESCALATION: Final[Shape] = {
    "type": ["object", "null"],
    "required": ["policy", "run", "round", "step", "running", "next_at", "notified"],
    "properties": {
        "policy": {"type": "string"},
        "plan": {"type": ["string", "null"], "description": "The text of the policy that the run goes by."},
        "pinned": {**_MAYBE, "description": "The policy reads otherwise by now."},
        "run": _COUNT,
        "round": _COUNT,
        "step": {"oneOf": [_COUNT, {"const": "last_resort"}]},
        "running": {"type": "boolean"},
        "paused": {"type": "boolean", "description": "Until what the ticket depends on has recovered."},
        "waiting": {"type": "boolean", "description": "For opening hours: this step is not told yet."},
        "since": TIME,
        "next_at": TIME,
        "acknowledgers": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Who has acknowledged, while the step wants more of them.",
        },
        "notified": {"type": "array", "items": STRINGS},
    },
}
CLOCK: Final[Shape] = {
    "type": ["object", "null"],
    "description": "null: nothing is promised.",
    "required": ["state", "due_at", "allowed", "used", "left", "stretches"],
    "properties": {
        "state": {"enum": ["running", "paused", "met", "breached"]},
        "due_at": {**TIME, "description": "If nothing changes; null while the clock stands still."},
        "allowed": {"type": "string", "description": "Such as 4h30m."},
        "working": {"type": "boolean", "description": "Counted in the calendar's open hours only."},
        "used": {"type": "string"},
        "left": {"type": "string", "description": "Below zero: overrun."},
        "passed": {"type": "array", "items": {"type": "object"}, "description": "Shares in percent, and since when."},
        "stretches": {
            "type": "array",
            "items": {"type": "object"},
            "description": "When it ran or stood still, and why.",
        },
    },
}
SLA: Final[Shape] = {
    "type": ["object", "null"],
    "description": "What was promised, as it stands now; null: nothing.",
    "required": ["id", *CLOCKS],
    "properties": {"id": {"type": "string"}, **dict.fromkeys(CLOCKS, CLOCK)},
}
BREACH: Final[Shape] = {
    "type": "object",
    "required": ["ticket", "clock", "share", "priority", "sla", "due_at", "observed_at", "overrun", "cause"],
    "properties": {
        "ticket": {"type": "string", "pattern": "^T-[0-9]+$"},
        "clock": {"enum": list(CLOCKS)},
        "share": {"type": "integer", "minimum": 1, "description": "Percent; below 100 it is a warning."},
        "priority": {"enum": list(PRIORITIES)},
        "sla": {"type": "string"},
        "version": {"type": "string", "description": "Of the target: another target is judged anew."},
        "due_at": {"type": "string", "format": "date-time"},
        "observed_at": {"type": "string", "format": "date-time"},
        "overrun": {"type": "string"},
        "cause": {"type": "string"},
        "superseded_at": TIME,
        "superseded_by": {"type": ["string", "null"]},
    },
}
BREACHES: Final[Shape] = {
    "type": "object",
    "required": ["breaches", "next"],
    "properties": {"breaches": {"type": "array", "items": BREACH}, "next": {"type": ["string", "null"]}},
}
TICKET: Final[Shape] = {
    "type": "object",
    "required": ["id", "kind", "status", "generation", "priority", "title", "labels", "alerts", "opened_at"],
    "properties": {
        "id": {"type": "string", "pattern": "^T-[0-9]+$"},
        "kind": {"type": "string"},
        "category": {"type": "string"},
        "status": {"enum": [str(one) for one in Status]},
        "generation": {"type": "integer", "minimum": 1},
        "held_until": TIME,
        "priority": {"enum": list(PRIORITIES)},
        "impact": {"type": "string"},
        "urgency": {"type": "string"},
        "title": {"type": "string"},
        "description": {"type": "string"},
        "rule": {"type": "string"},
        "key": {"type": "string"},
        "labels": STRINGS,
        "alerts": {"type": "array", "items": {"type": "object"}},
        "opened_at": {"type": "string", "format": "date-time"},
        "opened_by": {"type": ["string", "null"]},
        "acknowledged_at": TIME,
        "acknowledged_by": {"type": ["string", "null"]},
        "resolved_at": TIME,
        "resolved_by": {"type": ["string", "null"]},
        "closed_at": TIME,
        "reopened": {"type": "integer", "minimum": 0},
        "escalation": ESCALATION,
        "sla": SLA,
        "breaches": {"type": "array", "items": BREACH, "description": "Of one ticket; a listing leaves them out."},
        "links": {"type": "object"},
        "timeline": {"type": "object"},
    },
}
TICKETS: Final[Shape] = {
    "type": "object",
    "required": ["tickets", "next"],
    "properties": {
        "tickets": {"type": "array", "items": {"$ref": "#/components/schemas/Ticket"}},
        "next": {"type": ["string", "null"]},
    },
}
TIMELINE: Final[Shape] = {
    "type": "object",
    "required": ["ticket", "entries", "head", "timeline"],
    "properties": {
        "ticket": {"type": "string"},
        "entries": {"type": "integer"},
        "head": {"type": "string"},
        "timeline": {"type": "array", "items": {"type": "object"}},
    },
}
ACCEPTED: Final[Shape] = {
    "type": "object",
    "required": ["accepted", "tickets"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0},
        "tickets": {"type": "array", "items": {"type": "string"}},
        "refused": {"type": "array", "items": {"type": "object"}},
    },
}
RULE: Final[Shape] = {
    "type": "object",
    "required": ["id", "source", "mode", "match", "condition", "instances"],
    "properties": {
        "id": {"type": "string"},
        "source": {"type": ["string", "null"]},
        "mode": {"enum": ["live", "shadow"]},
        "match": {"type": "array", "items": {"type": "string"}},
        "condition": {"type": ["string", "null"], "description": "The kind; null where alerts are judged."},
        "when": {"type": "object", "description": "With what belongs to it: clear, fire, recover, overrides."},
        "instances": {
            "type": ["object", "null"],
            "propertyNames": {"enum": [str(one) for one in Phase]},
            "additionalProperties": {"type": "integer", "minimum": 1},
            "description": "How many are in which state; null while the store cannot say.",
        },
    },
}
POLICY: Final[Shape] = {
    "type": "object",
    "required": ["version", "loaded_at", "rules", "catch_all"],
    "properties": {
        "version": {"type": "string"},
        "loaded_at": {"type": "string", "format": "date-time"},
        "rules": {"type": "array", "items": RULE},
        "catch_all": {"oneOf": [RULE, {"type": "null"}]},
    },
}
GATE: Final[Shape] = {
    "type": "object",
    "required": ["name", "value", "wanted", "holds", "note", "series"],
    "properties": {
        **{name: {"type": "string"} for name in ("name", "value", "wanted", "note", "series")},
        "holds": {"type": ["boolean", "null"]},
    },
}
EXPLANATION: Final[Shape] = {
    "type": "object",
    "required": ["rule", "labels", "key", "state", "ticket", "because", "gates", "others"],
    "properties": {
        "rule": {"type": "string"},
        "labels": STRINGS,
        "key": {"type": "string"},
        "state": {"enum": [str(one) for one in Phase]},
        "ticket": {"type": ["string", "null"]},
        "ticket_status": {"type": ["string", "null"]},
        "because": {"type": "string"},
        "gates": {"type": "array", "items": GATE},
        "others": {"type": "array", "items": STRINGS},
    },
}
FREE: Final[Shape] = {"type": "object"}
