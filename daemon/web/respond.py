"""`/respond/{token}`: the page behind a one-click link.

The one law: GET shows and only POST acts, since mail scanners open links; the token is the proof, and what it may do is
judged by `decide` at the moment of acting. A token that proves nothing learns nothing.
"""

from typing import Any, Final
from urllib.parse import parse_qs

from aiohttp import web

from daemon.ingest import BusyError
from daemon.links import EXPIRED, UNKNOWN_KEY, BadLinkError, Claim
from daemon.web.body import Bodies
from daemon.web.errors import Handler, ProblemError, failed
from daemon.web.pages import HEADERS, render
from daemon.web.ports import Daemon
from daemon.web.sayings import ACTIONS, Sayings
from rules.commands import Denied, Done
from rules.events import Actor, Refused, Responded
from rules.model import Ticket
from rules.policy import Contact
from rules.response import sla
from rules.tickets.view import ticket_json

FORM_BYTES_MAX: Final = 32 << 10
NOTE_CHARS_MAX: Final = 2_000


class Respond:
    """The handlers."""

    def __init__(self, daemon: Daemon, bodies: Bodies) -> None:
        self._daemon = daemon
        self._bodies = bodies

    def routes(self) -> list[web.RouteDef]:
        """One path, three methods."""
        path = "/respond/{token}"
        return [
            web.get(path, self._safe(self.show), allow_head=False),
            web.head(path, self._safe(self.head)),
            web.post(path, self._safe(self.act)),
        ]

    def _safe(self, handler: Handler) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except BadLinkError as error:
                return _invalid(error)
            except Exception as error:  # noqa: BLE001 - the last door: people get a page, the log gets the cause
                answer = failed(request, error, self._daemon.clock)
                said = str(error) if isinstance(error, ProblemError) else "This could not be done just now. Try again."
                if isinstance(error, BusyError):
                    said = f"This could not be done just now ({error.reason}). Try again."
                page = _page(answer.status, "Try again" if answer.status == 503 else "Refused", said=said)  # noqa: PLR2004
                if "Retry-After" in answer.headers:
                    page.headers["Retry-After"] = answer.headers["Retry-After"]
                return page

        return serve

    async def head(self, request: web.Request) -> web.Response:  # noqa: ARG002 - a handler's shape
        """Says nothing, looks at nothing."""
        return web.Response(headers=HEADERS, content_type="text/html", charset="utf-8")

    async def show(self, request: web.Request) -> web.Response:
        """The ticket as it is now, and a button where pressing it could do something."""
        claim = self._claim(request)
        ticket = await self._ticket(claim.ticket)
        if ticket is None:
            return _page(404, "There is no such ticket", said=f"T-{claim.ticket} does not exist.")
        sayings = self._sayings(claim)
        why_not = sayings.pointless(claim, ticket)
        button = "" if why_not else sayings.button(claim.action)
        return self._ticket_page(200, claim, ticket, why_not or "", button=button)

    async def act(self, request: web.Request) -> web.Response:
        """Does what the link says, and shows what came of it."""
        try:
            claim = self._claim(request)
        except BadLinkError as error:
            if error.claim is not None:  # it was ours once: the ticket's people may know that somebody tried
                old = error.claim
                await self._daemon.ingest.submit(
                    Refused(old.ticket, old.action, f"contact:{old.contact}", "the link has expired")
                )
            raise
        note = await self._note(request)
        answer = await self._daemon.ingest.submit(
            Responded(
                ticket=claim.ticket,
                action=claim.action,
                actor=Actor(claim.contact, via="link"),
                note=note,
                generation=claim.generation,
            )
        )
        match answer:
            case Done(ticket=ticket, changed=changed, note=note):
                sayings = self._sayings(claim)
                said = None if changed else sayings.pointless(claim, ticket)
                said = said or sayings.done(claim.action, ticket, changed=changed, note=note)
                return self._ticket_page(200, claim, ticket, said)
            case Denied(status=status, reason=reason):
                return await self._denied(claim, status, reason)
            case _:
                raise TypeError(f"an answer to a person cannot be {type(answer).__name__}")

    async def _denied(self, claim: Claim, status: int, reason: str) -> web.Response:
        if status != 409:  # noqa: PLR2004 - whoever is refused for who they are is shown nothing more
            return _page(status, "Refused", said=f"{reason[:1].upper()}{reason[1:]}.")
        ticket = await self._ticket(claim.ticket)
        if ticket is None:
            return _page(status, "Refused", said=f"{reason}.")
        return self._ticket_page(status, claim, ticket, self._sayings(claim).words.not_done.format(why=reason))

    def _claim(self, request: web.Request) -> Claim:
        claim = self._daemon.links.read(request.match_info["token"], self._daemon.clock.now())
        if claim.action not in ACTIONS:
            raise ProblemError(404, f"A link cannot {claim.action[:40]}.")
        return claim

    async def _ticket(self, number: int) -> Ticket | None:
        def read(reader: Any) -> Ticket | None:
            found: Ticket | None = reader.ticket(number)
            return found

        return await self._daemon.read(read)

    async def _note(self, request: web.Request) -> str:
        data = await self._bodies.read(request, FORM_BYTES_MAX)
        try:
            form = parse_qs(data.decode("utf-8", "replace"), max_num_fields=10)
        except ValueError:
            return ""
        return form.get("note", [""])[0].replace("\0", "").strip()[:NOTE_CHARS_MAX]

    def _ticket_page(self, status: int, claim: Claim, ticket: Ticket, said: str, *, button: str = "") -> web.Response:
        policy, contact, sayings = self._daemon.policies.current, self._contact(claim), self._sayings(claim)
        clocks = sla.judge(policy, policy.rule(ticket.rule), ticket, self._daemon.clock.now())
        return _page(
            status,
            f"T-{ticket.id}: {sayings.button(claim.action)}",
            said=said,
            ticket=ticket_json(ticket, clocks=clocks),
            state=sayings.state(ticket),
            facts=sayings.facts(ticket, clocks),
            button=button,
            person=(contact.name if contact else "") or claim.contact,
            words=sayings.words,
        )

    def _contact(self, claim: Claim) -> Contact | None:
        return self._daemon.policies.current.contacts.get(claim.contact)

    def _sayings(self, claim: Claim) -> Sayings:
        return Sayings(self._contact(claim))


def _invalid(error: BadLinkError) -> web.Response:
    if error.reason == EXPIRED:
        return _page(410, "This link has expired", said="Use the link in a newer message, or answer through the API.")
    if error.reason == UNKNOWN_KEY:
        return _page(
            404, "This link is not valid", said="Its key is no longer in use. Use the link in a newer message."
        )
    return _page(404, "This link is not valid", said="Was it copied whole? Use the link in the message itself.")


def _page(status: int, heading: str, **parts: Any) -> web.Response:
    text = render(heading, **parts)
    return web.Response(status=status, text=text, content_type="text/html", headers=HEADERS)
