"""Looks come on time, spread and bounded, whatever targets and clocks do. All of it in virtual time."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from daemon.probing.look import Look
from rules.instants import DAY, MINUTE, SECOND, Span
from rules.probing import Job
from tests.daemon.probing.virtually import START, World, busiest, gaps, some, told


def test_ten_thousand_are_looked_at_on_time_spread_from_the_first_interval_on() -> None:
    async def story(world: World) -> None:
        world.begin(some(10_000))
        await world.pass_s(30.2)
        assert len({target for _, target in world.range.began}) == 10_000
        await world.pass_s(10)
        assert busiest(world.range.began) < 430  # 333 on average
        assert max(abs(gap - 30) for gap in gaps(world.range.began)) < 0.02
        assert world.on_time(0.025) == 1
        assert len(world.looks) == len(world.range.began)
        assert not any(map(world.skipped, ("overlap", "missed", "closed")))

    told(story)


def test_a_restart_keeps_the_rhythm() -> None:
    there = some(5)
    seen: list[dict[str, float]] = []

    async def story(world: World) -> None:
        world.clock.skew = 17 * SECOND * len(seen)
        world.begin(there)
        await world.pass_s(35)
        seen.append({look.job.target: look.at % (30 * SECOND) / SECOND for look in world.looks})

    told(story)
    told(story)
    assert seen[0] == pytest.approx(seen[1], abs=0.01)
    assert len(seen[0]) == 5


def test_half_of_them_hang_and_the_other_half_stays_on_time() -> None:
    async def story(world: World) -> None:
        there = some(2_000)
        world.range.takes = {one.target: 1e9 for one in there[::2]}
        world.range.takes |= {one.target: 0.05 for one in there[1::2]}
        world.begin(there, runs=200)
        await world.pass_s(60)
        world.range.began.clear()
        world.looks.clear()
        await world.pass_s(60)
        sound = {one.target for one in there[1::2]}
        mine = [one for one in world.range.began if one[1] in sound]
        assert len(mine) == pytest.approx(2_000, abs=5)
        assert max(abs(gap - 30) for gap in gaps(mine)) < 0.05
        assert world.range.most[""] <= 200
        hanging = [look for look in world.looks if look.outcome == "timeout"]
        assert len(hanging) == pytest.approx(150 / 10 * 60, rel=0.02)  # their share is used in full
        assert world.skipped("overlap") > 0

    told(story)


def test_all_that_hang_leave_room_for_the_one_that_answers() -> None:
    async def story(world: World) -> None:
        there = some(41, interval=10 * SECOND)
        world.range.takes = {one.target: 1e9 for one in there[1:]}
        world.range.takes[there[0].target] = 0.1
        world.begin(there, runs=8)
        await world.pass_s(120)
        world.range.began.clear()
        await world.pass_s(100)
        mine = [one for one in world.range.began if one[1] == there[0].target]
        assert len(mine) == 10
        assert max(abs(gap - 10) for gap in gaps(mine)) < 0.02

    told(story)


def test_an_overlapping_run_is_skipped_and_counted_never_queued() -> None:
    async def story(world: World) -> None:
        (job,) = some(1, interval=10 * SECOND, timeout=25 * SECOND)  # which no policy file can say
        world.range.takes[job.target] = 25
        world.begin([job])
        await world.pass_s(95)
        assert gaps(world.range.began) == pytest.approx([30] * (len(world.range.began) - 1), abs=0.01)
        assert len(world.range.began) >= 3
        assert world.skipped("overlap") >= 5
        assert world.range.most[""] == 1

    told(story)


def test_one_host_is_not_bothered_by_more_than_its_limit_and_others_do_not_wait_for_it() -> None:
    async def story(world: World) -> None:
        slow, others = some(100), some(100, prefix="o", name="q")
        world.range.hosts = {one.target: "db" for one in slow}
        world.range.takes = {one.target: 1.4 for one in slow}  # 100 in 30 s, 7 at a time: it just fits 5 at a time
        world.begin([*slow, *others], runs_to_one=5)
        await world.pass_s(300)
        assert world.range.most["db"] == 5
        assert max(abs(gap - 30) for gap in gaps([one for one in world.range.began if one[1][0] == "o"])) < 0.02
        at_db = [one for one in world.range.began if one[1][0] == "t"]
        assert len(at_db) == pytest.approx(1_000, abs=10)
        assert world.skipped("overlap") == 0
        assert 0.5 < world.on_time(0.025) < 1  # some waited for their turn, and their lag says so

    told(story)


def test_who_waits_is_served_in_order_and_counts_as_running() -> None:
    async def story(world: World) -> None:
        there = some(4, interval=4 * SECOND, timeout=3 * SECOND)
        world.range.takes = {one.target: 1.4 for one in there}  # 5.6 s of work every 4 s
        world.begin(there, runs=1)
        await world.pass_s(120)
        looked = Counter(target for _, target in world.range.began)
        assert min(looked.values()) >= 15  # nobody starves
        due = 4 * 120 / 4
        assert looked.total() + world.skipped("overlap") == pytest.approx(due, abs=4)
        assert world.range.most[""] == 1

    told(story)


@pytest.mark.parametrize("monotonic", [False, True])
def test_a_suspend_of_an_hour_is_no_burst(monotonic: bool) -> None:
    async def story(world: World) -> None:
        world.begin(some(600))
        await world.pass_s(60)
        woken = world.clock.monotonic() + (3_600 if monotonic else 0)
        world.suspend(3_600, monotonic=monotonic)
        await world.pass_s(61)
        after = world.since(woken)
        assert busiest(after, 5) < 140  # 100 on average
        assert len({target for at, target in after if at < woken + 30.2}) == 600
        assert world.skipped("missed") == 600
        assert world.skipped("overlap") == 0
        assert world.on_time(0.25) == 1

    told(story)


def test_a_pause_shorter_than_an_interval_loses_no_look_and_is_no_burst() -> None:
    async def story(world: World) -> None:
        world.begin(some(600))
        await world.pass_s(60)
        paused = world.clock.monotonic()
        world.suspend(15, monotonic=True)
        await world.pass_s(120)
        after = world.since(paused)
        assert busiest(after, 5) < 260  # twice the 100 on average
        assert world.skipped("missed") == 0
        assert max(gaps(world.range.began)) < 46
        assert min(gaps(world.range.began)) > 14.9
        assert min(gaps([one for one in after if one[0] > paused + 45])) > 29.9

    told(story)


@pytest.mark.parametrize("moved", [-DAY, -10 * SECOND, -20 * SECOND, 10 * SECOND, 25 * SECOND, DAY + 7 * SECOND])
def test_a_clock_that_is_set_hurries_nobody(moved: Span) -> None:
    async def story(world: World) -> None:
        world.begin(some(600))
        await world.pass_s(60)
        set_at = world.clock.monotonic()
        world.clock.skew += moved
        await world.pass_s(120)
        after = world.since(set_at)
        assert busiest(after, 5) < 260
        assert min(gaps(world.range.began)) > 14.8
        assert max(gaps(world.range.began)) < 60
        slots = {one.target: one.phase for one in some(600)}
        for look in world.looks[-600:]:
            assert (look.at - slots[look.job.target]) % (30 * SECOND) < SECOND  # in step with the clock again

    told(story)


def test_a_job_of_a_day_is_not_forgotten_by_a_machine_that_slept_over_its_slot() -> None:
    async def story(world: World) -> None:
        (job,) = some(1, interval=DAY)
        world.clock.skew = (job.phase - START) % DAY - 10 * MINUTE
        world.begin([job])
        await world.pass_s(10)
        world.suspend(3 * 3_600, monotonic=False)
        await world.pass_s(31)
        assert len(world.looks) == 1

    told(story)


def test_a_reload_keeps_what_runs_and_its_rhythm_and_gives_back_what_is_gone() -> None:
    async def story(world: World) -> None:
        there = some(200)
        stays, goes = there[:100], there[100:]
        world.range.takes = {one.target: 9.0 for one in there}
        world.begin(there)
        await world.pass_s(60)
        new = some(100, prefix="n", name="q")
        running = {one.target for one in goes} & {
            target for at, target in world.range.began if at > world.clock.monotonic() - 9
        }
        assert len(running) > 10
        before, reloaded = len(world.range.began), world.clock.now()
        gone = world.scheduler.adopt([*stays, *new])
        assert {one.key for one in gone} == {one.key for one in goes}
        await world.pass_s(0.01)
        assert set(world.range.cancelled) == running
        assert world.skipped("closed") == len(running)
        await world.pass_s(40)
        later = {target for _, target in world.range.began[before:]}
        assert later == {one.target for one in (*stays, *new)}
        mine = [one for one in world.range.began if one[1] in {job.target for job in stays}]
        assert max(abs(gap - 30) for gap in gaps(mine)) < 0.2
        assert not {look.job.target for look in world.looks if look.job.target in running and look.at > reloaded}
        assert world.metrics.registry.get_sample_value("ticketd_probe_jobs") == 200

    told(story)


def test_a_reload_that_changes_the_interval_takes_the_new_one() -> None:
    async def story(world: World) -> None:
        before, after = some(50, interval=60 * SECOND), some(50, interval=5 * SECOND, timeout=SECOND)
        assert [one.key for one in before] == [one.key for one in after]
        world.begin(before)
        await world.pass_s(10)
        reloaded = world.clock.monotonic()
        assert world.scheduler.adopt(after) == ()
        await world.pass_s(15.2)
        assert len(world.since(reloaded)) == pytest.approx(150, abs=3)

    told(story)


def test_the_last_outcome_stays_known_over_a_reload() -> None:
    async def story(world: World) -> None:
        there = some(16, interval=10 * SECOND)
        world.range.takes = {one.target: 1e9 for one in there}
        world.begin(there, runs=4)
        await world.pass_s(60)
        world.scheduler.adopt([replace(one) for one in there])
        world.range.most.clear()
        await world.pass_s(60)
        assert world.range.most[""] == 3  # three quarters: they are known to hang

    told(story)


def test_what_somebody_else_runs_is_neither_run_nor_counted_as_skipped() -> None:
    async def story(world: World) -> None:
        there = some(10)
        world.elsewhere = {one.target for one in there[:5]}
        world.begin(there)
        await world.pass_s(90)
        assert {target for _, target in world.range.began} == {one.target for one in there[5:]}
        assert not any(map(world.skipped, ("overlap", "missed", "closed")))
        world.suspend(3_600, monotonic=False)
        world.elsewhere = {one.target for one in there}
        await world.pass_s(1)
        assert world.skipped("missed") == 0
        woken = world.clock.monotonic()
        world.elsewhere = set()
        await world.pass_s(30.2)
        assert {target for _, target in world.since(woken)} == {one.target for one in there}

    told(story)


def test_a_lease_that_comes_a_moment_after_the_start_costs_no_first_look() -> None:
    async def story(world: World) -> None:
        there = some(600)
        world.elsewhere = {one.target for one in there}
        world.begin(there)
        await world.pass_s(2)
        assert world.range.began == []
        world.elsewhere = set()
        await world.pass_s(28.2)
        assert len({target for _, target in world.range.began}) == 600

    told(story)


def test_a_lease_that_is_lost_while_a_look_waits_for_its_turn_is_heeded() -> None:
    async def story(world: World) -> None:
        first, second = some(2, interval=100 * SECOND, timeout=90 * SECOND)
        if first.phase > second.phase:
            first, second = second, first
        world.range.takes = {first.target: 89.0}
        world.begin([first, second], runs=1)
        while len(world.range.began) < 1:
            await world.pass_s(1)
        await world.pass_s((second.phase - first.phase) / SECOND % 100 + 1)
        assert [target for _, target in world.range.began] == [first.target]
        world.elsewhere = {second.target}
        await world.pass_s(89)
        assert second.target not in {target for _, target in world.range.began}

    told(story)


def test_closing_breaks_off_what_runs_and_starts_nothing_more() -> None:
    async def story(world: World) -> None:
        there = some(100)
        world.range.takes = {one.target: 9.0 for one in there}
        world.begin(there)
        await world.pass_s(30)
        running, began = world.range.running[""], len(world.range.began)
        assert running > 10
        await world.scheduler.close()
        assert world.range.running[""] == 0
        assert len(world.range.cancelled) == running
        await world.pass_s(60)
        assert len(world.range.began) == began
        assert world.skipped("closed") == running

    told(story)


def test_a_look_that_fails_inside_frees_its_place() -> None:
    async def story(world: World) -> None:
        there = some(3, interval=10 * SECOND)

        def stumbles(look: Look) -> None:
            world.looks.append(look)
            raise RuntimeError("who is told stumbles")

        world.begin(there, runs=1)
        world.scheduler._took = stumbles
        await world.pass_s(41)
        assert len(world.looks) >= 12
        assert world.metrics.registry.get_sample_value("ticketd_probe_running") == 0

    told(story)


def test_a_look_that_clings_to_life_keeps_its_place_and_is_cancelled_again() -> None:
    async def story(world: World) -> None:
        there = some(1, interval=20 * SECOND)
        tries: list[float] = []

        async def clings(job: Job) -> Look:
            while len(tries) < 3:
                try:
                    await world.clock.sleep(1e6)
                except asyncio.CancelledError:
                    tries.append(world.clock.monotonic())
            raise asyncio.CancelledError

        world.range.look = clings  # type: ignore[method-assign]
        world.begin(there, runs=1)
        await world.pass_s(60)
        assert len(tries) == 3
        assert world.metrics.registry.get_sample_value("ticketd_probe_running") == 0
        assert world.looks == []
        del world.range.look
        await world.pass_s(20)
        assert len(world.looks) == 1

    told(story)


def test_a_job_that_is_given_twice_is_one() -> None:
    async def story(world: World) -> None:
        there = some(3)
        world.begin([*there, there[0]])
        await world.pass_s(30.2)
        assert len(world.range.began) == 3

    told(story)
