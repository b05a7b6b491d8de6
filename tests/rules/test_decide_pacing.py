"""Stories of messages that wait: bundled, throttled, held until somebody is in, and told later what became of them."""

from dataclasses import replace

from rules.events import Confirmed, DeliveryDue
from rules.instants import DAY, HOUR, MINUTE, SECOND, parse_instant
from rules.model import Sending, Status
from rules.policy import (
    Allowance,
    Allowed,
    Calendar,
    Contact,
    Method,
    Policy,
    Promise,
    Sla,
    Throttle,
)
from tests.rules.world import START, World, a_policy, an_alert

NINE_TO_FIVE = ((9 * HOUR, 17 * HOUR),)
OFFICE = Calendar("office", "UTC", (NINE_TO_FIVE,) * 5 + ((), ()))  # Monday to Friday; the stories begin on a Monday


def reached_by(**more: object) -> Policy:
    """Amina has one method with these settings."""
    known = a_policy().contacts
    one = replace(Method("email", "amina@example.test"), **more)  # type: ignore[arg-type]
    return a_policy(version=f"{more}", contacts={**known, "amina": replace(known["amina"], reach=(one,))})


def four(world: World, severity: str = "warning") -> None:
    """Four tickets at once."""
    for name in "abcd":
        world.fires(instance=name, severity=severity)


# ---------------------------------------------------------------- bundling
def test_bundled_pages_wait_for_each_other_and_go_as_one_message() -> None:
    world = World(reached_by(bundle=MINUTE))
    four(world)
    world.forward(59 * SECOND)
    assert world.pages() == []
    world.forward(SECOND)
    assert world.pages() == [("1m", "amina")] * 4
    assert world.messages == [(START + MINUTE, 4)]
    assert {one.state for one in world.state.deliveries.values()} == {Sending.DELIVERED}, "each is a row of its own"


def test_what_comes_while_a_bundle_waits_goes_with_it() -> None:
    world = World(reached_by(bundle=2 * MINUTE))
    world.fires(instance="a", severity="warning")
    world.forward(MINUTE)
    world.fires(instance="b", severity="warning")
    world.forward(5 * MINUTE)
    assert [count for _, count in world.messages if count > 1] == [2]
    assert world.pages()[:2] == [("2m", "amina"), ("2m", "amina")]


def test_p1_passes_bundling() -> None:
    world = World(reached_by(bundle=10 * MINUTE))
    world.fires(instance="mild", severity="warning")
    world.fires(instance="grave", severity="critical", impact="site")
    grave = next(one for one in world.state.tickets.values() if one.labels["instance"] == "grave")
    assert grave.priority == "P1"
    world.forward(0)
    assert world.messages == [(START, 1)]


def test_an_answer_while_a_bundle_waits_withdraws_its_own_page_only() -> None:
    world = World(reached_by(bundle=MINUTE))
    four(world)
    world.says("amina", "acknowledge", 2)
    world.forward(MINUTE)
    assert world.messages == [(START + MINUTE, 3)]


def test_a_bundle_that_fails_for_good_fails_each_and_each_gives_way() -> None:
    known = a_policy().contacts
    reach = (Method("email", "amina@example.test", bundle=MINUTE), Method("webhook", "amina", 30 * MINUTE))
    world = World(a_policy(contacts={**known, "amina": replace(known["amina"], reach=reach)}))
    world.fires(instance="a", severity="warning")
    world.fires(instance="b", severity="warning")
    world.outcome = "refused"
    world.forward(MINUTE)
    assert [world.told(number).count("delivery_failed") for number in (1, 2)] == [2, 2], "the next follows at once"


def test_a_crash_while_a_bundle_is_sent_leaves_each_row_to_answer_for_itself() -> None:
    world = World(reached_by(bundle=MINUTE))
    four(world, severity="info")
    world.outcome = "crash"
    world.forward(MINUTE)
    rows = list(world.state.deliveries.values())
    assert {one.state for one in rows} == {Sending.SENDING}
    world.outcome = "delivered"
    world.now += 2 * MINUTE
    for one in rows:
        world.feed(DeliveryDue(one.key))
    assert {one.state for one in world.state.deliveries.values()} == {Sending.UNKNOWN}, "P3: not sent again, not lost"


# ---------------------------------------------------------------- throttling
def test_throttling_delays_and_never_drops() -> None:
    world = World(reached_by(throttle=Throttle(2, HOUR)))
    for number in range(7):
        world.fires(instance=f"i{number}", severity="warning")
        world.forward(MINUTE)
    assert [one for one in world.pages() if one[1] == "amina"] == [("0s", "amina"), ("1m", "amina")]
    assert "delivery_delayed" in world.told(3)
    world.forward(HOUR)
    later = [when for when, who in world.pages() if who == "amina"][2:]
    assert later[:5] == ["1h"] * 5, "none is dropped, and what waited goes in one message"
    assert (START + HOUR, 12) in world.messages, "with the pages of the second round"


def test_p1_passes_throttling() -> None:
    world = World(reached_by(throttle=Throttle(1, DAY)))
    world.fires(instance="mild", severity="warning")
    for name in "abc":
        world.fires(instance=name, severity="critical", impact="site")
    world.forward(0)
    assert len([one for one in world.pages() if one == ("0s", "amina")]) == 4


def test_a_page_that_is_throttled_goes_within_a_minute_when_its_ticket_becomes_a_p1() -> None:
    world = World(reached_by(throttle=Throttle(1, DAY)))
    world.fires(instance="first", severity="warning")
    world.forward(SECOND)
    world.fires(instance="second", severity="warning")
    world.forward(2 * MINUTE)
    assert world.pages() == [("0s", "amina")]
    world.says("amina", "priority", 2, impact="site", urgency="high")
    world.forward(MINUTE)
    assert [who for _, who in world.pages()] == ["amina", "amina"]
    assert world.told(2).count("delivery_delayed") == 1, "said once, however often it was asked again"


# ---------------------------------------------------------------- opening hours
def office_hours(respond: Allowed | None = None, **more: object) -> Policy:
    """P3 waits for the office; the answer is promised within `respond`."""
    usual = a_policy().escalations["main"]
    held = replace(usual, hold_until_open={"P3": "office"})
    promise = Promise(None if respond is None else Allowance(respond, respond))
    slas = {} if respond is None else {"standard": Sla("standard", "office", {"P3": promise}, (75,))}
    return a_policy(
        version=f"{respond}{more}", escalations={"main": held}, calendars={"office": OFFICE}, slas=slas,
        default_sla="standard" if slas else None, **more,
    )  # fmt: skip


def at_night(policy: Policy) -> World:
    """19:00 on the Monday."""
    world = World(policy)
    world.now = START + 7 * HOUR
    return world


def test_outside_the_hours_a_mild_ticket_waits_and_then_whoever_is_on_call_is_told() -> None:
    world = at_night(office_hours())
    world.alerts(an_alert(at=world.now))
    world.forward(14 * HOUR - SECOND)
    assert world.pages() == []
    assert "waiting_for_hours" in world.told()
    world.forward(HOUR)
    assert world.pages()[:2] == [("21h", "amina"), ("21h5m", "omar")], "09:00 on Tuesday, and on from there"


def test_a_grave_ticket_waits_for_no_office() -> None:
    world = at_night(office_hours())
    world.alerts(an_alert(at=world.now, severity="critical"))
    world.forward(0)
    assert world.pages() == [("7h", "amina")]


def test_hold_until_open_never_holds_past_the_first_warning_of_the_response_clock() -> None:
    world = at_night(office_hours(Allowed(4 * HOUR)))
    world.alerts(an_alert(at=world.now))
    world.forward(4 * HOUR)
    assert world.pages()[0] == ("10h", "amina"), "75 % of four hours, not 09:00"


def test_a_rise_in_priority_ends_the_waiting_for_hours() -> None:
    world = at_night(office_hours())
    world.alerts(an_alert(at=world.now))
    world.forward(HOUR)
    world.says("amina", "priority", impact="site", urgency="high")
    world.forward(0)
    assert world.pages() == [("8h", "amina")]


def test_escalating_by_hand_waits_for_no_office() -> None:
    world = at_night(office_hours())
    world.alerts(an_alert(at=world.now))
    world.forward(HOUR)
    world.says("omar", "escalate")
    world.forward(0)
    assert world.pages() == [("8h", "amina")], "the step that waited is told now"


def test_a_step_that_falls_due_after_closing_time_waits_too() -> None:
    world = World(office_hours())
    world.now = parse_instant("2026-03-02T16:58:00Z")
    world.alerts(an_alert(at=world.now))
    world.forward(DAY)
    assert world.pages()[:2] == [("4h58m", "amina"), ("21h", "omar")]


def test_an_answer_while_it_waits_for_hours_tells_nobody() -> None:
    world = at_night(office_hours())
    world.alerts(an_alert(at=world.now))
    world.forward(HOUR)
    world.says("amina", "acknowledge")
    world.forward(DAY)
    assert world.pages() == []
    assert world.ticket().status is Status.ACKNOWLEDGED


def test_hours_that_change_while_it_waits_are_seen_at_once() -> None:
    world = at_night(office_hours())
    world.alerts(an_alert(at=world.now))
    world.forward(HOUR)
    always = Calendar("office", "UTC", (((0, DAY),),) * 7)
    world.load(replace_calendar(office_hours(), always))
    assert world.pages() == [("8h", "amina")]


def replace_calendar(policy: Policy, calendar: Calendar) -> Policy:
    """The same, with another calendar."""
    return replace(policy, version="other", calendars={calendar.id: calendar})


# ---------------------------------------------------------------- what the provider says later
def two_ways() -> World:
    reach = (Method("sms", "+218910000000"), Method("voice", "+218910000000", 30 * MINUTE))
    known = a_policy().contacts
    world = World(a_policy(contacts={**known, "amina": replace(known["amina"], reach=reach)}))
    world.fires(severity="critical")
    world.forward(0)
    return world


SMS = "T-1/1/0/0/amina/sms:+218910000000"


def test_a_message_that_its_provider_could_not_deliver_gives_way_to_the_next_at_once() -> None:
    world = two_ways()
    world.forward(MINUTE)
    world.feed(Confirmed(SMS, "failed", "the phone is switched off"))
    world.forward(0)
    assert world.pages() == [("0s", "amina"), ("1m", "amina")]
    assert world.state.deliveries[SMS].state is Sending.FAILED


def test_callbacks_doubled_late_and_out_of_order_change_nothing_more() -> None:
    world = two_ways()
    world.feed(Confirmed(SMS, "delivered"))
    world.feed(Confirmed(SMS, "delivered"))
    world.feed(Confirmed(SMS, "failed", "too late"))
    assert world.state.deliveries[SMS].state is Sending.DELIVERED
    assert world.told().count("delivery_confirmed") == 1
    world.feed(Confirmed("T-1/9/9/9/nobody/sms:x", "failed"))  # of nothing that we know


def test_a_callback_of_an_answered_ticket_pages_nobody() -> None:
    world = two_ways()
    world.says("omar", "acknowledge")
    world.feed(Confirmed(SMS, "failed", "no answer"))
    world.forward(HOUR - SECOND)
    assert world.pages() == [("0s", "amina")]


def test_a_contact_who_is_not_active_is_not_told() -> None:
    known = a_policy().contacts
    world = World(a_policy(contacts={**known, "amina": Contact("amina", reach=known["amina"].reach, active=False)}))
    world.fires()
    world.forward(0)
    assert world.pages() == [("0s", "omar")]
