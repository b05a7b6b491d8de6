"""10,000 random histories of tickets, judged by the product and by counting half hours on the wall."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from random import Random

import holidays
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rules.instants import MINUTE, Instant, Span
from rules.model import Mark, Ticket
from rules.policy import Allowance, Allowed, Calendar, Holidays, Policy, Promise, Sla
from rules.response.sla import BREACHED, Clock, judge, news
from tests.rules.slots import Plan, Window, micros, open_slots, passes

ROUNDS, HISTORIES = 50, 200
SLOT_MINUTES = 30
SLOT = SLOT_MINUTES * MINUTE
DAYS = 24  # that a table of slots holds
SLOTS = DAYS * 48
CLOCKS = ("respond", "resolve")
SHARES = (25, 50, 75, 100)
PRIORITIES = ("P1", "P2", "P3")
Counted = tuple[int, bool]  # slots; whether only open ones count
# Where the clocks change, and where a holiday closes the office
PLACES = (
    ("Africa/Cairo", "EG", date(2026, 4, 15)),
    ("Africa/Cairo", "EG", date(2026, 10, 20)),
    ("Australia/Lord_Howe", "AU", date(2026, 3, 28)),
    ("Australia/Lord_Howe", "AU", date(2026, 9, 28)),
    ("Africa/Casablanca", "MA", date(2026, 2, 8)),
    ("Africa/Casablanca", "MA", date(2026, 3, 14)),
    ("America/New_York", "US", date(2026, 3, 1)),
    ("America/New_York", "US", date(2025, 12, 20)),
    ("Africa/Tripoli", "LY", date(2026, 3, 12)),
    ("Africa/Tripoli", "LY", date(2026, 5, 18)),
)


@dataclass
class World:
    """One calendar in two versions (a day was closed afterwards), an SLA over it, and the same counted in slots."""

    begin: Instant
    tables: tuple[list[bool], list[bool]]
    policies: tuple[Policy, Policy]
    promises: dict[str, dict[str, tuple[Counted, Counted]]]  # inside and outside, by priority and clock


@cache
def public_holidays(country: str) -> frozenset[date]:
    return frozenset(holidays.country_holidays(country, years=[2025, 2026, 2027]))


def windows(chance: Random) -> list[Window]:
    return [
        (start * SLOT_MINUTES, (start + chance.randrange(1, 25)) * SLOT_MINUTES)
        for start in (chance.randrange(48) for _ in range(chance.choice([0, 1, 1, 1, 2])))
    ]


def a_world(chance: Random) -> World:
    zone, country, first = chance.choice(PLACES)
    week = {number: windows(chance) for number in range(7)}
    days = [first + timedelta(days=chance.randrange(DAYS)) for _ in range(4)]
    opened = {days[2]: windows(chance) or [(600, 900)]}
    closed = {days[0], days[1]}
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    tables, policies = [], []
    promises = {
        priority: {clock: (allowed(chance, 0.6), allowed(chance, 0.4)) for clock in CLOCKS} for priority in PRIORITIES
    }
    sla = Sla("any", "any", {name: promise(by_clock) for name, by_clock in promises.items()}, warn_at=SHARES[:3])
    for also in (set[date](), {days[3]}):
        plan = Plan(zone, week, frozenset(closed | also | public_holidays(country)), opened)
        tables.append(open_slots(plan, begin, SLOTS, SLOT_MINUTES))
        calendar = Calendar(
            "any", zone, tuple(spans(week[number]) for number in range(7)), Holidays(country),
            {epoch_day(one): "closed" for one in closed | also},
            {epoch_day(one): spans(of_day) for one, of_day in opened.items()},
        )  # fmt: skip
        policies.append(Policy(calendars={"any": calendar}, slas={"any": sla}, default_sla="any"))
    return World(micros(begin), (tables[0], tables[1]), (policies[0], policies[1]), promises)


def allowed(chance: Random, often_working: float) -> Counted:
    """Up to a day, so that every share is a whole number of slots."""
    return 4 * chance.randrange(1, 13), chance.random() < often_working


def promise(by_clock: dict[str, tuple[Counted, Counted]]) -> Promise:
    respond, resolve = (
        Allowance(*(Allowed(slots * SLOT, working) for slots, working in by_clock[clock])) for clock in CLOCKS
    )
    return Promise(respond, resolve)


def spans(of_day: list[Window]) -> tuple[tuple[Span, Span], ...]:
    return tuple((start * MINUTE, end * MINUTE) for start, end in of_day)


def epoch_day(day: date) -> int:
    return day.toordinal() - date(1970, 1, 1).toordinal()


def a_history(chance: Random, world: World) -> int:
    """Plays one ticket: changes, some judged at once, and all of them at the end. Returns the number of judgements."""
    opened = slot = chance.randrange(10 * 48)
    one = Ticket(
        id=1, key="k", rule="r", title="t", priority=chance.choice(PRIORITIES), impact="site", urgency="high",
        opened_at=world.begin + opened * SLOT,
    )  # fmt: skip
    marks: list[tuple[int, str]] = []
    version, judgements, changes = 0, 0, chance.randrange(1, 7)
    for left in range(changes, -1, -1):
        match chance.choice(["mark", "mark", "mark", "priority", "calendar"]) if left else "wait":
            case "mark":
                what = chance.choice(["answered", "paused", "paused", "running", "running", "stopped"])
                marks.append((slot, what))
                one = replace(one, marks=(*one.marks, Mark(world.begin + slot * SLOT, what)))
            case "priority":
                one = replace(one, priority=chance.choice(PRIORITIES))
            case "calendar":
                version = 1 - version
        if not left or chance.random() < 0.3:
            one = compared(world, version, one, opened, marks, slot)
            judgements += 1
        slot += chance.choice([0, 0, 1, 2, 5, 12, 30])
    return judgements


def compared(world: World, version: int, one: Ticket, opened: int, marks: list[tuple[int, str]], slot: int) -> Ticket:
    """The ticket with what this judgement put on record, after that agreed with counting slots."""
    table, now = world.tables[version], world.begin + slot * SLOT
    clocks = judge(world.policies[version], None, one, now)
    assert [each.clock for each in clocks] == list(CLOCKS)
    for clock in clocks:
        slots, working = world.promises[one.priority][clock.clock][0 if table[opened] else 1]
        counted = table if working else [True] * SLOTS
        needs = [slots * share // 100 for share in SHARES]
        at = [
            None if found is None else world.begin + found * SLOT
            for found in passes(counted, opened, marks, clock.clock, needs)
        ]
        same_clock(clock, at, now, horizon=world.begin + SLOTS * SLOT)
    found = news(one.judged, clocks)
    judged = found.on_record(one.judged)
    now_passed = {(each.clock, each.version, share) for each in clocks for share, _ in each.passed}
    assert {(each.clock, each.version, each.share) for each in judged if not each.superseded} == now_passed
    assert len({(each.clock, each.version, each.share) for each in judged}) == len(judged)
    told = [(each.clock, each.share) for each in judged if each.told]
    assert sorted(told) == sorted({(each.clock, each.share) for each in judged})  # each is told once
    return replace(one, judged=judged)


def same_clock(clock: Clock, at: list[Instant | None], now: Instant, horizon: Instant) -> None:
    """`at`: when each of SHARES passes, as the slots say; None: it never does, or beyond the horizon."""
    expected = [(share, when) for share, when in zip(SHARES, at, strict=True) if when is not None and when <= now]
    assert list(clock.passed) == expected
    following = next((when for when in at if when is not None and when > now), None)
    assert within(clock.next_at, horizon) == following
    assert (clock.state == BREACHED) == (at[-1] is not None and at[-1] <= now)
    if clock.state in {"running", "paused", BREACHED}:
        assert within(clock.due_at, horizon) == at[-1]


def within(at: Instant | None, horizon: Instant) -> Instant | None:
    return at if at is not None and at <= horizon else None


@settings(max_examples=ROUNDS, deadline=None, database=None)
@given(st.integers(0, 2**64 - 1))
def test_10_000_random_histories_with_pauses_priority_changes_and_holidays_agree_with_counting_slots(
    seed: int,
) -> None:
    chance = Random(seed)  # noqa: S311 - histories are no secrets
    world = a_world(chance)
    for _ in range(HISTORIES):
        assert a_history(chance, world) > 0
