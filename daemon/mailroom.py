"""Where replies by e-mail come in: a mailbox that is looked into, or mail that a server here hands over.

The one law: a mail of the mailbox is flagged only after what it says was dealt with, so a crash repeats one and loses
none. One that cannot be dealt with is set aside aloud and stops no other. Everything here ends when it is cancelled.
"""

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple, Unpack

import structlog

from connectors import letters
from connectors.replies import ours_of
from daemon.batch import QuarantinedError
from daemon.clock import Clock
from daemon.config import Settings
from daemon.desk import PAUSE_S_MAX, PAUSE_S_MIN, Desk, Hears, LaterError, SetAside, Trouble
from daemon.executor import Executor, OwnedThread
from daemon.imap import Box, ImapError, Mark, SpoiltError
from daemon.metrics import Metrics
from daemon.receiver import Receiver
from daemon.report import Report, Submit
from daemon.tasks import Supervisor, within
from rules.instants import SECOND

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TRIES_MAX: Final = 3  # at one mail, before it is set aside
REMEMBERED_MAX: Final = 1_000  # mails that were tried, or dealt with
CALL_S_MAX: Final = 60.0  # for one question to the mailbox
LATER_S: Final = 5.0  # after the store took nothing

_log = structlog.get_logger("daemon.mailroom")


class Mailroom:
    """What `[mail]` of the settings asks for. `run` is the loop; `drain`, then `close` at the end."""

    def __init__(
        self,
        settings: Settings,
        hearing: Hears,
        submit: Submit,
        supervisor: Supervisor,
        clock: Clock,
        metrics: Metrics,
        executor: Executor | None = None,
    ) -> None:
        """Opens nothing. `executor`: where mails are read, by default a thread of its own."""
        mail = settings.mail
        if mail is None:
            raise ValueError("the settings have no [mail]")
        self._executor = executor or OwnedThread("mail")
        desk = Desk(hearing, self._executor, metrics, ours_of(own_addresses(settings)))
        trouble = Trouble(Report("report unread mail", submit, supervisor, clock), clock)
        aside = SetAside(desk, Report("report mail set aside", submit, supervisor, clock), clock)
        self.receiver: Receiver | None = None
        self._poll: Poll | None = None
        if mail.receiver is not None:
            host, _, port = mail.receiver.rpartition(":")
            self.receiver = Receiver(host.strip("[]"), int(port), desk, clock, trouble, aside)
        elif mail.imap is not None:
            every_s = mail.imap.every / SECOND
            self._poll = Poll(Box(mail.imap), desk, self._executor, clock, trouble, aside, every_s=every_s)

    async def run(self) -> None:
        """The loop."""
        if self.receiver is not None:
            await self.receiver.run()
        elif self._poll is not None:
            await self._poll.run()

    def drain(self) -> None:
        """Take nothing more: what comes now is left where it is."""
        if self.receiver is not None:
            self.receiver.draining = True
        if self._poll is not None:
            self._poll.draining = True

    def close(self) -> None:
        """Ends the connection and the thread."""
        if self._poll is not None:
            self._poll.close()
        self._executor.close()


def own_addresses(settings: Settings) -> tuple[str, ...]:
    """What ticketd writes from, and where it asks for replies."""
    sender = getattr(getattr(settings, "smtp", None), "sender", "")
    return tuple(one for one in (sender and letters.mailbox(sender).address, settings.reply_to) if one)


class Poll:
    """Looks into a mailbox, again and again."""

    def __init__(
        self,
        box: Box,
        desk: Desk,
        executor: Executor,
        clock: Clock,
        trouble: Trouble,
        aside: SetAside,
        *,
        every_s: float,
    ) -> None:
        """`executor`: a thread of its own, on which the mailbox blocks."""
        self._box = box
        self._desk = desk
        self._executor = executor
        self._clock = clock
        self._trouble = trouble
        self._aside = aside
        self._every_s = every_s
        self.draining = False
        self._tries: dict[Mark, int] = {}
        self._dealt: dict[Mark, None] = {}  # with, where the flag that says so may not have reached the server

    async def run(self) -> None:
        """The loop."""
        pause_s = self._every_s
        while True:
            try:
                more = await self._round()
            except ImapError as error:
                self._trouble.met(error.reason)
                await self._clock.sleep(self._trouble.pause_s(pause_s))
                pause_s = min(2 * pause_s, max(PAUSE_S_MAX, self._every_s))
            except LaterError as error:
                _log.warning("a mail waits for the store", reason=error.reason)
                await self._clock.sleep(LATER_S)
            else:
                pause_s = self._every_s
                self._trouble.over()
                await self._clock.sleep(PAUSE_S_MIN if more else self._every_s)

    async def _round(self) -> bool:
        """One look; whether something was dealt with, so that there may be more."""
        left, some = False, False
        self._still_open()
        try:
            for mark in await self._call(self._box.look):
                some = await self._one(mark) or some
            await self._call(self._box.leave)
            left = True
        finally:
            if not left:
                self._box.abort()
        return some

    async def _one(self, mark: Mark) -> bool:
        """Whether it is dealt with; it is left unread to be tried again when it was not."""
        self._still_open()
        try:
            content = None if mark in self._dealt else await self._call(self._box.fetch, mark)
            if content is not None:
                await self._desk.take(content)
        except (ImapError, LaterError):
            raise
        except Exception as error:  # noqa: BLE001 - it is logged, and after a few tries set aside aloud
            return await self._failed(mark, error)
        self._tries.pop(mark, None)
        again = mark in self._dealt
        _remember(self._dealt, mark, None)
        await self._call(self._box.seen, mark)
        return not again

    async def _call(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """The mailbox's answer. Raises ImapError for one that takes too long in all, however it trickles."""
        try:
            return await within(self._clock, CALL_S_MAX, self._executor.run(work, *args))
        except TimeoutError:
            self._box.abort()
            raise ImapError(f"the mail server did not answer within {CALL_S_MAX:.0f} s") from None

    def _still_open(self) -> None:
        if self.draining:
            raise LaterError("shutting down")

    async def _failed(self, mark: Mark, error: Exception) -> bool:
        tries = self._tries.pop(mark, 0) + 1
        if tries < TRIES_MAX and not isinstance(error, QuarantinedError):
            _log.warning("a mail could not be dealt with, and is tried again", uid=mark.uid, error=repr(error)[:200])
            _remember(self._tries, mark, tries)
            return False
        await self._call(self._box.set_aside, mark)
        self._aside.tell(error, f"{'spoilt ' if isinstance(error, SpoiltError) else ''}uid {mark.uid}")
        return True

    def close(self) -> None:
        """Ends the connection, so that the thread ends soon."""
        self._box.close()


def _remember(known: dict[Mark, T], mark: Mark, value: T) -> None:
    """The newest ones."""
    known.pop(mark, None)
    known[mark] = value
    if len(known) > REMEMBERED_MAX:
        del known[next(iter(known))]
