"""What the page behind a link says about a ticket, in the language and on the clock of whom the link was made for.

The one law: it only says; whether pressing the button would do anything is judged again by `decide` when it is pressed.
"""

from collections.abc import Sequence
from typing import Final

from daemon.links import Claim
from daemon.web.pages.words import PageWords, page_words
from rules.model import LIVE, Status, Ticket
from rules.policy import Contact
from rules.response import sla
from rules.response.phrases import phrases
from rules.response.wording import Writer
from rules.tickets.view import ticket_id

ACTIONS: Final = (
    "acknowledge",
    "resolve",
    "release",
    "close",
    "reopen",
    "escalate",
)  # the others need more than a press
LABELS_SHOWN: Final = 30


class Sayings:
    """Says it to one contact; in English and in UTC where there is none."""

    def __init__(self, contact: Contact | None) -> None:
        words = phrases(contact.language if contact is not None else "")
        self._writer = Writer(words, contact.timezone if contact is not None else "UTC")
        self.words: PageWords = page_words(words.language)

    def button(self, action: str) -> str:
        """What the button says."""
        words = self.words
        return {
            "acknowledge": words.acknowledge, "resolve": words.resolve, "release": words.release,
            "close": words.close, "reopen": words.reopen, "escalate": words.escalate,
        }[action]  # fmt: skip

    def state(self, ticket: Ticket) -> str:
        """What the ticket is, and by whom or until when."""
        words, status = self.words, ticket.status
        plain = {
            Status.OPEN: words.open, Status.ACKNOWLEDGED: words.acknowledged, Status.ON_HOLD: words.on_hold,
            Status.RESOLVED: words.resolved, Status.CLOSED: words.closed,
        }[status]  # fmt: skip
        match status:
            case Status.ACKNOWLEDGED if ticket.acknowledged_by:
                return words.acknowledged_by.format(who=ticket.acknowledged_by)
            case Status.RESOLVED if ticket.resolved_by:
                return words.resolved_by.format(who=ticket.resolved_by)
            case Status.CLOSED if ticket.resolved_by:
                return words.closed_by.format(who=ticket.resolved_by)
            case Status.ON_HOLD if ticket.held_until is not None:
                return words.on_hold_until.format(time=self._writer.time(ticket.held_until))
            case _:
                return plain

    def pointless(self, claim: Claim, ticket: Ticket) -> str | None:
        """Why pressing the button would do nothing; None where it may do something."""
        words = self.words
        if claim.action == "acknowledge" and ticket.status is Status.ACKNOWLEDGED:
            state = words.acknowledged_by.format(who=ticket.acknowledged_by or words.somebody)
            if ticket.acknowledged_at is not None:
                time = self._writer.time(ticket.acknowledged_at)
                state = words.acknowledged_by_at.format(who=ticket.acknowledged_by or words.somebody, time=time)
            return words.already.format(state=state)
        if claim.action == "resolve" and ticket.status not in LIVE:
            return words.already.format(state=self.state(ticket))
        if claim.generation != ticket.generation:
            return words.stale.format(state=self.state(ticket))
        if claim.action in {"acknowledge", "escalate"} and ticket.status not in LIVE:
            return words.pointless.format(state=self.state(ticket))
        return None

    def done(self, action: str, ticket: Ticket, *, changed: bool, note: str) -> str:
        """What came of it. `note`: the engine's remark."""
        words = self.words
        if not changed:
            return words.unchanged.format(why=note or self.state(ticket))
        if action == "escalate":
            return words.escalated.format(ticket=ticket_id(ticket.id))
        if note:
            return words.done_so_far.format(why=note)
        return words.done.format(ticket=ticket_id(ticket.id), state=self.state(ticket))

    def facts(self, ticket: Ticket, clocks: Sequence[sla.Clock]) -> list[tuple[str, str]]:
        """(name, value) of what is known of the ticket and of what was promised."""
        words, time = self.words, self._writer.time
        facts = [(words.opened_at, time(ticket.opened_at)), (words.impact, ticket.impact)]
        facts.append((words.urgency, ticket.urgency))
        names = {"respond": words.respond, "resolve": words.resolve_by}
        facts += [(names[one.clock], self._due(one)) for one in clocks]
        if ticket.acknowledgers:
            facts.append((words.so_far_by, ", ".join(ticket.acknowledgers)))
        if ticket.acknowledged_by:
            facts.append((words.by, ticket.acknowledged_by))
        if ticket.held_until is not None:
            facts.append((words.until, time(ticket.held_until)))
        if ticket.resolved_at is not None:
            facts.append((words.resolved_at, time(ticket.resolved_at)))
        facts.append((words.rule, ticket.rule))
        return facts + sorted(ticket.labels.items())[:LABELS_SHOWN]

    def _due(self, clock: sla.Clock) -> str:
        words = self.words
        state = {
            "running": words.running, "paused": words.paused, "met": words.met, "breached": words.breached
        }[clock.state]  # fmt: skip
        due = self._writer.time(clock.due_at) if clock.due_at is not None else words.stands_still
        return f"{due} ({state})"
