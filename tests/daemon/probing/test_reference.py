"""Our own network's failure told from that of others: what is told when, and with which mark."""

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.network.trial import Trial
from daemon.metrics import Metrics
from daemon.probing.look import Look
from daemon.probing.reference import CHECK_EVERY_S, CLING_S, References
from daemon.tasks import Supervisor
from rules.instants import HOUR, SECOND
from rules.model import Sample
from rules.policy import Policy, Probe, ProbeTarget
from rules.probing import Job, jobs
from tests.daemon.house import HandClock, settle

POLICY = Policy(
    probes={
        "ref": Probe("ref", "tcp", None, targets=tuple(ProbeTarget(f"r{n}:1") for n in range(3)), reference=True),
        "shop": Probe("shop", "tcp", None, targets=(ProbeTarget("a:1"), ProbeTarget("b:1"))),
    }
)
JOBS = {one.target: one for one in jobs(POLICY, "here", keeper=True, found={})}


class Network:
    """Says what a look at each target comes to, and plays the runner for the references."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.down: set[str] = set()
        self.asked: list[str] = []
        self.takes_s = 0.0
        self.clings: set[str] = set()  # whose looks never end

    def seen(self, job: Job, outcome: str = "", took_s: float = 0.0) -> Look:
        outcome = outcome or ("timeout" if job.target in self.down else "up")
        at = self.clock.now() - round(took_s * SECOND)
        note = "" if outcome == "up" else f"{job.target} does not answer"
        sample = Sample(job.fingerprint, job.labels, at, {"up": float(outcome == "up")}, note)
        began_s = self.clock.monotonic() - took_s
        trial = Trial(job.target, labels={}, timeout_s=1, now=at, monotonic=lambda: began_s)
        return Look(job, at, outcome, note, (sample,), took_s, trial)

    async def look(self, job: Job) -> Look:
        self.asked.append(job.target)
        await self.clock.sleep(math.inf if job.target in self.clings else self.takes_s)
        return self.seen(job, took_s=self.takes_s)


class House:
    """References over that network, and what they told: (target, up, mark)."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.network = Network(self.clock)
        self.supervisor = Supervisor(self.clock)
        self.metrics = Metrics()
        self.told: list[tuple[str, float, str]] = []
        self.samples: list[Sample] = []
        runner: Any = SimpleNamespace(look=self.network.look)
        self.references = References(runner, self._tell, self.clock, self.supervisor, self.metrics)
        self.references.adopt(JOBS.values())
        self.supervisor.keep("references", self.references.run)

    def _tell(self, samples: Sequence[Sample]) -> None:
        self.samples += samples
        self.told += [(one.labels["target"], one.fields["up"], str(one.mark)) for one in samples]

    def took(self, target: str, outcome: str = "", took_s: float = 0.0) -> None:
        self.references.took(self.network.seen(JOBS[target], outcome, took_s))


@pytest.fixture
async def house() -> Any:
    made = House()
    await settle()
    yield made
    await made.supervisor.stop()


async def test_what_is_up_is_told_at_once(house: House) -> None:
    house.took("a:1")
    assert (house.told, house.network.asked) == ([("a:1", 1.0, "")], [])


async def test_who_answers_badly_can_be_reached_so_nobody_else_is_asked(house: House) -> None:
    house.took("a:1", "status")
    await settle()
    assert (house.told, house.network.asked) == ([("a:1", 0.0, "")], [])


async def test_a_target_that_cannot_be_reached_is_told_once_the_references_were(house: House) -> None:
    house.network.down = {"a:1"}
    house.took("a:1")
    assert house.told == []
    await settle()
    assert sorted(house.network.asked) == ["r0:1", "r1:1", "r2:1"]
    await house.clock.advance(0.1)
    assert house.told == [("a:1", 0.0, "")]


async def test_one_reference_of_three_may_fail(house: House) -> None:
    house.network.down = {"a:1", "r0:1"}
    house.took("a:1")
    await house.clock.advance(0.1)
    assert house.told == [("a:1", 0.0, "")]


async def test_when_most_references_fail_too_nothing_is_known_of_the_target(house: House) -> None:
    house.network.down = {"a:1", "b:1", "r0:1", "r1:1"}
    house.took("a:1")
    house.took("b:1")
    await house.clock.advance(0.1)
    assert house.told == [("a:1", 0.0, "own_network"), ("b:1", 0.0, "own_network")]
    assert house.samples[0].note == (
        "not known: 2 of 3 references could not be reached from here either (a:1 does not answer)"
    )
    assert house.references.cut_off
    assert house.metrics.registry.get_sample_value("ticketd_own_network") == 1


async def test_while_cut_off_the_references_are_asked_again_and_it_ends(house: House) -> None:
    house.network.down = {"a:1", "r0:1", "r1:1", "r2:1"}
    house.took("a:1")
    await house.clock.advance(0.1)
    house.network.down = set()
    await house.clock.advance(CHECK_EVERY_S)
    assert not house.references.cut_off
    assert house.metrics.registry.get_sample_value("ticketd_own_network") == 0
    house.took("a:1")
    assert house.told[-1] == ("a:1", 1.0, "")


async def test_a_look_that_began_while_we_were_cut_off_is_marked_though_it_ended_after(house: House) -> None:
    house.network.down = {"a:1", "r0:1", "r1:1", "r2:1"}
    house.took("a:1")
    await house.clock.advance(0.1)
    house.network.down = set()
    await house.clock.advance(CHECK_EVERY_S - 0.1)
    assert not house.references.cut_off
    house.took("b:1", "timeout", took_s=CHECK_EVERY_S - 0.2)
    await house.clock.advance(2 * CHECK_EVERY_S)
    assert house.told[-1] == ("b:1", 0.0, "own_network")


async def test_the_looks_of_one_job_are_told_in_their_order(house: House) -> None:
    house.network.takes_s = 2.0
    house.network.down = {"a:1"}
    house.took("a:1")
    await house.clock.advance(1)
    house.network.down = set()
    house.took("a:1")
    house.took("b:1")
    assert house.told == [("b:1", 1.0, "")], "b is not kept waiting by a"
    await house.clock.advance(1)
    assert house.told[1:] == [("a:1", 0.0, ""), ("a:1", 1.0, "")]


async def test_what_fails_while_the_references_are_asked_waits_for_the_next_time(house: House) -> None:
    house.network.takes_s = 2.0
    house.took("a:1", "timeout")
    await house.clock.advance(1)
    house.took("b:1", "timeout")
    await house.clock.advance(1)
    assert [one[0] for one in house.told] == ["a:1"]
    await house.clock.advance(CHECK_EVERY_S + 2)
    assert [one[0] for one in house.told] == ["a:1", "b:1"]


async def test_thousands_of_failures_ask_the_references_every_five_seconds_only(house: House) -> None:
    for _ in range(600):
        house.took("a:1", "timeout")
        house.took("b:1", "timeout")
        await house.clock.advance(0.1)
    assert len(house.network.asked) <= 3 * (60 / CHECK_EVERY_S + 1)
    await house.clock.advance(2 * CHECK_EVERY_S)
    assert len(house.told) == 1_200


async def test_without_references_all_is_told_at_once(house: House) -> None:
    house.references.adopt([one for one in JOBS.values() if not one.probe.reference])
    house.took("a:1", "timeout")
    assert (house.told, house.network.asked) == ([("a:1", 0.0, "")], [])


async def test_references_that_are_taken_away_release_what_waited_for_them(house: House) -> None:
    house.network.takes_s = 2.0
    house.took("a:1", "timeout")
    await house.clock.advance(1)
    house.references.adopt([one for one in JOBS.values() if not one.probe.reference])
    assert house.told == [("a:1", 0.0, "")]
    await house.clock.advance(10)
    assert len(house.told) == 1


async def test_references_are_judged_as_what_they_are_too(house: House) -> None:
    house.network.down = {"r0:1", "r1:1", "r2:1"}
    house.took("r0:1")
    await house.clock.advance(0.1)
    assert house.told == [("r0:1", 0.0, "own_network")]


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_clock_that_is_set_leaves_no_doubt_behind_and_no_old_trouble(house: House, by: int) -> None:
    house.network.takes_s = 1.0
    house.network.down = {"r0:1", "r1:1", "r2:1"}
    house.took("a:1", "timeout")
    await house.clock.advance(0.5)
    house.clock.at += by
    house.took("b:1", "timeout")
    await house.clock.advance(0.5)
    assert house.told == [("a:1", 0.0, "own_network")]
    house.network.down = set()
    await house.clock.advance(CHECK_EVERY_S + 1)
    assert (house.told[1:], house.references.cut_off) == ([("b:1", 0.0, "own_network")], False)
    await house.clock.advance(CHECK_EVERY_S)
    house.took("a:1", "timeout")
    await house.clock.advance(1)
    assert house.told[2:] == [("a:1", 0.0, "")], "they could all be reached before and after"


async def test_a_reference_whose_look_never_ends_is_not_waited_for(house: House) -> None:
    house.network.clings = {"r0:1"}
    house.took("a:1", "timeout")
    await house.clock.advance(JOBS["r0:1"].probe.timeout / SECOND + CLING_S)
    assert house.told == [("a:1", 0.0, "")], "the two others can be reached"


async def test_references_that_come_while_the_others_are_asked_do_not_speak_unasked(house: House) -> None:
    house.network.takes_s = 2.0
    house.network.down = {"r0:1", "r1:1", "r2:1"}
    house.took("a:1", "timeout")
    await house.clock.advance(1)
    more = replace(POLICY.probes["ref"], targets=tuple(ProbeTarget(f"r{n}:1") for n in range(9)))
    house.references.adopt(jobs(Policy(probes={**POLICY.probes, "ref": more}), "here", keeper=True, found={}))
    await house.clock.advance(1)
    assert house.told == [("a:1", 0.0, "own_network")]


async def test_where_others_are_references_meanwhile_those_are_asked_before_anything_is_told(house: House) -> None:
    house.network.takes_s = 2.0
    house.network.down = {"q:1"}
    house.took("a:1", "timeout")
    await house.clock.advance(1)
    other = replace(POLICY.probes["ref"], targets=(ProbeTarget("q:1"),))
    house.references.adopt(jobs(Policy(probes={**POLICY.probes, "ref": other}), "here", keeper=True, found={}))
    await house.clock.advance(1)
    assert house.told == []
    await house.clock.advance(CHECK_EVERY_S + 2)
    assert house.told == [("a:1", 0.0, "own_network")]


async def test_a_doubt_about_what_is_no_longer_looked_at_is_never_told(house: House) -> None:
    house.network.takes_s = 2.0
    house.took("a:1", "timeout")
    house.took("b:1", "timeout")
    house.references.adopt([one for one in JOBS.values() if one.target != "a:1"])
    await house.clock.advance(2 * CHECK_EVERY_S)
    assert house.told == [("b:1", 0.0, "")]
    assert house.metrics.registry.get_sample_value("ticketd_probe_skipped_total", {"reason": "closed"}) == 1


async def test_at_the_end_a_doubt_stays_one_and_what_came_behind_it_is_told(house: House) -> None:
    house.network.takes_s = 2.0
    house.took("a:1", "timeout")
    house.took("b:1", "timeout")
    house.took("b:1")
    await house.clock.advance(1)
    house.references.close()
    assert house.told == [("b:1", 1.0, "")]
    await house.clock.advance(2 * CHECK_EVERY_S)
    assert (house.told, len(house.network.asked)) == ([("b:1", 1.0, "")], 3), "and nobody is asked any more"
