"""A mailroom's parts on a clock moved by hand: a hearing that keeps what it is told, a mailbox without a server.

Law: nothing here waits for the machine's clock; `script` and `trouble` say what goes wrong, and when.
"""

import asyncio

from connectors.base import Heard, Told
from daemon.desk import Desk, SetAside, Trouble
from daemon.executor import Inline
from daemon.imap import ROUND_MAX, Mark
from daemon.mailroom import Poll
from daemon.metrics import Metrics
from daemon.receiver import Receiver
from daemon.report import Report
from daemon.tasks import Supervisor
from rules.commands import Noted
from rules.events import AlertsReceived, Event
from tests.daemon.house import HandClock, settle

EVERY_S = 30.0


class Ears:
    """A hearing that keeps what it is told; `script` holds what each next one meets."""

    def __init__(self) -> None:
        self.heard_all: list[Heard] = []
        self.told_all: list[Told] = []
        self.script: list[Exception | asyncio.Event | None] = []

    async def heard(self, kind: str, heard: Heard) -> str:
        assert kind == "email"
        await self._meet()
        self.heard_all.append(heard)
        return "Done."

    async def told(self, kind: str, told: Told) -> None:
        assert kind == "email"
        await self._meet()
        self.told_all.append(told)

    async def _meet(self) -> None:
        step = self.script.pop(0) if self.script else None
        if isinstance(step, asyncio.Event):
            await step.wait()
        elif step is not None:
            raise step


class FakeBox:
    """A mailbox without a server; what it is asked stands in `calls`."""

    def __init__(self) -> None:
        self.mails: dict[int, bytes | Exception] = {}
        self.flags: dict[int, str] = {}
        self.trouble: Exception | None = None
        self.flag_trouble: Exception | None = None
        self.looks = 0
        self.aborted = 0

    def look(self) -> list[Mark]:
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return [Mark("7", str(uid)) for uid in self.mails if uid not in self.flags][:ROUND_MAX]

    def fetch(self, mark: Mark) -> bytes | None:
        found = self.mails.get(int(mark.uid))
        if isinstance(found, Exception):
            raise found
        return found

    def seen(self, mark: Mark) -> None:
        if self.flag_trouble is not None:
            raise self.flag_trouble
        self.flags[int(mark.uid)] = "seen"

    def set_aside(self, mark: Mark) -> None:
        self.flags[int(mark.uid)] = "set aside"

    def leave(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted += 1

    def close(self) -> None:
        self.abort()


class Room:
    """Everything that a mailroom is made of, on a clock moved by hand."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.ears = Ears()
        self.box = FakeBox()
        self.metrics = Metrics()
        self.supervisor = Supervisor(self.clock)
        self.submitted: list[Event] = []
        self.desk = Desk(self.ears, Inline(), self.metrics, {"ticketd@example.org"})
        self.trouble = Trouble(self.report(), self.clock)
        self.aside = SetAside(self.desk, self.report(), self.clock)
        self.poll = Poll(
            self.box, self.desk, Inline(), self.clock, self.trouble, self.aside, every_s=EVERY_S  # type: ignore[arg-type]
        )  # fmt: skip
        self.receiver = Receiver("127.0.0.1", 0, self.desk, self.clock, self.trouble, self.aside)

    async def go(self) -> None:
        """Begin to look into the mailbox."""
        self.supervisor.keep("mail", self.poll.run)
        await settle()

    def report(self) -> Report:
        return Report("report", self.submit, self.supervisor, self.clock)

    async def submit(self, event: Event) -> Noted:
        self.submitted.append(event)
        return Noted("kept")

    def alerts(self) -> list[tuple[str, bool]]:
        """(name, firing) of what was raised about itself."""
        return [
            (one.labels["alertname"], one.firing)
            for event in self.submitted
            if isinstance(event, AlertsReceived)
            for one in event.alerts
        ]

    def count(self, word: str) -> float:
        return self.metrics.registry.get_sample_value("ticketd_mails_total", {"outcome": word}) or 0.0

    async def close(self) -> None:
        stopping = asyncio.ensure_future(self.supervisor.stop())
        await self.clock.advance(0)
        await stopping


class Talk:
    """An SMTP client that says what it is told to."""

    def __init__(self, lines: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        self.lines, self.out = lines, out

    async def hear(self) -> str:
        async with asyncio.timeout(10):
            while (line := (await self.lines.readline()).decode()) and line[3:4] == "-":
                pass
        return line.strip()

    async def say(self, text: str | bytes) -> str:
        self.out.write((text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return await self.hear()

    async def send(self, content: bytes, *recipients: str, sender: str = "amina@example.test") -> str:
        """The answer to the whole mail, or to the first thing that was refused."""
        for line in ("EHLO peer", f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{one}>" for one in recipients), "DATA"):
            answer = await self.say(line)
            if answer[:1] not in "23":
                return answer
        return await self.say(content + b"\r\n.")
