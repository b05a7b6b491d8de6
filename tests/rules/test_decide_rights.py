"""Stories of who may answer, of timers that mean nothing any more, and of rows and what becomes of them."""

from dataclasses import replace

import pytest

from rules.commands import Denied
from rules.events import Confirmed, Delivered, DeliveryDue, TimerFired
from rules.instants import DAY, HOUR, MINUTE
from rules.matching import matcher
from rules.model import Sending, Status, Ticket
from rules.policy import Contact, Method, Policy, Step
from tests.rules.conftest import CheckDenied, MakeWorld
from tests.rules.glances import AMINA, OMAR, paged, row, standing, step_timer, within
from tests.rules.world import START, World, a_policy, an_alert


# ---------------------------------------------------------------- who may answer
def test_whoever_is_not_active_may_not_answer_any_more(denied: CheckDenied) -> None:
    world = World(within(20 * MINUTE))
    world.fires(severity="critical")
    world.forward(0)
    known = world.policy.contacts
    world.load(within(20 * MINUTE, version="2", contacts={**known, "amina": replace(known["amina"], active=False)}))
    assert "not active" in denied(world.says("amina", "acknowledge"), 403)
    assert world.ticket().status is Status.OPEN
    assert world.told()[-1] == "refused"


def test_a_contact_removed_meanwhile_may_not_answer_any_more(denied: CheckDenied) -> None:
    world = World(a_policy())
    world.fires()
    left = {name: one for name, one in world.policy.contacts.items() if name != "amina"}
    world.load(a_policy(version="2", contacts=left))
    assert "not a contact" in denied(world.says("amina", "acknowledge"), 403)
    assert "refused" in world.told()


def test_authority_is_asked_of_the_ticket_as_it_is_now_and_of_each_action_by_itself(denied: CheckDenied) -> None:
    policy = a_policy()
    scoped = Contact("amina", may=frozenset({"acknowledge"}), scope=(matcher("team", "=", "a"),))
    world = World(a_policy(contacts={**policy.contacts, "amina": scoped}))
    world.fires(team="a")
    world.fires(team="b")
    denied(world.says("amina", "acknowledge", 2), 403)
    denied(world.says("amina", "hold", 1, note="x", until=world.now + HOUR), 403)
    assert world.says("amina", "acknowledge", 1).changed


def test_the_answer_of_somebody_without_authority_stops_no_clock_and_no_escalation(denied: CheckDenied) -> None:
    world = World(within(20 * MINUTE))
    world.fires(severity="critical")
    world.forward(0)
    denied(world.says("guest", "acknowledge"), 403)
    assert world.ticket().marks == ()
    world.forward(20 * MINUTE)
    assert paged(world) == ["amina", "omar", "duty"]
    assert standing(world) == [("respond", 75), ("respond", 100)]


@pytest.mark.parametrize("action", ["acknowledge", "hold", "resolve", "close"])
def test_an_answer_is_acknowledge_hold_resolve_or_close(action: str) -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(0)
    if action == "close":
        world.says("omar", "resolve", force=True)
    assert world.says("amina", action, note="why", until=world.now + DAY, force=True).changed
    world.forward(30 * MINUTE)
    assert paged(world) == ["amina"]
    assert world.ticket().marks[0].what == "answered"


# ---------------------------------------------------------------- timers
@pytest.mark.parametrize(
    ("before", "action"),
    [
        ((), "acknowledge"), ((), "hold"), ((), "resolve"), ((), "escalate"), (("hold",), "release"),
        (("resolve",), "close"), (("resolve",), "reopen"), (("acknowledge",), "escalate"),
    ],
)  # fmt: skip
def test_every_response_raises_the_generation_and_voids_the_timers_of_before(
    before: tuple[str, ...], action: str
) -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(0)
    for one in before:
        world.says("amina", one, note="why", until=world.now + DAY, force=True)
    was: Ticket = world.ticket()
    stale = TimerFired("T-1", "escalate", was.generation, was.run.next_at or 0) if was.run is not None else None
    assert world.says("amina", action, note="why", until=world.now + DAY, force=True).changed
    assert world.ticket().generation == was.generation + 1
    count = len(world.entries[1])
    assert stale is not None
    world.feed(stale)
    assert len(world.entries[1]) == count, "a timer of the generation before does nothing"


def test_a_comment_and_a_refusal_void_no_timer() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.says("amina", "comment", note="looking")
    world.says("guest", "acknowledge")
    assert world.ticket().generation == 1
    world.forward(5 * MINUTE)
    assert paged(world) == ["amina", "omar"]


# ---------------------------------------------------------------- outbox
def test_a_row_is_named_by_ticket_run_round_step_contact_and_method() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(31 * MINUTE)
    assert list(world.state.deliveries) == [
        "T-1/1/0/0/amina/email:amina@example.test", "T-1/1/0/1/omar/email:omar@example.test",
        "T-1/1/0/2/duty/email:duty@example.test", "T-1/1/1/0/amina/email:amina@example.test",
    ]  # fmt: skip


def test_two_methods_with_one_address_count_once_whoevers_they_are(make_world: MakeWorld, policy: Policy) -> None:
    shared = (Method("webhook", "team-room"),)
    contacts = {**policy.contacts, "amina": Contact("amina", reach=shared), "omar": Contact("omar", reach=shared)}
    both = replace(policy.escalations["main"], steps=(Step((AMINA, OMAR), 5 * MINUTE),))
    world = make_world(contacts=contacts, escalations={"main": both})
    world.fires()
    world.forward(0)
    assert world.pages() == [("0s", "amina")]


def test_after_the_last_resort_escalation_never_goes_silent_until_it_is_answered() -> None:
    world = World(a_policy())
    world.fires(severity="critical")
    world.forward(DAY)
    assert [when for when, _ in world.pages()][-3:] == ["23h30m", "23h45m", "1d"]
    world.says("duty", "acknowledge")
    world.alerts(an_alert(False, START, world.now, severity="critical"))
    count = len(world.pages())
    world.forward(DAY)
    assert len(world.pages()) == count


# ---------------------------------------------------------------- refusals, changed texts, a provider's word
@pytest.mark.parametrize(
    ("action", "said"),
    [("escalate", "has changed since"), ("close", "resolve it first"), ("reopen", "may not")],
    ids=["stale", "out of order", "without authority"],
)
def test_every_refusal_is_on_the_timeline_with_its_reason(action: str, said: str) -> None:
    policy = a_policy()
    may = frozenset({"acknowledge", "escalate", "close"})
    world = World(a_policy(contacts={**policy.contacts, "omar": replace(policy.contacts["omar"], may=may)}))
    world.fires(severity="critical")
    world.says("amina", "escalate")
    answer = world.says("omar", action, generation=1 if action == "escalate" else None)
    assert isinstance(answer, Denied)
    last = world.entries[1][-1]
    assert (last.what, last.who) == ("refused", "contact:omar")
    assert said in last.why
    assert said in answer.reason


@pytest.mark.parametrize("mode", ["restart", "migrate"])
def test_a_changed_escalation_voids_the_timer_of_before_and_no_link(mode: str) -> None:
    def policy(wait: int) -> Policy:
        steps = (Step((AMINA,), wait, "L1"), Step((OMAR,), wait, "L2"))
        main = replace(a_policy().escalations["main"], steps=steps, on_policy_change=mode)
        return a_policy(version=f"{mode}{wait}", escalations={"main": main})

    world = World(policy(5 * MINUTE))
    world.fires(severity="critical")
    world.forward(MINUTE)
    stale = step_timer(world)
    world.load(policy(20 * MINUTE))
    world.now = stale.due_at
    world.feed(stale)
    assert "omar" not in paged(world), "the wait is the new one"
    world.forward(20 * MINUTE)
    assert paged(world)[-1] == "omar"
    assert world.says("amina", "acknowledge", generation=1).changed, "whoever was told may answer by what they got"


def test_an_unknown_outcome_is_settled_by_the_providers_later_word() -> None:
    for word, state in (("delivered", Sending.DELIVERED), ("failed", Sending.FAILED)):
        world = World(a_policy())
        world.fires(severity="info")
        key = row(world)
        world.feed(DeliveryDue(key))
        world.feed(Delivered(key, 1, "unknown", reason="no answer"))
        assert world.state.deliveries[key].state is Sending.UNKNOWN, "a P3 is not sent again"
        world.feed(Confirmed(key, word, "carrier"))
        assert world.state.deliveries[key].state is state
