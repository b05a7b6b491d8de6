"""The threshold machine against a naive one that counts everything anew, and against itself with restarts in between.

The naive machine keeps every sample ever sent and no state: at each instant at which anything can change it judges the
whole history again. It knows nothing of windows, looks or stored verdicts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.json import decode, encode

from rules.concerns import router
from rules.conditions.missed import Missed
from rules.events import PolicyLoaded
from rules.instants import HOUR, MINUTE, SECOND, Instant
from rules.matching import matcher
from rules.model import Verdict
from rules.policy import Dependency, Flap, Grouping, Maintenance, NoData, Policy, Quorum, Rule
from rules.recurrence import Cron
from rules.state import State
from tests.rules.world import World, a_probe_rule, beyond, policy_of

SERIES = (("fra", "a"), ("fra", "b"), ("ams", "a"), ("lon", "a"))
BAD, CLEAR, BETWEEN = Verdict.BAD, Verdict.CLEAR, Verdict.BETWEEN
Heard = tuple[Instant, int, float | None]  # when, which series, what


@dataclass(frozen=True)
class Naive:
    """The rule, and the naive machine: `phase(history, now)` from the whole history."""

    bad: int
    of: int
    good: int
    good_of: int
    pending: int
    keep: int
    after: int
    quorum: tuple[int, int] | None

    def rule(self) -> Rule:
        return a_probe_rule(
            condition=beyond(800, 600, bad=self.bad, of=self.of, good=self.good, good_of=self.good_of),
            pending_for=self.pending, keep_firing_for=self.keep, no_data=NoData(self.after, "hold"),
            quorum=None if self.quorum is None else Quorum("location", *self.quorum),
        )  # fmt: skip

    def said(self, history: list[Heard], series: int) -> Verdict:
        """What one series says by its last values."""
        values = [value for _, of, value in history if of == series]
        bad = [one for one in values[-self.of :] if one is not None and one > 800]
        good = [one for one in values[-self.good_of :] if one is not None and one <= 600]
        return BAD if len(bad) >= self.bad else CLEAR if len(good) >= self.good else BETWEEN

    def fresh(self, history: list[Heard], at: Instant) -> set[int]:
        return {of for when, of, _ in history if when <= at < when + self.after}

    def blind(self, history: list[Heard], at: Instant) -> bool:
        fresh = self.fresh([one for one in history if one[0] <= at], at)
        needed = 1 if self.quorum is None else self.quorum[1]
        return len({SERIES[of][0] if self.quorum else str(of) for of in fresh}) < needed

    def seen(self, history: list[Heard], start: Instant, end: Instant) -> int:
        """How much of [start, end) was not blind."""
        edges = {start, end}
        for when, _, _ in history:
            edges |= {edge for edge in (when, when + self.after) if start < edge < end}
        marks = sorted(edges)
        return sum([right - left for left, right in pairwise(marks) if not self.blind(history, left)])

    def verdict(self, history: list[Heard], at: Instant) -> Verdict:
        known = sorted({of for _, of, _ in history})
        if self.quorum is None:
            return _worst([self.said(history, of) for of in known])
        fresh = self.fresh(history, at)
        voices = {
            name: _worst([self.said(history, of) for of in fresh if SERIES[of][0] == name])
            for name in {SERIES[of][0] for of in fresh}
        }
        bad = [one for one in voices.values() if one is BAD]
        not_clear = [one for one in voices.values() if one is not CLEAR]
        return BAD if len(bad) >= self.quorum[0] else CLEAR if len(not_clear) < self.quorum[0] else BETWEEN

    def phases(self, history: list[Heard], until: Instant) -> str:
        """The phase at `until`: every sample and every end of a series' being fresh is judged, in order."""
        moments = [(when, 1, index) for index, (when, _, _) in enumerate(history)]
        moments += [(when + self.after, 0, -1) for when, _, _ in history if when + self.after <= until]
        phase, since, began = "ok", 0, 0  # `began`: when it was judged so for the first time
        for at, _, index in sorted(moments):
            so_far = [one for number, one in enumerate(history) if one[0] < at or (one[0] == at and number <= index)]
            if not so_far or self.blind(so_far, at):
                continue
            verdict = self.verdict(so_far, at)
            series = {of for _, of, _ in so_far if self.said(so_far, of) is verdict}
            newest = max([when for when, of, _ in so_far if of in series], default=None)
            if verdict is BAD:
                if phase == "ok":
                    phase, since, began = "pending", at, at
                elif phase == "recovering":
                    phase = "open"
                if phase == "pending" and self._reached(so_far, since, newest, (began, at), self.pending):
                    phase = "open"
            elif verdict is CLEAR:
                if phase == "open":
                    phase, since, began = "recovering", at if newest is None else newest, at
                if phase == "pending" or (
                    phase == "recovering" and self._reached(so_far, since, newest, (began, at), self.keep)
                ):
                    phase = "ok"
            else:
                phase = {"pending": "ok", "recovering": "open"}.get(phase, phase)
        return phase

    def _reached(
        self, history: list[Heard], since: Instant, newest: Instant | None, judged: tuple[Instant, Instant], span: int
    ) -> bool:
        """A sample of that verdict came so long after `since`; what was blind while it was judged so is left out."""
        began, at = judged
        blind = at - began - self.seen(history, began, at)
        return newest is not None and newest - since - blind >= span


def _worst(verdicts: list[Verdict]) -> Verdict:
    return BAD if BAD in verdicts else BETWEEN if BETWEEN in verdicts else CLEAR


SPANS = st.sampled_from([0, 30 * SECOND, MINUTE, 2 * MINUTE, 6 * MINUTE])
NAIVE = st.builds(
    lambda bad, more, good, more_good, **rest: Naive(bad, bad + more, good, good + more_good, **rest),
    st.integers(1, 3), st.integers(0, 2), st.integers(1, 3), st.integers(0, 2),
    pending=SPANS, keep=SPANS, after=st.sampled_from([MINUTE, 2 * MINUTE, 5 * MINUTE]),
    quorum=st.none() | st.tuples(st.integers(1, 2), st.integers(1, 3)),
)  # fmt: skip
GAPS = st.sampled_from([SECOND, 15 * SECOND, 30 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 7 * MINUTE])
VALUES = st.sampled_from([500.0, 600.0, 700.0, 900.0, 900.0, None])


def the_machine_is_the_naive_one(naive: Naive, steps: list[tuple[int, int, float | None]]) -> None:
    world = World(policy_of(naive.rule()))
    history: list[Heard] = []
    for gap, of, value in steps:
        world.forward(gap)
        if history:
            assert world.phase() == naive.phases(history, world.now), "as time passed"
        location, prober = SERIES[of]
        labels = {"probe": "shop", "region": "eu", "location": location, "prober": prober}
        fields: dict[str, Any] = {} if value is None else {"ms": value}
        world.sample(labels, **fields)
        history.append((world.now, of, value))
        assert world.phase() == naive.phases(history, world.now), "as the sample came"


@settings(max_examples=60)
@given(NAIVE, st.lists(st.tuples(GAPS, st.integers(0, 3), VALUES), min_size=8, max_size=25))
def test_several_series_are_judged_as_counting_everything_anew_does(
    naive: Naive, steps: list[tuple[int, int, float | None]]
) -> None:
    the_machine_is_the_naive_one(naive, steps)


@settings(max_examples=40)
@given(NAIVE, st.lists(st.tuples(GAPS, st.just(0), VALUES), min_size=8, max_size=30))
def test_one_series_is_judged_as_counting_everything_anew_does(
    naive: Naive, steps: list[tuple[int, int, float | None]]
) -> None:
    the_machine_is_the_naive_one(naive, steps)


# ---------------------------------------------------------------- restarts
def a_full_policy(settle: int = MINUTE) -> Policy:
    """A rule of every kind, with everything that keeps state. Made anew at each restart, as from its files."""
    where = (matcher("probe", "=", "shop"),)
    on_edge = (Dependency("edge", ("region",), settle),)
    return policy_of(
        a_probe_rule(
            id="edge", match=(matcher("probe", "=", "edge"),), pending_for=30 * SECOND, keep_firing_for=MINUTE
        ),
        a_probe_rule(
            condition=beyond(800, 600, bad=2, of=3, good=2, good_of=3), pending_for=MINUTE, keep_firing_for=MINUTE,
            depends_on=on_edge,
        ),
        a_probe_rule(id="votes", match=where, quorum=Quorum("location", 2, 2), no_data=NoData(2 * MINUTE, "hold")),
        a_probe_rule(id="silent", match=where, no_data=NoData(3 * MINUTE, "open"), pending_for=MINUTE),
        a_probe_rule(id="calm", match=where, no_data=NoData(3 * MINUTE, "ok"), keep_firing_for=MINUTE),
        a_probe_rule(id="flaps", match=where, flap=Flap(4, 50, 25), depends_on=on_edge),
        a_probe_rule(id="shady", match=where, shadow=True),
        a_probe_rule(id="grouped", match=where, dedup=("region", "location"), group=Grouping(("region",), 5 * MINUTE)),
        a_probe_rule(id="stormy", match=where, dedup=("location",), max_open=1),
        a_probe_rule(
            id="job", match=(matcher("job", "=", "backup"),), source="heartbeat", no_data=None, dedup=("job",),
            condition=Missed(None, 10 * MINUTE, MINUTE), pending_for=MINUTE,
        ),
        a_probe_rule(
            id="web", match=(matcher("alertname", "=", "ErrorRate"),), source=None, no_data=None, condition=None,
            pending_for=MINUTE, keep_firing_for=MINUTE, depends_on=on_edge, flap=Flap(4, 50, 25),
        ),
        maintenance=(Maintenance("patch", (matcher("region", "=", "us"),), Cron("10,50 * * * *"), 10 * MINUTE),),
    )  # fmt: skip


def _reread(value: Any) -> Any:
    """A value as it comes back from a store: written as JSON, and read."""
    return decode(encode(value), type=type(value))


def stored(state: State) -> State:
    """All that a store keeps of a state, written and read back; nothing that is only in memory."""
    return State(
        instances={key: _reread(one) for key, one in state.instances.items()},
        series={key: _reread(one) for key, one in state.series.items()},
        tickets={key: _reread(one) for key, one in state.tickets.items()},
        live=dict(state.live),
        groups=dict(state.groups),
        deliveries={key: _reread(one) for key, one in state.deliveries.items()},
        senders={key: _reread(one) for key, one in state.senders.items()},
        windows={key: {name: _reread(one) for name, one in of.items()} for key, of in state.windows.items()},
        tallies={key: _reread(one) for key, one in state.tallies.items()},
        next_ticket=state.next_ticket,
        started_at=state.started_at,
        down_at=state.down_at,
    )


def reread(world: World, settle: int = MINUTE) -> None:
    """Another process takes over, without a word."""
    router.cache_clear()
    world.state = stored(world.state)
    world.timers = {name: _reread(one) for name, one in world.timers.items()}
    world.policy = a_full_policy(settle)


def restarted(world: World) -> None:
    """Another process takes over and loads its policy, as a daemon does.

    Without `settle`: who waits for a parent is looked at anew, and may find sooner that the parent was judged.
    """
    reread(world, settle=0)
    world.state.down_at = world.state.started_at = world.now
    world.feed(PolicyLoaded("test"))
    world.forward(0)


STEP = st.one_of(
    st.tuples(
        st.sampled_from(["shop", "shop", "edge"]), st.sampled_from(["eu", "us"]), st.sampled_from(["fra", "ams"]),
        st.sampled_from([500.0, 700.0, 900.0, 900.0, None]),
    ),
    st.tuples(st.just("job"), st.sampled_from([{"ok": 1.0}, {"ok": 0.0}, {"start": 1.0}])),
    st.tuples(st.sampled_from(["fires", "clears"]), st.sampled_from(["eu", "us"])),
    st.tuples(st.just("says"), st.sampled_from(["acknowledge", "resolve", "hold"]), st.integers(1, 3)),
    st.tuples(st.just("passes"), st.sampled_from([MINUTE, 3 * MINUTE, 8 * MINUTE, 40 * MINUTE])),
)  # fmt: skip


def take(world: World, step: tuple[Any, ...]) -> None:
    world.forward(30 * SECOND)
    match step:
        case ("shop" | "edge" as probe, region, location, value):
            fields = {} if value is None else {"ms": value}
            world.sample({"probe": probe, "region": region, "location": location}, **fields)
        case ("job", fields):
            world.sample({"job": "backup"}, **fields)
        case ("fires", region):
            world.fires(region=region)
        case ("clears", region):
            world.clears(world.now, region=region)
        case ("says", action, number) if number in world.state.tickets:
            world.says("amina", action, number, until=world.now + HOUR, force=True, note="why")
        case ("passes", span):
            world.forward(span)
    world.forward(0)


def picture(world: World) -> dict[str, Any]:
    """What people and rules see: phases, tickets, timelines. Not versions, and not which look is due when."""
    return {
        "instances": {
            key: (one.rule, one.phase, one.since, one.ticket, one.by, one.parked, one.flapping, one.states, one.firing,
                  one.asked_at, one.blind_at, one.blind_told)
            for key, one in world.state.instances.items()
        },
        "tickets": {
            one.id: (one.key, one.status, one.priority, one.opened_at, one.resolved_at, one.run, one.attached,
                     one.linked)
            for one in world.state.tickets.values()
        },
        "timelines": {key: [(one.at, one.what, one.why) for one in chain] for key, chain in world.entries.items()},
        "sent": world.sent,
    }  # fmt: skip


def side_by_side(steps: list[tuple[Any, ...]], after: Callable[[World], None], settle: int = 0) -> tuple[World, World]:
    plain, other = World(a_full_policy(settle)), World(a_full_policy(settle))
    for world in (plain, other):
        world.load(world.policy)
    for step in steps:
        take(plain, step)
        take(other, step)
        after(other)
        assert picture(other) == picture(plain), step
    return plain, other


@settings(max_examples=25)
@given(st.lists(STEP, min_size=5, max_size=20))
def test_whatever_is_decided_depends_on_nothing_but_what_a_store_keeps(steps: list[tuple[Any, ...]]) -> None:
    plain, other = side_by_side(steps, reread, MINUTE)
    assert other.state.instances == plain.state.instances
    assert other.state.windows == plain.state.windows
    assert other.timers == plain.timers


@settings(max_examples=40)
@given(st.lists(STEP, min_size=5, max_size=20))
def test_restarting_at_every_step_changes_nothing(steps: list[tuple[Any, ...]]) -> None:
    side_by_side(steps, restarted)


def test_an_hour_of_everything_with_a_restart_at_every_step() -> None:
    steps: list[tuple[Any, ...]] = []
    for number in range(32):
        bad = 900.0 if number % 4 < 2 or number > 20 else 500.0
        steps += [("shop", "eu", "fra", bad), ("shop", "eu", "ams", bad if number % 3 else 700.0)]
        steps.append(("edge", "eu", "fra", 900.0 if number in range(24, 30) else 500.0))
        steps += [("fires" if number % 4 < 3 else "clears", "us")]
        if number % 7 == 0:
            steps.append(("job", {"ok": float(number % 2)}))
    plain, _ = side_by_side(steps, restarted)
    met = {one.what for chain in plain.entries.values() for one in chain}
    assert {"opened", "joined", "linked", "unlinked", "resolved", "reopened", "flapping", "escalation_paused"} <= met
    assert {one.rule for one in plain.state.tickets.values()} >= {
        "edge", "slow", "votes", "silent", "calm", "flaps", "grouped", "stormy", "job", "web",
    }  # fmt: skip
    assert any(one.storm for one in plain.state.tickets.values())
    assert plain.phase("shady", region="eu") == "open"
