"""Stories of what was promised: clocks that warn, breach, pause, and are judged again by other targets."""

from dataclasses import replace

import pytest

from rules.events import TimerFired
from rules.instants import DAY, HOUR, MINUTE, SECOND
from rules.model import Status
from rules.policy import Allowance, Allowed, Calendar, Policy, Promise, Sla
from tests.rules.world import START, World, a_policy, an_alert


def within(respond: int | None = None, resolve: int | None = None, **more: object) -> Policy:
    """Every priority is promised an answer and a resolution within these spans; warned of at 75 %."""
    promise = Promise(*[None if one is None else Allowance(Allowed(one), Allowed(one)) for one in (respond, resolve)])
    sla = Sla("standard", None, dict.fromkeys(("P1", "P2", "P3", "P4"), promise), (75,))
    version = f"{respond}/{resolve}/{more}"
    return a_policy(version=version, slas={"standard": sla}, default_sla="standard", **more)


def on_record(world: World, ticket: int = 1) -> list[tuple[str, int, bool]]:
    """(clock, share, superseded) of what is on record."""
    return [
        (one.clock, one.share, one.superseded_at is not None)
        for one in world.breaches.values() if one.ticket == ticket
    ]  # fmt: skip


def promises(world: World) -> list[tuple[str, str]]:
    return [(when, who) for when, purpose, who in world.sent if purpose == "promise"]


def test_nobody_answers_and_those_of_the_step_are_warned_and_the_next_tier_at_the_end() -> None:
    world = World(within(respond=20 * MINUTE))
    world.fires(severity="critical")
    world.forward(HOUR)
    assert on_record(world) == [("respond", 75, False), ("respond", 100, False)]
    assert promises(world) == [("15m", "duty"), ("20m", "duty")], "at 15m the third step runs; then the last resort"
    (late,) = [one for one in world.breaches.values() if one.share == 100]
    assert (late.due_at, late.observed_at, late.overrun) == (START + 20 * MINUTE, START + 20 * MINUTE, 0)
    assert "nobody had answered" in late.cause


def test_at_the_whole_of_it_the_next_tier_is_told_too() -> None:
    world = World(within(respond=4 * MINUTE))
    world.fires(severity="critical")
    world.forward(4 * MINUTE)
    assert promises(world) == [("3m", "amina"), ("4m", "amina"), ("4m", "omar")]


def test_an_answer_in_time_keeps_the_promise_and_nobody_is_warned() -> None:
    world = World(within(respond=20 * MINUTE))
    world.fires()
    world.forward(10 * MINUTE)
    world.says("omar", "acknowledge")
    world.forward(DAY)
    assert on_record(world) == []
    assert ("T-1", "sla") not in world.timers


@pytest.mark.parametrize("answer", ["acknowledge", "hold", "resolve"])
def test_every_answer_of_a_person_stops_the_response_clock(answer: str) -> None:
    world = World(within(respond=20 * MINUTE))
    world.fires()
    more = {"until": world.now + HOUR, "note": "vendor"} if answer == "hold" else {}
    world.says("amina", answer, **({"force": True} if answer == "resolve" else more))
    assert next(mark.what for mark in world.ticket().marks) == "answered"
    world.forward(HOUR - SECOND)
    assert on_record(world) == []


def test_a_comment_and_an_escalation_are_no_answer() -> None:
    world = World(within(respond=20 * MINUTE))
    world.fires()
    world.says("amina", "comment", note="looking")
    world.says("amina", "escalate")
    world.forward(20 * MINUTE)
    assert ("respond", 100, False) in on_record(world)


def test_the_acknowledger_is_warned_of_the_resolution() -> None:
    world = World(within(resolve=40 * MINUTE))
    world.fires(severity="warning")
    world.says("omar", "acknowledge")
    world.forward(30 * MINUTE)
    assert promises(world) == [("30m", "omar")]
    world.forward(10 * MINUTE)
    assert promises(world)[1:] == [("40m", "omar")], "whom the next tier is too"


def test_a_hold_pauses_the_resolution_clock_and_says_why() -> None:
    world = World(within(resolve=2 * HOUR))
    world.fires(severity="warning")
    world.forward(HOUR)
    world.says("amina", "hold", note="the vendor is on it", until=world.now + 10 * HOUR)
    world.forward(10 * HOUR)
    assert on_record(world) == [], "ten hours of waiting are not ours"
    assert [(mark.what, mark.why) for mark in world.ticket().marks][1] == ("paused", "the vendor is on it")
    world.forward(HOUR)
    assert on_record(world) == [("resolve", 75, False), ("resolve", 100, False)]


def test_a_hold_past_the_slas_deadline_is_no_breach_until_it_ends() -> None:
    world = World(within(respond=30 * MINUTE, resolve=HOUR))
    world.fires()
    world.says("amina", "hold", note="until the window", until=world.now + DAY)
    world.forward(DAY - SECOND)
    assert on_record(world) == []


def test_two_pauses_in_one_minute_are_two_pauses() -> None:
    world = World(within(resolve=HOUR))
    world.fires()
    for _ in range(2):
        world.says("amina", "hold", note="wait", until=world.now + HOUR)
        world.forward(10 * SECOND)
        world.says("amina", "release")
        world.forward(10 * SECOND)
    assert [mark.what for mark in world.ticket().marks] == ["answered", "paused", "running", "paused", "running"]
    world.says("amina", "acknowledge")
    world.forward(HOUR)
    late = next(one for one in world.breaches.values() if one.share == 100)
    assert late.due_at == START + HOUR + 20 * SECOND


def test_the_priority_raised_while_paused_judges_the_same_history_by_the_graver_target() -> None:
    policy = within()
    grave = Promise(None, Allowance(Allowed(HOUR), Allowed(HOUR)))
    mild = Promise(None, Allowance(Allowed(10 * HOUR), Allowed(10 * HOUR)))
    sla = Sla("standard", None, {"P1": grave, "P3": mild}, (75,))
    world = World(replace(policy, slas={"standard": sla}))
    world.fires()
    world.says("amina", "acknowledge")
    world.forward(2 * HOUR)
    world.says("amina", "hold", note="wait", until=world.now + 4 * HOUR)
    world.forward(MINUTE)
    assert on_record(world) == []
    world.says("amina", "priority", impact="site", urgency="high")
    world.forward(0)
    assert on_record(world) == [("resolve", 75, False), ("resolve", 100, False)], "two hours had run before the pause"
    late = next(one for one in world.breaches.values() if one.share == 100)
    assert late.overrun == HOUR + MINUTE, "observed when it was judged"


def test_reopening_after_a_breach_goes_on_and_records_nothing_twice() -> None:
    world = World(within(resolve=HOUR))
    world.fires()
    world.says("amina", "acknowledge")
    world.forward(2 * HOUR)
    assert ("resolve", 100, False) in on_record(world)
    world.clears()
    assert world.ticket().status is Status.RESOLVED
    world.forward(10 * MINUTE)
    world.alerts(an_alert(at=world.now))
    assert world.ticket().reopened == 1
    world.forward(HOUR)
    assert on_record(world).count(("resolve", 100, False)) == 1


def test_a_reopening_before_the_breach_resumes_the_resolution_clock() -> None:
    world = World(within(resolve=HOUR))
    world.fires()
    world.says("amina", "acknowledge")
    world.forward(30 * MINUTE)
    world.clears()
    world.forward(20 * MINUTE)
    world.alerts(an_alert(at=world.now))
    world.says("amina", "acknowledge")
    world.forward(29 * MINUTE)
    assert ("resolve", 100, False) not in on_record(world)
    world.forward(MINUTE)
    assert ("resolve", 100, False) in on_record(world)


def test_a_target_changed_after_a_breach_supersedes_it_and_deletes_nothing() -> None:
    world = World(within(respond=20 * MINUTE))
    world.fires()
    world.forward(30 * MINUTE)
    world.load(within(respond=DAY))
    assert on_record(world) == [("respond", 75, True), ("respond", 100, True)]
    assert world.told().count("sla_corrected") == 2
    told = len(promises(world))
    world.load(within(respond=20 * MINUTE))
    assert on_record(world) == [("respond", 75, False), ("respond", 100, False)], "and it holds again"
    world.load(within(respond=25 * MINUTE))
    assert len(promises(world)) == told, "nobody is told again of what they know"


def test_a_holiday_added_after_the_deadline_was_computed_moves_it() -> None:
    week = (((9 * HOUR, 17 * HOUR),),) * 7
    promise = Promise(Allowance(Allowed(8 * HOUR, working=True), Allowed(8 * HOUR, working=True)))
    sla = Sla("standard", "office", {"P3": promise})

    def policy(version: str, closed: dict[int, str]) -> Policy:
        office = Calendar("office", "UTC", week, closed=closed)
        return a_policy(
            version=version, slas={"standard": sla}, default_sla="standard", calendars={"office": office},
            escalations={}, default_escalation=None,
        )  # fmt: skip

    world = World(policy("1", {}))
    world.fires()  # a P3, 12:00 on 2026-03-02: five hours today, three tomorrow
    assert world.ticket().judge_at == START + DAY
    tomorrow = START // DAY + 1
    world.load(policy("2", {tomorrow: "holiday"}))
    assert world.ticket().judge_at == START + 2 * DAY
    world.forward(2 * DAY)
    assert on_record(world) == [("respond", 100, False)]


def test_three_days_down_puts_each_share_on_record_once_and_tells_once() -> None:
    world = World(within(respond=20 * MINUTE))
    world.fires()
    world.now += 3 * DAY
    world.forward(0)
    assert on_record(world) == [("respond", 75, False), ("respond", 100, False)]
    assert len(promises(world)) == 2, "of both shares in one notice, to the step's people and the next tier"
    assert all(one.overrun > 2 * DAY for one in world.breaches.values())


def test_a_promise_made_only_now_judges_what_was_opened_before() -> None:
    world = World(a_policy())
    world.fires()
    world.forward(30 * MINUTE)
    world.load(within(respond=20 * MINUTE))
    assert ("respond", 100, False) in on_record(world)


def test_without_a_promise_nothing_is_judged_and_no_timer_waits() -> None:
    world = World(a_policy())
    world.fires()
    world.says("amina", "acknowledge")
    assert ("T-1", "sla") not in world.timers
    assert [mark.what for mark in world.ticket().marks] == ["answered"], "the history is kept all the same"


def test_a_stale_timer_of_the_promises_puts_nothing_on_record() -> None:
    world = World(within(respond=20 * MINUTE))
    world.fires()
    world.forward(MINUTE)
    world.feed(TimerFired("T-1", "sla", 1, START))
    assert on_record(world) == []
    world.forward(20 * MINUTE)
    assert ("respond", 100, False) in on_record(world)


def test_what_resolves_by_itself_is_neither_late_nor_answered() -> None:
    world = World(within(respond=20 * MINUTE, resolve=HOUR))
    world.fires()
    world.forward(10 * MINUTE)
    world.clears()
    world.forward(5 * HOUR)
    assert on_record(world) == []
