"""Stories of runs: a job that says when it begins and when it ends, and what rules make of the time between."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.conditions.base import Asked, ConditionError
from rules.conditions.missed import Missed
from rules.conditions.run import ENDED_MAX, REPEATED_WITHIN, RUN_FIELD, RUNS_MAX, Kind, Run, read, run_number
from rules.instants import DAY, HOUR, MICROSECOND, MINUTE, SECOND
from rules.matching import matcher
from rules.model import Point, Status, Verdict, Window
from rules.policy import Choice, Rule
from rules.templates import Template
from tests.rules.tuning.stories import played
from tests.rules.world import START, World, policy_of

JOB = {"job": "backup"}
LONG = Run(2 * HOUR, 0, 0, DAY)
SHORT = Run(0, 10 * SECOND, 0, DAY)
TWO = Run(0, 0, 2, DAY)
ALL = Run(2 * HOUR, 10 * SECOND, 2, DAY)


def a_rule(**changes: Any) -> Rule:
    base = {
        "id": "runs", "match": (matcher("job", "=", "backup"),), "impact": Choice("service"),
        "urgency": Choice("medium"), "source": "heartbeat", "condition": LONG, "dedup": ("job",),
    }  # fmt: skip
    return Rule(**{**base, **changes})


class Job(World):
    """The world, and a job in it."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(policy_of(a_rule(**changes)))
        self.load(self.policy)

    def begins(self, run: str = "") -> str:
        return self.says_of(run, start=1)

    def ends(self, run: str = "", *, well: bool = True) -> str:
        return self.says_of(run, ok=int(well))

    def says_of(self, run: str, **fields: float) -> str:
        self.forward(MICROSECOND)  # no two pings come at one instant
        named: dict[str, Any] = {**fields, RUN_FIELD: run_number(run)} if run else fields
        return self.sample(JOB, **named)

    def runs(self, span: int, run: str = "", *, well: bool = True) -> str:
        """A whole run."""
        self.begins(run)
        self.forward(span - MICROSECOND)
        return self.ends(run, well=well)

    def now_is(self) -> str:
        return self.phase("runs")

    def windows(self) -> list[Window]:
        return [one for of in self.state.windows.values() for one in of.values() if not one.expected]


# ---------------------------------------------------------------- longer_than
def test_a_run_that_does_not_end_is_bad_when_its_time_is_over_and_not_before() -> None:
    job = Job(title=Template.parse("{{ labels.job }} has run for {{ value }} s"))
    job.begins()
    job.forward(2 * HOUR - MICROSECOND)
    assert job.now_is() == "ok"
    job.forward(MICROSECOND)
    assert job.now_is() == "open"
    assert job.ticket().title == "backup has run for 7200 s"


def test_it_ends_in_time() -> None:
    job = Job()
    assert job.runs(2 * HOUR - MICROSECOND) == "repeat"
    job.forward(DAY)
    assert job.now_is() == "ok"


def test_what_took_too_long_stays_open_after_its_end_until_the_next_run_is_fine() -> None:
    job = Job()
    job.runs(3 * HOUR)
    assert job.now_is() == "open"
    job.forward(20 * HOUR)
    assert job.now_is() == "open"
    job.begins()
    job.forward(HOUR)
    assert job.now_is() == "open", "it has only begun"
    assert job.ends() == "resolved"
    assert job.ticket().status is Status.RESOLVED


def test_a_run_that_crashed_is_over_when_a_later_one_is_fine() -> None:
    job = Job()
    job.begins("monday")
    job.forward(DAY)
    assert job.now_is() == "open"
    assert job.runs(HOUR, "tuesday") == "resolved"
    job.forward(DAY)
    assert job.now_is() == "ok", "nobody waits for the first any more"
    assert job.ends("monday") == "repeat"
    assert job.now_is() == "ok", "and its late end means nothing"


def test_a_run_that_is_still_within_its_time_outlives_another_s_end() -> None:
    job = Job()
    job.begins("a")
    job.forward(HOUR)
    job.runs(MINUTE, "b")
    job.forward(HOUR - MINUTE)
    assert job.now_is() == "open", "a is due all the same"


def test_a_later_run_that_fails_clears_nothing() -> None:
    job = Job()
    job.runs(3 * HOUR)
    job.forward(HOUR)
    job.runs(MINUTE, well=False)
    assert job.now_is() == "open"
    assert job.runs(MINUTE) == "resolved"


def test_how_a_run_ends_is_not_judged() -> None:
    job = Job()
    job.runs(MINUTE, well=False)
    job.forward(DAY)
    assert job.now_is() == "ok"
    assert not job.state.tickets


def test_a_failed_run_that_took_too_long_is_bad_too() -> None:
    job = Job()
    job.runs(3 * HOUR, well=False)
    assert job.now_is() == "open"


def test_with_a_for_a_run_that_does_not_end_completes_it_by_time() -> None:
    job = Job(pending_for=10 * MINUTE)
    job.begins()
    job.forward(2 * HOUR + 10 * MINUTE - MICROSECOND)
    assert job.now_is() == "pending"
    job.forward(MICROSECOND)
    assert job.now_is() == "open"


# ---------------------------------------------------------------- shorter_than
def test_a_run_that_was_suspiciously_short_is_bad_until_the_next_that_is_not() -> None:
    job = Job(condition=SHORT)
    assert job.runs(10 * SECOND) == "repeat"
    assert job.runs(10 * SECOND - MICROSECOND) == "opened"
    assert job.runs(10 * SECOND) == "resolved"


def test_the_value_is_what_the_last_run_took() -> None:
    job = Job(condition=SHORT, title=Template.parse("it took {{ value }} s"))
    job.runs(2_500_000)
    assert job.ticket().title == "it took 2.5 s"


# ---------------------------------------------------------------- overlapping
def test_runs_that_overlap_are_bad_until_enough_have_ended() -> None:
    job = Job(condition=TWO)
    job.begins("a")
    assert job.now_is() == "ok"
    job.forward(MINUTE)
    assert job.begins("b") == "opened"
    job.forward(MINUTE)
    assert job.ends("a") == "resolved"
    job.forward(MINUTE)
    job.ends("b")
    assert job.now_is() == "ok"


def test_the_value_of_runs_that_overlap_is_how_long_the_first_had_gone_on() -> None:
    job = Job(condition=ALL, title=Template.parse("begun again after {{ value }} s"))
    job.begins("a")
    job.forward(90 * SECOND - MICROSECOND)
    job.begins("b")
    assert job.ticket().title == "begun again after 90 s"


def test_a_start_without_a_name_overlaps_with_one_that_has_not_ended() -> None:
    job = Job(condition=TWO)
    job.begins()
    job.forward(HOUR)
    assert job.begins() == "opened"
    job.forward(HOUR)
    assert job.ends() == "resolved"
    assert not read(job.windows()[0].points).going, "the one before is lost, and overlaps no more"
    job.forward(HOUR)
    job.begins()
    assert job.now_is() == "ok"


def test_a_run_that_is_lost_overlaps_no_more() -> None:
    job = Job(condition=TWO)
    job.begins("crashed")
    job.forward(MINUTE)
    job.runs(MINUTE, "b")
    job.begins("c")
    assert job.now_is() == "open"
    job.forward(DAY - 2 * MINUTE)
    assert job.now_is() == "ok", "a day after the crash"
    job.forward(DAY)
    job.begins("d")
    assert job.now_is() == "ok"


def test_so_many_at_once_are_wanted_as_were_asked_for() -> None:
    job = Job(condition=Run(0, 0, 3, DAY))
    for name in "ab":
        job.begins(name)
    assert job.now_is() == "ok"
    job.begins("c")
    assert job.now_is() == "open"


# ---------------------------------------------------------------- what comes again
@pytest.mark.parametrize("condition", [LONG, SHORT, TWO, ALL])
def test_the_same_ping_again_changes_nothing(condition: Run) -> None:
    job = Job(condition=condition)
    for _ in range(3):
        job.begins("a")
        job.forward(10 * SECOND)
    (window,) = job.windows()
    assert [number for _, number in read(window.points).going] == [int(run_number("a"))]
    job.forward(MINUTE)
    for _ in range(3):
        job.ends("a")
        job.begins("a")  # a late repeat of the start
        job.forward(10 * SECOND)
    (window,) = job.windows()
    runs = read(window.points)
    assert ([one.took for one in runs.ended], runs.going) == ([90 * SECOND + 3 * MICROSECOND], ())
    assert job.now_is() == "ok"
    assert not job.state.tickets


def test_a_name_that_comes_back_much_later_is_another_run() -> None:
    job = Job()
    job.runs(MINUTE, "always-the-same")
    job.forward(REPEATED_WITHIN)
    job.begins("always-the-same")
    job.forward(2 * HOUR)
    assert job.now_is() == "open"


def test_an_end_without_a_start_says_nothing_of_runs() -> None:
    job = Job(condition=ALL)
    for run in ("", "a"):
        assert job.ends(run) == "taken"
    assert job.now_is() == "ok"
    job.runs(3 * HOUR)
    assert job.now_is() == "open"
    assert job.ends() == "joined"
    assert job.now_is() == "open", "the same end again is no run that is fine"


# ---------------------------------------------------------------- beside others
def test_missed_goes_on_as_ever_beside_runs_with_names() -> None:
    job = Job(condition=Missed(None, DAY, HOUR))
    job.runs(MINUTE, "a")
    job.begins("b")
    job.forward(25 * HOUR - 2 * MICROSECOND)
    assert job.now_is() == "ok"
    job.forward(MICROSECOND)
    assert job.now_is() == "open", "b never ended"
    job.ends("b")
    assert job.now_is() == "ok"
    job.ends("c", well=False)
    assert job.now_is() == "open"


def test_a_rule_that_names_its_job_awaits_no_start_of_it() -> None:
    job = Job(condition=ALL)
    job.forward(30 * DAY)
    assert job.now_is() == "ok"
    assert not job.state.tickets


def test_hosts_run_each_for_itself() -> None:
    job = Job(condition=TWO, dedup=None)
    job.sample({**JOB, "host": "a"}, start=1)
    job.forward(MINUTE)
    job.sample({**JOB, "host": "b"}, start=1)
    assert not job.state.tickets


def test_another_limit_judges_the_runs_that_are_known_anew() -> None:
    job = Job()
    job.begins()
    job.forward(30 * MINUTE)
    job.load(policy_of(a_rule(condition=Run(HOUR, 0, 0, DAY))))
    job.forward(30 * MINUTE - 2 * MICROSECOND)
    assert job.now_is() == "ok"
    job.forward(2 * MICROSECOND)
    assert job.now_is() == "open"


def test_a_test_of_a_rule_file_can_name_runs() -> None:
    rule = """
rules:
  - id: runs
    source: heartbeat
    match: ['job="backup"']
    when: {run: {overlapping: 2}}
    dedup: [job]
    impact: service
    urgency: medium
"""
    trial = """
tests:
  - name: the second start of a run is none
    pings:
      - {job: backup, at: 0s, outcome: start, run: a, every: 5s, times: 3}
      - {job: backup, at: 1m, outcome: start, run: b}
      - {job: backup, at: 2m, outcome: success, run: a}
    expect:
      - {at: 59s, rule: runs, state: ok}
      - {at: 1m, rule: runs, state: open}
      - {at: 2m, rule: runs, state: ok}
    opened: {runs: 1}
"""
    (result,) = played(rule, trial)
    assert [str(one) for one in result.failures] == []


# ---------------------------------------------------------------- the condition by itself
@given(
    st.sampled_from([LONG, SHORT, TWO, ALL, replace(ALL, lost_after=3 * HOUR)]),
    st.lists(
        st.tuples(
            st.integers(1, 3 * HOUR),
            st.sampled_from([{"start": 1.0}, {"ok": 1.0}, {"ok": 0.0}, {"ok": 0.0, "exit_code": 3.0}, {}]),
            st.sampled_from(["", "a", "b", "c"]),
        ),
        max_size=40,
    ),
)
def test_whatever_comes_points_stay_bounded_and_a_repeat_changes_nothing(
    condition: Run, pings: list[tuple[int, dict[str, float], str]]
) -> None:
    points: tuple[Point, ...] = ()
    at = START
    for wait, fields, run in pings:
        at += wait
        named = {**fields, RUN_FIELD: run_number(run)} if run and fields else fields
        points = condition.push(points, at, named)
        assert len(points) <= RUNS_MAX + 2 * ENDED_MAX
        if run:
            assert condition.push(points, at + SECOND, named) == points
        verdict = condition.judge(points, {}, at)
        due = condition.due(points, at)
        if due is None:
            assert condition.judge(points, {}, at + 10 * DAY) is verdict, "time alone changes nothing"
        else:
            assert due > at
            assert condition.judge(points, {}, due - MICROSECOND) is verdict, "nothing changes before"
        assert condition.tell(points, {}, at)[0][2] is verdict


def test_more_runs_than_are_kept_forget_the_oldest() -> None:
    points: tuple[Point, ...] = ()
    at = START
    for number in range(RUNS_MAX + 5):
        at += SECOND
        points = LONG.push(points, at, {"start": 1.0, RUN_FIELD: run_number(str(number))})
    assert len(read(points).going) == RUNS_MAX
    assert read(points).going[-1][1] == int(run_number(str(RUNS_MAX + 4)))


def test_a_run_s_number_is_whole_and_never_that_of_one_without_a_name() -> None:
    numbers = {run_number(str(one)) for one in range(1_000)}
    assert len(numbers) == 1_000
    assert all(0 < one < 1 << 48 and one.is_integer() for one in numbers)


@pytest.mark.parametrize(
    ("when", "path", "reason"),
    [
        ({}, ("when", "run"), "say at least one of longer_than, shorter_than and overlapping"),
        ({"overlapping": "1"}, ("when", "run", "overlapping"), "must be 2 to 100, not 1"),
        ({"overlapping": "101"}, ("when", "run", "overlapping"), "must be 2 to 100, not 101"),
        ({"longer_than": "1h", "shorter_than": "1h"}, ("when", "run", "shorter_than"), "less than longer_than"),
        ({"longer_than": "1h", "lost_after": "30m"}, ("when", "run", "lost_after"), "not be less than longer_than"),
    ],
)
def test_what_makes_no_sense_is_a_mistake_at_its_place(
    when: dict[str, str], path: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ConditionError, match=reason) as error:
        Kind.build(Kind.When.model_validate(when), None, Asked())
    assert error.value.path == path


def test_what_is_left_out_has_its_default_and_is_said() -> None:
    made = Kind.build(Kind.When.model_validate({"longer_than": "2d"}), None, Asked())
    assert made == Run(2 * DAY, 0, 0, 2 * DAY)
    assert made.said() == {"when": {"run": {"longer_than": "2d", "lost_after": "2d"}}}
    made = Kind.build(Kind.When.model_validate({"overlapping": "2", "shorter_than": "10s"}), None, Asked())
    assert made.said() == {"when": {"run": {"shorter_than": "10s", "overlapping": 2, "lost_after": "1d"}}}
    with pytest.raises(ConditionError, match="clear at the next run"):
        Kind.build(Kind.When.model_validate({"longer_than": "2d"}), Kind.Clear(), Asked())


def test_an_explanation_names_the_last_run_and_those_that_go_on() -> None:
    points = ALL.push((), START, {"start": 1.0})
    points = ALL.push(points, START + HOUR, {"ok": 0.0})
    points = ALL.push(points, START + 2 * HOUR, {"start": 1.0})
    ((name, said, verdict),) = ALL.tell(points, {}, START + 3 * HOUR)
    assert (name, verdict) == ("run", Verdict.BETWEEN)
    assert said == (
        "the last run took 1h and ended in failure at 2026-03-02T13:00:00Z, 1 goes on, the first since "
        "2026-03-02T14:00:00Z: bad are runs that take 2h or more or that take less than 10s or of which 2 go on at once"
    )
    assert ALL.tell((), {}, START)[0][1] == "no run is known"
