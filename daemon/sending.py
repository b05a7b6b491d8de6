"""One attempt to tell somebody: the message, the channel, and what the channel's answer means.

The one law: every attempt has an outcome, and within its deadline. What was surely not taken is `again` or `refused`;
what may have been taken, for whatever reason, is `unknown`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from connectors.base import ConnectorError, Notifier, OutcomeUnknownError
from daemon.batch import PolicyInForce
from daemon.clock import Clock
from daemon.links import Links
from daemon.metrics import Metrics
from daemon.tasks import within
from daemon.tokens import Tokens
from rules.events import Delivered
from rules.instants import HOUR, SECOND, Instant, Span
from rules.model import Delivery, Link, Message, Purpose, Ticket
from rules.response import sla
from rules.response.authority import may
from rules.response.message import Answering, Part, compose

LINK_EXPIRES: Final[Span] = 24 * HOUR
OFFERED: Final = ("acknowledge", "resolve", "escalate")  # what one press or one word can do to a page
ANSWERABLE: Final = frozenset({Purpose.PAGE, Purpose.JOINED, Purpose.PROMISE, Purpose.ANSWERED})
MARGIN_S: Final = 5.0  # an attempt ends this long before its deadline, so that its outcome can still be committed
ATTEMPT_S_MAX: Final = 55.0
ATTEMPT_S_MIN: Final = 1.0

_log = structlog.get_logger("daemon.sending")


class Telling:
    """The channels, and how to speak through them."""

    def __init__(
        self,
        notifiers: Mapping[str, Notifier],
        policies: PolicyInForce,
        links: Links,
        clock: Clock,
        metrics: Metrics,
        *,
        tokens: Tokens | None = None,
        callback: str = "",
    ) -> None:
        """`tokens` None: no message can be answered. `callback`: the URL that channels report to, up to their kind."""
        self.cut_short = False  # set while stopping: a cancelled attempt then still has an outcome
        self._notifiers = notifiers
        self._policies = policies
        self._links = links
        self._clock = clock
        self._metrics = metrics
        self._tokens = tokens
        self._callback = callback

    def many(self, kind: str) -> bool:
        """Whether this kind has many peers, each with an address of its own."""
        notifier = self._notifiers.get(kind)
        return notifier is not None and notifier.multiple

    async def attempt(
        self, delivery: Delivery, ticket: Ticket | None, others: Sequence[tuple[Delivery, Ticket | None]] = ()
    ) -> Delivered:
        """Send it, and `others` in the same message. Never raises, but for being cancelled while not draining."""
        now = self._clock.now()
        for one in (delivery, *[other for other, _ in others]):
            if one.purpose is Purpose.PAGE:
                self._metrics.escalation_lag_seconds.observe(max(0, now - one.due_at) / SECOND)
        started = self._clock.monotonic()
        outcome = await self._send([(delivery, ticket), *others], now)
        self._metrics.delivery_seconds.labels(delivery.kind).observe(self._clock.monotonic() - started)
        self._metrics.deliveries.labels(delivery.kind, outcome.outcome).inc()
        return outcome

    async def _send(self, told: Sequence[tuple[Delivery, Ticket | None]], now: Instant) -> Delivered:
        delivery = told[0][0]
        others = tuple((one.key, one.attempt) for one, _ in told[1:])

        def came(outcome: str, reason: str = "", reference: str = "", after: Span | None = None) -> Delivered:
            return Delivered(delivery.key, delivery.attempt, outcome, reference, reason, after, others)

        notifier = self._notifiers.get(delivery.kind)
        if notifier is None:
            return came("refused", f"no {delivery.kind} is configured in config.toml")
        try:
            message = self._message(told, notifier, now)
        except Exception as error:  # noqa: BLE001 - nothing was sent yet
            _log.exception("message could not be composed", delivery=delivery.key)
            return came("again", f"the message could not be composed: {type(error).__name__}")
        left_s = ((delivery.deadline_at or now) - now) / SECOND - MARGIN_S
        limit_s = min(max(left_s, ATTEMPT_S_MIN), ATTEMPT_S_MAX)
        try:
            return came("delivered", reference=await within(self._clock, limit_s, notifier.send(message)))
        except ConnectorError as error:
            return came("refused" if error.permanent else "again", error.reason, after=error.after)
        except OutcomeUnknownError as error:
            return came("unknown", error.reason)
        except TimeoutError:
            return came("unknown", f"no answer within {limit_s:.0f} s")
        except asyncio.CancelledError:
            if not self.cut_short:
                raise
            return came("unknown", "ticketd stopped before the answer came")
        except Exception as error:  # noqa: BLE001 - it is logged, and its outcome is honest
            _log.exception("a notifier failed in a way it does not declare", kind=delivery.kind)
            return came("unknown", f"the {delivery.kind} notifier failed: {type(error).__name__}")

    # ---- the message
    def _message(self, told: Sequence[tuple[Delivery, Ticket | None]], notifier: Notifier, now: Instant) -> Message:
        delivery, ticket = told[0]
        parts = [Part(one, about, self._answers(one, about, now), self._clocks(about, now)) for one, about in told]
        answering = Answering(
            token=self._token(delivery, ticket),
            actions=self._offered(delivery, ticket),
            callback=self._callback,
            replies=getattr(notifier, "answerable", False) and self._may_answer(delivery, ticket),
        )
        return compose(parts, self._policies.current.contacts, now, answering)

    def _clocks(self, ticket: Ticket | None, now: Instant) -> tuple[sla.Clock, ...]:
        """What was promised for the ticket, as it stands now."""
        policy = self._policies.current
        return () if ticket is None else tuple(sla.judge(policy, policy.rule(ticket.rule), ticket, now))

    def _offered(self, delivery: Delivery, ticket: Ticket | None) -> tuple[str, ...]:
        """What a page offers: only what the contact may do to this ticket."""
        contact = self._policies.current.contacts.get(delivery.contact)
        if delivery.purpose is not Purpose.PAGE or contact is None or ticket is None:
            return ()
        return tuple(one for one in OFFERED if may(contact, one, ticket.labels))

    def _token(self, delivery: Delivery, ticket: Ticket | None) -> str:
        """What an answer must bring, and a bounce of a page; "" for notices that nobody answers."""
        if self._tokens is None or ticket is None or delivery.purpose not in ANSWERABLE:
            return ""
        if delivery.purpose is not Purpose.PAGE and not self._may_answer(delivery, ticket):
            return ""
        return self._tokens.of(delivery)

    def _may_answer(self, delivery: Delivery, ticket: Ticket | None) -> bool:
        """Whether the contact may do anything at all to this ticket."""
        contact = self._policies.current.contacts.get(delivery.contact)
        if contact is None or ticket is None:
            return False
        return any(may(contact, one, ticket.labels) for one in contact.may)

    def _answers(self, delivery: Delivery, ticket: Ticket | None, now: Instant) -> tuple[Link, ...]:
        """The one-click links of a page: only for what the contact may do."""
        if ticket is None:
            return ()
        expires = now + LINK_EXPIRES
        return tuple(
            Link(one, self._links.sign(ticket.id, delivery.contact, one, ticket.generation, expires))
            for one in self._offered(delivery, ticket)
        )
