"""What people read: deliveries put into words for any channel, in their language and on their clock.

The one law: text only, made of tickets as committed; whatever a sender wrote stays on its line, and a link stands whole
on a line of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rules.instants import SECOND, Instant
from rules.model import LIVE, Delivery, Link, Message, Purpose, Status, Ticket
from rules.policy import Contact
from rules.response.phrases import Phrases, phrases
from rules.response.sla import MET, Clock
from rules.response.wording import Writer, one_line
from rules.tickets.view import ticket_id, ticket_json

LABELS_MAX: Final = 30
VALUE_CHARS_MAX: Final = 500
DESCRIPTION_CHARS_MAX: Final = 8_000
TITLE_CHARS_MAX: Final = 200  # in a message about several tickets
SUBJECT_CHARS_MAX: Final = 250
TEXT_MAX: Final = 16_000
TEXT_OF_SEVERAL_MAX: Final = 100_000
LAST_RESORT: Final = "last resort"  # the tier that the engine names so


@dataclass(frozen=True, slots=True)
class Part:
    """One delivery of a message, and what is said with it. `ticket` None: it is about none."""

    delivery: Delivery
    ticket: Ticket | None
    links: tuple[Link, ...] = ()
    clocks: tuple[Clock, ...] = ()  # as judged now


@dataclass(frozen=True, slots=True)
class Answering:
    """How the message can be answered. `replies`: whether the channel brings back what is written to it."""

    token: str = ""
    actions: tuple[str, ...] = ()
    callback: str = ""
    replies: bool = False


def compose(
    parts: Sequence[Part], contacts: Mapping[str, Contact], now: Instant, answering: Answering | None = None
) -> Message:
    """The message of one attempt: the first part's, and with more than one it stands for all of them.

    What asks for an answer comes first in it, the gravest before others, and gives it its ticket and its links. A
    message about several tickets has no token and no actions: nobody could tell which ticket was meant.
    """
    first = parts[0]
    ordered = sorted(parts, key=_urgency)
    main = ordered[0]
    delivery, contact = first.delivery, contacts.get(first.delivery.contact)
    words = phrases(contact.language if contact is not None else "")
    teller = _Teller(Writer(words, contact.timezone if contact is not None else "UTC"), contacts, now)
    answering = answering if answering is not None and len(parts) == 1 else Answering()
    if len(parts) > 1:
        subject, text = teller.several(ordered)
    elif first.ticket is None:
        subject, text = teller.plain(delivery)
    else:
        subject, text = teller.one(first, first.ticket, answering)
    return Message(
        key=delivery.key,
        address=delivery.address,
        subject=subject,
        text=text,
        purpose=main.delivery.purpose,
        ticket=ticket_json(main.ticket, clocks=main.clocks) if main.ticket is not None else {},
        contact=delivery.contact,
        contact_name=(contact.name if contact is not None else "") or delivery.contact,
        links=main.links,
        possible_repeat=any(one.delivery.possible_repeat for one in parts),
        at=now,
        token=answering.token,
        actions=answering.actions,
        callback=answering.callback,
        language=words.language,
        others=tuple(one.delivery.key for one in parts[1:]),
    )


def _urgency(part: Part) -> tuple[bool, bool, int]:
    """Pages first, then what is about a ticket, and the gravest first."""
    return part.delivery.purpose is not Purpose.PAGE, part.ticket is None, part.delivery.gravity


class _Teller:
    """Says it to one reader."""

    def __init__(self, writer: Writer, contacts: Mapping[str, Contact], now: Instant) -> None:
        self._writer = writer
        self._words: Phrases = writer.words
        self._contacts = contacts
        self._now = now

    # ---- whole messages: (subject, text)
    def one(self, part: Part, ticket: Ticket, answering: Answering) -> tuple[str, str]:
        blocks = [self._lead(part, ticket, one_line(ticket.title))]
        if ticket.description:
            lines = ticket.description[:DESCRIPTION_CHARS_MAX].splitlines()
            blocks.append("\n".join(f"  {one_line(line)}".rstrip() for line in lines))  # set off from what we say
        blocks += self._links(part.links)
        if answering.token and answering.replies:
            blocks.append(self._writer.line(self._replies(answering.actions)))
        blocks.append(self._facts(ticket))
        return self._subject(part.delivery, ticket), _whole(blocks, TEXT_MAX)

    def plain(self, delivery: Delivery) -> tuple[str, str]:
        """It is about no ticket: what it says is its note, which was made for this reader."""
        said = delivery.note.splitlines()
        tag = self._words.tag_handoff
        blocks = ["\n".join(self._writer.line(line) for line in said)]
        if delivery.possible_repeat:
            blocks.append(self._writer.line(self._words.repeat))
        return self._writer.line(f"[{tag}] {said[0] if said else ''}".strip())[:SUBJECT_CHARS_MAX], _whole(
            blocks, TEXT_MAX
        )

    def several(self, parts: Sequence[Part]) -> tuple[str, str]:
        """Each with its own lines and links, in the order given; a rule between them."""
        pages = {one.delivery.ticket for one in parts if one.delivery.purpose is Purpose.PAGE}
        tickets = {one.delivery.ticket for one in parts}
        words = self._words
        if pages == tickets:
            subject = words.subject_pages.format(count=len(pages))
        elif pages:
            subject = words.subject_mixed.format(count=len(parts), pages=len(pages))
        else:
            subject = words.subject_notices.format(count=len(parts))
        blocks = [self._writer.line(subject)]
        for one in parts:
            if one.ticket is None:
                blocks.append(self.plain(one.delivery)[1].rstrip())
                continue
            blocks.append("\n".join([
                self._lead(one, one.ticket, one_line(one.ticket.title)[:TITLE_CHARS_MAX]), *self._links(one.links),
            ]))  # fmt: skip
        return self._writer.line(subject)[:SUBJECT_CHARS_MAX], _whole(blocks, TEXT_OF_SEVERAL_MAX)

    # ---- parts of them
    def _subject(self, delivery: Delivery, ticket: Ticket) -> str:
        words, writer = self._words, self._writer
        tag = {
            Purpose.PAGE: writer.code(ticket.priority),
            Purpose.ANSWERED: words.tag_answered,
            Purpose.RESOLVED: words.tag_resolved,
            Purpose.JOINED: words.tag_joined,
            Purpose.PROMISE: words.tag_promise,
            Purpose.HANDOFF: words.tag_handoff,
        }[delivery.purpose]
        head = f"[{tag}] {writer.code(ticket_id(ticket.id))} "
        room = SUBJECT_CHARS_MAX - len(head) - 4  # for the marks around the title
        return writer.line(head + writer.said(one_line(ticket.title)[:room]))

    def _lead(self, part: Part, ticket: Ticket, title: str) -> str:
        """Which ticket, what has happened to it, and by when what was promised."""
        writer = self._writer
        head = f"{writer.code(f'{ticket.priority} {ticket_id(ticket.id)}')}{self._words.colon}{writer.said(title)}"
        dues = [self._due(one) for one in part.clocks if _goes_on(ticket, one)]
        passed = self._passed(part, ticket)
        lines = [head, self._happened(part.delivery, ticket, passed), *dues]
        if part.delivery.note and not (passed and part.delivery.purpose is Purpose.PROMISE):  # that says it already
            lines.append(writer.said(part.delivery.note))
        if part.delivery.possible_repeat:
            lines.append(self._words.repeat)
        return "\n".join(writer.line(line) for line in lines)

    def _passed(self, part: Part, ticket: Ticket) -> list[str]:
        """How much of what was promised has passed, by clock."""
        words = {"respond": self._words.respond_passed, "resolve": self._words.resolve_passed}
        clocks = [one for one in part.clocks if one.passed and _goes_on(ticket, one)]
        return [words[one.clock].format(share=one.passed[-1][0]) for one in clocks]

    def _happened(self, delivery: Delivery, ticket: Ticket, passed: Sequence[str]) -> str:
        words = self._words
        match delivery.purpose:
            case Purpose.PAGE:
                said = [words.open_for.format(span=self._writer.span(max(0, self._now - ticket.opened_at)))]
                if ticket.acknowledgers:
                    said = [words.so_far.format(who=self._people(ticket.acknowledgers))]
                if delivery.tier:
                    tier = words.last_resort if delivery.tier == LAST_RESORT else self._writer.said(delivery.tier)
                    said.append(words.you_are.format(tier=tier))
                return " ".join(said)
            case Purpose.JOINED:
                return words.joined
            case Purpose.PROMISE:
                return words.promise if not passed else " ".join(passed)
            case _:
                return f"{self._state(ticket)} {words.nothing_asked}"

    def _state(self, ticket: Ticket) -> str:
        words = self._words
        match ticket.status:
            case Status.ON_HOLD if ticket.held_until is not None:
                return words.held.format(time=self._writer.time(ticket.held_until))
            case Status.RESOLVED | Status.CLOSED:
                by = ticket.resolved_by
                return words.resolved_by.format(who=self._people((by,))) if by else words.resolved
            case _:
                by = ticket.acknowledged_by
                who = self._people((by,) if by else ticket.acknowledgers[-1:])
                return words.acknowledged.format(who=who or words.somebody)

    def _due(self, clock: Clock) -> str:
        words = self._words
        if clock.due_at is None:
            return words.resolve_paused
        left = clock.due_at - self._now
        phrase = {
            ("respond", True): words.respond_by,
            ("respond", False): words.respond_late,
            ("resolve", True): words.resolve_by,
            ("resolve", False): words.resolve_late,
        }[clock.clock, left > 0]
        return phrase.format(time=self._writer.time(clock.due_at), span=self._writer.span(abs(left)))

    def _links(self, links: Sequence[Link]) -> list[str]:
        words = self._words
        asks = {"acknowledge": words.to_acknowledge, "resolve": words.to_resolve, "escalate": words.to_escalate}
        return [f"{self._writer.line(asks[one.action] + words.colon.rstrip())}\n{one.url}" for one in links]

    def _replies(self, actions: Sequence[str]) -> str:
        if not actions:
            return self._words.by_reply_comment
        words = self._words
        names = {
            "acknowledge": words.reply_acknowledge, "resolve": words.reply_resolve, "escalate": words.reply_escalate
        }  # fmt: skip
        return words.by_reply.format(words=self._writer.listed(self._writer.said(names[one]) for one in actions))

    def _people(self, ids: Sequence[str]) -> str:
        known = ((one, self._contacts.get(one)) for one in ids)
        return self._writer.listed(
            self._writer.said((contact.name if contact is not None else "") or one) for one, contact in known
        )

    def _facts(self, ticket: Ticket) -> str:
        words, writer = self._words, self._writer
        of_matrix = ((words.impact, ticket.impact), (words.urgency, ticket.urgency))
        matrix = words.brackets.format(text=writer.listed(f"{name} {writer.said(value)}" for name, value in of_matrix))
        rows = [
            (words.priority, writer.code(ticket.priority) + matrix),
            *([(words.rule, writer.code(ticket.rule))] if ticket.rule else []),
            (words.opened, writer.time(ticket.opened_at // SECOND * SECOND)),
        ]
        labels = sorted(ticket.labels.items())
        rows += [(writer.said(name), writer.said(value[:VALUE_CHARS_MAX])) for name, value in labels[:LABELS_MAX]]
        lines = [f"{name}{words.colon}{value}".rstrip() for name, value in rows]
        if len(labels) > LABELS_MAX:
            lines.append(words.more_labels.format(count=len(labels) - LABELS_MAX))
        return "\n".join(writer.line(line) for line in lines)


def _goes_on(ticket: Ticket, clock: Clock) -> bool:
    """Whether somebody can still keep what was promised, or is late with it."""
    return ticket.status in LIVE and clock.state != MET and clock.stretches[-1].until is None


def _whole(blocks: Sequence[str], chars_max: int) -> str:
    """The blocks with a blank line between them; what is too much is cut at the end, never within a link."""
    text = "\n\n".join(one for one in blocks if one)
    if len(text) >= chars_max:
        text = text[:chars_max].rpartition("\n")[0]
    return text + "\n"
