"""A mailbox behind IMAP, against a server in this process: what is asked of it, and what each misbehaviour means."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from daemon.config import ImapSettings
from daemon.executor import OwnedThread
from daemon.imap import Box, ImapError, Mark, SpoiltError
from tests.daemon.fake_imap import FakeImap


@asynccontextmanager
async def imap(server: FakeImap, password: str = "pass wörd") -> AsyncIterator[tuple[Box, OwnedThread]]:
    listening, thread = await server.serve(), OwnedThread("imap")
    port = listening.sockets[0].getsockname()[1]
    access = ImapSettings(host="127.0.0.1", port=port, tls=False, username="u", password=SecretStr(password))
    box = Box(access, timeout_s=0.5)
    try:
        yield box, thread
    finally:
        box.close()
        server.cut()
        listening.close()
        thread.close()


async def test_a_box_is_looked_into_and_only_what_is_told_is_flagged() -> None:
    server = FakeImap({3: b"three", 11: b"x" * 70_000, 5: b"five"})
    async with imap(server) as (box, thread):
        marks = await thread.run(box.look)
        assert marks == [Mark("7", "3"), Mark("7", "5"), Mark("7", "11")]
        assert [await thread.run(box.fetch, mark) for mark in marks] == [b"three", b"five", b"x" * 70_000]
        assert server.flags == {}
        await thread.run(box.seen, marks[0])
        await thread.run(box.set_aside, marks[1])
        assert await thread.run(box.fetch, Mark("7", "99")) is None
        await thread.run(box.leave)
        assert await thread.run(box.look) == [marks[2]]
    assert server.flags == {3: "\\Seen", 5: "\\Seen \\Flagged"}
    assert server.logins[0] == "\0u\0pass wörd"
    assert all("BODY.PEEK" in one for one in server.said if "FETCH" in one)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (FakeImap(greeting="* BYE too busy"), "cannot be read"),
        (FakeImap(greeting="hello?"), "cannot be read"),
        (FakeImap(greeting=""), "cannot be read"),
        (FakeImap(instead={"CAPABILITY": None}), "cannot be read"),
        (FakeImap(instead={"AUTHENTICATE": "NO [AUTHENTICATIONFAILED] no pass wörd"}), "no ***"),
        (FakeImap(instead={"SELECT": "NO there is none"}), "does not open the folder 'INBOX': there is none"),
        (FakeImap(instead={"SELECT": ""}), "timed out"),
        (FakeImap(instead={"UID SEARCH": "NO not now"}), "does not search 'INBOX'"),
        (FakeImap(instead={"UID SEARCH": "BAD what"}), "cannot be read"),
    ],
)
async def test_what_keeps_it_from_looking_is_said_without_the_password(server: FakeImap, said: str) -> None:
    async with imap(server) as (box, thread):
        with pytest.raises(ImapError) as caught:
            await thread.run(box.look)
    assert said in caught.value.reason
    assert "wörd" not in caught.value.reason


async def test_a_message_that_the_server_refuses_is_spoilt_and_a_broken_line_is_trouble() -> None:
    server = FakeImap({1: b"one"}, instead={"UID FETCH": "NO corrupted", "UID STORE": "NO read-only"})
    async with imap(server) as (box, thread):
        (mark,) = await thread.run(box.look)
        with pytest.raises(SpoiltError, match="corrupted"):
            await thread.run(box.fetch, mark)
        with pytest.raises(ImapError, match="takes no flags: read-only"):
            await thread.run(box.seen, mark)
        server.instead = {"UID FETCH": None}
        with pytest.raises(ImapError, match="cannot be read"):
            await thread.run(box.fetch, mark)
        with pytest.raises(ImapError, match="was ended"):
            await thread.run(box.fetch, mark)


async def test_closing_ends_a_call_that_waits() -> None:
    server = FakeImap({1: b"one"}, instead={"UID FETCH": ""})
    async with imap(server) as (box, thread):
        box._timeout_s = 60
        (mark,) = await thread.run(box.look)
        waiting = asyncio.ensure_future(thread.run(box.fetch, mark))
        async with asyncio.timeout(10):
            while not any("FETCH" in one for one in server.said):
                await asyncio.get_running_loop().run_in_executor(None, id, None)
            box.close()
            with pytest.raises(ImapError):
                await waiting
            with pytest.raises(ImapError, match="stopping"):
                await thread.run(box.look)


async def test_a_server_that_knows_no_plain_login_is_logged_into_the_old_way() -> None:
    server = FakeImap(capabilities="IMAP4rev1")
    async with imap(server, "secret") as (box, thread):
        await thread.run(box.look)
    assert server.logins == ['LOGIN u "secret"']
