"""Stories of accidents: clocks that jump, days without us, things that happen at one instant, people who may not.

Each name says which accident; what is asserted is that nobody is forgotten and nobody is stormed.
"""

from dataclasses import replace

import pytest

from rules.commands import Attempt, Denied
from rules.events import Confirmed, Delivered, DeliveryDue
from rules.instants import DAY, HOUR, MINUTE, SECOND, Instant
from rules.model import Sending, Status
from rules.policy import Allowance, Allowed, Calendar, Maintenance, Promise, Sla, Step
from rules.recurrence import Cron
from tests.rules.glances import AMINA, paged, row, standing, step_timer, within
from tests.rules.world import START, World, a_policy

# ---------------------------------------------------------------- created at an edge of the opening hours
NINE, FIVE = 9 * HOUR, 17 * HOUR


@pytest.mark.parametrize(
    ("at", "allowed"),
    [
        (NINE - SECOND, 4 * HOUR), (NINE, HOUR), (NINE + SECOND, HOUR),
        (FIVE - SECOND, HOUR), (FIVE, 4 * HOUR), (FIVE + SECOND, 4 * HOUR),
    ],
    ids=["a second before open", "at open", "a second after open", "a second before close", "at close",
         "a second after close"],
)  # fmt: skip
def test_created_exactly_at_open_at_close_and_a_second_either_side(at: Instant, allowed: int) -> None:
    office = Calendar("office", "UTC", (((NINE, FIVE),),) * 7)
    promise = Promise(Allowance(Allowed(HOUR), Allowed(4 * HOUR)))
    sla = Sla("standard", "office", dict.fromkeys(("P1", "P2", "P3"), promise), ())
    world = World(a_policy(calendars={"office": office}, slas={"standard": sla}, default_sla="standard"))
    world.now = START // DAY * DAY + at
    world.fires()
    assert world.ticket().judge_at == world.now + allowed


# ---------------------------------------------------------------- a clock that was ahead, and is set right
def test_a_wall_clock_6_hours_ahead_and_right_again_does_not_silence_an_escalation_for_6_hours() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(MINUTE)
    world.now += 6 * HOUR
    world.forward(0)
    assert paged(world) == ["amina", "omar"]
    world.now -= 6 * HOUR
    world.load(world.policy)  # as the daemon does when it sees that the clock was set back
    world.forward(10 * MINUTE)
    assert paged(world) == ["amina", "omar", "duty"]


def test_a_breach_put_on_record_by_a_clock_6_hours_ahead_is_superseded_when_the_answer_came_in_time() -> None:
    world = World(within(20 * MINUTE))
    world.fires(severity="warning")
    world.forward(MINUTE)
    world.now += 6 * HOUR
    world.forward(0)
    assert standing(world) == [("respond", 75), ("respond", 100)]
    world.now -= 6 * HOUR
    world.forward(MINUTE)
    assert world.says("omar", "acknowledge").changed
    world.forward(HOUR)
    assert standing(world) == []
    assert all("clock was ahead" in one.superseded_by for one in world.breaches.values())


def test_an_acknowledgement_by_a_clock_that_was_ahead_expires_in_its_time() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.now += 6 * HOUR
    world.says("omar", "acknowledge")
    world.now -= 6 * HOUR
    world.load(world.policy)
    world.forward(HOUR)
    assert "acknowledgement_expired" in world.told()


def test_the_same_hold_twice_is_harmless() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(6 * MINUTE)
    until = world.now + HOUR
    assert world.says("amina", "hold", note="vendor", until=until).changed
    world.forward(SECOND)
    assert not world.says("amina", "hold", note="vendor", until=until).changed
    world.forward(SECOND)
    assert [what for _, what, _ in world.sent].count("answered") == 1, "omar is told once"


# ---------------------------------------------------------------- a wall clock that jumps
def test_a_wall_clock_6_hours_ahead_takes_one_step_and_makes_no_storm() -> None:
    world = World(within(20 * MINUTE))
    world.fires(severity="critical")
    world.forward(MINUTE)
    world.now += 6 * HOUR
    world.forward(0)
    assert paged(world) == ["amina", "omar"], "one step, however late"
    assert [what for _, what, _ in world.sent].count("promise") == 2, "one notice of both shares, to each of two tiers"
    world.forward(9 * MINUTE)
    assert paged(world) == ["amina", "omar"], "and its wait is a whole one"
    world.forward(MINUTE)
    assert paged(world) == ["amina", "omar", "duty"]


def test_a_wall_clock_6_hours_behind_forgets_no_step_and_repeats_none() -> None:
    world = World(within(20 * MINUTE))
    world.fires(severity="critical")
    world.forward(6 * MINUTE)
    assert paged(world) == ["amina", "omar"]
    world.now -= 6 * HOUR
    world.forward(5 * HOUR)
    assert paged(world) == ["amina", "omar"], "nobody is told of one step again"
    assert "T-1" in {subject for subject, kind in world.timers if kind == "escalate"}, "and the next one waits"
    world.now += HOUR  # somebody has set it right
    world.forward(9 * MINUTE)
    assert paged(world) == ["amina", "omar", "duty"], "at its time on the clock"
    assert standing(world) == [("respond", 75)]


def test_a_wall_clock_6_hours_ahead_and_right_again_neither_doubles_nor_forgets_a_breach() -> None:
    world = World(within(20 * MINUTE))
    world.fires(severity="critical")
    world.now += 6 * HOUR
    world.forward(0)
    assert standing(world) == [("respond", 75), ("respond", 100)]
    world.now -= 6 * HOUR
    world.fires(severity="critical")
    world.load(within(20 * MINUTE))
    world.forward(7 * HOUR)
    assert standing(world) == [("respond", 75), ("respond", 100)], "what was put on record in error holds by now"
    told = [what for _, what, _ in world.sent].count("promise")
    assert told == 2, "one notice to each of two tiers, and none again"


def test_an_answer_on_a_clock_6_hours_behind_stops_the_escalation_and_the_response_clock() -> None:
    world = World(within(20 * MINUTE))
    world.fires(severity="warning")
    world.forward(MINUTE)
    world.now -= 6 * HOUR
    assert world.says("omar", "acknowledge").changed
    world.now += 6 * HOUR
    world.forward(50 * MINUTE)
    assert paged(world) == ["amina"]
    assert standing(world) == []


def test_a_message_in_flight_while_the_clock_goes_6_hours_back_is_not_lost() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    key = row(world)
    assert isinstance(world.feed(DeliveryDue(key)), Attempt)
    world.now -= 6 * HOUR
    world.feed(DeliveryDue(key))
    assert world.state.deliveries[key].state is Sending.SENDING, "its deadline has not passed"
    world.feed(Delivered(key, 1, "delivered"))
    assert world.state.deliveries[key].state is Sending.DELIVERED


# ---------------------------------------------------------------- three days down
def test_after_three_days_down_each_ticket_takes_one_step_the_gravest_first_and_there_is_no_storm() -> None:
    world = World(a_policy())
    for name, severity in (("mild", "info"), ("middling", "warning"), ("grave", "critical")):
        world.fires(instance=name, severity=severity)
    world.forward(MINUTE)
    before = len(world.pages())
    world.now += 3 * DAY
    world.forward(0)
    assert paged(world)[before:] == ["omar"] * 3, "one step of each, not those of three days"
    told = [(one.ticket, one.at) for entries in world.entries.values() for one in entries if one.what == "told"]
    late = sorted((at, ticket) for ticket, at in told if at > START + DAY)
    assert [ticket for _, ticket in late] == [1, 2, 3]
    assert [key.split("/")[0] for key in world.state.deliveries][-3:] == ["T-3", "T-2", "T-1"], "gravest first"
    whys = [one.why for number in (1, 2, 3) for one in world.entries[number] if one.what == "told"][1::2]
    assert all("nobody has answered, 2d23h56m late" in why for why in whys), "and it is said how late"


def test_after_three_days_down_the_last_resort_is_told_once_and_goes_on() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(75 * MINUTE)  # two rounds and the last resort
    before = len(world.pages())
    world.now += 3 * DAY
    world.forward(0)
    assert paged(world)[before:] == ["duty"]
    world.forward(15 * MINUTE)
    assert paged(world)[before:] == ["duty", "duty"]


def test_after_three_days_down_a_hold_and_an_acknowledgement_that_ended_meanwhile_begin_again_once() -> None:
    world = World(a_policy())
    for name in ("held", "acknowledged"):
        world.fires(instance=name, severity="critical", impact="site")
    world.says("amina", "hold", 1, note="vendor", until=world.now + HOUR)
    world.says("amina", "acknowledge", 2)
    world.forward(MINUTE)
    before = len(world.pages())
    world.now += 3 * DAY
    world.forward(0)
    assert paged(world)[before:] == ["amina", "amina"], "each at its first step, once"
    assert [world.ticket(number).status for number in (1, 2)] == [Status.OPEN, Status.OPEN]


# ---------------------------------------------------------------- at one instant
def test_acknowledge_racing_the_step_and_first_no_step_is_told() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(MINUTE)
    timer = step_timer(world)
    world.now = timer.due_at
    assert world.says("amina", "acknowledge", generation=1).changed
    world.feed(timer)
    world.forward(30 * MINUTE)
    assert paged(world) == ["amina"]


def test_acknowledge_racing_the_step_and_second_it_counts_and_the_step_is_withdrawn() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(MINUTE)
    timer = step_timer(world)
    world.now = timer.due_at
    world.feed(timer)
    assert world.says("amina", "acknowledge", generation=1).changed, "a step that was told voids nobody's link"
    world.forward(30 * MINUTE)
    assert paged(world) == ["amina"]
    assert "delivery_withdrawn" in world.told()


def test_resolve_racing_the_send_and_first_nothing_is_sent() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.clears(severity="critical")
    world.forward(MINUTE)
    assert paged(world) == []
    assert next(one.state for one in world.state.deliveries.values()) is Sending.WITHDRAWN


def test_resolve_racing_the_send_and_second_whoever_was_told_is_told_of_the_end() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    key = row(world)
    world.feed(DeliveryDue(key))
    world.clears(severity="critical")
    world.feed(Delivered(key, 1, "delivered"))
    assert world.state.deliveries[key].state is Sending.DELIVERED
    world.forward(MINUTE)
    assert [(what, who) for _, what, who in world.sent] == [("resolved", "amina")]


def test_resolve_racing_a_send_whose_outcome_is_lost_sends_no_second_page() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    key = row(world)
    world.feed(DeliveryDue(key))
    world.clears(severity="critical")
    world.feed(Delivered(key, 1, "unknown", reason="the connection broke"))
    assert world.state.deliveries[key].state is Sending.UNKNOWN
    world.forward(HOUR)
    assert paged(world) == []


def test_two_at_once_acknowledge_and_the_second_is_harmless_and_names_the_first() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(0)
    answers = [world.says(by, "acknowledge", generation=1) for by in ("amina", "omar")]
    assert [one.changed for one in answers] == [True, False]
    assert "acknowledged by amina" in answers[1].note
    assert world.told().count("acknowledged") == 1


@pytest.mark.parametrize("second", ["hold", "escalate"])
def test_two_at_once_and_the_second_of_one_generation_is_refused_and_told_what_is_so(second: str) -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(0)
    assert world.says("amina", "acknowledge", generation=1).changed
    answer = world.says("omar", second, generation=1, note="me too", until=world.now + HOUR)
    assert isinstance(answer, Denied)
    assert (answer.status, answer.field) == (409, "generation")
    assert "acknowledged by amina" in answer.reason
    assert world.ticket().acknowledged_by == "amina"
    assert paged(world) == ["amina"]


def test_callbacks_late_doubled_and_out_of_order_are_one_word_on_a_message() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(SECOND)
    key = row(world)
    for outcome in ("delivered", "delivered", "failed", "delivered"):  # the first final word counts
        world.feed(Confirmed(key, outcome, "carrier"))
    assert world.state.deliveries[key].state is Sending.DELIVERED
    world.clears(severity="critical")
    world.forward(3 * HOUR)
    world.feed(Confirmed(key, "failed", "three hours late"))
    assert world.ticket().status is Status.CLOSED
    assert paged(world) == ["amina"]
    assert world.told().count("delivery_confirmed") == 1


# ---------------------------------------------------------------- maintenance, priority
def test_maintenance_starting_mid_step_pages_nobody_until_its_end_and_keeps_the_rest_of_the_wait() -> None:
    patch = Maintenance("patch", (), Cron("2 12 * * *"), 30 * MINUTE)  # 12:02 to 12:32
    world = World(within(HOUR, maintenance=(patch,)))
    world.fires(severity="critical")
    world.forward(31 * MINUTE)
    assert world.pages() == [("0s", "amina")]
    world.forward(3 * HOUR)
    assert world.pages()[:3] == [("0s", "amina"), ("35m", "omar"), ("45m", "duty")], "three of five minutes were left"
    assert standing(world) == [("respond", 75), ("respond", 100)], "what was promised does not stand still"
    assert next(one for one in world.breaches.values() if one.share == 100).due_at == START + HOUR


def test_the_priority_raised_while_held_asks_again_at_once() -> None:
    world = World(a_policy())
    world.fires()
    world.forward(0)
    world.says("amina", "hold", note="vendor", until=world.now + DAY)
    world.forward(MINUTE)
    assert world.says("omar", "priority", impact="site", urgency="high").changed
    world.forward(0)
    assert world.ticket().status is Status.OPEN
    assert world.pages() == [("0s", "amina"), ("1m", "amina")]
    world.forward(DAY - MINUTE)
    assert "released" not in world.told(), "the end of the old hold means nothing any more"


def test_a_rise_in_priority_without_a_running_step_starts_a_run() -> None:
    policy = a_policy()
    brief = replace(policy.escalations["main"], steps=(Step((AMINA,), 5 * MINUTE),), repeat=0, last_resort=())
    world = World(a_policy(escalations={"main": brief}))
    world.fires()
    world.forward(HOUR)
    assert world.told()[-1] == "escalation_exhausted"
    world.says("omar", "priority", impact="site", urgency="high")
    world.forward(0)
    assert world.pages() == [("0s", "amina"), ("1h", "amina")]


def test_a_rise_in_priority_of_a_running_step_tells_nobody_twice() -> None:
    world = World(a_policy())
    world.fires()
    world.forward(MINUTE)
    world.says("omar", "priority", impact="site", urgency="high")
    world.forward(5 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar")]
