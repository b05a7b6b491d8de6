"""Nouns for the tests of the store, and the commands of a ticket that opens."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from msgspec.structs import replace

from daemon.store.journal import Body
from daemon.store.store import Store
from rules.commands import Command, Deliver, PutInstance, PutSeries, PutTicket, PutWindow, Record, Schedule
from rules.instants import HOUR, MINUTE, Instant, parse_instant
from rules.model import (
    Breach,
    Delivery,
    Entry,
    Instance,
    Judged,
    Mark,
    Phase,
    Purpose,
    Run,
    SampleMark,
    Sending,
    Series,
    Status,
    Ticket,
    Timer,
    Told,
    Verdict,
    Window,
)
from rules.policy import Escalation, Step, Target, digest_of
from rules.state import Bond, Concerns

Opened = Callable[..., Store]  # opens the test's store; opening it again closes it first, as a restart does
T0: Instant = parse_instant("2026-03-02T12:00:00Z")


def key(n: int) -> str:
    return f"{n:032x}"


def fingerprint(n: int) -> str:
    return f"{n:016x}"


def labels(n: int) -> dict[str, str]:
    return {"alertname": "DiskFull", "instance": f"db-{n}", "severity": "critical"}


def an_instance(n: int = 1, **changes: Any) -> Instance:
    made = Instance(key(n), "disk", {"instance": f"db-{n}"}, Phase.OPEN, T0, 1, n, version=1)
    return replace(made, **changes)


def a_series(n: int = 1, **changes: Any) -> Series:
    made = Series(
        key(n), fingerprint(n), True, labels(n), {"summary": f"disk of db-{n} is full"}, T0, T0,
        source="alertmanager", sender="am",
    )  # fmt: skip
    return replace(made, **changes)


def a_window(n: int = 1, name: str = "w", **changes: Any) -> Window:
    """A window of the n-th instance."""
    made = Window(
        key(n), name, {"probe": "df", "instance": f"db-{n}"}, T0, T0 + 1, ((T0 - MINUTE, 3.5), (T0, 4.0)), version=1
    )
    return replace(made, **changes)


def judged(n: int = 1, **changes: Any) -> list[Command]:
    """All that is written when a sample of a new series is judged clear."""
    ok = an_instance(n, phase=Phase.OK, since=None, firing=0, ticket=None)
    return [PutInstance(replace(ok, **changes), Phase.OK), PutWindow(a_window(n))]


def a_ticket(n: int = 1, **changes: Any) -> Ticket:
    made = Ticket(
        n, key(n), "disk", f"disk full on db-{n}", "P1", "site", "high", T0, labels=labels(n), escalation="main",
        run=Run("main", 1, 0, 0, True, T0 + 5 * MINUTE), reopen_within=60 * MINUTE, entries=2, head="b" * 64, version=1,
    )  # fmt: skip
    return replace(made, **changes)


def an_entry(ticket: int = 1, seq: int = 1, **changes: Any) -> Entry:
    made = Entry(ticket, seq, T0, "opened", "alertmanager:am", "DiskFull fires", {"priority": "P1"}, "", f"{seq}" * 64)
    return replace(made, **changes)


def a_timer(n: int = 1, **changes: Any) -> Timer:
    return replace(Timer(f"T-{n}", "escalate", T0 + 5 * MINUTE, 1, 1), **changes)


def a_delivery(n: int = 1, **changes: Any) -> Delivery:
    made = Delivery(
        f"T-{n}/1/0/0/amina/email", n, Purpose.PAGE, 1, 1, "amina", "email", "amina@example.test", 1, T0, T0, "L1"
    )
    return replace(made, **changes)


def a_notice(n: int = 1, **changes: Any) -> Delivery:
    """A delivery that is about no ticket."""
    made = a_delivery(n, key=f"H-payments/{n}/amina/email", ticket=0, purpose=Purpose.HANDOFF, note="your turn begins")
    return replace(made, **changes)


def a_breach(ticket: int = 1, share: int = 100, **changes: Any) -> Breach:
    made = Breach(
        ticket, "respond", "1h elapsed of office", share, "standard", "P1", T0 + HOUR, T0 + HOUR + 5, 5,
        "nobody had answered",
    )  # fmt: skip
    return replace(made, **changes)


def a_plan(*notify: str, **changes: Any) -> Escalation:
    """With every field set to something that is not its default."""
    made = Escalation(
        "main", tuple([Step((Target("contact", one),), 7 * MINUTE, f"L{n}", n) for n, one in enumerate(notify, 2)]), 3,
        (Target("schedule", "é\"'%"),), {"P1": 15 * MINUTE}, {"P1": HOUR, "P2": 4 * HOUR}, {"P3": "office"}, "migrate",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def planned(n: int, plan: Escalation) -> Ticket:
    """A ticket whose run goes by this plan."""
    return a_ticket(n, run=Run("main", 1, 0, 0, True, T0 + 5 * MINUTE, plan=digest_of(plan)))


def opening(n: int = 1) -> list[Command]:
    """All that is written when a new alert opens a ticket."""
    return [
        PutSeries(a_series(n)),
        PutInstance(an_instance(n), Phase.OK),
        Record(an_entry(n, 1)),
        Record(an_entry(n, 2, what="told", prev="1" * 64)),
        Schedule(a_timer(n)),
        Deliver(a_delivery(n)),
        PutTicket(a_ticket(n), None),
    ]


def a_body(n: int = 1, **changes: Any) -> Body:
    made = Body("alertmanager", "am", T0, b'{"alerts":[{"status":"firing","n":%d}]}' % n, 1)
    return made._replace(**changes)


def a_member(n: int, rule: str = "edge", phase: Phase = Phase.OK, **labels: str) -> Instance:
    return Instance(key(n), rule, labels, phase, version=1)


def put(*some: Instance) -> list[Command]:
    return [PutInstance(one, Phase.OK) for one in some]


ODD = {"naïve": "\u202eright to left", "quote": "\"'\\\n\t", "😀": "", "long": "x" * 10_000, "$.a[0]": "{}"}


def full_nouns() -> tuple[Series, Instance, Ticket, Entry, Timer, Delivery]:
    """One of each with every field set to something that is not its default."""
    return (
        replace(
            a_series(1), firing=False, labels=ODD, annotations=ODD, ends_at=T0 + 1, resolved_at=T0 + 2, inferred=True,
            expires_at=T0 + 3, generator_url="http://prometheus.example.test/graph?g0.expr=up%3D%3D0",
        ),
        replace(
            an_instance(1), group_key="a group", expires_at=T0 + 4, labels=ODD, phase=Phase.RECOVERING,
            look_at=T0 + 5, judged_at=T0 + 6, asked_at=T0 + 7, by="the network's rule, naïvely", parked="maintenance",
            blind_at=T0 + 8, blind_told=True, flapping=True, states="110100100", turned_at=T0 + 9,
        ),
        replace(
            a_ticket(1), kind="request", category="hardware", status=Status.ON_HOLD, generation=7, description="é\n😀",
            labels=ODD, group_key="a group", opened_by="omar", acknowledged_at=T0 + 1, acknowledged_by="amina",
            held_until=T0 + 2, held_from=Status.ACKNOWLEDGED, resolved_at=T0 + 3, resolved_by="amina", closed_at=T0 + 4,
            reopened=3, predecessor=41, successor=43, attached=5, told=(Told("amina", "email", "amina@example.test"),),
            run=Run(
                "main", 2, 1, -1, True, T0 + 5, reached=True, paused=True, left=7 * MINUTE, plan="0123456789abcdef",
                since=T0 + 6, waiting=True, untold=True, empty=True, moved=2,
            ),
            title="title with ' and \" and %", storm=True, linked=4, orphaned=True,
            marks=(Mark(T0 + 1, "paused", 'waits for "the vendor", naïvely'), Mark(T0 + 2, "running")),
            judged=(Judged("respond", "1h@office", 75, told=False, superseded=True), Judged("resolve", "24h", 100)),
            judge_at=T0 + 7, acknowledgers=("amina", "omar"), held_why="the vendor ships it é", joined_at=T0 + 8,
        ),
        replace(an_entry(1), data={"text": "é", "fraction": 0.1, "none": None, "list": [1, "a", {"b": []}]}),
        replace(a_timer(1), generation=9, gravity=3),
        replace(
            a_delivery(1), state=Sending.SENDING, attempt=2, deadline_at=T0 + 30, possible_repeat=True,
            reference="<id@example.test>", error="451 later", tier="L2", note="75 % of the time é", bundled=2 * MINUTE,
            confirmed=True,
        ),
    )  # fmt: skip


def full_window() -> Window:
    """With every field set to something that is not its default, and every number that a sample may hold."""
    numbers = (0.0, 0.1, -1.5, 1e308, -1.7976931348623157e308, 5e-324, 1e16, 2.0**53 + 2, 123456789.123456789)
    return a_window(
        1, 'odd "fingerprint" é\\%', labels=ODD,
        points=(*[(T0 + n, one) for n, one in enumerate(numbers)], (T0 + 99, None)),
        verdict=Verdict.BAD, judged="threshold:" + "a" * 32, fields={"latency_ms": 0.25, "": 1e-9, "😀": 3.0},
        expected=True, version=1, note='it said "é\\" 😀', mark=SampleMark.OWN_NETWORK,
    )  # fmt: skip


def read(store: Store, what: str, *args: Any, **options: Any) -> Any:
    """The answer of a reader of its own, a list where it would be given piece by piece."""
    with closing(store.reader()) as reader:
        found = getattr(reader, what)(*args, **options)
        return list(found) if what == "journal" else found


def bonded(store: Store, *asked: Bond) -> list[list[int]]:
    """For each bond the numbers of its instances, which must all have been loaded."""
    state = store.load(Concerns(bonds=set(asked)))
    assert set(state.bonds) == set(asked)
    assert set(state.instances) == {one for keys in state.bonds.values() for one in keys}
    return [[int(one, 16) for one in state.bonds[bond]] for bond in asked]


def commit(store: Store, *commands: Command) -> None:
    store.commit(commands, (), T0)


def before_and_after_a_restart(store: Store, opened: Opened) -> Iterator[Store]:
    """What is remembered and what is stored must be the same."""
    yield store
    yield opened()
