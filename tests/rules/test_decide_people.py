"""Stories of people: told in their turn, answering, refusing to answer, and those who may not."""

from dataclasses import replace

from rules.commands import Done
from rules.events import TimerFired
from rules.instants import HOUR, MINUTE, SECOND
from rules.matching import matcher
from rules.model import Status
from rules.policy import Contact, Escalation, Method, Policy, Step, Target
from tests.rules.conftest import CheckDenied, MakeWorld
from tests.rules.world import World, an_alert


def test_nobody_answers_and_everybody_is_told_in_turn_until_the_last_resort(world: World) -> None:
    world.fires(severity="critical")
    world.forward(2 * HOUR)
    assert world.pages() == [
        ("0s", "amina"), ("5m", "omar"), ("15m", "duty"),  # the first round
        ("30m", "amina"), ("35m", "omar"), ("45m", "duty"),  # one repeat
        ("1h", "duty"), ("1h15m", "duty"), ("1h30m", "duty"), ("1h45m", "duty"), ("2h", "duty"),  # the last resort, P1
    ]  # fmt: skip


def test_an_acknowledgement_stops_the_escalation_and_those_told_are_told(world: World) -> None:
    world.fires(severity="warning")
    world.forward(6 * MINUTE)
    assert isinstance(world.says("omar", "acknowledge"), Done)
    world.forward(3 * HOUR)
    assert world.pages() == [("0s", "amina"), ("5m", "omar")]
    assert sorted(one for one in world.sent if one[1] == "answered") == [
        ("6m", "answered", "amina"),
    ]
    assert world.ticket().acknowledged_by == "omar"


def test_a_second_acknowledgement_is_harmless_and_names_the_first(world: World) -> None:
    world.fires()
    world.says("omar", "acknowledge")
    again = world.says("amina", "acknowledge")
    assert isinstance(again, Done)
    assert not again.changed
    assert "omar" in again.note
    assert world.ticket().acknowledged_by == "omar"


def test_acknowledged_and_forgotten_starts_again_at_step_one(world: World) -> None:
    world.fires(severity="critical")
    world.forward(0)
    world.says("amina", "acknowledge")
    world.forward(HOUR)
    assert world.ticket().status is Status.OPEN
    assert world.pages() == [("0s", "amina"), ("1h", "amina")]
    assert "acknowledgement_expired" in world.told()


def test_whoever_is_not_authorised_is_refused_and_it_is_written_down(world: World, denied: CheckDenied) -> None:
    world.fires()
    assert "guest may not acknowledge" in denied(world.says("guest", "acknowledge"), 403)
    assert "not a contact" in denied(world.says("stranger", "resolve", force=True), 403)
    assert "duty may not resolve" in denied(world.says("duty", "resolve"), 403)
    assert world.ticket().status is Status.OPEN
    assert world.told().count("refused") == 3


def test_authority_holds_only_where_the_contact_is_responsible(
    make_world: MakeWorld, policy: Policy, denied: CheckDenied
) -> None:
    scoped = replace(policy.contacts["amina"], scope=(matcher("team", "=", "payments"),))
    world = make_world(contacts={**policy.contacts, "amina": scoped})
    world.fires(team="search")
    world.fires(team="payments")
    assert 'team="payments"' in denied(world.says("amina", "acknowledge", 1), 403)
    assert world.says("amina", "acknowledge", 2).changed


def test_a_stale_generation_is_refused(world: World, denied: CheckDenied) -> None:
    world.fires()
    world.forward(0)
    assert isinstance(world.says("amina", "escalate", generation=1), Done)
    assert "generation" in denied(world.says("omar", "escalate", generation=1), 409)
    world.forward(SECOND)
    assert [who for _, who in world.pages()] == ["amina", "omar"], "one escalate, one step"


def test_escalating_by_hand_goes_on_from_there(world: World) -> None:
    world.fires()
    world.forward(MINUTE)
    world.says("amina", "escalate")
    world.forward(10 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("1m", "omar"), ("11m", "duty")]


def test_resolving_while_it_fires_wants_force_and_names_what_fires(world: World, denied: CheckDenied) -> None:
    world.fires()
    assert "ErrorRate" in denied(world.says("amina", "resolve"), 409)
    assert world.says("amina", "resolve", force=True).changed
    assert world.ticket().status is Status.RESOLVED


def test_a_forced_resolve_is_not_undone_by_repeats_but_by_four_hours(world: World) -> None:
    world.fires()
    world.says("amina", "resolve", force=True)
    for _ in range(3):
        world.forward(HOUR)
        world.alerts(an_alert())
        assert world.ticket().status is Status.RESOLVED
    world.forward(HOUR)
    assert world.ticket().status is Status.OPEN
    assert world.ticket().reopened == 1


def test_a_hold_wants_a_reason_and_an_end_and_comes_back(world: World, denied: CheckDenied) -> None:
    world.fires()
    world.forward(0)
    denied(world.says("amina", "hold", note="why"), 400)
    denied(world.says("amina", "hold", until=world.now + HOUR), 400)
    denied(world.says("amina", "hold", note="why", until=world.now), 400)
    assert world.says("amina", "hold", note="vendor is on it", until=world.now + 2 * HOUR).changed
    world.forward(2 * HOUR - SECOND)
    assert world.pages() == [("0s", "amina")]
    world.forward(SECOND)
    assert world.ticket().status is Status.OPEN
    assert world.pages()[-1] == ("2h", "amina")


def test_a_hold_of_something_acknowledged_comes_back_acknowledged(world: World) -> None:
    world.fires()
    world.says("amina", "acknowledge")
    world.says("amina", "hold", note="waiting", until=world.now + HOUR)
    assert world.says("amina", "release").changed
    assert world.ticket().status is Status.ACKNOWLEDGED
    assert not world.says("amina", "release").changed


def test_recovery_ends_everything_and_tells_those_who_were_told(world: World) -> None:
    world.fires()
    world.forward(7 * MINUTE)
    world.clears()
    world.forward(3 * HOUR)
    assert world.pages() == [("0s", "amina"), ("5m", "omar")]
    assert sorted(who for _, what, who in world.sent if what == "resolved") == ["amina", "omar"]
    assert world.ticket().status is Status.CLOSED
    assert not world.timers


def test_closing_wants_a_resolve_first(world: World, denied: CheckDenied) -> None:
    world.fires()
    assert "resolve it first" in denied(world.says("amina", "close"), 409)
    world.clears()
    assert world.says("amina", "close").changed
    assert not world.says("amina", "close").changed
    assert "closed" in denied(world.says("amina", "acknowledge"), 409)


def test_reopening_one_that_has_a_successor_names_it(world: World, denied: CheckDenied) -> None:
    world.fires()
    world.clears()
    world.forward(2 * HOUR)
    world.fires()
    assert "T-2" in denied(world.says("amina", "reopen", 1), 409)


def test_a_raise_of_an_acknowledged_ticket_asks_again(world: World) -> None:
    world.fires(alertname="Down", host="a", severity="warning")
    world.forward(0)
    world.says("amina", "acknowledge")
    world.fires(alertname="Down", host="b", severity="critical")
    assert world.ticket().status is Status.OPEN
    world.forward(SECOND)
    assert [who for _, who in world.pages()] == ["amina", "amina"]


def test_priority_by_hand_is_checked_and_lowers_too(world: World, denied: CheckDenied) -> None:
    world.fires(severity="critical")
    denied(world.says("amina", "priority", impact="planet"), 400)
    assert world.says("amina", "priority", impact="user", urgency="low").ticket.priority == "P4"
    assert not world.says("amina", "priority", impact="user", urgency="low").changed


def test_a_comment_answers_nothing(world: World, denied: CheckDenied) -> None:
    world.fires()
    denied(world.says("amina", "comment"), 400)
    assert world.says("amina", "comment", note="looking").changed
    world.forward(5 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar")]


def test_an_authorised_contact_opens_one_by_hand_and_it_escalates(world: World, denied: CheckDenied) -> None:
    denied(world.opens("guest"), 403)
    denied(world.opens("amina", impact="planet"), 400)
    denied(world.opens("amina", title=" "), 400)
    first = world.opens("amina", request="abc")
    assert first.ticket.priority == "P1"
    assert not world.opens("amina", request="abc").changed
    world.forward(5 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("5m", "omar")]
    assert world.says("omar", "resolve").changed, "nothing fires behind it"


def test_an_unknown_ticket_or_action_is_not_found(world: World, denied: CheckDenied) -> None:
    world.fires()
    denied(world.says("amina", "acknowledge", 99), 404)
    denied(world.says("amina", "explode"), 404)


def test_a_step_that_reaches_nobody_is_passed_over_at_once_saying_why(make_world: MakeWorld, policy: Policy) -> None:
    main = policy.escalations["main"]
    gone = replace(main, steps=(Step((Target("contact", "gone"),), HOUR), *main.steps[1:]))
    world = make_world(escalations={"main": gone})
    world.fires()
    world.forward(SECOND)
    assert world.pages() == [("0s", "omar")]
    assert "step_skipped" in world.told()


def test_a_whole_round_that_reaches_nobody_goes_to_the_last_resort(make_world: MakeWorld) -> None:
    empty = Escalation("main", (Step((Target("contact", "x"),)), Step(())), 5, (Target("contact", "duty"),))
    world = make_world(escalations={"main": empty})
    world.fires()
    world.forward(8 * HOUR)
    assert world.pages() == [("0s", "duty"), ("4h", "duty"), ("8h", "duty")]


def test_without_a_last_resort_the_end_is_said_aloud(make_world: MakeWorld, policy: Policy) -> None:
    world = make_world(escalations={"main": replace(policy.escalations["main"], last_resort=(), repeat=0)})
    world.fires()
    world.forward(HOUR)
    assert world.told()[-1] == "escalation_exhausted"
    assert not world.timers


def test_a_policy_with_nobody_opens_tickets_all_the_same(make_world: MakeWorld) -> None:
    world = make_world(contacts={}, escalations={}, default_escalation=None)
    world.fires()
    assert world.told() == ["opened", "nobody_to_tell"]


def test_methods_come_in_order_and_one_address_counts_once(make_world: MakeWorld, policy: Policy) -> None:
    both = (
        Method("email", "a@example.test"), Method("email", "a@example.test"),
        Method("webhook", "chat", after=2 * MINUTE), Method("webhook", "loud", priorities=frozenset({"P1"})),
    )  # fmt: skip
    world = make_world(contacts={**policy.contacts, "amina": Contact("amina", reach=both)})
    world.fires(severity="warning")
    world.forward(3 * MINUTE)
    assert world.pages() == [("0s", "amina"), ("2m", "amina")]


def test_a_channel_that_fails_for_good_gives_way_to_the_next_at_once(make_world: MakeWorld, policy: Policy) -> None:
    both = (Method("email", "gone@example.test"), Method("webhook", "chat", after=HOUR))
    world = make_world(contacts={**policy.contacts, "amina": Contact("amina", reach=both)})
    world.outcome = "refused"
    world.fires()
    world.forward(0)
    assert world.pages() == [("0s", "amina"), ("0s", "amina")]
    assert [one.kind for one in world.state.deliveries.values()] == ["email", "webhook"]


def test_the_last_resort_is_told_as_often_as_the_policy_says(make_world: MakeWorld, policy: Policy) -> None:
    often = replace(policy.escalations["main"], steps=(), last_resort_every={"P1": 20 * SECOND})
    world = make_world(escalations={"main": often})
    world.fires(severity="critical")
    world.forward(MINUTE)
    assert world.pages() == [("0s", "duty"), ("20s", "duty"), ("40s", "duty"), ("1m", "duty")]


def test_a_last_resort_that_reaches_nobody_is_tried_again_but_never_spins(
    make_world: MakeWorld, policy: Policy
) -> None:
    nobody = replace(policy.escalations["main"], last_resort=(Target("contact", "x"),), last_resort_every={"P1": 1})
    world = make_world(escalations={"main": replace(nobody, steps=(Step((Target("contact", "y"),)),))})
    world.fires(severity="critical")
    world.forward(10 * MINUTE)
    assert world.pages() == []
    assert world.ticket().run is not None
    assert world.ticket().run.next_at == world.now + MINUTE  # type: ignore[union-attr]


def test_two_daemons_that_fire_one_timer_take_one_step(world: World) -> None:
    world.fires()
    world.forward(0)
    timer = world.timers["T-1", "escalate"]
    world.now = timer.due_at
    for _ in range(2):
        world.feed(TimerFired(timer.subject, timer.kind, timer.generation, timer.due_at))
    world.forward(0)
    assert [who for _, who in world.pages()] == ["amina", "omar"]


def test_every_refusal_is_on_the_timeline_a_stale_or_impossible_answer_too(world: World, denied: CheckDenied) -> None:
    world.fires()
    denied(world.says("amina", "escalate", generation=9), 409)
    denied(world.says("amina", "close"), 409)
    denied(world.says("guest", "acknowledge"), 403)
    denied(world.says("amina", "hold", note="why"), 400)  # which was no answer yet
    assert world.told().count("refused") == 3


def test_what_is_in_force_already_is_harmless_however_old_the_answer_is(world: World) -> None:
    world.fires()
    world.says("omar", "acknowledge", generation=1)
    again = world.says("amina", "acknowledge", generation=1)
    assert isinstance(again, Done)
    assert (again.changed, "omar" in again.note) == (False, True)
