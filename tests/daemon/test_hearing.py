"""What comes back by a channel: whose it is, what it may do, and what a stranger gets out of it."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from connectors.base import Heard, Told
from daemon.batch import QuarantinedError
from daemon.hearing import AUTOMATIC, BROKEN, NOTHING, OTHER_ADDRESS, SEVERAL, TOO_OLD, UNKNOWN_SENDER, Hearing
from daemon.ingest import BusyError
from daemon.metrics import Metrics
from daemon.tokens import ANSWER_WITHIN, Tokens
from rules.commands import Answer, Denied, Done, Noted
from rules.events import Actor, Confirmed, Event, Refused, Responded
from rules.model import Delivery, Purpose, Status, Ticket
from rules.policy import Contact, Method, Policy
from tests.daemon.house import FixedPolicy, HandClock
from tests.rules.world import START

T = TypeVar("T")
KEYS = ["k" * 32]
TICKET = Ticket(id=7, key="k", rule="r", title="t", priority="P2", impact="i", urgency="u", opened_at=START)
ACKNOWLEDGED = Ticket(
    id=7, key="k", rule="r", title="t", priority="P2", impact="i", urgency="u", opened_at=START,
    status=Status.ACKNOWLEDGED, acknowledged_by="omar", generation=2,
)  # fmt: skip


def a_delivery(kind: str = "slack", contact: str = "amina", *, generation: int = 1, ticket: int = 7) -> Delivery:
    return Delivery(
        key=f"T-{ticket}/1/0/0/{contact}/{kind}",
        ticket=ticket,
        purpose=Purpose.PAGE,
        generation=generation,
        run=1,
        contact=contact,
        kind=kind,
        address="",
        gravity=2,
        created_at=START,
        due_at=START,
    )


class Room:
    """Hearing with everything around it: a script answers, and what was submitted is remembered."""

    def __init__(self, *answers: Answer | Exception, deliveries: tuple[Delivery, ...] = (), **policy: Any) -> None:
        contacts = {
            "amina": Contact("amina", reach=(Method("slack", "U1"), Method("email", "Amina@example.test"))),
            "omar": Contact("omar", reach=(Method("slack", "U2"), Method("email", "omar@example.test"))),
            "one": Contact("one", reach=(Method("slack", "U9"),)),
            "two": Contact("two", reach=(Method("slack", "U9"),)),
        }
        self.answers = list(answers)
        self.submitted: list[Event] = []
        self.clock = HandClock()
        self.metrics = Metrics(CollectorRegistry())
        self.tokens = Tokens(KEYS)
        self.deliveries = deliveries or (a_delivery(), a_delivery("email"), a_delivery(contact="omar"))
        self.now = TICKET
        policies = FixedPolicy(Policy(version="v", contacts=policy.get("contacts", contacts)))
        self.hearing = Hearing(policies, self.tokens, self.submit, self.read, self.clock, self.metrics)

    async def submit(self, event: Event) -> Answer:
        self.submitted.append(event)
        answer = Noted("recorded") if isinstance(event, Refused | Confirmed) else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def read(self, read: Callable[[Any], T]) -> T:
        return read(_Reads(self))

    def ticket(self, number: int) -> Ticket | None:
        return self.now if number == self.now.id else None

    def count(self, channel: str, outcome: str) -> float:
        labels = {"channel": channel, "outcome": outcome}
        return self.metrics.registry.get_sample_value("ticketd_answers_total", labels) or 0.0


class _Reads:
    """A reader of what the room holds."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def deliveries(self, number: int) -> list[Delivery]:
        return [one for one in self._room.deliveries if one.ticket == number]

    def ticket(self, number: int) -> Ticket | None:
        return self._room.ticket(number)


def press(room: Room, user: str = "U1", action: str = "acknowledge", **fields: Any) -> Heard:
    given: dict[str, Any] = {"token": room.tokens.of(room.deliveries[0]), "address": user, "proven": True}
    return Heard(action=action, **(given | fields))


def mail(room: Room, address: str = "amina@example.test", action: str = "acknowledge", **fields: Any) -> Heard:
    given: dict[str, Any] = {"token": room.tokens.of(room.deliveries[1]), "address": address}
    return Heard(action=action, **(given | fields))


async def test_whoever_was_told_presses_and_it_is_done() -> None:
    room = Room(Done(ACKNOWLEDGED, changed=True))
    assert await room.hearing.heard("slack", press(room)) == "Done: T-7 is acknowledged by omar."
    assert room.submitted == [Responded(7, "acknowledge", Actor("amina", via="slack"), generation=1)]
    assert room.count("slack", "done") == 1


async def test_the_generation_is_that_of_the_message_and_a_comment_has_none() -> None:
    room = Room(Done(TICKET, changed=True), deliveries=(a_delivery(generation=5),))
    said = await room.hearing.heard("slack", press(room, action="comment", note="half done"))
    assert said == "Noted on T-7."
    assert room.submitted == [Responded(7, "comment", Actor("amina", via="slack"), "half done", None)]


async def test_another_contact_may_answer_a_message_that_they_can_see() -> None:
    room = Room(Done(ACKNOWLEDGED, changed=True))
    await room.hearing.heard("slack", press(room, "U2"))
    assert room.submitted == [Responded(7, "acknowledge", Actor("omar", via="slack"), generation=1)]


async def test_a_stranger_changes_nothing_and_learns_nothing() -> None:
    room = Room()
    right = await room.hearing.heard("slack", press(room, "U666"))
    wrong = await room.hearing.heard("slack", press(room, "U666", token="7-3f2a" + "a" * 26))
    none = await room.hearing.heard("slack", press(room, "U666", token=""))
    assert right == wrong == none == NOTHING
    assert room.submitted == [Refused(7, "acknowledge", "slack:U666", UNKNOWN_SENDER)]
    assert (room.count("slack", "refused"), room.count("slack", "unknown")) == (1, 2)


async def test_an_address_of_several_contacts_is_nobodys_unless_the_message_was_theirs() -> None:
    room = Room(Done(ACKNOWLEDGED, changed=True), deliveries=(a_delivery(), a_delivery(contact="two")))
    assert await room.hearing.heard("slack", press(room, "U9")) == NOTHING
    assert room.submitted.pop() == Refused(7, "acknowledge", "slack:U9", SEVERAL)
    await room.hearing.heard("slack", press(room, "U9", token=room.tokens.of(room.deliveries[1])))
    assert room.submitted == [Responded(7, "acknowledge", Actor("two", via="slack"), generation=1)]


async def test_an_id_of_one_channel_is_no_id_of_another() -> None:
    room = Room(deliveries=(a_delivery("telegram"),))
    assert await room.hearing.heard("telegram", press(room, "U1")) == NOTHING


async def test_a_keypad_speaks_for_whoever_was_called() -> None:
    room = Room(Done(ACKNOWLEDGED, changed=True))
    await room.hearing.heard("voice", press(room, ""))
    assert room.submitted == [Responded(7, "acknowledge", Actor("amina", via="voice"), generation=1)]


# ---------------------------------------------------------------- mail, whose sender is not proven
async def test_a_reply_from_the_address_that_was_written_to_counts() -> None:
    room = Room(Done(ACKNOWLEDGED, changed=True))
    await room.hearing.heard("email", mail(room, " AMINA@Example.test"))
    assert room.submitted == [Responded(7, "acknowledge", Actor("amina", via="email"), generation=1)]


@pytest.mark.parametrize("address", ["omar@example.test", "mallory@example.test", ""])
async def test_a_forwarded_message_is_refused_with_the_reason(address: str) -> None:
    room = Room()
    assert await room.hearing.heard("email", mail(room, address)) == NOTHING
    assert room.submitted == [Refused(7, "acknowledge", f"email:{address or 'nobody'}", OTHER_ADDRESS)]


async def test_a_spoofed_from_without_the_token_changes_nothing() -> None:
    room = Room()
    for token in ("", "7", "7-", "7-3f2a" + "a" * 26, room.tokens.of(a_delivery("email", ticket=8))):
        assert await room.hearing.heard("email", mail(room, token=token)) == NOTHING
    assert room.submitted == []
    assert room.count("email", "unknown") == 5


async def test_the_beginning_of_a_token_will_do_only_where_the_sender_is_proven() -> None:
    room = Room(Done(ACKNOWLEDGED, changed=True))
    short = room.tokens.of(room.deliveries[1])[:12]
    assert await room.hearing.heard("email", mail(room, token=short)) == NOTHING
    assert room.submitted == []
    assert await room.hearing.heard("slack", press(room, token=short)) != NOTHING


async def test_an_out_of_office_reply_that_quotes_the_token_never_answers() -> None:
    room = Room()
    assert await room.hearing.heard("email", mail(room, automatic=True)) == NOTHING
    assert room.submitted == [Refused(7, "acknowledge", "contact:amina", AUTOMATIC)]
    await room.hearing.heard("email", mail(room, "mailer-daemon@example.test", automatic=True))
    assert room.submitted[1:] == [Refused(7, "acknowledge", "email:mailer-daemon@example.test", AUTOMATIC)]


# ---------------------------------------------------------------- tokens that are not good any more
async def test_an_expired_token_is_refused_with_the_reason() -> None:
    room = Room(Done(ACKNOWLEDGED, changed=True))
    room.clock.at = START + ANSWER_WITHIN - 1
    assert (await room.hearing.heard("slack", press(room))).startswith("Done")
    room.clock.at += 1
    assert await room.hearing.heard("slack", press(room)) == "Not done: the token has expired."
    assert room.submitted[1:] == [Refused(7, "acknowledge", "contact:amina", TOO_OLD)]
    assert await room.hearing.heard("slack", press(room, "U666")) == NOTHING  # nor does a stranger learn of its age


async def test_a_replayed_token_is_refused_as_stale() -> None:
    stale = "T-7 has changed since (generation 4, not 1): it is open now"
    room = Room(Denied(409, stale, "generation"))
    assert await room.hearing.heard("slack", press(room)) == f"Not done: {stale}."
    assert len(room.submitted) == 1, "whoever decides puts it on the timeline"
    assert room.count("slack", "refused") == 1


async def test_a_token_of_another_ticket_is_unknown() -> None:
    room = Room()
    with capture_logs() as logs:
        token = room.tokens.of(room.deliveries[0])
        assert await room.hearing.heard("slack", press(room, token="8" + token[1:])) == NOTHING
    assert logs[-1]["reason"] == "no message of this ticket has it"
    assert room.submitted == []


async def test_a_token_of_a_key_that_is_not_listed_any_more_is_unknown() -> None:
    room = Room()
    old = Tokens(["o" * 32]).of(room.deliveries[0])
    with capture_logs() as logs:
        assert await room.hearing.heard("slack", press(room, token=old)) == NOTHING
    assert logs[-1]["reason"] == "it was signed with a key that is not listed"
    assert room.submitted == []


# ---------------------------------------------------------------- what may come of it
@pytest.mark.parametrize(
    ("action", "now"),
    [
        ("acknowledge", ACKNOWLEDGED),
        ("resolve", Ticket(**{**{n: getattr(TICKET, n) for n in TICKET.__struct_fields__}, "status": Status.RESOLVED})),
    ],
)
async def test_pressing_late_is_harmless_where_it_holds_already(action: str, now: Ticket) -> None:
    room = Room(Done(now, changed=False, note="already"))
    assert (await room.hearing.heard("slack", press(room, action=action))).startswith("Nothing more to do: T-7 is ")
    assert len(room.submitted) == 1
    assert room.count("slack", "unchanged") == 1


async def test_pressing_twice_is_harmless() -> None:
    room = Room(Done(ACKNOWLEDGED, changed=False, note="already"))
    said = await room.hearing.heard("slack", press(room))
    assert said == "Nothing more to do: T-7 is acknowledged by omar."
    assert room.count("slack", "unchanged") == 1


async def test_whoever_is_not_enough_alone_is_told_so() -> None:
    room = Room(Done(TICKET, changed=True, note="1 of 2 have acknowledged it: the escalation goes on"))
    said = await room.hearing.heard("slack", press(room))
    assert said == "Done: 1 of 2 have acknowledged it: the escalation goes on."


async def test_whoever_may_not_is_told_so() -> None:
    room = Room(Denied(403, "amina may not resolve"))
    assert await room.hearing.heard("slack", press(room, action="resolve")) == "Not done: amina may not resolve."
    assert len(room.submitted) == 1  # `decide` has put the refusal on the timeline
    assert room.count("slack", "refused") == 1


@pytest.mark.parametrize(
    "answer", [Done(ACKNOWLEDGED, changed=False), Denied(409, "T-7 has changed since", "generation")]
)
async def test_words_are_kept_even_where_the_answer_came_too_late(answer: Answer) -> None:
    room = Room(answer, Done(ACKNOWLEDGED, changed=True))
    await room.hearing.heard("email", mail(room, note="I pulled the cable"))
    kept = Responded(7, "comment", Actor("amina", via="email"), "I pulled the cable")
    assert kept in room.submitted


async def test_what_cannot_be_stored_is_taken_out_of_words() -> None:
    room = Room(Done(TICKET, changed=True))
    await room.hearing.heard("slack", press(room, action="comment", note="a\0b\udcff" + "x" * 20_000))
    (said,) = room.submitted
    assert isinstance(said, Responded)
    assert (said.note[:3], len(said.note)) == ("ab?", 10_000)


async def test_a_store_that_is_busy_is_told_to_the_provider_who_may_come_again() -> None:
    room = Room(BusyError("the store takes too long", 5))
    with pytest.raises(BusyError):
        await room.hearing.heard("slack", press(room))


async def test_what_cannot_be_decided_is_not_asked_for_again() -> None:
    room = Room(QuarantinedError("x"))
    assert await room.hearing.heard("telegram", press(room, "")) == BROKEN


# ---------------------------------------------------------------- what providers say of messages
async def test_a_providers_later_word_goes_on_the_record() -> None:
    room = Room()
    token = room.tokens.of(room.deliveries[0])
    await room.hearing.told("sms", Told(token, "failed", "unreachable\nhandset"))
    assert room.submitted == [Confirmed(room.deliveries[0].key, "failed", "unreachable\\nhandset")]


async def test_a_word_on_an_unknown_message_is_no_word() -> None:
    room = Room()
    await room.hearing.told("sms", Told("7-3f2a" + "a" * 26, "failed"))
    await room.hearing.told("sms", Told(room.tokens.of(room.deliveries[0])[:14], "failed"))
    assert room.submitted == []
