"""Stories of heartbeats: a job that must report, and what its silence, its failure and its start mean."""

from typing import Any

import pytest

from rules.conditions.missed import Missed
from rules.instants import DAY, HOUR, MICROSECOND, MINUTE, parse_instant
from rules.matching import matcher
from rules.model import Status
from rules.policy import Choice, Rule
from rules.recurrence import Cron
from tests.rules.world import START, World, policy_of

JOB = {"job": "backup"}
NIGHTLY = Missed(Cron("0 2 * * *", "Europe/Berlin"), 0, 45 * MINUTE)
HOURLY = Missed(None, HOUR, 5 * MINUTE)
DUE = parse_instant("2026-03-03T01:00:00Z")  # two o'clock in Berlin, the night after the start
LATE = DUE + 45 * MINUTE


def a_job_rule(**changes: Any) -> Rule:
    base = {
        "id": "nightly", "match": (matcher("job", "=", "backup"),), "impact": Choice("service"),
        "urgency": Choice("medium"), "source": "heartbeat", "condition": NIGHTLY, "dedup": ("job",),
    }  # fmt: skip
    return Rule(**{**base, **changes})


def world_of(**changes: Any) -> World:
    world = World(policy_of(a_job_rule(**changes)))
    world.load(world.policy)
    return world


def phase(world: World) -> str:
    return world.phase("nightly")


def until(world: World, at: int) -> World:
    return world.forward(at - world.now)


# ---------------------------------------------------------------- due, grace
def test_a_job_never_heard_of_counts_from_load_and_is_late_exactly_after_its_grace() -> None:
    world = world_of()
    until(world, LATE - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open"
    assert (world.ticket().priority, world.ticket().opened_at) == ("P2", LATE)


def test_a_success_within_the_grace_is_in_time_and_the_next_night_counts() -> None:
    world = world_of()
    until(world, LATE - MICROSECOND)
    world.sample(JOB, ok=1)
    until(world, LATE + DAY - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open"


def test_a_success_on_the_due_instant_itself_is_for_that_night() -> None:
    world = world_of()
    until(world, DUE)
    world.sample(JOB, ok=1)
    until(world, LATE + DAY - MICROSECOND)
    assert phase(world) == "ok"


def test_the_next_success_clears() -> None:
    world = until(world_of(), LATE + HOUR)
    assert phase(world) == "open"
    assert world.sample(JOB, ok=1) == "resolved"
    assert world.ticket().status is Status.RESOLVED


def test_every_counts_from_the_last_success() -> None:
    world = world_of(condition=HOURLY)
    world.forward(30 * MINUTE)
    world.sample(JOB, ok=1)
    world.forward(65 * MINUTE - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open"


def test_a_job_whose_name_no_rule_spells_out_counts_from_its_first_word() -> None:
    world = world_of(condition=HOURLY, match=(matcher("job", "=~", "back.*"),))
    world.forward(DAY)
    assert not world.state.instances, "nobody could have known of it"
    world.sample(JOB, ok=1)
    world.forward(65 * MINUTE - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open"


def test_several_jobs_of_one_rule_are_awaited_each_by_name() -> None:
    world = world_of(condition=HOURLY, match=(matcher("job", "=~", "backup|report"),))
    world.sample(JOB, ok=1)
    world.forward(65 * MINUTE)
    assert world.phase("nightly", job="backup") == "open"
    assert world.phase("nightly", job="report") == "open"
    world.sample({"job": "report"}, ok=1)
    assert world.phase("nightly", job="report") == "ok"


def test_what_no_heartbeat_can_match_is_not_awaited() -> None:
    world = world_of(condition=HOURLY, match=(matcher("job", "=", "a"), matcher("job", "=~", "a|b")))
    assert [one.labels for one in world.state.instances.values()] == [{"job": "a"}]
    for op, value in (("!=", "a"), ("=", ""), ("=~", "a|"), ("=~", "a.*"), ("!~", "a")):
        assert not world_of(condition=HOURLY, match=(matcher("job", op, value),)).state.instances, (op, value)


@pytest.mark.parametrize("heard_after", [30 * MINUTE, 3 * HOUR])
def test_a_job_that_says_more_of_itself_than_its_rule_names_is_the_one_that_was_awaited(heard_after: int) -> None:
    world = world_of(condition=HOURLY, dedup=None)
    world.forward(heard_after)
    assert bool(world.state.tickets) is (heard_after > HOUR)
    world.sample({**JOB, "host": "db1"}, ok=1)
    assert not [one for one in world.state.tickets.values() if one.status is Status.OPEN]
    world.load(policy_of(a_job_rule(condition=HOURLY, dedup=None)))
    opened = len(world.state.tickets)
    world.forward(65 * MINUTE - MICROSECOND)
    assert len(world.state.tickets) == opened
    world.forward(MICROSECOND)
    (live,) = [one for one in world.state.tickets.values() if one.status is Status.OPEN]
    assert live.labels["host"] == "db1"


# ---------------------------------------------------------------- fail, exit code
@pytest.mark.parametrize("fields", [{"ok": 0}, {"ok": 0, "exit_code": 3}])
def test_a_failure_is_bad_at_once_until_the_next_success(fields: dict[str, Any]) -> None:
    world = world_of()
    world.sample(JOB, ok=1, exit_code=0)
    world.forward(MINUTE)
    assert world.sample(JOB, **fields) == "opened"
    world.forward(MINUTE)
    assert world.sample(JOB, **fields) == "joined", "failed again: the same ticket"
    world.forward(MINUTE)
    assert world.sample(JOB, ok=1) == "resolved"
    assert list(world.state.tickets) == [1]


def test_after_a_failure_and_a_success_the_deadline_counts_from_the_success() -> None:
    world = world_of(condition=HOURLY)
    world.sample(JOB, ok=0)
    world.forward(30 * MINUTE)
    world.sample(JOB, ok=1)
    world.forward(65 * MINUTE - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open"


def test_a_failure_waits_for_its_for_and_a_success_for_its_keep_firing_for() -> None:
    world = world_of(pending_for=10 * MINUTE, keep_firing_for=20 * MINUTE)
    world.sample(JOB, ok=0)
    world.forward(10 * MINUTE - MICROSECOND)
    assert phase(world) == "pending"
    world.forward(MICROSECOND)
    assert phase(world) == "open", "nothing more needs to be heard"
    world.sample(JOB, ok=1)
    world.forward(20 * MINUTE - MICROSECOND)
    assert phase(world) == "recovering"
    world.forward(MICROSECOND)
    assert phase(world) == "ok"


# ---------------------------------------------------------------- start
def test_a_start_changes_nothing() -> None:
    world = until(world_of(), DUE + MINUTE)
    world.sample(JOB, start=1)
    assert phase(world) == "ok"
    until(world, LATE - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open", "it started in time, and did not end in time"
    world.sample(JOB, start=1)
    assert phase(world) == "open"
    world.forward(MINUTE)
    world.sample(JOB, ok=1)
    assert phase(world) == "ok"


def test_a_start_after_a_failure_does_not_forgive_it() -> None:
    world = world_of()
    world.sample(JOB, ok=0)
    world.forward(MINUTE)
    world.sample(JOB, start=1)
    assert phase(world) == "open"


def test_a_start_does_not_put_off_when_the_last_success_runs_out() -> None:
    world = world_of(condition=HOURLY)
    world.sample(JOB, ok=1)
    world.forward(64 * MINUTE)
    world.sample(JOB, start=1)
    world.forward(MINUTE - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open"


# ---------------------------------------------------------------- reload
def test_a_reload_neither_restarts_the_wait_nor_forgets_a_success() -> None:
    world = world_of(condition=HOURLY)
    world.forward(40 * MINUTE)
    world.load(policy_of(a_job_rule(condition=HOURLY)))
    world.forward(25 * MINUTE)
    assert phase(world) == "open", "it counts from the first load"
    world.sample(JOB, ok=1)
    world.load(policy_of(a_job_rule(condition=HOURLY)))
    world.forward(64 * MINUTE)
    assert phase(world) == "ok"


@pytest.mark.parametrize("heard", [True, False])
def test_a_shorter_interval_is_in_force_at_once(heard: bool) -> None:
    world = world_of(condition=Missed(None, DAY, 0))
    if heard:
        world.sample(JOB, ok=1)
    world.forward(10 * MINUTE)
    world.load(policy_of(a_job_rule(condition=HOURLY)))
    until(world, START + 65 * MINUTE - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open"


@pytest.mark.parametrize("loaded", [10 * MINUTE, 5 * HOUR])
def test_a_shorter_interval_of_jobs_that_no_rule_names_is_in_force_within_the_hour(loaded: int) -> None:
    some = (matcher("job", "=~", "back.*"),)
    world = world_of(condition=Missed(None, DAY, 0), match=some)
    world.sample(JOB, ok=1)
    world.forward(loaded)
    world.load(policy_of(a_job_rule(condition=HOURLY, match=some)))
    world.forward(HOUR)
    assert phase(world) == "open"
    assert world.ticket().opened_at <= max(START + 65 * MINUTE, START + loaded + HOUR)


def test_a_longer_interval_is_in_force_at_once_and_clears_what_is_no_longer_late() -> None:
    world = world_of(condition=HOURLY)
    world.forward(2 * HOUR)
    assert phase(world) == "open"
    world.load(policy_of(a_job_rule(condition=Missed(None, DAY, 0))))
    assert phase(world) == "ok"
    assert world.ticket().status is Status.RESOLVED


def test_a_job_that_no_rule_awaits_any_more_opens_nothing() -> None:
    both = (matcher("job", "=~", "backup|report"),)
    world = world_of(condition=HOURLY, match=both)
    world.sample(JOB, ok=1)
    world.load(policy_of(a_job_rule(condition=HOURLY, match=(matcher("job", "=", "report"),))))
    world.forward(DAY)
    assert world.phase("nightly", job="backup") == "ok"
    assert world.phase("nightly", job="report") == "open"
    world.load(policy_of())
    world.forward(DAY)
    assert list(world.state.tickets) == [1]


def test_a_night_with_a_change_of_the_clocks_has_one_deadline() -> None:
    world = World(policy_of(a_job_rule(condition=Missed(Cron("30 2 * * *", "Europe/Berlin"), 0, 0))))
    world.now = parse_instant("2026-10-24T12:00:00Z")
    world.load(world.policy)
    until(world, parse_instant("2026-10-25T00:30:00Z") - MICROSECOND)
    assert phase(world) == "ok"
    world.forward(MICROSECOND)
    assert phase(world) == "open"
    until(world, parse_instant("2026-10-25T01:15:00Z"))  # a quarter past two for the second time
    world.sample(JOB, ok=1)
    until(world, parse_instant("2026-10-26T01:30:00Z") - MICROSECOND)
    assert phase(world) == "ok", "half past two comes again in an hour, and counts for nothing"
