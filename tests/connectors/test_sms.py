"""Text messages through Twilio: what a telephone gets, what Twilio's answers mean, and what people text back."""

from collections.abc import Callable
from typing import Any

import pytest

from connectors.base import Callback, ConnectorError, Heard, NotGenuineError, OutcomeUnknownError, Told
from connectors.notifiers import sms
from connectors.notifiers.sms import Connector, segments
from rules.instants import MINUTE, SECOND
from rules.model import Message, Purpose
from tests.connectors.fakes.twilio import PUBLIC, Twilio, check_twiml
from tests.connectors.oddities import TEXTS

MakeMessage = Callable[..., Message]
AMINA = "+218910000000"
TOKEN = "1042-3f2aabcdefghijklmnopqrstuvwxyz"
CODE = "1042-3f2aabcdef"


async def no_sleep(_: float) -> None:
    """Waits for nothing."""


def notifier(twilio: Twilio, **fields: Any) -> Connector:
    return Connector(Connector.Options.model_validate(twilio.options(**fields)), sleep=no_sleep)


@pytest.fixture
def page(make_message: MakeMessage) -> Message:
    return make_message(AMINA, token=TOKEN, actions=("acknowledge", "escalate"), callback=f"{PUBLIC}/callbacks/")


async def sent(message: Message, **fields: Any) -> tuple[Twilio, str]:
    async with Twilio().serve() as twilio:
        sender = notifier(twilio, **fields)
        reference = await sender.send(message)
        await sender.close()
    return twilio, reference


async def failed(message: Message, status: int, body: Any, **headers: str) -> ConnectorError:
    async with Twilio().serve() as twilio:
        twilio.answers = [(status, body, headers)]
        sender = notifier(twilio)
        with pytest.raises(ConnectorError) as caught:
            await sender.send(message)
        await sender.close()
        assert twilio.asked == 1
    return caught.value


# ---------------------------------------------------------------- sending
async def test_a_page_says_what_happened_and_how_to_answer(page: Message) -> None:
    twilio, reference = await sent(page)
    (only,) = twilio.messages
    assert reference == only.sid
    assert only.fields == {
        "To": AMINA,
        "From": "+218910000001",
        "Body": f"[P1] T-1042 /var on db-1 is 97 % full\nReply ACK {CODE}",
        "StatusCallback": f"{PUBLIC}/callbacks/sms/main?token={TOKEN}#rc=3&rp=all",
    }


async def test_a_notice_is_its_first_paragraph_and_asks_for_nothing(make_message: MakeMessage) -> None:
    text = "T-1042: /var on db-1 is 97 % full\nOmar has acknowledged it. Nothing is asked of you.\n\nPriority: P1"
    twilio, _ = await sent(make_message(AMINA, purpose=Purpose.ANSWERED, text=text, token=TOKEN))
    assert twilio.messages[0].said == text.partition("\n\n")[0]


async def test_it_says_how_to_answer_in_the_readers_language(page: Message, make_message: MakeMessage) -> None:
    for language, said in (("ar", "للرد أرسل: ACK"), ("zh-CN", "回复 ACK"), ("fr", "Reply ACK")):
        message = make_message(AMINA, token=TOKEN, actions=page.actions, language=language)
        assert sms.text(message).endswith(f"{said} {CODE}"), language


async def test_who_may_only_resolve_is_told_that_word(make_message: MakeMessage) -> None:
    assert sms.text(make_message(AMINA, token=TOKEN, actions=("resolve",))).endswith(f"Reply RESOLVE {CODE}")
    assert "Reply" not in sms.text(make_message(AMINA, token=TOKEN))
    assert "Reply" not in sms.text(make_message(AMINA, actions=("acknowledge",)))


async def test_a_name_as_the_sender_cannot_be_replied_to(page: Message) -> None:
    twilio, _ = await sent(page, **{"from": "TICKETD"})
    assert "Reply" not in twilio.messages[0].said


async def test_a_messaging_service_stands_for_the_number(page: Message) -> None:
    service = "MG" + "a" * 32
    twilio, _ = await sent(page, **{"from": None}, messaging_service_sid=service)
    assert twilio.messages[0].fields["MessagingServiceSid"] == service
    assert "From" not in twilio.messages[0].fields


async def test_requests_can_be_made_with_an_api_key(page: Message) -> None:
    twilio = Twilio(proofs={"Basic U0sxOmNvcnJlY3QgaG9yc2U="})  # SK1:correct horse
    async with twilio.serve():
        sender = notifier(twilio, api_key="SK1", api_secret="correct horse")
        await sender.send(page)
        await sender.close()
    assert len(twilio.messages) == 1


@pytest.mark.parametrize("callback", ["", "http://127.0.0.1:9876/callbacks/", "http://localhost/callbacks/"])
async def test_no_callback_is_named_that_twilio_would_refuse(callback: str, make_message: MakeMessage) -> None:
    twilio, _ = await sent(make_message(AMINA, token=TOKEN, callback=callback))
    assert "StatusCallback" not in twilio.messages[0].fields


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("€" * 80, 1),  # each is an escape and a character
        ("€" * 81, 2),
        ("م" * 70, 1),
        ("م" * 71, 2),
        ("🔥" * 35, 1),  # each is two units
        ("🔥" * 36, 2),
        ("`", 1),  # not in GSM 03.38, so one such character costs half of the room
        ("`" + "x" * 70, 2),
    ],
)
def test_segments_are_counted_as_the_air_counts_them(said: str, count: int) -> None:
    assert segments(said) == count


@pytest.mark.parametrize("letter", ["x", "€", "م", "🔥", "界"])
def test_a_long_text_is_cut_to_three_segments_and_keeps_its_code(letter: str, make_message: MakeMessage) -> None:
    said = sms.text(make_message(AMINA, subject=letter * 2_000, token=TOKEN, actions=("acknowledge",)))
    assert segments(said) == 3
    assert said.endswith(f"...\nReply ACK {CODE}")


@pytest.mark.parametrize("odd", [*filter(None, TEXTS), "\ud800 half a pair"])
async def test_odd_text_is_sent(odd: str, make_message: MakeMessage) -> None:
    twilio, _ = await sent(make_message(AMINA, subject=f"T-1 {odd}"))
    assert segments(twilio.messages[0].said) <= 3


async def test_a_possible_repeat_says_so(make_message: MakeMessage) -> None:
    assert sms.text(make_message(AMINA, possible_repeat=True)).startswith("(2?) [P1]")


async def test_before_a_possible_repeat_twilio_is_asked_whether_it_has_the_text(
    page: Message, make_message: MakeMessage
) -> None:
    repeat = make_message(
        AMINA, token=TOKEN, actions=page.actions, callback=page.callback, subject="later", possible_repeat=True
    )
    other = make_message(AMINA, token=TOKEN.replace("abc", "xyz"), actions=page.actions, possible_repeat=True)
    async with Twilio().serve() as twilio:
        sender = notifier(twilio)
        first = await sender.send(page)
        assert await sender.send(repeat) == first
        assert await sender.send(other) != first
        assert len(twilio.messages) == 2
        twilio.messages[0].status = "failed"  # it is there and will never arrive
        assert await sender.send(repeat) not in {"", first}
        await sender.close()
    assert len(twilio.messages) == 3


@pytest.mark.parametrize("body", ["not json", "[]", {"messages": 7}, {"messages": [7, {}, {"body": None}]}])
@pytest.mark.parametrize("status", [200, 500])
async def test_where_twilio_cannot_tell_the_text_is_sent_again(
    body: Any, status: int, make_message: MakeMessage
) -> None:
    repeat = make_message(AMINA, token=TOKEN, actions=("acknowledge",), possible_repeat=True)
    async with Twilio(answered="GET", answers=[(status, body, {})]).serve() as twilio:
        sender = notifier(twilio)
        assert await sender.send(repeat) == twilio.messages[0].sid
        await sender.close()
    assert twilio.asked == 2


def test_a_message_about_several_tickets_names_each(make_message: MakeMessage) -> None:
    text = "2 tickets need an answer\n\nP1 T-1: disk\nOpen for 5m.\nhttps://t/1\n\nP2 T-2: cart\nOpen for 1m.\n"
    said = sms.text(make_message(AMINA, text=text, subject="2 tickets need an answer", others=("T-2/1",)))
    assert said == "2 tickets need an answer\nP1 T-1: disk\nP2 T-2: cart"


@pytest.mark.parametrize(
    ("status", "code"), [(400, 21211), (400, 21610), (400, 21614), (401, 20003), (403, 21408), (404, 20404)]
)
async def test_what_twilio_refuses_is_for_good_and_says_the_code(page: Message, status: int, code: int) -> None:
    error = await failed(page, status, {"code": code, "message": "No.\nReally", "status": status})
    assert error.permanent
    assert error.reason == f"Twilio answered {status}, error {code}: No. Really"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"code": 20429, "message": "Too many requests"}),
        (400, {"code": 20429, "message": "Too many requests"}),
        (400, {"code": 21611, "message": "The queue is full"}),
        (500, "<html>"),
        (503, "[1]"),
    ],
)
async def test_what_will_pass_is_tried_again(page: Message, status: int, body: Any) -> None:
    error = await failed(page, status, body, **{"Retry-After": "7"})
    assert (error.permanent, error.after) == (False, 7 * SECOND)


async def test_a_number_that_unsubscribed_is_refused_for_good(page: Message) -> None:
    async with Twilio(opted_out={AMINA}).serve() as twilio:
        sender = notifier(twilio)
        with pytest.raises(ConnectorError, match="error 21610") as caught:
            await sender.send(page)
        await sender.close()
    assert caught.value.permanent


@pytest.mark.parametrize("trouble", ["silent", "broken off"])
async def test_an_answer_that_is_lost_leaves_the_outcome_unknown(page: Message, trouble: str) -> None:
    async with Twilio(trouble=trouble).serve() as twilio:
        sender = notifier(twilio, timeout_s=0.3)
        with pytest.raises(OutcomeUnknownError):
            await sender.send(page)
        await sender.close()


async def test_an_accepted_message_without_a_sid_is_accepted(page: Message) -> None:
    async with Twilio().serve() as twilio:
        twilio.answers = [(201, "not json", {})]
        sender = notifier(twilio)
        assert await sender.send(page) == ""
        await sender.close()


async def test_no_secret_is_in_a_reason(page: Message) -> None:
    secret = Twilio().options()["auth_token"]
    error = await failed(page, 401, {"code": 20003, "message": f"bad {secret}"})
    assert secret not in error.reason


@pytest.mark.parametrize("address", ["+218910000000", "+15005550006"])
def test_numbers_as_e164_has_them_are_addresses(address: str) -> None:
    assert Connector.address_problem(address) is None


@pytest.mark.parametrize(
    "address", ["0910000000", "+0910000000", "00218910000000", "+218 91 0000000", "+1", "+٢١٨٩١٠٠٠٠"]
)
def test_other_numbers_are_not(address: str) -> None:
    assert "+218910000000" in (Connector.address_problem(address) or "")


# ---------------------------------------------------------------- reports
def heard(call: Callback) -> Any:
    return notifier(Twilio()).hear("main", call)


async def test_reports_tell_only_what_is_final_in_any_order_and_number(page: Message) -> None:
    twilio, _ = await sent(page)
    (message,) = twilio.messages
    told = [
        one
        for status in ("sent", "delivered", "queued", "delivered", "sending", "accepted", "sent")
        for one in heard(twilio.callback(*twilio.report(message, status)))
    ]
    assert told == [Told(TOKEN, "delivered")] * 2
    assert heard(twilio.callback(*twilio.report(message, "undelivered", "30003"))) == (
        Told(TOKEN, "failed", "undelivered, error 30003: the telephone could not be reached"),
    )
    assert heard(twilio.callback(*twilio.report(message, "failed"))) == (Told(TOKEN, "failed", "failed"),)


async def test_a_report_is_answered_by_nothing(page: Message) -> None:
    twilio, _ = await sent(page)
    call = twilio.callback(*twilio.report(twilio.messages[0], "delivered"))
    answer = await notifier(twilio).answered("main", call, [])
    assert (answer.status, answer.content_type) == (200, "text/xml; charset=utf-8")
    assert list(check_twiml(answer.body.decode())) == []


# ---------------------------------------------------------------- answers
@pytest.mark.parametrize(
    ("body", "action", "note"),
    [
        (f"ACK {CODE}", "acknowledge", ""),
        (f"ack {CODE} on my way", "acknowledge", "on my way"),
        (f"Ack: {CODE.upper()}.", "acknowledge", "."),
        (f"{CODE} ack", "acknowledge", ""),
        (f"استلمت {CODE}", "acknowledge", ""),
        ("ACK ١٠٤٢-3f2aabcdef", "acknowledge", ""),
        (f"收到{CODE}", "acknowledge", ""),
        (f"ack {CODE.replace('-', '–')}", "acknowledge", ""),
        (f"resolve {CODE} disk cleaned", "resolve", "disk cleaned"),
        (f"تم الحل {CODE}", "resolve", ""),
        (f"已解决 {CODE}", "resolve", ""),
        (f"escalate {CODE}", "escalate", ""),
        (f"{CODE} looking at it", "comment", "looking at it"),
        (f"it was not resolved {CODE}", "comment", "it was not resolved"),
        (f"{CODE} ack is not what I mean", "comment", "ack is not what I mean"),
        (CODE, "comment", ""),
    ],
)
def test_a_text_with_a_code_is_an_answer_from_that_number(body: str, action: str, note: str) -> None:
    twilio = Twilio()
    (said,) = heard(twilio.callback(*twilio.text(AMINA, body)))
    assert said == Heard(CODE, action, note, AMINA, proven=True)


@pytest.mark.parametrize(
    "body", ["ack", "ok", "", "1042", "ack 1042", "1042-3f2a", f"x{CODE}", f"{CODE}9999", "é" * 1600]
)
def test_a_text_without_a_code_does_nothing(body: str) -> None:
    twilio = Twilio()
    assert heard(twilio.callback(*twilio.text(AMINA, body))) == ()


async def answer(sender: Connector, body: str, said: list[str], at: int = 0, **more: str) -> list[str]:
    twilio = Twilio()
    reply = await sender.answered("main", twilio.callback(*twilio.text(AMINA, body, **more), at), said)
    return [one.text or "" for one in check_twiml(reply.body.decode()).findall("Message")]


async def test_the_person_reads_what_came_of_it() -> None:
    sender = notifier(Twilio())
    assert await answer(sender, f"ack {CODE}", ["Done: <T-1042> & all\x00."]) == ["Done: <T-1042> & all ."]
    assert await answer(sender, f"ack {CODE}", [""]) == []  # whoever is not known learns nothing


async def test_without_a_code_the_person_is_told_how_in_their_script_and_not_endlessly() -> None:
    for body, word in (("acknowledge it please", "names no message"), ("تأكيد", "رمز"), ("收到", "代码")):
        sender = notifier(Twilio())
        (said,) = await answer(sender, body, [])
        assert word in said
        assert segments(said) <= 3
    sender = notifier(Twilio())
    told = [len(await answer(sender, "hello", [], at=minute * MINUTE)) for minute in (0, 9, 10, 11)]
    assert told == [1, 0, 1, 0]


@pytest.mark.parametrize("body", ["STOP", "stop ", "Help", "yes"])
async def test_words_that_twilio_itself_answers_are_left_to_it(body: str) -> None:
    assert await answer(notifier(Twilio()), body, []) == []
    assert await answer(notifier(Twilio()), "arrêt", [], OptOutType="STOP") == []


async def test_the_hints_are_forgotten_at_a_bound() -> None:
    sender, twilio = notifier(Twilio()), Twilio()
    for n in range(sms.HINTS_KEPT_MAX + 5):
        await sender.answered("main", twilio.callback(*twilio.text(f"+2189{n:08}", "hello")), [])
    assert len(sender._hinted) == sms.HINTS_KEPT_MAX


def test_a_forged_text_is_not_genuine() -> None:
    twilio = Twilio()
    for call in (
        twilio.callback(*twilio.text(AMINA, f"ack {CODE}"), token="another"),
        Callback(f"{PUBLIC}/callbacks/sms/main", {}, b"Body=ack", 0),
    ):
        with pytest.raises(NotGenuineError):
            heard(call)
