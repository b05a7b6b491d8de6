"""What a mail that came in leads to, however it came in.

The one law: a mail counts as dealt with only after what it says was committed, or refused for good. So a crash repeats
one, which is harmless, and loses none. Trouble is told: to the log at once, to people after five minutes.
"""

from collections.abc import Collection
from typing import Final, Protocol

import structlog

from connectors import replies
from connectors.base import Heard, Told
from daemon import own
from daemon.clock import Clock
from daemon.executor import Executor
from daemon.ingest import BusyError
from daemon.metrics import Metrics
from daemon.report import Report
from daemon.store.errors import StoreUnavailableError

KIND: Final = "email"
ALERT_AFTER_S: Final = 300.0
PAUSE_S_MAX: Final = 120.0  # between tries while they fail
PAUSE_S_MIN: Final = 1.0

_log = structlog.get_logger("daemon.desk")


class Hears(Protocol):
    """`daemon.hearing.Hearing`."""

    async def heard(self, kind: str, heard: Heard) -> str:
        """Somebody's answer."""
        ...

    async def told(self, kind: str, told: Told) -> None:
        """A provider's later word."""
        ...


class LaterError(Exception):
    """The store takes nothing now: the same mail may come again. `reason` is one sentence."""

    def __init__(self, reason: str) -> None:
        """`reason` is for the log."""
        super().__init__(reason)
        self.reason = reason


class Desk:
    """Reads one mail and passes on what it says."""

    def __init__(self, hearing: Hears, executor: Executor, metrics: Metrics, ours: Collection[str]) -> None:
        """`executor`: where mails are parsed, off the event loop. `ours`: the addresses that ticketd writes from."""
        self._hearing = hearing
        self._executor = executor
        self._metrics = metrics
        self._ours = ours

    async def take(self, content: bytes, *, recipient: str | None = None, sender: str | None = None) -> str:
        """What the mail was, in a word; all that came of it is committed. Raises LaterError, or what else goes wrong.

        `recipient` and `sender`: the envelope's, where there is one.
        """

        def read() -> Heard | Told | replies.Nothing:
            return replies.read(content, ours=self._ours, recipient=recipient, sender=sender)

        found = await self._executor.run(read)
        try:
            word = await self._passed_on(found)
        except (BusyError, StoreUnavailableError) as error:
            raise LaterError(error.reason) from None
        self.count(word)
        return word

    async def _passed_on(self, found: Heard | Told | replies.Nothing) -> str:
        match found:
            case Heard():
                outcome = await self._hearing.heard(KIND, found)
                _log.info("a reply came", action=found.action, automatic=found.automatic, outcome=outcome)
                return "automatic" if found.automatic else "answer"
            case Told():
                await self._hearing.told(KIND, found)
                _log.info("a mail server reported on a message", outcome=found.outcome, reason=found.reason)
                return "report"
            case replies.Nothing(word=word, reason=reason):
                _log.info("a mail was left alone", reason=reason)
                return word

    def count(self, word: str) -> None:
        """A mail was dealt with."""
        self._metrics.mails.labels(word).inc()


class Trouble:
    """How long mail has not been read; after five minutes it is an alert of ticketd's own."""

    def __init__(self, report: Report, clock: Clock) -> None:
        """`report`: the matter's."""
        self._report = report
        self._clock = clock
        self._since_s: float | None = None
        self._told: bool | None = None  # None: what a process before this one told is not known
        self._reason = ""

    def over(self) -> None:
        """Mail is read."""
        if self._since_s is not None:
            _log.info("mail is read again")
        self._since_s, self._reason = None, ""
        if self._told is not False:
            self._told = False
            self._report.tell(own.mail_unread("", self._clock.now(), firing=False))

    def met(self, reason: str) -> None:
        """Mail cannot be read. Told at once to the log, and after a while to people."""
        now_s = self._clock.monotonic()
        if self._since_s is None:
            self._since_s = now_s
        if reason != self._reason:
            self._reason = reason
            _log.warning("mail cannot be read", reason=reason)
        if now_s - self._since_s >= ALERT_AFTER_S and not self._told:
            self._told = True
            self._report.tell(own.mail_unread(reason, self._clock.now(), firing=True))

    def pause_s(self, wanted_s: float) -> float:
        """How long to wait before the next try, so that the alert is not late."""
        if self._since_s is None or self._told:
            return wanted_s
        return min(wanted_s, max(PAUSE_S_MIN, self._since_s + ALERT_AFTER_S - self._clock.monotonic()))


class SetAside:
    """Mails that could not be dealt with."""

    def __init__(self, desk: Desk, report: Report, clock: Clock) -> None:
        self._desk = desk
        self._report = report
        self._clock = clock

    def tell(self, error: Exception, what: str) -> None:
        """Aloud: the log, a count, and an alert of ticketd's own."""
        _log.error("a mail was set aside", mail=what, exc_info=error)
        self._desk.count("set_aside")
        self._report.tell(own.mail_set_aside(self._clock.now()))


async def backing_off(clock: Clock, trouble: Trouble, tries: int) -> None:
    """Waits before another try: a second, then longer."""
    await clock.sleep(trouble.pause_s(min(PAUSE_S_MIN * 2 ** min(tries, 10), PAUSE_S_MAX)))
