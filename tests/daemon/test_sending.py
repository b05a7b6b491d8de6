"""What goes into a message: links, token and actions of those who may, due times, and several tickets in one."""

from dataclasses import replace
from typing import Any

import pytest

from rules.events import Actor, Responded
from rules.instants import HOUR, MINUTE, SECOND
from rules.matching import matcher
from rules.model import Delivery, Message, Purpose, Sending, Ticket
from rules.policy import Allowance, Allowed, Method, Policy, Promise, Sla, Throttle
from tests.daemon.conftest import MakeHouse
from tests.daemon.house import CALLBACK, House, a_body, settle
from tests.rules.world import START, a_policy, an_alert


def allowing(*may: str, **changes: Any) -> Policy:
    """A policy in which amina may do this."""
    policy = a_policy()
    amina = replace(policy.contacts["amina"], may=frozenset(may), **changes)
    return replace(policy, contacts={**policy.contacts, "amina": amina})


async def paged(house: House, **labels: Any) -> Message:
    """The first page of a ticket."""
    house.keep("ingest", "outbox")
    await house.ingest.submit(*a_body(an_alert(severity="critical", **labels)))
    await settle()
    return house.mailbox.sent[0]


def a_delivery(purpose: Purpose, ticket: int = 1, **changes: Any) -> Delivery:
    values: dict[str, Any] = {
        "key": f"T-{ticket}/{purpose}/1" if ticket else "H-1", "ticket": ticket, "purpose": purpose, "generation": 1,
        "run": 1, "contact": "amina", "kind": "email", "address": "amina@example.test", "gravity": 2,
        "created_at": START, "due_at": START, "state": Sending.SENDING, "attempt": 1, "deadline_at": START + MINUTE,
    }  # fmt: skip
    return Delivery(**{**values, **changes})


def a_ticket(number: int = 1, **changes: Any) -> Ticket:
    values: dict[str, Any] = {
        "id": number, "key": "k", "rule": "errors", "title": f"Problem {number}", "priority": "P2", "impact": "service",
        "urgency": "high", "opened_at": START,
    }  # fmt: skip
    return Ticket(**{**values, **changes})


# ---- links, actions, token
async def test_a_page_carries_a_link_for_each_thing_that_its_reader_may_do(house: House) -> None:
    message = await paged(house)
    assert [link.action for link in message.links] == ["acknowledge", "resolve", "escalate"]
    for link in message.links:
        claim = house.links.read(link.url.rsplit("/", 1)[1], START)
        assert (claim.ticket, claim.contact, claim.action, claim.generation) == (1, "amina", link.action, 1)
        assert f"\n{link.url}\n" in message.text
    assert message.actions == ("acknowledge", "resolve", "escalate")


async def test_who_may_only_acknowledge_is_offered_that_alone(make_house: MakeHouse) -> None:
    message = await paged(make_house(allowing("acknowledge", "comment")))
    assert ([link.action for link in message.links], message.actions) == (["acknowledge"], ("acknowledge",))


async def test_who_may_not_acknowledge_gets_no_link_but_can_comment_by_reply(make_house: MakeHouse) -> None:
    message = await paged(make_house(allowing("comment")))
    assert (message.links, message.actions) == ((), ())
    assert message.token.startswith("1-")


async def test_who_may_nothing_gets_no_link_and_a_token_by_which_a_bounce_is_known(make_house: MakeHouse) -> None:
    message = await paged(make_house(allowing()))
    assert (message.links, message.actions) == ((), ())
    assert message.token.startswith("1-")


async def test_who_may_only_for_other_tickets_is_offered_nothing(make_house: MakeHouse) -> None:
    policy = allowing("acknowledge", scope=(matcher("team", "=", "web"),))
    assert (await paged(make_house(policy), team="db")).actions == ()
    assert (await paged(make_house(policy), team="web")).actions == ("acknowledge",)


async def test_a_page_carries_its_own_token_and_where_the_channel_reports_back(house: House) -> None:
    message = await paged(house)
    (row,) = house.store.reader().deliveries(1)
    assert house.tokens.matches(message.token, row)
    assert message.callback == CALLBACK


async def test_a_notice_of_an_answer_carries_a_token_for_comments_but_no_link_and_no_action(house: House) -> None:
    await paged(house)
    await house.ingest.submit(Responded(1, "acknowledge", Actor("omar")))
    await settle()
    notice = house.mailbox.sent[1]
    assert (notice.purpose, notice.links, notice.actions) == (Purpose.ANSWERED, (), ())
    assert notice.token


@pytest.mark.parametrize(
    ("purpose", "answerable"),
    [
        (Purpose.PAGE, True), (Purpose.JOINED, True), (Purpose.PROMISE, True), (Purpose.ANSWERED, True),
        (Purpose.RESOLVED, False),
    ],
)  # fmt: skip
async def test_a_token_comes_only_with_what_can_be_answered(house: House, purpose: Purpose, answerable: bool) -> None:
    await house.telling.attempt(a_delivery(purpose), a_ticket())
    (message,) = house.mailbox.sent
    assert (bool(message.token), bool(message.actions)) == (answerable, purpose is Purpose.PAGE)


async def test_how_to_reply_is_said_where_the_channel_brings_replies_back(house: House) -> None:
    await house.telling.attempt(a_delivery(Purpose.PAGE), a_ticket())
    house.mailbox.answerable = True  # type: ignore[attr-defined]  # as a notifier that has a reply address says
    await house.telling.attempt(a_delivery(Purpose.PAGE), a_ticket())
    before, after = house.mailbox.sent
    assert ("reply to this message" in before.text, "reply to this message" in after.text) == (False, True)


# ---- language, due times
async def test_a_page_is_in_its_readers_language_and_says_by_when_on_their_clock(make_house: MakeHouse) -> None:
    hour = Allowed(HOUR)
    standard = Sla("standard", None, {"P1": Promise(respond=Allowance(hour, hour))}, (75,))
    policy = allowing("acknowledge", language="ar", timezone="Africa/Tripoli")
    message = await paged(make_house(replace(policy, slas={"standard": standard}, default_sla="standard")))
    assert message.language == "ar"
    assert "2026-03-02 15:00 Africa/Tripoli (13:00 UTC)" in message.text
    assert message.ticket["sla"]["respond"]["due_at"] == "2026-03-02T13:00:00Z"


# ---- several in one
async def test_several_deliveries_are_one_message_and_its_outcome_is_that_of_all(house: House) -> None:
    others = [(a_delivery(Purpose.PAGE, number, attempt=number), a_ticket(number)) for number in (2, 3)]
    outcome = await house.telling.attempt(a_delivery(Purpose.PAGE), a_ticket(), others)
    (message,) = house.mailbox.sent
    assert message.subject == "3 tickets need an answer"
    assert message.others == ("T-2/page/1", "T-3/page/1")
    assert message.text.count("/respond/") == 9
    assert (message.token, message.actions) == ("", ())
    assert (outcome.outcome, outcome.others) == ("delivered", (("T-2/page/1", 2), ("T-3/page/1", 3)))
    assert house.value("deliveries_total", channel="email", outcome="delivered") == 1
    assert house.value("escalation_lag_seconds_count") == 3


async def test_pages_that_are_bundled_go_out_as_one_and_all_of_them_are_delivered(make_house: MakeHouse) -> None:
    reach = (Method("email", "amina@example.test", bundle=2 * MINUTE),)
    house = make_house(allowing("acknowledge", reach=reach))
    house.keep("ingest", "timers", "outbox")
    for number in range(3):
        await house.ingest.submit(*a_body(an_alert(severity="warning", n=str(number))))
    await house.clock.advance(125)
    assert [message.subject for message in house.mailbox.sent] == ["3 tickets need an answer"]
    rows = [row for number in (1, 2, 3) for row in house.store.reader().deliveries(number)]
    assert {row.state for row in rows} == {Sending.DELIVERED}
    assert house.value("deliveries_delayed_total", reason="bundle") == 3


async def test_what_is_throttled_goes_later_in_one_message(make_house: MakeHouse) -> None:
    reach = (Method("email", "amina@example.test", throttle=Throttle(1, 4 * MINUTE)),)
    house = make_house(allowing("acknowledge", reach=reach))
    house.keep("ingest", "timers", "outbox")
    for number in range(3):
        await house.ingest.submit(*a_body(an_alert(severity="warning", n=str(number))))
        await settle()
    assert len(house.mailbox.sent) == 1
    await house.clock.advance(4 * 60 + 5)
    assert house.mailbox.sent[1].subject == "2 tickets need an answer"
    assert house.value("deliveries_delayed_total", reason="throttle") == 2


# ---- about no ticket
async def test_a_message_about_no_ticket_is_sent_as_its_note_says(house: House) -> None:
    row = a_delivery(Purpose.HANDOFF, 0, note="Your turn on payments begins.", due_at=START - SECOND)
    outcome = await house.telling.attempt(row, None)
    (message,) = house.mailbox.sent
    assert (outcome.outcome, message.ticket, message.token) == ("delivered", {}, "")
    assert message.text == "Your turn on payments begins.\n"
