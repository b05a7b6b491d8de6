"""Every metric, on an injected registry.

The one law: a label's value comes from the code, the policy or the configuration, never from a sender. What was decided
is counted from the commands that were committed, so metrics and store cannot disagree.
"""

import platform
from collections import Counter as Count
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from daemon import __version__
from daemon.probe_metrics import ProbeMetrics
from rules.commands import Accepted, Decision, Deliver, PutBreach, PutInstance, PutTicket, Record
from rules.events import AlertsReceived, Event, SamplesReceived
from rules.instants import SECOND, Instant
from rules.model import LIVE, PRIORITIES, Phase, Status, Ticket
from rules.response.clocks import CLOCKS
from rules.response.sla import WHOLE
from rules.tickets.timeline import What

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BY_HAND: Final = "by-hand"  # the rule of a ticket that a person opened
LAST_RESORT: Final = "last_resort"
_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 8, 10)
_SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
_LAG: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 300, 900, 3_600)
_ANSWER: Final = (60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400)
_RESOLVE: Final = (60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 172_800, 604_800)
_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200)


class Metrics:
    """The families, and how they are fed."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped
        self.registry = registry = registry or CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"ticketd_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"ticketd_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"ticketd_{name}", text, labels, registry=registry, buckets=buckets)

        gauge("build_info", "Always 1; which ticketd this is.", "version", "python").labels(
            __version__, platform.python_version()
        ).set(1)
        # ---- signals
        self.signals = counter(
            "signals_total", "Alerts and samples taken, by what became of each.", "source", "outcome"
        )
        self.signals_refused = counter(
            "signals_refused_total", "Bodies, alerts and samples refused.", "source", "reason"
        )
        self.ingest_seconds = histogram("ingest_seconds", "From receipt of a body to its answer.", _QUICK)
        self.ingest_batch_size = histogram("ingest_batch_size", "Events in one commit.", _SIZES)
        self.inbox_depth = gauge("inbox_depth", "Alerts and samples that wait for their commit.")
        self.commit_seconds = histogram("commit_seconds", "How long a commit took.", _QUICK)
        self.events_quarantined = counter("events_quarantined_total", "Events that could not be decided, set aside.")
        # ---- rules and tickets
        self.rule_transitions = counter(
            "rule_transitions_total", "Changes of an instance's state.", "rule", "from", "to"
        )
        self.rule_suppressed = counter(
            "rule_suppressed_total", "Times that an instance would have opened a ticket, and why it did not.",
            "rule", "reason",
        )  # fmt: skip
        self.rule_would_open = counter(
            "rule_would_open_total", "Tickets that rules in shadow mode would have opened.", "rule"
        )
        self.tickets = gauge("tickets", "Tickets there are.", "status", "priority")
        self.tickets_opened = counter("tickets_opened_total", "Tickets opened.", "rule", "priority")
        self.ticket_response_seconds = histogram(
            "ticket_response_seconds", "From opening to the first answer.", _ANSWER, "priority"
        )
        self.ticket_resolution_seconds = histogram(
            "ticket_resolution_seconds", "From opening to resolution.", _RESOLVE, "priority"
        )
        # ---- what was promised
        self.sla_breaches = counter(
            "sla_breaches_total", "Times promised that passed, by the ticket's priority.", "clock", "priority"
        )
        self.sla_warnings = counter(
            "sla_warnings_total", "Warnings that a time promised is passing, by the ticket's priority.",
            "clock", "priority",
        )  # fmt: skip
        # ---- telling people
        self.escalation_steps = counter("escalation_steps_total", "Steps that told somebody.", "policy", "step")
        self.escalation_empty_rounds = counter(
            "escalation_empty_rounds_total", "Whole rounds of an escalation that reached nobody.", "policy"
        )
        self.escalation_lag_seconds = histogram(
            "escalation_lag_seconds", "From when a page was due to when it was attempted.", _LAG
        )
        self.deliveries = counter("deliveries_total", "Attempts at delivery, by outcome.", "channel", "outcome")
        self.deliveries_delayed = counter(
            "deliveries_delayed_total", "Tellings that wait, by what for: bundle, throttle, hours.", "reason"
        )
        self.delivery_seconds = histogram("delivery_seconds", "How long an attempt took.", _SLOW, "channel")
        self.answers = counter(
            "answers_total", "Answers that came back by a channel, by what became of each.", "channel", "outcome"
        )
        self.mails = counter("mails_total", "Mails that came in, by what each was.", "outcome")
        self.outbox_oldest_seconds = gauge("outbox_oldest_seconds", "How long the oldest delivery due has waited.")
        self.timers_overdue_seconds = gauge("timers_overdue_seconds", "How long the oldest timer due has waited.")
        self.feed_read_at = gauge(
            "feed_last_success_timestamp_seconds",
            "When a calendar kept elsewhere was last read, or found unchanged, seconds since 1970.",
            "feed",
        )
        # ---- targets found
        self.discovery_failures = counter(
            "discovery_failures_total", "Looks for targets that failed, wholly or in part.", "kind"
        )
        self.discovery_targets = gauge("discovery_targets", "Targets that a probe has found.", "probe")
        self.discovery_refused = gauge(
            "discovery_refused", "Texts that a probe has found and that cannot be targets of its kind.", "probe"
        )
        # ---- looking for itself
        self.probes = ProbeMetrics(registry)
        self.samples_dropped = counter(
            "probe_samples_dropped_total",
            "Results of ticketd's own probes that were lost: full, refused, set_aside, failed; where they are reported "
            "to another daemon also too_old, too_much.",
            "reason",
        )
        # ---- reporting to another daemon
        self.reports = counter("reports_total", "Reports to the daemon that keeps the tickets, by outcome.", "outcome")
        self.reports_waiting = gauge("reports_waiting", "Results that are yet to be reported.")
        self.reports_oldest_seconds = gauge(
            "reports_oldest_seconds", "How long the oldest result that is yet to be reported has waited."
        )
        # ---- the process
        self.ready = gauge("ready", "1 while /-/ready says yes.")
        self.task_failures = counter("task_failures_total", "Tasks that failed and were started again.", "task")
        self.loop_lag_seconds = gauge("loop_lag_seconds", "How late the event loop last came to a task of one second.")
        self.own_network = gauge("own_network", "1 while this location is cut off: most of its references fail.")
        self.reload_ok = gauge("config_last_reload_successful", "1 if the last reload of the policy succeeded.")
        self.reload_at = gauge(
            "config_last_reload_success_timestamp_seconds", "When the policy in force was loaded, seconds since 1970."
        )
        for status in Status:
            for priority in PRIORITIES:
                self.tickets.labels(status, priority)
        for priority in PRIORITIES:
            for clock in CLOCKS:
                self.sla_breaches.labels(clock, priority)
                self.sla_warnings.labels(clock, priority)

    def render(self) -> bytes:
        """The exposition text. Takes long with many series: call it on another thread."""
        return generate_latest(self.registry)

    # ---- fed by the parts
    def refused(self, source: str, reason: str, count: int = 1) -> None:
        """Bodies or alerts turned away; `reason` is a word of a closed list."""
        self.signals_refused.labels(source, reason).inc(count)

    def batch(self, ingest_s: Iterable[float], size: int, commits_s: Iterable[float], quarantined: int) -> None:
        """One batch was answered."""
        observe = self.ingest_seconds.observe
        for seconds in ingest_s:
            observe(seconds)
        self.ingest_batch_size.observe(size)
        for seconds in commits_s:
            self.commit_seconds.observe(seconds)
        if quarantined:
            self.events_quarantined.inc(quarantined)

    def policy(self, ok: bool, loaded_at: Instant) -> None:  # noqa: FBT001 — a gauge of 0 or 1 is what it is
        """A reload ended; `loaded_at` is when the policy in force was loaded."""
        self.reload_ok.set(int(ok))
        self.reload_at.set(loaded_at / SECOND)

    def counts(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Set `tickets` from the store, at start."""
        for (status, priority), count in counts.items():
            self.tickets.labels(Status(status), priority).set(count)

    def observe(self, decisions: Sequence[tuple[Event, Decision]]) -> None:
        """Count what was decided and committed; once for each series that a batch touches, as a lookup costs."""
        tally = _Tally(self)
        for event, decision in decisions:
            answer = decision.answer
            if type(answer) is Accepted and isinstance(event, AlertsReceived | SamplesReceived):
                for outcome, count in answer.outcomes:
                    tally.counters[self.signals, (event.source, outcome)] += count
            for command in decision.commands:
                handler = _HANDLERS.get(type(command))
                if handler is not None:
                    handler(tally, command)
        for (counter, names), count in tally.counters.items():
            counter.labels(*names).inc(count)
        for names, change in tally.tickets.items():
            if change:
                self.tickets.labels(*names).inc(change)


class _Tally:
    """What one batch comes to."""

    __slots__ = ("answered", "counters", "former", "metrics", "said", "tickets")

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.counters: Count[tuple[Counter, tuple[str, ...]]] = Count()
        self.tickets: Count[tuple[str, str]] = Count()
        self.former: dict[int, str] = {}  # a ticket's priority before the decision in hand; the record comes first
        self.said: dict[int, Instant] = {}  # when a person last answered a ticket, within the batch
        self.answered: set[int] = set()  # tickets whose first answer was counted

    def instance(self, command: PutInstance) -> None:
        instance, was = command.instance, command.was
        phase = instance.phase
        if phase is was:
            return
        metrics = self.metrics
        self.counters[metrics.rule_transitions, (instance.rule, was, phase)] += 1
        if phase is Phase.SUPPRESSED:
            self.counters[metrics.rule_suppressed, (instance.rule, "dependency")] += 1
        elif instance.parked is not None and phase is Phase.OPEN and was is not Phase.RECOVERING:
            if instance.parked == "shadow":
                self.counters[metrics.rule_would_open, (instance.rule,)] += 1
            else:
                self.counters[metrics.rule_suppressed, (instance.rule, instance.parked)] += 1

    def ticket(self, command: PutTicket) -> None:
        ticket, was, metrics = command.ticket, command.was, self.metrics
        former = self.former.pop(ticket.id, None) if self.former else None
        if was is None:
            self.counters[metrics.tickets_opened, (ticket.rule or BY_HAND, ticket.priority)] += 1
        else:
            self.tickets[was, former or ticket.priority] -= 1
        self.tickets[ticket.status, ticket.priority] += 1
        if ticket.id in self.said:
            self._first_answer(ticket)
        if was is ticket.status:
            return
        if was in LIVE and ticket.resolved_at is not None and ticket.status not in LIVE:
            metrics.ticket_resolution_seconds.labels(ticket.priority).observe(
                max(0, ticket.resolved_at - ticket.opened_at) / SECOND
            )

    def _first_answer(self, ticket: Ticket) -> None:
        """Once for each ticket: its marks hold its first answer, and the record of this batch says that it is new."""
        first = next((mark.at for mark in ticket.marks if mark.what == "answered"), None)
        if first is not None and first == self.said[ticket.id] and ticket.id not in self.answered:
            self.answered.add(ticket.id)
            seconds = max(0, first - ticket.opened_at) / SECOND
            self.metrics.ticket_response_seconds.labels(ticket.priority).observe(seconds)

    def breach(self, command: PutBreach) -> None:
        breach = command.breach
        if not command.new or breach.share > WHOLE:
            return
        counter = self.metrics.sla_breaches if breach.share == WHOLE else self.metrics.sla_warnings
        self.counters[counter, (breach.clock, breach.priority)] += 1

    def deliver(self, command: Deliver) -> None:
        if command.delivery.bundled:
            self.counters[self.metrics.deliveries_delayed, ("bundle",)] += 1

    def record(self, command: Record) -> None:
        entry = command.entry
        if entry.what == What.TOLD:
            step = entry.data.get("step")
            names = (str(entry.data.get("policy", "")), str(step) if step else LAST_RESORT)
            self.counters[self.metrics.escalation_steps, names] += 1
        elif entry.what in _CHANGES_PRIORITY:
            self.former.setdefault(entry.ticket, str(entry.data["from"]))
        elif entry.what in _ANSWERS and entry.who.startswith("contact:"):
            self.said[entry.ticket] = entry.at
        elif entry.what == What.EMPTY_ROUND:
            self.counters[self.metrics.escalation_empty_rounds, (str(entry.data.get("policy", "")),)] += 1
        elif entry.what in _DELAYS:
            self.counters[self.metrics.deliveries_delayed, (_DELAYS[entry.what],)] += 1


_CHANGES_PRIORITY: Final = frozenset({What.RAISED, What.PRIORITY})
_ANSWERS: Final = frozenset({What.ACKNOWLEDGED, What.PARTLY, What.HELD, What.RESOLVED, What.CLOSED})
_DELAYS: Final[Mapping[str, str]] = {What.DELAYED: "throttle", What.WAITING: "hours"}
_HANDLERS: Final[Mapping[type[Any], Callable[[_Tally, Any], None]]] = {
    PutInstance: _Tally.instance,
    PutTicket: _Tally.ticket,
    Record: _Tally.record,
    PutBreach: _Tally.breach,
    Deliver: _Tally.deliver,
}
