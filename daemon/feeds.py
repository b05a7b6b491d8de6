"""Calendars kept elsewhere: fetched, kept, and handed to the policy when what they say has changed.

The one law: what was read last and could be read whole is what counts, on disk too, so that a start without a network
knows who is on call; and a calendar that fails says so (an alert of ticketd's own, a log line, a metric) each time, not
only once. No redirect is followed: no password ever travels to a place that was not configured.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from connectors.base import ConnectorError, OutcomeUnknownError
from connectors.net import Client, judge, place, plain
from daemon import own
from daemon.clock import Clock
from daemon.config import CalendarSettings
from daemon.executor import Executor
from daemon.feed_copies import date_copy, dated_copies, keep_copy, read_feed, read_file, says
from daemon.metrics import Metrics
from daemon.report import Report, Submit
from daemon.tasks import Supervisor, Wake
from rules.instants import SECOND, Instant
from rules.response.feeds import Feed
from rules.response.ical import BYTES_MAX, BadFeedError

AGAIN_S: Final = 60.0  # after a failure, then doubled, up to the calendar's own `every`
LOOK_S: Final = 3_600.0  # the wait for a change goes around that often
HEADER_CHARS_MAX: Final = 500
NOT_MODIFIED: Final = 304
OK: Final = 200

_log = structlog.get_logger("daemon.feeds")


@dataclass(slots=True)
class _State:
    """What is known of one calendar."""

    feed: Feed | None = None
    etag: str = ""
    modified: str = ""
    failures: int = 0
    report: Report | None = None
    told: bool = False  # whether the alert of this process was raised or ended yet


@dataclass(frozen=True, slots=True)
class _Got:
    """A calendar as it came."""

    text: bytes
    etag: str = ""
    modified: str = ""


class Feeds:
    """All calendars that config.toml names. `load` first; once there is somebody to tell, `join`, and then `follow`."""

    def __init__(
        self,
        calendars: Mapping[str, CalendarSettings],
        folder: Path | None,
        clock: Clock,
        background: Executor,
        metrics: Metrics,
        *,
        client: Client | None = None,
    ) -> None:
        """`folder`: where the copies are kept; None: nowhere."""
        self._calendars = calendars
        self._folder = folder
        self._clock = clock
        self._background = background
        self._metrics = metrics
        self._client = client or Client(body_bytes_max=BYTES_MAX)
        self._states = {name: _State() for name in calendars}
        self._changed = Wake(clock)

    @property
    def names(self) -> tuple[str, ...]:
        """The calendars' names in config.toml."""
        return tuple(self._calendars)

    def current(self) -> Mapping[str, Feed]:
        """What is known of the calendars now, by name; those of which nothing is known are left out."""
        return {name: state.feed for name, state in self._states.items() if state.feed is not None}

    def load(self) -> None:
        """Read the copies of an earlier life. Blocks."""
        for name, (feed, read_at) in dated_copies(self._calendars, self._folder).items():
            self._states[name].feed = feed
            self._metrics.feed_read_at.labels(name).set(read_at / SECOND)

    def join(self, submit: Submit, supervisor: Supervisor) -> None:
        """Whom to tell that a calendar fails, or no longer does."""
        for name, state in self._states.items():
            state.report = Report(f"report calendar {name}", submit, supervisor, self._clock)

    async def follow(self, name: str) -> None:
        """Look at one calendar again and again, for ever."""
        every_s = self._calendars[name].every / SECOND
        while True:
            fine = await self.look(name)
            failures = self._states[name].failures
            pause = every_s if fine else min(every_s, AGAIN_S * 2 ** min(failures - 1, 16))
            await self._clock.sleep(pause * (0.95 + self._clock.jitter() / 10))

    async def reload_on_change(self, reload: Callable[[], Awaitable[object]]) -> None:
        """Call `reload` when a calendar says something else than before; several changes meanwhile are one."""
        while True:
            if await self._changed.wait(LOOK_S):
                await reload()

    async def look(self, name: str) -> bool:
        """Read one calendar once. Whether that went well; what came of it is said."""
        try:
            got = await self._get(name)
            feed = None if got is None else await self._background.run(self._taken, name, got.text)
        except (ConnectorError, OutcomeUnknownError) as error:
            self._failed(name, error.reason)
        except BadFeedError as error:
            self._failed(name, str(error))
        except OSError as error:
            self._failed(name, f"the calendar or its copy on disk cannot be reached: {plain(error.strerror or error)}")
        else:
            await self._succeeded(name, got, feed)
            return True
        return False

    async def _succeeded(self, name: str, got: _Got | None, feed: Feed | None) -> None:
        state, now = self._states[name], self._clock.now()
        await self._background.run(self._dated, name, now)
        self._metrics.feed_read_at.labels(name).set(now / SECOND)
        if state.failures:
            _log.info("a calendar can be read again", calendar=name)
        if state.failures or not state.told:
            self._tell(name, "")
        state.failures = 0
        if got is not None:
            state.etag, state.modified = got.etag, got.modified
        if feed is not None and feed != state.feed:
            state.feed = feed
            _log.info("a calendar has changed", calendar=name)
            self._changed.ring()

    async def close(self) -> None:
        """Ends what is open."""
        await self._client.close()

    def _failed(self, name: str, why: str) -> None:
        state = self._states[name]
        state.failures += 1
        kept = "its copy counts" if state.feed is not None else "there is no copy of it: nobody is on call by it"
        _log.warning("a calendar cannot be read", calendar=name, why=why, kept=kept, failures=state.failures)
        self._tell(name, f"{why}; {kept}")

    def _tell(self, name: str, why: str) -> None:
        state = self._states[name]
        state.told = True
        if state.report is not None:
            state.report.tell(own.feed_failing(name, why, self._clock.now()))

    # ---- reading
    async def _get(self, name: str) -> _Got | None:
        """What the calendar holds now; None: what it held before."""
        settings, state = self._calendars[name], self._states[name]
        if settings.file is not None:
            return _Got(await self._background.run(read_file, settings.file))
        headers = {"Accept": "text/calendar, */*;q=0.1", **_proof(settings)}
        if state.feed is not None and state.etag:
            headers["If-None-Match"] = state.etag
        if state.feed is not None and state.modified:
            headers["If-Modified-Since"] = state.modified
        where = place(settings.address)
        answer = await self._client.request("GET", settings.address, timeout_s=settings.timeout_s, headers=headers)
        if answer.status == NOT_MODIFIED and state.feed is not None:
            return None
        judge(answer, where, self._clock.now())
        if answer.status != OK:
            raise ConnectorError(f"{where} answered {answer.status} where a calendar was to come", permanent=True)
        if len(answer.body) >= BYTES_MAX and not answer.whole:
            raise ConnectorError(f"{where} sends more than {BYTES_MAX >> 20} MiB", permanent=True)
        if not answer.whole:
            raise ConnectorError(f"{where} broke off before the calendar's end", permanent=False)
        return _Got(answer.body, *(_header(answer.headers.get(one, "")) for one in ("ETag", "Last-Modified")))

    def _taken(self, name: str, text: bytes) -> Feed:
        """The text read and, where it says something new, kept. Blocks. Raises BadFeedError and OSError."""
        known = self._states[name].feed
        if known is not None and says(text) == known.digest:
            return known  # reading a large calendar takes seconds, and most fetches bring nothing new
        feed = read_feed(text)
        if wrong := feed.wrong("UTC", self._clock.now()):
            raise BadFeedError(wrong)
        if self._folder is not None:
            keep_copy(self._folder, name, text)
        return feed

    def _dated(self, name: str, now: Instant) -> None:
        """For the metric of a later life. Blocks."""
        if self._folder is not None:
            try:
                date_copy(self._folder, name, now)
            except OSError as error:
                _log.warning("the time of a calendar's copy cannot be set", calendar=name, why=error.strerror)


def _proof(settings: CalendarSettings) -> dict[str, str]:
    if settings.token is not None:
        return {"Authorization": f"Bearer {settings.token.get_secret_value()}"}
    if settings.username is None or settings.password is None:
        return {}
    both = f"{settings.username}:{settings.password.get_secret_value()}".encode()
    return {"Authorization": f"Basic {base64.b64encode(both).decode('ascii')}"}


def _header(text: str) -> str:
    """What the other side will get back; what cannot be a header is left out."""
    return text if text.isascii() and text.isprintable() and len(text) <= HEADER_CHARS_MAX else ""
