"""Stories of deliveries: attempted, refused, retried, lost, withdrawn."""

from rules.commands import Attempt, Noted
from rules.events import Delivered, DeliveryDue
from rules.instants import HOUR, MINUTE, SECOND
from rules.model import Delivery, Sending
from rules.policy import Policy
from rules.response.outbox import ATTEMPTS_MAX
from tests.rules.conftest import MakeWorld
from tests.rules.world import World


def _first(world: World) -> Delivery:
    return next(iter(world.state.deliveries.values()))


def test_it_is_marked_before_it_is_sent(world: World) -> None:
    world.fires()
    answer = world.feed(DeliveryDue(_first(world).key))
    assert isinstance(answer, Attempt)
    assert _first(world).state is Sending.SENDING
    assert _first(world).deadline_at == world.now + MINUTE
    assert world.feed(DeliveryDue(_first(world).key)) == Noted("it is being sent")


def test_an_answer_between_decision_and_send_withdraws_the_page(world: World) -> None:
    world.fires()
    world.says("omar", "acknowledge")
    world.forward(SECOND)
    assert world.pages() == []
    assert _first(world).state is Sending.WITHDRAWN
    assert "delivery_withdrawn" in world.told()


def test_a_contact_removed_meanwhile_is_not_told(world: World, make_world: MakeWorld, policy: Policy) -> None:
    world.fires()
    world.policy = make_world(contacts={k: v for k, v in policy.contacts.items() if k != "amina"}).policy
    world.forward(SECOND)
    assert world.pages() == []
    assert "no longer a contact" in _first(world).error


def test_a_refusal_for_now_is_tried_again_with_growing_waits(world: World) -> None:
    world.outcome = "again"
    world.fires(severity="warning")
    world.forward(MINUTE)
    assert world.pages() == [("0s", "amina"), ("5s", "amina"), ("15s", "amina"), ("35s", "amina")]
    world.outcome = "delivered"
    world.forward(MINUTE)
    assert world.pages()[-1] == ("1m15s", "amina")
    assert _first(world).state is Sending.DELIVERED


def test_the_provider_may_ask_for_a_longer_wait(world: World) -> None:
    world.fires()
    key = _first(world).key
    world.feed(DeliveryDue(key))
    world.feed(Delivered(key, 1, "again", reason="busy", retry_after=2 * MINUTE))
    assert _first(world).due_at == world.now + 2 * MINUTE


def test_it_is_given_up_after_many_attempts_and_said_so(make_world: MakeWorld) -> None:
    world = make_world(default_escalation="main")
    world.outcome = "again"
    world.fires()
    for _ in range(ATTEMPTS_MAX + 5):
        world.forward(5 * MINUTE)
    assert _first(world).state is Sending.FAILED
    assert _first(world).attempt == ATTEMPTS_MAX


def test_a_refusal_for_good_is_not_tried_again(world: World) -> None:
    world.outcome = "refused"
    world.fires()
    world.forward(4 * MINUTE)
    assert world.pages() == [("0s", "amina")]
    assert "delivery_failed" in world.told()


def test_a_lost_outcome_is_sent_again_and_marked_for_the_grave(world: World) -> None:
    world.outcome = "unknown"
    world.fires(severity="critical")
    world.forward(SECOND)
    world.outcome = "delivered"
    world.forward(10 * SECOND)
    assert [what for _, what, _ in world.sent][:2] == ["page", "page?"]
    assert _first(world).state is Sending.DELIVERED
    assert _first(world).possible_repeat


def test_a_lost_outcome_of_a_mild_one_is_left_unknown(world: World) -> None:
    world.outcome = "unknown"
    world.fires(severity="info")
    world.forward(4 * MINUTE)
    assert world.pages() == [("0s", "amina")]
    assert _first(world).state is Sending.UNKNOWN


def test_a_crash_while_sending_is_an_unknown_outcome_once_the_deadline_has_passed(world: World) -> None:
    world.outcome = "crash"
    world.fires(severity="critical")
    world.forward(SECOND)
    key = _first(world).key
    world.outcome = "delivered"
    world.now += MINUTE
    world.feed(DeliveryDue(key))
    assert _first(world).state is Sending.DUE
    world.send(key)
    assert [what for _, what, _ in world.sent] == ["page", "page?"]


def test_a_late_outcome_of_an_older_attempt_changes_nothing(world: World) -> None:
    world.fires(severity="critical")
    key = _first(world).key
    world.feed(DeliveryDue(key))
    world.now += MINUTE
    world.feed(DeliveryDue(key))
    world.feed(DeliveryDue(key))
    assert isinstance(world.feed(Delivered(key, 1, "delivered")), Noted)
    assert _first(world).state is Sending.SENDING
    world.feed(Delivered(key, 2, "delivered"))
    assert _first(world).state is Sending.DELIVERED


def test_a_page_of_a_run_that_was_answered_is_void_in_the_next_run(world: World) -> None:
    world.outcome = "again"
    world.fires(severity="critical")
    world.forward(SECOND)
    world.says("amina", "acknowledge")
    world.outcome = "delivered"
    world.now += HOUR
    world.forward(SECOND)
    keys = [one.key for one in world.state.deliveries.values() if one.state is Sending.DELIVERED and "/2/" in one.key]
    assert keys, "the new run pages"
    assert _first(world).state is Sending.WITHDRAWN


def test_an_unknown_delivery_is_only_noted(world: World) -> None:
    assert world.feed(DeliveryDue("nothing")) == Noted("no such delivery")
    assert world.feed(Delivered("nothing", 1, "delivered")) == Noted("no such delivery")
