"""`GET /api/openapi.json`: the API described, from the models that read it.

The one law: every path that is served is described and nothing else; a test compares the two.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from connectors.base import Source
from daemon.auth import Need, Principal
from daemon.web.called import KEY, KEY_PART, served
from daemon.web.gate import Gate
from daemon.web.ports import Daemon
from daemon.web.requests import ACTIONS, LIMIT_MAX, SHARE_MAX, Opening
from daemon.web.shapes import (
    ACCEPTED,
    BREACHES,
    EXPLANATION,
    FREE,
    POLICY,
    PROBLEM,
    TICKET,
    TICKETS,
    TIMELINE,
)
from rules.model import PRIORITIES, Status
from rules.response.clocks import CLOCKS

OPENAPI: Final = "3.1.0"
_REF: Final = "#/components/schemas/{model}"
_TICKET_PARAMETER: Final = {
    "name": "ticket", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[Tt]-[0-9]{1,18}$"},
}  # fmt: skip
_FILTERS: Final = (
    ("status", {"type": "array", "items": {"enum": [str(one) for one in Status]}}, "May be repeated."),
    ("priority", {"type": "array", "items": {"enum": list(PRIORITIES)}}, "May be repeated."),
    ("rule", {"type": "string", "maxLength": 1_000}, "The id of a rule."),
    ("kind", {"type": "string", "maxLength": 1_000}, "Such as incident."),
    ("label", {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}}, "name=value; may be repeated."),
    ("q", {"type": "string", "maxLength": 1_000}, "Looked for in titles."),
    ("limit", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}, "At most so many."),
    ("cursor", {"type": "string", "maxLength": 1_000}, "`next` of the page before."),
)
_BREACH_FILTERS: Final = (
    ("ticket", {"type": "string", "pattern": "^([Tt]-)?[0-9]{1,18}$"}, "Of this ticket."),
    ("clock", {"enum": list(CLOCKS)}, "Of this clock."),
    ("since", {"type": "string", "format": "date-time"}, "Observed then or later."),
    (
        "share",
        {"type": "integer", "minimum": 1, "maximum": SHARE_MAX},
        "From so many percent; 100 leaves warnings out.",
    ),
    ("superseded", {"type": "boolean"}, "false leaves out what a later judgement has superseded."),
    ("limit", {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}, "At most so many."),
    ("cursor", {"type": "string", "maxLength": 1_000}, "`next` of the page before."),
)


def description(daemon: Daemon, version: str) -> dict[str, Any]:
    """The whole document."""
    models: list[type[BaseModel]] = list(dict.fromkeys([*ACTIONS.values(), Opening]))
    _, schemas = models_json_schema([(one, "validation") for one in models], ref_template=_REF)
    for schema in schemas["$defs"].values():  # a responder's token may leave `by` out; everybody else must give it
        given = next(one for one in schema["properties"]["by"]["anyOf"] if one["type"] == "string")
        schema["properties"]["by"] = {**given, "description": schema["properties"]["by"]["description"]}
        schema["required"] = ["by", *schema.get("required", ())]
    return {
        "openapi": OPENAPI,
        "info": {"title": "ticketd", "version": version, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "security": [{"bearer": []}, {"basic": []}, {}],
        "paths": {**_signals(daemon), **_tickets(), **_others()},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
            "schemas": {**schemas["$defs"], "Problem": PROBLEM, "Ticket": TICKET},
        },
    }


def _signals(daemon: Daemon) -> dict[str, Any]:
    return {
        path: {
            **_parts(kind, path),
            **{method.lower(): _signal(name, kind, path, method) for method in kind.methods},
        }
        for name, kind in daemon.kinds.sources.items()
        for path in served(kind)
    }


def _signal(name: str, kind: type[Source], path: str, method: str) -> dict[str, Any]:
    paths = served(kind)
    number = f"_{paths.index(path) + 1}" if len(paths) > 1 else ""
    method_id = f"_{method.lower()}" if len(kind.methods) > 1 else ""
    called = "{" in kind.path
    operation: dict[str, Any] = {
        "summary": kind.summary if called else f"{kind.summary} from {name}",
        "operationId": f"signal_{name}{number}{method_id}",
        "responses": _responses(200, "Taken, after the commit.", ACCEPTED, 400, 401, 403, *([404] * called), 413, 503),
    }
    asked = [one for one in kind.parts if all(f"{{{one}}}" not in path for path in paths)]
    if asked:
        operation["parameters"] = [{"name": one, "in": "query", "schema": kind.parts[one]} for one in asked]
    if kind.example:
        content = {"application/json": _example(kind)}
        operation["requestBody"] = {"required": True, "content": content}
    elif method == "POST":
        operation["requestBody"] = {"content": {"*/*": {"schema": {}}}}
    return operation


def _parts(kind: type[Source], path: str) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", path)
    schemas = {KEY_PART.strip("{}"): {"type": "string", "pattern": f"^{KEY}."}, **kind.parts}
    parts = [{"name": one, "in": "path", "required": True, "schema": schemas[one]} for one in names]
    return {"parameters": parts} if parts else {}


def _example(kind: type[Source]) -> dict[str, Any]:
    """A source's own example and schema."""
    try:
        return {"schema": dict(kind.schema), "example": json.loads(kind.example)}
    except ValueError:
        return {"schema": dict(kind.schema)}


def _tickets() -> dict[str, Any]:
    ticket = {"$ref": "#/components/schemas/Ticket"}
    answers = {
        f"/api/v1/tickets/{{ticket}}/{action}": {
            "parameters": [_TICKET_PARAMETER],
            "post": {
                "summary": f"{action.capitalize()} a ticket",
                "operationId": f"{action}_ticket",
                "requestBody": _json(model),
                "responses": _responses(200, "The ticket as it is now.", ticket, 400, 401, 403, 404, 409, 413, 503),
            },
        }
        for action, model in ACTIONS.items()
    }
    listing = {
        "summary": "Tickets, newest first",
        "operationId": "list_tickets",
        "parameters": _query(_FILTERS),
        "responses": _responses(200, "A page.", TICKETS, 400, 401, 403, 503),
    }
    opening = {
        "summary": "Open a ticket by hand",
        "operationId": "open_ticket",
        "parameters": [{"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 200}}],
        "requestBody": _json(Opening),
        "responses": {
            **_responses(201, "Opened.", ticket, 400, 401, 403, 413, 503),
            **_responses(200, "Was opened for this key already.", ticket),
        },
    }
    return {
        "/api/v1/tickets": {"get": listing, "post": opening},
        "/api/v1/tickets/{ticket}": {
            "parameters": [_TICKET_PARAMETER],
            "get": _get("One ticket", "show_ticket", ticket, 404),
        },
        "/api/v1/tickets/{ticket}/timeline": {
            "parameters": [_TICKET_PARAMETER],
            "get": _get("Everything that happened to a ticket, in order", "show_timeline", TIMELINE, 404),
        },
        "/api/v1/breaches": {
            "get": {
                **_get("What was promised and not kept, and the warnings before, newest first", "list_breaches",
                       BREACHES, 400),
                "parameters": _query(_BREACH_FILTERS),
            },
        },
        **answers,
    }  # fmt: skip


def _others() -> dict[str, Any]:
    link = [{"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}]
    page = {"description": "A page for people.", "content": {"text/html": {"schema": {"type": "string"}}}}
    pages = dict.fromkeys(("200", "403", "404", "409", "410", "413", "503"), page)
    called = [{"name": one, "in": "path", "required": True, "schema": {"type": "string"}} for one in ("kind", "name")]
    heard = {"200": {"description": "Heard; in the provider's own form."}, **_problems(400, 403, 404, 413, 503)}
    healthy = {"security": [{}], "responses": _responses(200, "Yes.", FREE, 503)}
    reload = _responses(200, "The new policy is in force.", FREE, 401, 403, 422, 503)
    text = {"200": {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    return {
        "/api/v1/rules": {"get": _get("The policy in force", "show_rules", POLICY)},
        "/api/v1/rules/{rule}/explain": {
            "parameters": [{"name": "rule", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {
                **_get(
                    "Why an instance of a rule is in its state, gate by gate", "explain_rule", EXPLANATION, 400, 404
                ),
                "parameters": _query(one for one in _FILTERS if one[0] == "label"),
            },
        },
        "/api/v1/oncall": {"get": _get("Who is told, by policy and step", "show_oncall", FREE)},
        "/api/openapi.json": {"get": _get("This description", "show_description", FREE)},
        "/respond/{token}": {
            "parameters": link,
            "get": {
                "summary": "What a link would do",
                "operationId": "show_link",
                "security": [{}],
                "responses": pages,
            },
            "head": {"operationId": "head_link", "security": [{}], "responses": {"200": {"description": "Nothing."}}},
            "post": {"summary": "Do it", "operationId": "act_on_link", "security": [{}], "responses": pages},
        },
        "/callbacks/{kind}/{name}": {
            "parameters": called,
            "post": {
                "summary": "What a channel's provider tells: signed by it, and in its own form",
                "operationId": "hear",
                "security": [{}],
                "requestBody": {"content": {"*/*": {"schema": {}}}},
                "responses": heard,
            },
        },
        "/metrics": {
            "get": {"summary": "Metrics", "operationId": "metrics", "responses": {**text, **_problems(401, 403, 503)}}
        },
        "/-/healthy": {"get": {"summary": "Does it run?", "operationId": "healthy", **healthy}},
        "/-/ready": {"get": {"summary": "Can promises be kept now?", "operationId": "ready", **healthy}},
        "/-/reload": {"post": {"summary": "Load the policy again", "operationId": "reload", "responses": reload}},
    }


def _query(asked: Iterable[tuple[str, dict[str, Any], str]]) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "schema": schema, "description": text} for name, schema, text in asked]


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}},
    }


def _get(summary: str, name: str, schema: dict[str, Any], *statuses: int) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": name,
        "responses": _responses(200, "As asked.", schema, 401, 403, *statuses, 503),
    }


def _responses(status: int, text: str, schema: dict[str, Any], *refusals: int) -> dict[str, Any]:
    done = {"description": text, "content": {"application/json": {"schema": schema}}}
    return {str(status): done, **_problems(*refusals)}


def _problems(*statuses: int) -> dict[str, Any]:
    refused = {
        "description": "Refused; the detail says why.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    return {str(one): refused for one in statuses}


class Description:
    """The handler: the document is made once."""

    def __init__(self, daemon: Daemon, version: str) -> None:
        self._text = json.dumps(description(daemon, version)).encode()

    def routes(self, gate: Gate) -> Iterable[web.RouteDef]:
        """One path, for readers."""
        return [web.get("/api/openapi.json", gate.needing(Need.READ, self.show), allow_head=True)]

    async def show(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """The document."""
        return web.Response(body=self._text, content_type="application/json")
