"""Carries out a batch's commands: one transaction in which each row is written once, with its last value.

The one law: nothing is read to write. A row is inserted at version 1, or updated where it stands at the version before
the batch's first change of it; one row that does not is a conflict, and then nothing of the batch is committed.
"""

from collections.abc import Sequence
from functools import cache

from daemon.store import journal as framing
from daemon.store import rows
from daemon.store.cached import TICKET_WEIGHT, UNFINISHED, Bundle, Cached
from daemon.store.errors import ConflictError
from daemon.store.loading import Loader
from daemon.store.sql import Cursor, Delete, Insert, Update
from daemon.store.tables import deliveries, instances, journal, senders, series, tickets, timeline, timers
from rules.commands import (
    Cancel,
    Command,
    Deliver,
    PutDelivery,
    PutInstance,
    PutSender,
    PutSeries,
    PutTicket,
    Record,
    Schedule,
)
from rules.model import Delivery, Entry, Instance, Sender, Sending, Series, Ticket, Timer


class Batch:
    """The commands of a batch: each row's last value, beside what its fence wants."""

    __slots__ = ("cancelled", "deliveries", "entries", "instances", "senders", "series", "tickets", "timers")

    def __init__(self, commands: Sequence[Command]) -> None:
        self.tickets: dict[int, tuple[Ticket, int]] = {}  # with the batch's first version
        self.instances: dict[str, tuple[Instance, int]] = {}
        self.series: dict[tuple[str, str], Series] = {}
        self.entries: dict[int, list[Entry]] = {}  # by ticket
        self.timers: dict[tuple[str, str], Timer] = {}
        self.cancelled: dict[tuple[str, str], int | None] = {}  # with the generation it must be of
        self.deliveries: dict[str, tuple[Delivery, tuple[str, int] | None]] = {}  # with (state, attempt) before
        self.senders: dict[str, Sender] = {}
        self._take(commands)

    def _take(self, commands: Sequence[Command]) -> None:
        """In one loop and by exact type, the most frequent first: this is done for everything that ever happens."""
        instances, tickets, entries = self.instances, self.tickets, self.entries
        for command in commands:
            if type(command) is Record:
                entry = command.entry
                if entry.ticket in entries:
                    entries[entry.ticket].append(entry)
                else:
                    entries[entry.ticket] = [entry]
            elif type(command) is PutSeries:
                series = command.series
                self.series[series.key, series.fingerprint] = series
            elif type(command) is PutInstance:
                instance = command.instance
                before = instances.get(instance.key)
                instances[instance.key] = (instance, instance.version if before is None else before[1])
            elif type(command) is PutTicket:
                ticket = command.ticket
                known = tickets.get(ticket.id)
                tickets[ticket.id] = (ticket, ticket.version if known is None else known[1])
            elif type(command) is Schedule:
                timer = command.timer
                at = (timer.subject, timer.kind)
                self.timers[at] = timer
                if self.cancelled:
                    self.cancelled.pop(at, None)
            elif type(command) is Deliver:
                delivery = command.delivery
                if delivery.key in self.deliveries:
                    raise ConflictError(f"the delivery {delivery.key} is put into the outbox twice")
                self.deliveries[delivery.key] = (delivery, None)
            else:
                self._take_rarer(command)

    def _take_rarer(self, command: Command) -> None:
        match command:
            case PutDelivery(delivery=delivery, was_state=was_state, was_attempt=was_attempt):
                before = self.deliveries.get(delivery.key)
                was = (Sending(was_state).value, was_attempt) if before is None else before[1]
                self.deliveries[delivery.key] = (delivery, was)
            case Cancel(subject=subject, kind=kind, generation=generation):
                self._cancel((subject, kind), generation)
            case PutSender(sender=sender):
                self.senders[sender.name] = sender
            case _:
                pass  # a Raise is no row

    def _cancel(self, at: tuple[str, str], generation: int | None) -> None:
        put = self.timers.get(at)
        if put is None:
            if generation is None or at not in self.cancelled:
                self.cancelled[at] = generation
        elif generation is None or generation == put.generation:
            del self.timers[at]
            self.cancelled[at] = None  # what stood there before was replaced by the one that is cancelled now


class Statements:
    """The statements of a dialect, compiled once."""

    def __init__(self, name: str) -> None:
        fence = ("id", "version")
        self.insert_ticket = Insert(tickets, name)
        self.update_ticket = Update(
            tickets, name, ("key", "group_key", "live", "status", "priority", "version", "doc"), fence
        )
        self.advance_ticket = Update(tickets, name, ("version", "doc"), fence)  # touches no index
        self.insert_instance = Insert(instances, name)
        self.update_instance = Update(instances, name, ("ticket", "version", "doc"), fence)
        self.advance_instance = Update(instances, name, ("version", "doc"), fence)
        self.put_series = Insert(series, name, upsert=True)
        self.insert_entries = Insert(timeline, name)
        self.put_timer = Insert(timers, name, upsert=True)
        self.cancel_timer = Delete(timers, name, ("subject", "kind"))
        self.cancel_timer_of = Delete(timers, name, ("subject", "kind", "generation"))
        self.insert_delivery = Insert(deliveries, name)
        changing = ("gravity", "wake_at", "kind", "address", "state", "attempt", "doc")
        self.update_delivery = Update(deliveries, name, changing, ("key", "state", "attempt"))
        self.put_sender = Insert(senders, name, upsert=True)
        self.insert_journal = Insert(journal, name)


statements = cache(Statements)


class Writer:
    """The order in which a batch becomes rows."""

    def __init__(self, name: str, cached: Cached, loader: Loader) -> None:
        self._cached = cached
        self._loader = loader
        self._sql = statements(name)
        self._sorted = name == "postgresql"  # rows in one order everywhere, so that two writers cannot deadlock

    # ---------------------------------------------------------------- the transaction
    def write(self, cursor: Cursor, batch: Batch, bodies: Sequence[framing.Body]) -> "Written":
        """All of it, within the caller's transaction. Raises ConflictError and the driver's errors."""
        written = Written(self._cached, batch)
        if bodies:
            written.journal_bytes = self._journal(cursor, bodies)
        if batch.instances:
            self._write_instances(cursor, batch, written)
        if batch.series:
            self._write_series(cursor, batch, written)
        if batch.tickets:
            self._write_tickets(cursor, batch, written)
        if batch.entries:
            self._sql.insert_entries.run(cursor, [rows.entries_row(some) for some in batch.entries.values()])
        if batch.cancelled:
            self._cancel_timers(cursor, batch)
        if batch.timers:
            self._sql.put_timer.run(cursor, self._in_order([rows.timer_row(timer) for timer in batch.timers.values()]))
        if batch.deliveries:
            self._write_deliveries(cursor, batch)
        if batch.senders:
            self._sql.put_sender.run(cursor, self._in_order([rows.sender_row(one) for one in batch.senders.values()]))
        return written

    def _in_order(self, some: list[rows.Row]) -> list[rows.Row]:
        if self._sorted:
            some.sort(key=lambda row: row[:2])
        return some

    def _journal(self, cursor: Cursor, bodies: Sequence[framing.Body]) -> int:
        data, raw_bytes = framing.pack(bodies)
        times = [body.received_at for body in bodies]
        alerts = sum([body.alerts for body in bodies])
        row = (
            self._cached.next_journal, min(times), max(times), len(bodies), alerts, raw_bytes, len(data),
            framing.CODEC, data,
        )  # fmt: skip
        self._sql.insert_journal.run(cursor, [row])
        return len(data)

    def _write_instances(self, cursor: Cursor, batch: Batch, written: "Written") -> None:
        new: list[rows.Row] = []
        advanced: list[rows.Row] = []
        updated: list[rows.Row] = []
        numbers = self._numbers(cursor, {key for key, (_, first) in batch.instances.items() if first != 1})
        number = self._cached.next_instance
        for key, (instance, first) in batch.instances.items():
            if first == 1:
                new.append(rows.instance_row(number, instance))
                written.new_instances[key] = number
                number += 1
                continue
            if key not in numbers:
                raise ConflictError(f"the instance {key} is not in the store")
            bundle = self._cached.bundles.get(key)
            id_, _, ticket, version, doc = rows.instance_row(numbers[key], instance)
            if bundle is not None and bundle.instance.ticket == ticket:
                advanced.append((version, doc, id_, first - 1))
            else:
                updated.append((ticket, version, doc, id_, first - 1))
        if new:
            self._sql.insert_instance.run(cursor, new)
        _fenced(cursor, self._sql.advance_instance, advanced, "an instance")
        _fenced(cursor, self._sql.update_instance, updated, "an instance")

    def _write_series(self, cursor: Cursor, batch: Batch, written: "Written") -> None:
        new = written.new_instances
        numbers = self._numbers(cursor, {key for key, _ in batch.series if key not in new})
        made: list[rows.Row] = []
        for (key, _), one in batch.series.items():
            number = new.get(key) or numbers.get(key)
            if number is None:
                raise ConflictError(f"the instance {key} of a series is not in the store")
            row = rows.series_row(number, one)
            made.append(row)
            written.series.append((one, len(row[-1])))
        self._sql.put_series.run(cursor, self._in_order(made))

    def _numbers(self, cursor: Cursor, keys: set[str]) -> dict[str, int]:
        """The store's numbers of instances: from memory, and those forgotten meanwhile from the store."""
        numbers: dict[str, int] = {}
        missing: list[str] = []
        for key in keys:
            bundle = self._cached.bundles.get(key)
            if bundle is None:
                missing.append(key)
            else:
                numbers[key] = bundle.id
        if missing:
            numbers.update(self._loader.instance_numbers(cursor, missing))
        return numbers

    def _write_tickets(self, cursor: Cursor, batch: Batch, written: "Written") -> None:
        new: list[rows.Row] = []
        advanced: list[rows.Row] = []
        updated: list[rows.Row] = []
        for id_, (ticket, first) in batch.tickets.items():
            row = rows.ticket_row(ticket)
            _, *columns, version, doc = row
            written.ticket_weights[id_] = TICKET_WEIGHT + len(doc)
            if first == 1:
                new.append(row)
                continue
            prior = self._cached.tickets.get(id_)
            if prior is not None and _found_alike(prior, ticket):
                advanced.append((version, doc, id_, first - 1))
            else:
                updated.append((*columns, version, doc, id_, first - 1))
        # Updates first: a ticket that ends gives its key free for a new one in the same batch.
        _fenced(cursor, self._sql.advance_ticket, advanced, "a ticket")
        _fenced(cursor, self._sql.update_ticket, updated, "a ticket")
        if new:
            self._sql.insert_ticket.run(cursor, new)

    def _cancel_timers(self, cursor: Cursor, batch: Batch) -> None:
        whatever = [at for at, generation in batch.cancelled.items() if generation is None]
        of_one = [(*at, generation) for at, generation in batch.cancelled.items() if generation is not None]
        if whatever:
            self._sql.cancel_timer.run(cursor, whatever)
        if of_one:
            self._sql.cancel_timer_of.run(cursor, of_one)

    def _write_deliveries(self, cursor: Cursor, batch: Batch) -> None:
        new: list[rows.Row] = []
        updated: list[rows.Row] = []
        for key, (delivery, was) in batch.deliveries.items():
            row = rows.delivery_row(delivery)
            if was is None:
                new.append(row)
            else:
                updated.append((*row[2:], key, *was))
        if new:
            self._sql.insert_delivery.run(cursor, self._in_order(new))
        _fenced(cursor, self._sql.update_delivery, updated, "a delivery")


class Written:
    """What a transaction wrote; `remember` is called once it is committed."""

    __slots__ = ("_batch", "_cached", "journal_bytes", "new_instances", "series", "ticket_weights")

    def __init__(self, cached: Cached, batch: Batch) -> None:
        self._cached = cached
        self._batch = batch
        self.journal_bytes = 0
        self.new_instances: dict[str, int] = {}
        self.series: list[tuple[Series, int]] = []  # with the length of its text
        self.ticket_weights: dict[int, int] = {}

    def remember(self) -> None:
        """Make the committed values the known ones."""
        cached, batch = self._cached, self._batch
        cached.next_instance += len(self.new_instances)
        if self.journal_bytes:
            cached.next_journal += 1
        self._remember_instances()
        for id_, (ticket, _) in batch.tickets.items():
            cached.tickets.put(id_, ticket, self.ticket_weights[id_])
            if cached.next_ticket is not None and id_ >= cached.next_ticket:
                cached.next_ticket = id_ + 1
        for key, (delivery, _) in batch.deliveries.items():
            if delivery.state in UNFINISHED:
                cached.deliveries.put(key, delivery)
            else:
                cached.deliveries.drop(key)
        for sender in batch.senders.values():
            cached.senders.put(sender.name, sender)

    def _remember_instances(self) -> None:
        cached, batch = self._cached, self._batch
        bundles: dict[str, Bundle | None] = {}
        for key, (instance, _) in batch.instances.items():
            number = self.new_instances.get(key)
            if number is not None:
                bundles[key] = Bundle(number, instance, whole=True)
            elif (bundle := cached.bundles.get(key)) is not None:
                bundle.instance = instance
                bundles[key] = bundle
        for one, text_bytes in self.series:
            key = one.key
            if key not in bundles:
                bundles[key] = cached.bundles.get(key)
            if (bundle := bundles[key]) is not None:
                bundle.put(one, text_bytes)
        for key, bundle in bundles.items():
            if bundle is not None:
                cached.bundles.put(key, bundle, bundle.weight)


def _fenced(cursor: Cursor, statement: Update, some: list[rows.Row], what: str) -> None:
    if some and statement.run(cursor, some) != len(some):
        raise ConflictError(f"{what} was changed since it was loaded")


def _found_alike(prior: Ticket, ticket: Ticket) -> bool:
    """Whether nothing changed by which a ticket is found, so that its indexes can be left alone."""
    return (
        prior.status is ticket.status
        and prior.priority == ticket.priority
        and prior.group_key == ticket.group_key
        and prior.key == ticket.key
    )
