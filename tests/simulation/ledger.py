"""What was promised and what was seen, kept outside the daemon: the judge of the simulation.

The one law: it believes commits (what the store took), answers (what a sender or a person was told) and the channel
(what a person got), never the daemon's own opinion of them. Each broken promise is kept, with its time.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from rules.commands import Command, PutBreach, PutDelivery, PutTicket, Record
from rules.instants import Instant
from rules.model import LIVE, Breach, Delivery, Entry, Message, Purpose, Sending, Status, Ticket
from rules.tickets.timeline import What, verify

RARE = frozenset({What.DELAYED, What.WAITING, What.REPLANNED, What.PARTLY, What.BREACHED, What.CORRECTED})


class Ledger:
    """One run's truth."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.faults: Counter[str] = Counter()  # each fault that really happened
        self.accepted: Counter[bytes] = Counter()  # bodies answered 2xx
        self.tickets: dict[int, Ticket] = {}
        self.live: dict[str, set[int]] = defaultdict(set)
        self.answered_at: dict[int, Instant] = {}  # when a ticket last stopped waiting for an answer
        self.timeline: dict[int, list[Entry]] = defaultdict(list)
        self.deliveries: dict[str, Delivery] = {}
        self.sent: Counter[str] = Counter()
        self.taken: dict[str, int] = defaultdict(int)
        self.excused: Counter[str] = Counter()  # attempts after which another one is right
        self.open: set[str] = set()  # attempts begun whose outcome is not committed
        self.breaches: dict[tuple[int, str, str, int], Breach] = {}
        self._trace = hashlib.sha256()

    def violated(self, promise: str, at: Instant, what: str) -> None:
        """Keep a broken promise."""
        self.broken.append(f"{promise} at {at}: {what}")

    @property
    def trace(self) -> str:
        """A hash over everything committed, in order."""
        return self._trace.hexdigest()

    # ---- the store took this
    def committed(self, commands: Iterable[Command], now: Instant) -> None:
        """A transaction is on the disk."""
        told: list[Entry] = []
        by_hand: set[int] = set()  # tickets escalated by a person in the decision at hand
        for command in commands:
            match command:
                case Record(entry=entry):
                    self._entry(entry)
                    if entry.what == What.ESCALATED:
                        by_hand.add(entry.ticket)
                    elif entry.what == What.TOLD:
                        told.append(entry)
                        self._told(entry, entry.ticket in by_hand)
                case PutTicket(ticket=ticket):
                    by_hand.discard(ticket.id)
                    self._ticket(ticket, now)
                case PutBreach(breach=breach, new=new):
                    self._breach(breach, new, now)
                case PutDelivery(delivery=delivery):
                    self.deliveries[delivery.key] = delivery
                    if delivery.state is not Sending.SENDING:
                        self.open.discard(delivery.key)
                case _:
                    if hasattr(command, "delivery"):
                        self.deliveries[command.delivery.key] = command.delivery
        for entry in told:
            ticket = self.tickets[entry.ticket]
            since = self.answered_at.get(entry.ticket)
            if ticket.status is not Status.OPEN and since is not None and since < entry.at:
                self.violated("I5", now, f"T-{entry.ticket}: a step was told although it is {ticket.status.value}")

    def _told(self, entry: Entry, by_hand: bool) -> None:
        """A step was told: not before the step before it had its time."""
        ticket = self.tickets.get(entry.ticket)
        run = ticket.run if ticket is not None else None
        if run is None or not run.running or run.next_at is None or run.number != entry.data["run"] or by_hand:
            return
        if run.waiting:  # for opening hours, which a rise in priority ends
            return
        if entry.at < run.next_at:
            self.violated("I3", entry.at, f"T-{entry.ticket}: a step was told {run.next_at - entry.at} µs early")

    def _entry(self, entry: Entry) -> None:
        self.timeline[entry.ticket].append(entry)
        self._trace.update(entry.hash.encode())
        if entry.what in RARE:
            self.faults[entry.what] += 1

    def _breach(self, breach: Breach, new: bool, now: Instant) -> None:
        name = (breach.ticket, breach.clock, breach.version, breach.share)
        if new == (name in self.breaches):
            self.violated("SLA", now, f"{name} is {'doubled' if new else 'changed before it was there'}")
        if new and breach.observed_at < breach.due_at:
            self.violated("SLA", now, f"{name} is on record before it happened")
        self.breaches[name] = breach

    def _ticket(self, ticket: Ticket, now: Instant) -> None:
        before = self.tickets.get(ticket.id)
        self.tickets[ticket.id] = ticket
        live = self.live[ticket.key]
        if ticket.status in LIVE:
            live.add(ticket.id)
            if len(live) > 1:
                self.violated("I2", now, f"live tickets of one key: {sorted(live)}")
        else:
            live.discard(ticket.id)
        if ticket.status is Status.OPEN:
            self.answered_at.pop(ticket.id, None)
        elif before is None or before.status is Status.OPEN:
            self.answered_at[ticket.id] = now

    # ---- the channel was called
    def sends(self, message: Message, now: Instant) -> None:
        """An attempt begins: of one delivery, or of several in one message."""
        for key in (message.key, *message.others):
            self._sends(key, now)
            if self.taken[key] and not message.possible_repeat:
                self.violated("I3", now, f"{key} is a repeat and does not say so")

    def _sends(self, key: str, now: Instant) -> None:
        self.sent[key] += 1
        row = self.deliveries.get(key)
        if row is None or row.state is not Sending.SENDING:
            self.violated("I3", now, f"{key} is sent while its row says {row.state if row else 'nothing'}")
        elif row.purpose is Purpose.PAGE and (answered := self.answered_at.get(row.ticket, now)) < now:
            self.violated("I5", now, f"{key} pages a ticket answered {now - answered} µs before")
        if self.sent[key] > 1 + self.excused[key]:
            self.violated("I3", now, f"{key} is sent {self.sent[key]} times without need")
        self.open.add(key)

    def excuse(self, key: str) -> None:
        """The attempt did not end with a committed success: another is right."""
        self.excused[key] += 1

    def excuse_open(self) -> None:
        """What was under way has an outcome that nobody could keep: another attempt is right."""
        for key in self.open:
            self.excuse(key)

    # ---- the end, after all faults have healed
    def judge(self, journal: Counter[bytes], now: Instant) -> None:
        """Everything that must be true when nothing is wrong any more."""
        for body, count in self.accepted.items():
            if journal[body] < count:
                self.violated("I1", now, f"a body answered 2xx {count} times is in the store {journal[body]} times")
        for key, row in self.deliveries.items():
            if row.state is Sending.DELIVERED and not self.taken[key]:
                self.violated("I3", now, f"{key} counts as delivered and nobody got it")
            lost = row.state is Sending.SENDING and (row.deadline_at is None or row.deadline_at < now)
            if lost or (row.state is Sending.DUE and row.due_at < now - 60_000_000):
                self.violated("I3", now, f"{key} was due and is still {row.state.value}")
        for ticket in self.tickets.values():
            wrong = verify(self.timeline[ticket.id], head=ticket.head, count=ticket.entries)
            if wrong is not None:
                self.violated("chain", now, f"T-{ticket.id}: {wrong}")
            if ticket.status is not Status.OPEN:
                continue
            run = ticket.run
            ended = {entry.what for entry in self.timeline[ticket.id]} & {What.EXHAUSTED, What.NOBODY}
            if run is None or (not run.running and not ended):
                self.violated("I3", now, f"T-{ticket.id} is open and its escalation was forgotten")
            elif run.running and (run.next_at is None or run.next_at < now - 30_000_000):
                self.violated("I3", now, f"T-{ticket.id} has a step overdue since {run.next_at}")

    def judge_promises(self, promised: Mapping[str, Mapping[str, int]], now: Instant) -> None:
        """What is on record of each live ticket is what its timeline says of its clocks, and nothing else.

        The clocks are read off the timeline's words here, by another way than the daemon's.
        """
        for ticket in self.tickets.values():
            if ticket.status not in LIVE:
                continue
            standing = {
                (clock, share)
                for (number, clock, _, share), one in self.breaches.items()
                if number == ticket.id and one.superseded_at is None
            }
            for clock, allowed in promised.get(ticket.priority, {}).items():
                used = _used(self.timeline[ticket.id], clock, now)
                for share in (50, 100):
                    over = used - allowed * share // 100
                    if abs(over) > 30_000_000 and (over > 0) != ((clock, share) in standing):
                        what = f"T-{ticket.id} has used {used} of {allowed} µs to {clock}, and {share} % is "
                        known = "not on record" if over > 0 else "on record"
                        self.violated("SLA", now, what + known)


def _used(entries: Iterable[Entry], clock: str, now: Instant) -> int:
    """For how long a clock has run, from what the timeline says in words."""
    answers = {What.ACKNOWLEDGED, What.PARTLY, What.HELD}
    used, since, answered, held = 0, None, False, False
    for entry in entries:
        what = entry.what
        if clock == "respond" and what in answers:
            answered = True
        held = (held or what == What.HELD) and what not in {
            What.RELEASED, What.ACKNOWLEDGED, What.ESCALATED, What.RESOLVED, What.REOPENED, What.TOLD,
        }  # fmt: skip
        stops = answered or what == What.RESOLVED or (clock == "resolve" and held)
        if since is not None and stops:
            used, since = used + entry.at - since, None
        elif since is None and not stops and what in {
            What.OPENED, What.REOPENED, What.RELEASED, What.ACKNOWLEDGED, What.ESCALATED, What.TOLD,
        }:  # fmt: skip
            since = entry.at
    return used if since is None else used + now - since
