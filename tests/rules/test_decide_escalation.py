"""Stories of an escalation whose text is changed, whose people are gone, and whose step wants several answers."""

from dataclasses import replace

import pytest

from rules.commands import Denied, Done
from rules.instants import HOUR, MINUTE, SECOND
from rules.model import Status
from rules.policy import Contact, Escalation, Method, Policy, Rotation, Schedule, Step, Target
from tests.rules.conftest import MakeWorld
from tests.rules.world import World, a_policy, an_alert

AMINA, OMAR, DUTY = Target("contact", "amina"), Target("contact", "omar"), Target("contact", "duty")


def with_steps(*steps: Step, on_change: str = "pin", repeat: int = 1, **more: object) -> Policy:
    """The usual policy, whose escalation has these steps."""
    usual = a_policy().escalations["main"]
    changed = replace(usual, steps=steps, repeat=repeat, on_policy_change=on_change)
    return a_policy(version=f"{on_change}{len(steps)}{repeat}", escalations={"main": changed}, **more)


def l1(wait: int = 5 * MINUTE, **more: object) -> Step:
    return replace(Step((AMINA,), wait, "L1"), **more)  # type: ignore[arg-type]


def l2(wait: int = 10 * MINUTE) -> Step:
    return Step((OMAR,), wait, "L2")


def l3(wait: int = 15 * MINUTE) -> Step:
    return Step((DUTY,), wait, "L3")


# ---------------------------------------------------------------- pin, migrate, restart
def test_a_pinned_run_goes_by_the_text_that_it_began_with_to_its_end() -> None:
    world = World(with_steps(l1(), l2(), l3()))
    world.fires(severity="critical")
    world.forward(MINUTE)
    world.load(with_steps(l3(HOUR)))
    world.forward(20 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar"), ("15m", "duty")]
    world.fires(alertname="Another", severity="critical")
    world.forward(0)
    assert world.pages()[-1] == ("21m", "duty"), "a new ticket goes by the new text"


def test_a_pinned_run_outlives_even_its_escalation() -> None:
    world = World(with_steps(l1(), l2(), l3()))
    world.fires()
    world.forward(MINUTE)
    world.load(a_policy(version="none", escalations={}, default_escalation=None))
    world.forward(5 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar")], "no escalation is forgotten"


def test_a_restarting_escalation_begins_anew_with_the_new_text() -> None:
    world = World(with_steps(l1(), l2(), l3(), on_change="restart"))
    world.fires()
    world.forward(6 * MINUTE)
    world.load(with_steps(l3(), l1(), on_change="restart"))
    world.forward(19 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar"), ("6m", "duty"), ("21m", "amina")]
    assert "escalation_changed" in world.told()


def test_nothing_is_changed_by_a_policy_in_which_the_escalation_reads_the_same() -> None:
    world = World(with_steps(l1(), l2(), l3(), on_change="restart"))
    world.fires()
    world.forward(MINUTE)
    world.load(with_steps(l1(), l2(), l3(), on_change="restart", contacts=a_policy().contacts))
    world.forward(5 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar")]
    assert "escalation_changed" not in world.told()


@pytest.mark.parametrize("mode", ["pin", "migrate"])
def test_the_current_step_shortened_below_what_has_passed(mode: str) -> None:
    world = World(with_steps(l1(30 * MINUTE), l2(), on_change=mode))
    world.fires()
    world.forward(10 * MINUTE)
    world.load(with_steps(l1(5 * MINUTE), l2(), on_change=mode))
    world.forward(SECOND)
    assert world.pages() == ([("0s", "amina")] if mode == "pin" else [("0s", "amina"), ("10m", "omar")])


def test_the_current_step_lengthened_waits_from_when_it_was_told() -> None:
    world = World(with_steps(l1(), l2(), on_change="migrate"))
    world.fires()
    world.forward(4 * MINUTE)
    world.load(with_steps(l1(20 * MINUTE), l2(), on_change="migrate"))
    world.forward(HOUR)
    assert world.pages()[:2] == [("0s", "amina"), ("20m", "omar")]


def test_the_current_step_deleted_keeps_its_wait_and_gives_way_to_the_one_that_was_to_follow() -> None:
    world = World(with_steps(l1(), l2(), l3(), on_change="migrate"))
    world.fires()
    world.forward(7 * MINUTE)  # omar's step runs since 5m
    world.load(with_steps(l1(), l3(), on_change="migrate"))
    world.forward(30 * MINUTE)
    assert world.pages()[:4] == [("0s", "amina"), ("5m", "omar"), ("15m", "duty"), ("30m", "amina")]


def test_the_steps_reordered_leave_the_run_where_it_was() -> None:
    world = World(with_steps(l1(), l2(), l3(), on_change="migrate"))
    world.fires()
    world.forward(6 * MINUTE)  # at omar's
    world.load(with_steps(l3(), l2(), l1(), on_change="migrate"))
    world.forward(10 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar"), ("15m", "amina")], "after omar comes whoever follows now"


def test_the_last_step_deleted_gives_no_free_round() -> None:
    world = World(with_steps(l1(), l2(), l3(), on_change="migrate", repeat=0))
    world.fires(severity="critical")
    world.forward(16 * MINUTE)  # at duty's, the last
    world.load(with_steps(l1(), l2(), on_change="migrate", repeat=0))
    world.forward(HOUR)
    assert world.pages()[3:] == [("30m", "duty"), ("45m", "duty"), ("1h", "duty"), ("1h15m", "duty")], "the last resort"


def test_a_round_that_was_promised_is_still_given_when_the_last_step_is_deleted() -> None:
    world = World(with_steps(l1(), l2(), l3(), on_change="migrate", repeat=1))
    world.fires()
    world.forward(16 * MINUTE)
    world.load(with_steps(l1(), l2(), on_change="migrate", repeat=1))
    world.forward(30 * MINUTE)
    assert world.pages()[3:] == [("30m", "amina"), ("35m", "omar"), ("45m", "duty")]


def test_going_back_and_forth_between_two_texts_doubles_nothing() -> None:
    one, other = with_steps(l1(), l2(), l3(), on_change="migrate"), with_steps(l2(), l3(), on_change="migrate")
    world = World(one)
    world.fires()
    for minute in range(40):
        world.forward(MINUTE)
        world.load(other if minute % 2 else one)
    assert len(world.pages()) == len(set(world.pages()))
    assert {who for _, who in world.pages()} == {"amina", "omar", "duty"}


# ---------------------------------------------------------------- people who are gone
def test_a_contact_removed_mid_chain_is_passed_over_and_the_chain_goes_on(policy: Policy) -> None:
    world = World(policy)
    world.fires()
    world.forward(MINUTE)
    left = {name: one for name, one in policy.contacts.items() if name != "omar"}
    world.load(a_policy(version="2", contacts=left))
    world.forward(5 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "duty")]
    assert "step_skipped" in world.told()


def test_every_step_empty_tells_the_last_resort_at_once_and_says_so(make_world: MakeWorld, policy: Policy) -> None:
    contacts = {**policy.contacts, "amina": Contact("amina"), "omar": Contact("omar")}
    world = World(with_steps(l1(), l2(), contacts=contacts))
    world.fires(severity="critical")
    world.forward(HOUR)
    assert world.pages() == [("0s", "duty"), ("15m", "duty"), ("30m", "duty"), ("45m", "duty"), ("1h", "duty")]
    assert world.told().count("empty_round") == 1
    assert world.told().count("step_skipped") == 2


def test_an_empty_rotation_is_a_step_that_reaches_nobody() -> None:
    nobody = Schedule("nobody", rotations=(Rotation((), 24 * HOUR, 0),))
    steps = (Step((Target("schedule", "nobody"),), 5 * MINUTE, "L1"), l2())
    world = World(with_steps(*steps, schedules={"nobody": nobody}))
    world.fires()
    world.forward(0)
    assert world.pages() == [("0s", "omar")]


def test_when_nobody_at_all_is_on_call_it_is_asked_every_minute_until_somebody_is() -> None:
    from_one = Schedule("later", rotations=(Rotation(("amina",), 24 * HOUR, _local(20 * MINUTE)),))
    only = Escalation("main", (Step((Target("schedule", "later"),), 5 * MINUTE, "L1"),))
    world = World(a_policy(escalations={"main": only}, schedules={"later": from_one}))
    world.fires()
    world.forward(19 * MINUTE)
    assert world.pages() == []
    assert world.told().count("step_skipped") == 1, "it is said once"
    world.forward(2 * MINUTE)
    assert world.pages() == [("20m", "amina")]


def _local(after: int) -> int:
    """So long after the start of a story, on a clock that shows UTC."""
    return World(a_policy()).now + after


def test_repeat_0_goes_from_the_last_step_to_the_last_resort() -> None:
    world = World(with_steps(l1(), l2(), repeat=0))
    world.fires(severity="critical")
    world.forward(HOUR)
    assert world.pages() == [
        ("0s", "amina"), ("5m", "omar"), ("15m", "duty"), ("30m", "duty"), ("45m", "duty"), ("1h", "duty"),
    ]  # fmt: skip


# ---------------------------------------------------------------- several must answer
def test_a_step_may_want_several_to_acknowledge() -> None:
    both = Step((AMINA, OMAR), 10 * MINUTE, "L1", quorum=2)
    world = World(with_steps(both, l3()))
    world.fires()
    world.forward(MINUTE)
    first = world.says("amina", "acknowledge", generation=1)
    assert isinstance(first, Done)
    assert "1 of 2" in first.note
    assert world.ticket().status is Status.OPEN
    assert not world.says("amina", "acknowledge").changed, "one contact counts once"
    world.forward(MINUTE)
    assert isinstance(world.says("omar", "acknowledge", generation=1), Done), "the first answer voids no link"
    assert world.ticket().status is Status.ACKNOWLEDGED
    assert world.ticket().acknowledgers == ("amina", "omar")
    world.forward(HOUR)
    assert world.pages() == [("0s", "amina"), ("0s", "omar")]


def test_whoever_has_acknowledged_is_not_paged_again_while_the_others_are_waited_for() -> None:
    both = Step((AMINA, OMAR), 10 * MINUTE, "L1", quorum=2)
    world = World(with_steps(both, Step((AMINA, DUTY), 10 * MINUTE, "L2", quorum=2)))
    world.fires()
    world.forward(MINUTE)
    world.says("amina", "acknowledge")
    world.forward(10 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("0s", "omar"), ("10m", "duty")]
    world.says("duty", "acknowledge")
    assert world.ticket().status is Status.ACKNOWLEDGED, "two of those who may have, whichever step told them"


def test_a_hold_by_one_answers_for_all() -> None:
    world = World(with_steps(Step((AMINA, OMAR), 10 * MINUTE, "L1", quorum=2)))
    world.fires()
    world.says("amina", "hold", note="vendor", until=world.now + HOUR)
    assert world.ticket().status is Status.ON_HOLD


# ---------------------------------------------------------------- what joins
def test_a_new_alert_joining_an_acknowledged_ticket_is_told_to_the_acknowledger(world: World) -> None:
    world.alerts(an_alert(alertname="Disk", instance="a", severity="warning"))
    world.forward(MINUTE)
    world.says("omar", "acknowledge")
    for name in ("b", "c"):  # the catch-all groups by alertname within five minutes
        world.alerts(an_alert(alertname="Disk", instance=name, at=world.now, severity="warning"))
    world.forward(10 * MINUTE)
    assert [one for one in world.sent if one[1] == "joined"] == [("2m", "joined", "omar")], "both in one notice"
    assert world.ticket().attached == 3


def test_what_joins_an_open_ticket_is_told_by_its_pages_alone(world: World) -> None:
    world.alerts(an_alert(alertname="Disk", instance="a", severity="warning"))
    world.alerts(an_alert(alertname="Disk", instance="b", severity="warning"))
    world.forward(MINUTE)
    assert not [one for one in world.sent if one[1] == "joined"]


def test_a_notice_of_what_joined_is_not_sent_when_the_acknowledgement_is_over(world: World) -> None:
    world.alerts(an_alert(alertname="Disk", instance="a", severity="warning"))
    world.says("omar", "acknowledge")
    world.alerts(an_alert(alertname="Disk", instance="b", severity="warning"))
    world.says("omar", "escalate")
    world.forward(10 * MINUTE)
    assert not [one for one in world.sent if one[1] == "joined"]


# ---------------------------------------------------------------- chains of one person
def test_methods_not_yet_due_still_run_after_their_step_gave_way(policy: Policy) -> None:
    reach = (Method("email", "a@x.test"), Method("webhook", "amina", 7 * MINUTE))
    slow = replace(policy.contacts["amina"], reach=reach)
    world = World(with_steps(l1(), l2(), contacts={**policy.contacts, "amina": slow}))
    world.fires()
    world.forward(8 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar"), ("7m", "amina")]


def test_the_same_person_in_two_steps_is_told_by_each(policy: Policy) -> None:
    world = World(with_steps(l1(), Step((AMINA,), 10 * MINUTE, "L2")))
    world.fires()
    world.forward(6 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "amina")]


def test_two_at_once_acknowledge_and_the_first_counts(world: World) -> None:
    world.fires()
    world.forward(0)
    assert world.says("amina", "acknowledge", generation=1).changed
    second = world.says("omar", "acknowledge", generation=1)
    assert isinstance(second, Denied | Done)
    assert world.ticket().acknowledged_by == "amina"
