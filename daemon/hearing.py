"""What comes back by a channel: which message it answers, who says it, and what becomes of it.

The one law: without the message's own token nothing is acted on, and who speaks is a contact of the policy or nobody.
A stranger changes nothing and learns nothing: what they get to read is the same whether the token was right or not.
What a known person may do is judged by `decide`, at the moment of acting.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import structlog

from connectors import letters
from connectors.base import Heard, Told
from daemon.batch import PolicyInForce, QuarantinedError
from daemon.clock import Clock
from daemon.metrics import Metrics
from daemon.tokens import ANSWER_WITHIN, Tokens
from rules.commands import Answer, Denied, Done
from rules.events import Actor, Confirmed, Event, Refused, Responded
from rules.instants import format_instant
from rules.model import Delivery, Status, Ticket
from rules.policy import Contact
from rules.words import on_a_line

REASON_CHARS_MAX: Final = 300  # of what a provider says of a message
T = TypeVar("T")

NOTE_CHARS_MAX: Final = 10_000
NOTHING: Final = "Nothing was changed."  # what strangers are told, and whoever brings no token of ours
BROKEN: Final = "Nothing was changed: something failed inside, and the log tells more."
UNKNOWN_SENDER: Final = "unknown sender"
SEVERAL: Final = "the sender's address belongs to several contacts"
OTHER_ADDRESS: Final = "the reply came from another address: was the message forwarded?"
AUTOMATIC: Final = "an automatic reply never answers"
TOO_OLD: Final = "the token has expired"

_log = structlog.get_logger("daemon.hearing")


class Reads(Protocol):
    """`daemon.app.Daemon.read`."""

    def __call__(self, read: Callable[[Any], T]) -> Awaitable[T]:
        """`read(reader)`. Raises BusyError when too many wait."""
        ...


class Hearing:
    """Judges what was heard, and puts it on the one path."""

    def __init__(
        self,
        policies: PolicyInForce,
        tokens: Tokens,
        submit: Callable[[Event], Awaitable[Answer]],
        read: Reads,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`submit` and `read`: of the ingest and of the daemon."""
        self._policies = policies
        self._tokens = tokens
        self._submit = submit
        self._read = read
        self._clock = clock
        self._metrics = metrics

    async def heard(self, kind: str, heard: Heard) -> str:
        """The sentence to show to whoever said it. `kind`: the notifier's that brought it.

        Raises BusyError or StoreUnavailableError: then it may be said again, and nothing is done twice.
        """
        delivery = await self._delivery(kind, heard.token, whole=not heard.proven)
        if delivery is None:
            return self._came(kind, "unknown", NOTHING)
        contact, why_not = self._who(kind, heard, delivery)
        if contact is None or why_not:
            return await self._refuse(kind, heard, delivery, contact, why_not)
        generation = None if heard.action == "comment" else delivery.generation
        note = heard.note.replace("\0", "").encode(errors="replace").decode()[:NOTE_CHARS_MAX]
        said = Responded(delivery.ticket, heard.action, Actor(contact, via=kind), note, generation)
        try:
            answer = await self._submit(said)
        except QuarantinedError:  # the ingest has logged it and raised an alert; said again it would fail again
            return self._came(kind, "refused", BROKEN)
        return await self._judge(kind, said, answer)

    async def told(self, kind: str, told: Told) -> None:
        """A provider's later word on a message goes on the record. Raises as `heard` does."""
        delivery = await self._delivery(kind, told.token, whole=True)
        if delivery is not None:
            await self._submit(Confirmed(delivery.key, told.outcome, on_a_line(told.reason, REASON_CHARS_MAX)))

    # ---- which message
    async def _delivery(self, kind: str, token: str, *, whole: bool) -> Delivery | None:
        """The delivery that the token is of. `whole`: the beginning of one will not do, as the sender is unproven."""
        number = self._tokens.ticket_of(token)
        if number is None:
            _log.info("what came back has no token of ours", channel=kind)
            return None
        if whole and not self._tokens.is_whole(token):
            _log.warning("a token came back cut short, from an unproven sender", channel=kind, ticket=number)
            return None

        def find(reader: Any) -> Delivery | None:
            return self._tokens.find(token, reader.deliveries(number))

        found = await self._read(find)
        if found is None:
            known = self._tokens.known(token)
            reason = "no message of this ticket has it" if known else "it was signed with a key that is not listed"
            _log.warning("an unknown token came back", channel=kind, ticket=number, reason=reason)
        return found

    # ---- who
    def _who(self, kind: str, heard: Heard, delivery: Delivery) -> tuple[str | None, str]:
        """The contact who speaks, where that is known, and why it is not taken from them, where it is not."""
        contacts = self._policies.current.contacts
        own = contacts.get(delivery.contact)
        contact: str | None
        if heard.proven and not heard.address:
            contact, why_not = delivery.contact, ""
        elif heard.proven:
            found = [one.id for one in contacts.values() if _reached_at(one, kind, heard.address)]
            if delivery.contact in found:
                contact, why_not = delivery.contact, ""
            elif len(found) == 1:
                contact, why_not = found[0], ""
            else:
                contact, why_not = None, SEVERAL if found else UNKNOWN_SENDER
        elif own is not None and _reached_at(own, kind, heard.address):
            contact, why_not = own.id, ""
        else:
            contact, why_not = None, OTHER_ADDRESS
        if contact is not None and heard.automatic:
            return contact, AUTOMATIC
        if contact is not None and self._clock.now() >= delivery.created_at + ANSWER_WITHIN:
            return contact, TOO_OLD
        return contact, why_not

    async def _refuse(self, kind: str, heard: Heard, delivery: Delivery, contact: str | None, why_not: str) -> str:
        """On the timeline; whoever is no contact is told nothing."""
        who = f"contact:{contact}" if contact else f"{kind}:{on_a_line(heard.address) or 'nobody'}"
        why = AUTOMATIC if heard.automatic else why_not
        await self._record(Refused(delivery.ticket, heard.action, who, why))
        if contact is None or heard.automatic:
            return self._came(kind, "refused", NOTHING)
        return self._came(kind, "refused", f"Not done: {why}.")

    # ---- what came of it
    async def _judge(self, kind: str, said: Responded, answer: Answer) -> str:
        match answer:
            case Done(ticket=ticket, changed=True, note=note):
                if said.action == "comment":
                    return self._came(kind, "done", f"Noted on T-{ticket.id}.")
                return self._came(kind, "done", f"Done: {note or f'T-{ticket.id} is {_state(ticket)}'}.")
            case Done(ticket=ticket):
                return await self._unchanged(kind, said, ticket)
            case Denied(status=409, reason=reason):
                await self._keep_note(said)
                return self._came(kind, "refused", f"Not done: {reason}.")
            case Denied(reason=reason):
                return self._came(kind, "refused", f"Not done: {reason}.")
            case _:
                raise TypeError(f"an answer to a person cannot be {type(answer).__name__}")

    async def _unchanged(self, kind: str, said: Responded, ticket: Ticket) -> str:
        await self._keep_note(said)
        return self._came(kind, "unchanged", f"Nothing more to do: T-{ticket.id} is {_state(ticket)}.")

    async def _keep_note(self, said: Responded) -> None:
        """What was written beside an answer that changed nothing is a comment: the ticket is the record."""
        if said.action != "comment" and said.note.strip():
            await self._record(Responded(said.ticket, "comment", said.actor, said.note))

    async def _record(self, event: Event) -> None:
        try:
            await self._submit(event)
        except QuarantinedError:
            _log.error("what came back could not be put on record", ticket=getattr(event, "ticket", None))

    async def _ticket(self, number: int) -> Ticket | None:
        def read(reader: Any) -> Ticket | None:
            found: Ticket | None = reader.ticket(number)
            return found

        return await self._read(read)

    def _came(self, kind: str, outcome: str, sentence: str) -> str:
        self._metrics.answers.labels(kind, outcome).inc()
        return sentence


def _reached_at(contact: Contact, kind: str, address: str) -> bool:
    wanted = _plain(address)
    return bool(wanted) and any(one.kind == kind and _plain(one.address) == wanted for one in contact.reach)


def _plain(address: str) -> str:
    """As addresses are compared: in one case, and a domain in ASCII, as mail carries it."""
    try:
        return letters.address(address.strip()).casefold()
    except ValueError:  # of another kind than e-mail
        return address.strip().casefold()


def _state(ticket: Ticket) -> str:
    state = ticket.status.value.replace("_", " ")
    match ticket.status:
        case Status.ACKNOWLEDGED if ticket.acknowledged_by:
            return f"{state} by {ticket.acknowledged_by}"
        case Status.RESOLVED | Status.CLOSED if ticket.resolved_by:
            return f"{state} by {ticket.resolved_by}"
        case Status.ON_HOLD if ticket.held_until is not None:
            return f"{state} until {format_instant(ticket.held_until)}"
        case _:
            return state
