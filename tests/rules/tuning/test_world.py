"""The world in memory: time, pages, and that forgetting changes nothing that anybody could see."""

import random
from collections.abc import Iterator

import pytest

from rules.commands import Attempt, Decision, PutInstance, PutTicket
from rules.events import Actor, AlertsReceived, Event, PolicyLoaded, Responded, SamplesReceived, TimerFired
from rules.instants import DAY, HOUR, MINUTE, SECOND, Instant
from rules.model import LIVE, Alert, Phase, Sample, Status
from rules.tickets.identity import fingerprint
from rules.tuning import world as module
from rules.tuning.world import StuckError, World
from tests.rules.tuning.stories import FIRES, PEOPLE, SLOW, START, policy_of


def fires(at: Instant, since: Instant | None = None, ends: Instant | None = None, **labels: str) -> AlertsReceived:
    """One alert; with `ends` it is resolved."""
    full = {"alertname": "E", **labels}
    alert = Alert(fingerprint(full), ends is None, full, {}, at if since is None else since, ends)
    return AlertsReceived("alertmanager", "am", at, (alert,))


def says(at: Instant, source: str = "probe", labels: dict[str, str] | None = None, **fields: float) -> SamplesReceived:
    """One sample of probe p in eu."""
    full = {"probe": "p", "region": "eu", **(labels or {})}
    return SamplesReceived(source, "test", at, (Sample(fingerprint(full), full, at, fields),))


def test_a_policy_comes_into_force_at_the_start_and_again_when_it_is_swapped() -> None:
    heard: list[tuple[Instant, Event]] = []
    world = World(policy_of(FIRES), START, listen=lambda at, event, _: heard.append((at, event)))
    world.forward(START + HOUR)
    world.load(policy_of(SLOW))
    loads = [at for at, event in heard if isinstance(event, PolicyLoaded)]
    assert loads == [START, START + HOUR]
    assert "slow" in world.policy.rules


def test_timers_fire_at_their_own_instants_also_when_the_next_event_is_much_later() -> None:
    heard: list[tuple[Instant, Event, Decision]] = []
    world = World(policy_of(FIRES + PEOPLE), START, listen=lambda *what: heard.append(what))
    world.feed(fires(START, service="a"), START)
    world.feed(fires(START + DAY, service="b"), START + DAY)
    opened = [
        at - START
        for at, _, decision in heard
        for one in decision.commands
        if type(one) is PutTicket and one.was is None
    ]
    assert opened == [2 * MINUTE], "`for` was reached while nothing came"
    pages = [
        (at - START, answer.delivery.contact) for at, _, decision in heard
        if isinstance(answer := decision.answer, Attempt) and answer.delivery is not None
    ]  # fmt: skip
    assert pages == [(2 * MINUTE, "amina")], "sent when it is due, and delivered at once"
    assert [one.id for one in world.live] == [1]
    world.forward(START + DAY + 2 * MINUTE)
    assert [one.id for one in world.live] == [1, 2]


def test_a_timer_at_the_instant_of_an_event_comes_before_it() -> None:
    world = World(policy_of(FIRES), START)
    world.feed(fires(START, service="a"), START)
    world.feed(fires(START + 2 * MINUTE, START, START + 2 * MINUTE, service="a"), START + 2 * MINUTE)
    assert [one.status for one in world.state.tickets.values()] == [Status.RESOLVED], "reached exactly is reached"


def test_an_event_of_the_past_does_not_turn_time_back() -> None:
    world = World(policy_of(FIRES), START)
    world.forward(START + HOUR)
    world.feed(fires(START, service="a"), START)
    assert world.now == START + HOUR


def test_the_gravest_of_equal_timers_fires_first_and_a_timer_set_anew_fires_once() -> None:
    rules = """
rules:
  - {id: mild, match: ['alertname="E"', 'n="mild"'], for: 1m, impact: user, urgency: low}
  - {id: grave, match: ['alertname="E"', 'n="grave"'], for: 1m, impact: site, urgency: high}
"""
    fired: list[tuple[Instant, str, str]] = []

    def listen(at: Instant, event: Event, decision: Decision) -> None:
        if isinstance(event, TimerFired):
            fired.append((at - START, event.subject, event.kind))

    world = World(policy_of(rules + PEOPLE), START, listen=listen)
    world.feed(fires(START, n="mild"), START)
    world.feed(fires(START, n="grave"), START)
    world.forward(START + MINUTE)
    world.forward(START + HOUR + MINUTE)
    escalated = [(at, subject) for at, subject, kind in fired if kind == "escalate"]
    grave = next(one.id for one in world.state.tickets.values() if one.priority == "P1")
    assert [subject for _, subject in escalated][:2] == [f"T-{grave}", f"T-{3 - grave}"]
    assert len({(at, subject) for at, subject in escalated}) == len(escalated)


def test_ticketds_own_events_are_decided_right_after_what_led_to_them() -> None:
    world = World(policy_of(SLOW), START)
    world.feed(says(START, ms=300), START)
    world.forward(START + 5 * MINUTE + 29 * MINUTE)
    assert not world.state.tickets
    world.forward(START + 5 * MINUTE + 30 * MINUTE)
    assert [one.rule for one in world.live] == ["catch-all"], "blind for half an hour: a ticket says so"
    world.feed(says(START + 36 * MINUTE, ms=300), START + 36 * MINUTE)
    assert [one.rule for one in world.live] == []


def test_everything_that_an_event_concerns_is_there() -> None:
    """What `concerns` names is loaded by the very meaning that the store gives to it."""
    rules = """
rules:
  - {id: p, match: ['alertname="E"', 'n="p"'], dedup: [region], impact: site, urgency: high}
  - {id: c, match: ['alertname="E"', 'n="c"'], dedup: [region, host], depends_on: [{rule: p, on: [region]}],
     group: {by: [region], within: 5m}, impact: user, urgency: low}
"""
    world = World(policy_of(rules), START, forget=False)
    world.feed(fires(START, n="p", region="eu"), START)
    world.feed(fires(START, n="p", region="us"), START)
    for host in "abc":
        world.feed(fires(START + SECOND, n="c", region="eu", host=host), START + SECOND)
        world.feed(fires(START + SECOND, n="c", region="ap", host=host), START + SECOND)
    by_host = {one.labels["host"]: one for one in world.instances(["c"]) if one.labels["region"] == "eu"}
    assert {one.phase for one in by_host.values()} == {Phase.SUPPRESSED}
    assert {one.by for one in by_host.values()} == {"p"}
    joined = [one for one in world.instances(["c"]) if one.labels["region"] == "ap"]
    assert {one.phase for one in joined} == {Phase.OPEN}
    assert len({one.ticket for one in joined}) == 1, "grouped: one ticket for three"
    world.feed(fires(START + MINUTE, START, START + MINUTE, n="p", region="eu"), START + MINUTE)
    world.forward(START + MINUTE)
    by_host = {one.labels["host"]: one for one in world.instances(["c"]) if one.labels["region"] == "eu"}
    assert {one.phase for one in by_host.values()} == {Phase.OPEN}, "looked at anew when the parent turned"
    assert world.state.tallies["c"].open == 2
    together = joined[0].ticket
    assert together is not None
    world.feed(Responded(together, "resolve", Actor("nobody")), START + MINUTE)
    assert world.state.firing == {together: tuple(f"E n=c region=ap host={host}" for host in "abc")}


def test_a_group_is_joined_only_while_its_newest_live_ticket_is_live() -> None:
    rules = """
rules:
  - {id: r, match: ['alertname="E"'], dedup: [host], group: {by: [region], within: 1h}, impact: user, urgency: low}
"""
    world = World(policy_of(rules), START)
    world.feed(fires(START, host="a", region="eu"), START)
    world.feed(fires(START + MINUTE, START, START + MINUTE, host="a", region="eu"), START + MINUTE)
    world.feed(fires(START + 2 * MINUTE, host="b", region="eu"), START + 2 * MINUTE)
    assert [(one.id, one.status) for one in world.state.tickets.values()] == [(1, Status.RESOLVED), (2, Status.OPEN)]


# ---------------------------------------------------------------- forgetting
def history(seed: int, steps: int = 300) -> Iterator[tuple[Instant, Event]]:
    """Alerts and samples of a few hosts over days: short flaps, long quiet, late repeats, probes that fall silent."""
    chance = random.Random(seed)  # noqa: S311 - a history, no secret
    at = START
    firing: dict[str, Instant] = {}
    before: list[tuple[str, Instant]] = []
    for _ in range(steps):
        at += chance.choice([0, SECOND, 20 * SECOND, 3 * MINUTE, 9 * MINUTE, 11 * MINUTE, 61 * MINUTE])
        host = chance.choice("abcdef")
        kind = chance.choice(["alert", "alert", "late", "sample", "sample"])
        if kind == "alert" and host in firing:
            since = firing.pop(host)
            before.append((host, since))
            yield at, fires(at, since, at, host=host, service=host, n=chance.choice("xy"))
        elif kind == "alert":
            firing[host] = at
            yield at, fires(at, host=host, service=host, n="x")
        elif kind == "late" and before:
            late, since = chance.choice(before)
            ends = chance.choice([None, at])
            yield at, fires(at, since, ends, host=late, service=late, n="x")
        else:
            yield at, says(at, labels={"region": host}, ms=chance.choice([300, 700, 900, 900]))


def visible(forget: bool, seed: int) -> tuple[list[object], World]:
    """What people could tell of a history: tickets by their key and time, phases, pages."""
    rules = FIRES.replace("for: 2m", f"for: 2m, max_open: {1 + seed}") + SLOW.replace("rules:\n", "") + PEOPLE
    told: list[object] = []

    def listen(at: Instant, event: Event, decision: Decision) -> None:
        for one in decision.commands:
            if type(one) is PutTicket:
                ticket = one.ticket
                if one.was is ticket.status:
                    continue  # such as a closed ticket that learns of its successor
                told.append(
                    (at, ticket.key, ticket.opened_at, ticket.status, ticket.priority, ticket.reopened, ticket.attached)
                )
            elif type(one) is PutInstance and one.was is not one.instance.phase:
                told.append((at, one.instance.key, one.was, one.instance.phase))
        if isinstance(decision.answer, Attempt) and decision.answer.delivery is not None:
            told.append((at, decision.answer.delivery.key))

    world = World(policy_of(rules), START, listen=listen, forget=forget)
    for at, event in history(seed):
        world.feed(event, at)
    world.forward(world.now + 2 * DAY)
    return told, world


@pytest.mark.parametrize("seed", range(4))
def test_forgetting_changes_nothing_that_is_told_of_tickets_instances_and_pages(seed: int) -> None:
    whole, keeps = visible(forget=False, seed=seed)
    told, forgets = visible(forget=True, seed=seed)
    assert told == whole
    assert len(forgets.state.tickets) < len(keeps.state.tickets) / 2


def test_a_world_of_many_short_alerts_stays_small() -> None:
    world = World(policy_of(FIRES + PEOPLE), START)
    for number in range(600):
        at = START + number * 10 * SECOND
        world.feed(fires(at, service=str(number)), at)
        if number >= 30:
            world.feed(fires(at, at - 5 * MINUTE, at, service=str(number - 30)), at)
    for number in range(570, 600):
        world.feed(fires(world.now, START + number * 10 * SECOND, world.now, service=str(number)), world.now)
    assert len(world.state.tickets) < 400, "closed after an hour, and forgotten then"
    world.forward(world.now + 2 * HOUR)
    state = world.state
    sizes = (len(state.tickets), len(state.instances), len(state.series), len(state.deliveries), len(world.timers))
    assert sizes == (0, 0, 0, 0, 0)
    assert state.next_ticket > 500
    assert not state.tallies
    assert not state.live


def test_a_storm_that_does_not_end_stays_small_as_well() -> None:
    rules = FIRES.replace("for: 2m", "max_open: 1")
    world = World(policy_of(rules), START)
    for number in range(400):
        at = START + number * MINUTE
        world.feed(fires(at, service=str(number)), at)
        if number >= 3:
            world.feed(fires(at, at - 3 * MINUTE, at, service=str(number - 3)), at)
    assert any(one.storm for one in world.live)
    assert len(world.state.instances) < 30


def test_what_another_rule_depends_on_and_what_probes_report_is_not_forgotten() -> None:
    rules = """
rules:
  - {id: p, match: ['alertname="E"'], dedup: [service], impact: site, urgency: high}
  - {id: c, match: ['alertname="C"'], dedup: [service], depends_on: [{rule: p, on: [service]}], impact: user,
     urgency: low}
"""
    world = World(policy_of(rules + SLOW.replace("rules:\n", "")), START)
    world.feed(fires(START, service="a"), START)
    world.feed(says(START, ms=300), START)
    world.feed(fires(START + MINUTE, START, START + MINUTE, service="a"), START + MINUTE)
    world.forward(START + DAY)
    assert {(one.rule, one.phase) for one in world.state.instances.values() if one.rule != "catch-all"} == {
        ("p", Phase.OK), ("slow", Phase.OK)
    }  # fmt: skip
    assert all(one.status in LIVE for one in world.state.tickets.values() if one.rule != "p")


# ---------------------------------------------------------------- what must never happen
def test_a_timer_that_nothing_comes_of_is_an_error_and_no_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(policy_of(FIRES), START)
    world.feed(fires(START, service="a"), START)
    monkeypatch.setattr(module, "decide", lambda *_: Decision((), None))  # type: ignore[arg-type]
    with pytest.raises(StuckError, match="neither cancelled nor set anew"):
        world.forward(START + HOUR)
