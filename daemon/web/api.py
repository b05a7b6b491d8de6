"""`/api/v1`: reading tickets and answering them, and who is on call.

The one law: an answer is an event on the one path, and `decide` judges it; here only the token is held against `by`.
Reading goes through a reader's thread and never waits for the writer.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from daemon.auth import Need, Principal, Role
from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError
from daemon.web.body import Bodies
from daemon.web.errors import ProblemError, problem
from daemon.web.gate import Gate
from daemon.web.ports import Daemon
from daemon.web.requests import (
    ACTIONS,
    Holding,
    Opening,
    Prioritising,
    Resolving,
    body_of,
    breaches_of,
    filters_of,
    ticket_number,
)
from rules.commands import Answer, Denied, Done
from rules.events import Actor, OpenRequested, Refused, Responded
from rules.instants import Instant, format_instant
from rules.model import Breach, Series, Ticket, Window
from rules.policy import Policy
from rules.response.oncall import duties, duty_json, turn_json, who
from rules.tickets.view import breach_json, entry_json, ticket_id, ticket_now

BODY_BYTES_MAX: Final = 256 << 10
ALERTS_SHOWN: Final = 500  # of one ticket
ALERTS_LISTED: Final = 20  # of each ticket of a listing

Listed = tuple[list[dict[str, Any]], str | None]  # and the cursor of what follows


class Api:
    """The handlers."""

    def __init__(self, daemon: Daemon, bodies: Bodies) -> None:
        self._daemon = daemon
        self._bodies = bodies

    def routes(self, gate: Gate) -> list[web.RouteDef]:
        """Every path of the API, behind the gate."""
        read = [
            ("/api/v1/tickets", self.tickets),
            ("/api/v1/tickets/{ticket}", self.ticket),
            ("/api/v1/tickets/{ticket}/timeline", self.timeline),
            ("/api/v1/breaches", self.breaches),
            ("/api/v1/oncall", self.oncall),
        ]
        return [
            *(web.get(path, gate.needing(Need.READ, handler), allow_head=False) for path, handler in read),
            web.post("/api/v1/tickets", gate.needing(Need.RESPOND, self.open)),
            web.post(
                r"/api/v1/tickets/{ticket}/{action:(?!timeline$)[^{}/]+}", gate.needing(Need.RESPOND, self.respond)
            ),
        ]

    # ---- reading
    async def tickets(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """A page of tickets, newest first."""
        asked = filters_of(request)
        policy, now = self._daemon.policies.current, self._daemon.clock.now()

        def read(reader: Any) -> Listed:
            found, after = reader.tickets(
                status=asked.status,
                priority=asked.priority,
                rule=asked.rule,
                kind=asked.kind,
                labels=asked.label,
                q=asked.q,
                limit=asked.limit,
                cursor=asked.cursor,
            )
            return [ticket_now(policy, one, now, reader.alerts(one.id, ALERTS_LISTED)) for one in found], after

        tickets, after = await self._page(read)
        return reply({"tickets": tickets, "next": after})

    async def ticket(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """One ticket."""
        number = ticket_number(request)
        return reply(await self._shown(number))

    async def timeline(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """Everything that happened to one ticket, in order, with what its hash chain needs."""
        number = ticket_number(request)

        def read(reader: Any) -> dict[str, Any] | None:
            ticket = reader.ticket(number)
            if ticket is None:
                return None
            return {
                "ticket": ticket_id(number),
                "entries": ticket.entries,
                "head": ticket.head,
                "timeline": [entry_json(one) for one in reader.timeline(number)],
            }

        found = await self._daemon.read(read)
        if found is None:
            raise _no_ticket(number)
        return reply(found)

    async def breaches(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """A page of what was promised and not kept, and of the warnings before that, newest first."""
        asked = breaches_of(request)

        def read(reader: Any) -> Listed:
            found, after = reader.breaches_since(
                asked.since,
                ticket=asked.ticket,
                clock=asked.clock,
                share_min=asked.share,
                superseded=asked.superseded,
                limit=asked.limit,
                cursor=asked.cursor,
            )
            return [breach_json(one) for one in found], after

        breaches, after = await self._page(read)
        return reply({"breaches": breaches, "next": after})

    async def _page(self, read: Callable[[Any], Listed]) -> Listed:
        """Raises ProblemError (400) for a cursor that no listing gave."""
        try:
            return await self._daemon.read(read)
        except ValueError as error:
            raise ProblemError(400, "the query is not as it must be", [("cursor", str(error)[:200])]) from None

    async def oncall(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """Who is on call now, and who would be told when, if nobody answered."""
        policy, now = self._daemon.policies.current, self._daemon.clock.now()
        return reply(await asyncio.to_thread(oncall_json, policy, now))  # many schedules take a while

    # ---- answering
    async def open(self, request: web.Request, principal: Principal) -> web.Response:
        """Opens a ticket by hand. The header `Idempotency-Key` makes a repeat harmless."""
        asked = body_of(Opening, await self._bodies.read(request, BODY_BYTES_MAX))
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > 200:  # noqa: PLR2004 - as any name
            raise ProblemError(
                400, "the request is not as it must be", [("Idempotency-Key", "may have 200 characters")]
            )
        actor = actor_of(principal, asked.by)
        if isinstance(actor, str):
            raise ProblemError(403, actor)
        event = OpenRequested(
            actor=actor,
            title=asked.title,
            impact=asked.impact,
            urgency=asked.urgency,
            category=asked.category,
            description=asked.description,
            labels=asked.labels,
            request=f"{principal.name}/{key}" if key else "",
        )
        return await self._result(await self._daemon.ingest.submit(event), opened=True)

    async def respond(self, request: web.Request, principal: Principal) -> web.Response:
        """An answer to a ticket."""
        number = ticket_number(request)
        action = request.match_info["action"]
        model = ACTIONS.get(action)
        if model is None:
            raise ProblemError(404, f"there is no action {action[:40]!r}: it is one of {', '.join(ACTIONS)}")
        asked = body_of(model, await self._bodies.read(request, BODY_BYTES_MAX))
        if isinstance(asked, Prioritising) and asked.impact is None and asked.urgency is None:
            raise ProblemError(400, "the body is not as it must be", [("impact", "give impact, urgency or both")])
        actor = actor_of(principal, asked.by)
        if isinstance(actor, str):
            await self._daemon.ingest.submit(Refused(number, action, f"token:{principal.name}", actor))
            raise ProblemError(403, actor)
        event = Responded(
            ticket=number,
            action=action,
            actor=actor,
            note=asked.note,
            generation=asked.generation,
            until=asked.instant if isinstance(asked, Holding) else None,
            impact=asked.impact if isinstance(asked, Prioritising) else None,
            urgency=asked.urgency if isinstance(asked, Prioritising) else None,
            force=isinstance(asked, Resolving) and asked.force,
        )
        return await self._result(await self._daemon.ingest.submit(event))

    async def _result(self, answer: Answer, *, opened: bool = False) -> web.Response:
        match answer:
            case Done(ticket=ticket, changed=changed, note=note):
                try:
                    shown = await self._shown(ticket.id)
                except (BusyError, StoreUnavailableError):  # it is done, whether or not it can be read now
                    shown = self._now(ticket, (), ())
                shown |= {"changed": changed, "note": note}
                if opened and changed:
                    return reply(shown, status=201, headers={"Location": f"/api/v1/tickets/{ticket_id(ticket.id)}"})
                return reply(shown)
            case Denied(status=status, reason=reason, field=field):
                return problem(status, reason, [(field, reason)] if field else ())
            case _:
                raise TypeError(f"an answer to a person cannot be {type(answer).__name__}")

    async def _shown(self, number: int) -> dict[str, Any]:
        def read(reader: Any) -> dict[str, Any] | None:
            ticket = reader.ticket(number)
            if ticket is None:
                return None
            return self._now(ticket, reader.alerts(number, ALERTS_SHOWN), reader.breaches(number))

        found = await self._daemon.read(read)
        if found is None:
            raise _no_ticket(number)
        return found

    def _now(self, ticket: Ticket, alerts: Iterable[Series | Window], breaches: Iterable[Breach]) -> dict[str, Any]:
        shown = ticket_now(self._daemon.policies.current, ticket, self._daemon.clock.now(), alerts)
        return shown | {"breaches": [breach_json(one) for one in breaches]}


def actor_of(principal: Principal, by: str | None) -> Actor | str:
    """Who acts; or, as a sentence, why this token may not act as `by`. Raises ProblemError (400) when nobody acts."""
    if principal.role is Role.RESPONDER and principal.contact is not None:
        if by is not None and by != principal.contact:
            return f"the token {principal.name} answers for {principal.contact}, not for {by}"
        return Actor(principal.contact)
    if by is None:
        raise ProblemError(400, "the body is not as it must be", [("by", "is required: the contact who acts")])
    return Actor(by) if principal.anonymous else Actor(by, operator=principal.name)


def _no_ticket(number: int) -> ProblemError:
    return ProblemError(404, f"there is no ticket {ticket_id(number)}")


def reply(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON."""
    return web.Response(
        status=status, body=json.dumps(value).encode(), content_type="application/json", headers=headers
    )


# ---- on call, as JSON
def oncall_json(policy: Policy, at: Instant) -> dict[str, Any]:
    """Who is on call at an instant, and who would be told by an escalation that starts then."""
    return {
        "at": format_instant(at),
        "schedules": [duty_json(one) for one in duties(policy, at)],
        "oncall": [turn_json(one) for one in who(policy, at)],
    }
