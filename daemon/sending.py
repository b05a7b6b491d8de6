"""One attempt to tell somebody: the message, the channel, and what the channel's answer means.

The one law: every attempt has an outcome, and within its deadline. What was surely not taken is `again` or `refused`;
what may have been taken, for whatever reason, is `unknown`.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from connectors.base import ConnectorError, Notifier, OutcomeUnknownError
from daemon.batch import PolicyInForce
from daemon.clock import Clock
from daemon.links import Links
from daemon.metrics import Metrics
from daemon.tasks import within
from rules.events import Delivered
from rules.instants import HOUR, SECOND, Instant, Span
from rules.model import Delivery, Link, Purpose, Ticket
from rules.response.message import compose

LINK_EXPIRES: Final[Span] = 24 * HOUR
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
    ) -> None:
        self.cut_short = False  # set while stopping: a cancelled attempt then still has an outcome
        self._notifiers = notifiers
        self._policies = policies
        self._links = links
        self._clock = clock
        self._metrics = metrics

    def many(self, kind: str) -> bool:
        """Whether this kind has many peers, each with an address of its own."""
        notifier = self._notifiers.get(kind)
        return notifier is not None and notifier.multiple

    async def attempt(self, delivery: Delivery, ticket: Ticket) -> Delivered:
        """Send it. Never raises, but for being cancelled while not draining."""
        now = self._clock.now()
        if delivery.purpose is Purpose.PAGE:
            self._metrics.escalation_lag_seconds.observe(max(0, now - delivery.due_at) / SECOND)
        started = self._clock.monotonic()
        outcome = await self._send(delivery, ticket, now)
        self._metrics.delivery_seconds.labels(delivery.kind).observe(self._clock.monotonic() - started)
        self._metrics.deliveries.labels(delivery.kind, outcome.outcome).inc()
        return outcome

    async def _send(self, delivery: Delivery, ticket: Ticket, now: Instant) -> Delivered:
        def came(outcome: str, reason: str = "", reference: str = "", after: Span | None = None) -> Delivered:
            return Delivered(delivery.key, delivery.attempt, outcome, reference, reason, after)

        notifier = self._notifiers.get(delivery.kind)
        if notifier is None:
            return came("refused", f"no {delivery.kind} is configured in config.toml")
        try:
            contact = self._policies.current.contacts.get(delivery.contact)
            message = compose(ticket, delivery, contact, self._answers(delivery, ticket, now), now)
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

    def _answers(self, delivery: Delivery, ticket: Ticket, now: Instant) -> tuple[Link, ...]:
        """The one-click links of a page: only for what the contact may do."""
        contact = self._policies.current.contacts.get(delivery.contact)
        if delivery.purpose is not Purpose.PAGE or contact is None or "acknowledge" not in contact.may:
            return ()
        url = self._links.sign(ticket.id, contact.id, "acknowledge", ticket.generation, now + LINK_EXPIRES)
        return (Link("acknowledge", url),)
