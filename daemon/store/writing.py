"""Carries out a batch's commands: one transaction in which each row is written once, with its last value.

The one law: nothing is read to write. A row is inserted at version 1, or updated where it stands at the version before
the batch's first change of it; one row that does not is a conflict, and then nothing of the batch is committed.
"""

from collections.abc import Sequence
from functools import cache

from daemon.store import journal as framing
from daemon.store import rows
from daemon.store.batch import Batch
from daemon.store.cached import TICKET_WEIGHT, Cached
from daemon.store.errors import ConflictError
from daemon.store.loading import Loader
from daemon.store.sql import Count, Cursor, Delete, Insert, Update
from daemon.store.tables import (
    breaches,
    deliveries,
    instances,
    journal,
    paces,
    plans,
    senders,
    series,
    tallies,
    tickets,
    timeline,
    timers,
    windows,
)
from daemon.store.written import Written
from rules.model import Ticket


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
        self.update_instance = Update(instances, name, ("rule", "phase", "ticket", "version", "doc"), fence)
        self.turn_instance = Update(instances, name, ("rule", "phase", "version", "doc"), fence)
        self.advance_instance = Update(instances, name, ("version", "doc"), fence)
        self.put_series = Insert(series, name, upsert=True)
        self.insert_window = Insert(windows, name)
        self.update_window = Update(
            windows, name, ("version", "heard_at", "doc"), ("instance", "fingerprint", "version")
        )
        self.count_tickets = Count(tallies, name, "open")
        self.set_storm = Insert(tallies, name, upsert=("storm",))
        self.insert_entries = Insert(timeline, name)
        self.put_timer = Insert(timers, name, upsert=True)
        self.cancel_timer = Delete(timers, name, ("subject", "kind"))
        self.cancel_timer_of = Delete(timers, name, ("subject", "kind", "generation"))
        self.insert_delivery = Insert(deliveries, name)
        changing = ("gravity", "wake_at", "kind", "address", "state", "attempt", "doc")
        self.update_delivery = Update(deliveries, name, changing, ("key", "state", "attempt"))
        self.put_sender = Insert(senders, name, upsert=True)
        self.insert_breach = Insert(breaches, name)
        self.update_breach = Update(
            breaches, name, ("observed_at", "superseded_at", "doc"), ("ticket", "clock", "version", "share")
        )
        self.put_pace = Insert(paces, name, upsert=True)
        self.keep_plan = Insert(plans, name, upsert=())
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
    def write(self, cursor: Cursor, batch: Batch, bodies: Sequence[framing.Body]) -> Written:
        """All of it, within the caller's transaction. Raises ConflictError and the driver's errors."""
        written = Written(self._cached, batch)
        if bodies:
            written.journal_bytes = self._journal(cursor, bodies)
        if batch.instances:
            self._write_instances(cursor, batch, written)
        if batch.series:
            self._write_series(cursor, batch, written)
        if batch.windows:
            self._write_windows(cursor, batch, written)
        if batch.tickets:
            self._write_tickets(cursor, batch, written)
            self._write_tallies(cursor, batch)
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
        if batch.plans or batch.breaches or batch.paces:
            self._write_response(cursor, batch, written)
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

    def _write_instances(self, cursor: Cursor, batch: Batch, written: Written) -> None:
        new: list[rows.Row] = []
        advanced: list[rows.Row] = []
        turned: list[rows.Row] = []
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
            id_, _, rule, phase, ticket, version, doc = rows.instance_row(numbers[key], instance)
            prior = None if bundle is None else bundle.instance
            if prior is None or prior.ticket != ticket:
                updated.append((rule, phase, ticket, version, doc, id_, first - 1))
            elif prior.phase is not instance.phase or prior.rule != rule:
                turned.append((rule, phase, version, doc, id_, first - 1))
            else:
                advanced.append((version, doc, id_, first - 1))
        if new:
            self._sql.insert_instance.run(cursor, new)
        _fenced(cursor, self._sql.advance_instance, advanced, "an instance")
        _fenced(cursor, self._sql.turn_instance, turned, "an instance")
        _fenced(cursor, self._sql.update_instance, updated, "an instance")

    def _write_series(self, cursor: Cursor, batch: Batch, written: Written) -> None:
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

    def _write_windows(self, cursor: Cursor, batch: Batch, written: Written) -> None:
        made = written.new_instances
        numbers = self._numbers(cursor, {key for key, _ in batch.windows if key not in made})
        new: list[rows.Row] = []
        updated: list[rows.Row] = []
        for (key, fingerprint), (window, first) in batch.windows.items():
            number = made.get(key) or numbers.get(key)
            if number is None:
                raise ConflictError(f"the instance {key} of a window is not in the store")
            row = rows.window_row(number, window)
            if first == 1:
                new.append(row)
            else:
                updated.append((*row[2:], number, fingerprint, first - 1))
        if new:
            self._sql.insert_window.run(cursor, self._in_order(new))
        _fenced(cursor, self._sql.update_window, updated, "a window")

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

    def _write_tickets(self, cursor: Cursor, batch: Batch, written: Written) -> None:
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

    def _write_tallies(self, cursor: Cursor, batch: Batch) -> None:
        if batch.opened:
            self._sql.count_tickets.run(cursor, sorted(batch.opened.items()))
        if batch.storms:
            self._sql.set_storm.run(cursor, [(rule, 0, storm) for rule, storm in sorted(batch.storms.items())])

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

    def _write_response(self, cursor: Cursor, batch: Batch, written: Written) -> None:
        """What goes beside tickets and deliveries, and seldom does."""
        if batch.plans:
            self._keep_plans(cursor, batch, written)
        if batch.breaches:
            self._write_breaches(cursor, batch)
        if batch.paces:
            self._sql.put_pace.run(cursor, self._in_order([rows.pace_row(one) for one in batch.paces.values()]))

    def _keep_plans(self, cursor: Cursor, batch: Batch, written: Written) -> None:
        """Those that are known to be there are left alone."""
        known = self._cached.plans
        new = {digest: rows.doc(plan) for digest, plan in batch.plans.items() if digest not in known}
        if new:
            self._sql.keep_plan.run(cursor, self._in_order(list(new.items())))
            written.plan_weights = {digest: len(text) for digest, text in new.items()}

    def _write_breaches(self, cursor: Cursor, batch: Batch) -> None:
        new: list[rows.Row] = []
        updated: list[rows.Row] = []
        for of, (breach, inserted) in batch.breaches.items():
            row = rows.breach_row(breach)
            if inserted:
                new.append(row)
            else:
                updated.append((*row[4:], *of))
        if new:
            self._sql.insert_breach.run(cursor, self._in_order(new))
        _fenced(cursor, self._sql.update_breach, updated, "a breach")


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
