"""The SMTP server of our own: what each of its answers means, and that none comes too early."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connectors.mime import BYTES_MAX
from daemon.app import Daemon
from daemon.config import load_settings
from daemon.desk import ALERT_AFTER_S
from daemon.ingest import BusyError
from daemon.receiver import CONNECTIONS_MAX, RECIPIENTS_MAX
from daemon.store.errors import StoreUnavailableError
from tests.connectors.mails import ADDRESS, OTHER, TOKEN, bounce, mail
from tests.daemon.house import Mailbox, a_body, settle
from tests.daemon.mailhouse import Room, Talk
from tests.rules.world import an_alert


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.close()


@asynccontextmanager
async def calling(room: Room) -> AsyncIterator[Talk]:
    if room.receiver.address is None:
        room.supervisor.keep("mail", room.receiver.run)
        async with asyncio.timeout(10):
            while room.receiver.address is None:
                await asyncio.sleep(0)
    assert room.receiver.address is not None
    talk = Talk(*await asyncio.open_connection(*room.receiver.address))
    await talk.hear()
    yield talk
    talk.out.transport.abort()


async def test_250_comes_after_the_commit(room: Room) -> None:
    gate = asyncio.Event()
    room.ears.script = [gate]
    async with calling(room) as talk:
        sending = asyncio.ensure_future(talk.send(mail("ack"), ADDRESS))
        async with asyncio.timeout(10):
            while room.ears.script:
                await asyncio.sleep(0)
        await settle()
        assert not sending.done()
        gate.set()
        assert await sending == "250 2.0.0 taken"
    assert [one.action for one in room.ears.heard_all] == ["acknowledge"]


async def test_each_answer_of_the_receiver(room: Room) -> None:
    async with calling(room) as talk:
        assert (await talk.send(mail("ack"), "ticketd@example.org"))[:9] == "550 5.1.1"
        assert (await talk.send(mail("ack"), "root@localhost"))[:3] == "550"
    for error, code in [
        (BusyError("busy", 5), "451"),
        (StoreUnavailableError("gone"), "451"),
        (ValueError("a fault of ours"), "554"),
    ]:
        room.ears.script = [error]
        async with calling(room) as talk:
            assert (await talk.send(mail("ack"), ADDRESS))[:3] == code
    assert room.alerts()[-1] == ("TicketdMailSetAside", True)
    async with calling(room) as talk:
        lines = b"\r\n".join([b"x" * 900] * (BYTES_MAX // 900 + 1))
        assert (await talk.send(mail(lines), ADDRESS))[:3] == "552"
    async with calling(room) as talk:
        await talk.say("EHLO peer")
        assert (await talk.say(f"MAIL FROM:<a@b.c> SIZE={2 * BYTES_MAX}"))[:3] == "552"
    async with calling(room) as talk:
        assert (await talk.send(mail("nobody", To="x@y.z"), ADDRESS))[:3] == "250"
    assert [one.note for one in room.ears.heard_all] == ["nobody"]


async def test_the_envelope_counts_for_sender_and_recipients(room: Room) -> None:
    other = f"ticketd+{OTHER}@example.org"
    async with calling(room) as talk:
        assert (await talk.send(mail("ack"), ADDRESS, other, ADDRESS.upper()))[:3] == "250"
        assert (await talk.send(mail("away"), ADDRESS, sender=""))[:3] == "250"
        assert (await talk.send(bounce(), ADDRESS, sender=""))[:3] == "250"
        assert (await talk.send(mail("ack"), *[ADDRESS] * (RECIPIENTS_MAX + 1)))[:3] == "452"
    assert [(one.token, one.automatic) for one in room.ears.heard_all] == [
        (TOKEN, False), (OTHER, False), (TOKEN, True),
    ]  # fmt: skip
    assert [one.token for one in room.ears.told_all] == [TOKEN]


async def test_nonsense_is_answered_and_harms_nobody_else(room: Room) -> None:
    async with calling(room) as nonsense, calling(room) as talk:
        assert (await nonsense.say(b"\xff\xfe\x00 \x80"))[:1] == "5"
        assert (await nonsense.say("EHLO"))[:3] == "501"
        assert (await nonsense.say("RCPT TO:<a@b.c>"))[:3] == "503"
        assert (await nonsense.say(b"x" * 100_000))[:1] == "5"
        assert (await talk.send(mail("ack"), ADDRESS))[:3] == "250"
    async with calling(room) as talk:
        assert (await talk.send(b"\x00" * 900, ADDRESS))[:3] == "250"
    assert room.count("unreadable") + room.count("empty") == 1
    assert room.count("set_aside") == 0


async def test_a_crowd_is_asked_to_come_again(room: Room) -> None:
    async with calling(room):
        assert room.receiver.address is not None
        crowd = [await asyncio.open_connection(*room.receiver.address) for _ in range(CONNECTIONS_MAX)]
        answers = [await asyncio.wait_for(lines.readline(), 10) for lines, _ in crowd]
        assert [answer[:3] for answer in answers] == [b"220"] * (CONNECTIONS_MAX - 1) + [b"421"]
        for _, out in crowd:
            out.transport.abort()


async def test_when_it_drains_the_server_keeps_the_mail(room: Room) -> None:
    async with calling(room) as talk:
        room.receiver.draining = True
        assert (await talk.send(mail("ack"), ADDRESS))[:3] == "451"


async def test_a_port_that_is_taken_is_tried_again_and_told(room: Room) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    room.receiver._port = taken.sockets[0].getsockname()[1]
    room.supervisor.keep("mail", room.receiver.run)
    await asyncio.sleep(0)
    for _ in range(8):
        await room.clock.advance(ALERT_AFTER_S / 4)
    assert room.alerts() == [("TicketdMailUnread", True)]
    taken.close()
    await taken.wait_closed()
    await room.clock.advance(130)
    async with asyncio.timeout(10):
        while room.receiver.address is None:
            await asyncio.sleep(0)
    await settle()
    assert room.alerts()[-1] == ("TicketdMailUnread", False)


# ---------------------------------------------------------------- the whole daemon
RULES = """\
version: 1
contacts:
  - {id: amina, may: [acknowledge, resolve, comment], reach: [{email: amina@example.test}]}
escalations:
  - {id: main, steps: [{notify: [contact:amina], wait: 5m}]}
default_escalation: main
rules:
  - {id: errors, match: ['alertname="ErrorRate"'], impact: site, urgency: high}
"""


async def test_from_a_page_to_its_reply_to_an_acknowledged_ticket(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    mailbox = Mailbox()
    settings = load_settings(
        None,
        {},
        {
            "listen": "127.0.0.1:0",
            "store": f"sqlite:///{tmp_path}/app.db",
            "rules": [str(tmp_path / "rules.yaml")],
            "smtp.from": "ticketd@example.org",
            "smtp.reply_to": "ticketd@example.org",
            "mail.receiver": "127.0.0.1:0",
        },
    )
    daemon = Daemon(settings, environ={}, notifiers={"email": mailbox})
    loop = asyncio.get_running_loop()

    async def until(what: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not what():
                await loop.run_in_executor(None, id, None)

    await daemon.start()
    try:
        assert daemon.mailroom is not None
        receiver = daemon.mailroom.receiver
        assert receiver is not None
        await daemon.ingest.submit(*a_body(an_alert(service="cart")))
        await until(lambda: mailbox.sent and receiver.address)
        token = mailbox.sent[0].token
        host, port = receiver.address or ("", 0)
        talk = Talk(*await asyncio.open_connection(host, port))
        await talk.hear()
        address = f"ticketd+{token}@example.org"
        assert await talk.send(mail("ack, mine", To=address), address) == "250 2.0.0 taken"
        ticket = await daemon.read(lambda reader: reader.ticket(1))
        assert (ticket.status, ticket.acknowledged_by) == ("acknowledged", "amina")
        await daemon.drain()
        assert (await talk.send(mail("ack", To=address), address))[:3] == "451"
    finally:
        await daemon.stop()
    assert receiver.address is None
    assert await talk.lines.read() == b""
    talk.out.transport.abort()
