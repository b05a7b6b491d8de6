"""The long tail of channels, through the library apprise: each `[apprise.NAME]` is a list of its URLs.

The one law: every target is seen. A delivery is delivered when each URL of its NAME took it, and until then the reason
names those that did not. What took it is remembered by delivery, in memory, so that a repeat goes to the others only;
after a restart it goes to all again: at least once, never lost. No reason holds any part of a URL.

The library blocks, and some of its services can hang for good. So each URL is sent on a thread of its own, none of
which holds up the end of the process; a URL has a bounded number of them, and one that never comes back takes away
only from its own.
"""

import asyncio
import contextlib
import importlib
import logging
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from connectors.base import ConnectorError, OutcomeUnknownError
from connectors.net import AGAIN, plain
from rules.model import Message, Purpose

NAME_CHARS_MAX: Final = 100
URLS_MAX: Final = 20
THREADS_MAX: Final = 8  # of one URL at a time, those that hang included
SHORT_CHARS: Final = 4
REMEMBERED_MAX: Final = 10_000  # deliveries of which it is known who took them

_STATUS: Final = re.compile(r"\berror=([1-5][0-9]{2})\b")  # as the library's services name an HTTP status


@cache
def _library() -> Any:
    """The library with all its services, loaded when it is first needed: that takes a second or two, and 25 MB.

    What it logs comes back as reasons instead: its lines may name hosts and paths, which in such URLs are secrets.
    """
    log = logging.getLogger("apprise")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # below that it tells each request's path
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what its services import
        library = importlib.import_module("apprise")
        library.Apprise.instantiate("json://localhost")  # looks for the service, so all of them are loaded
    return library


def _service(url: str) -> Any:
    """The service behind a URL, made anew; None where the library can make none of it."""
    library = _library()
    asset = library.AppriseAsset(
        app_id="ticketd",
        app_desc="ticketd",
        app_url="",
        async_mode=False,
        secure_logging=True,
        service_timeout=0,  # else it would wait on threads of its own, which hold up the end of a process
        storage_mode=library.PersistentStoreMode.MEMORY,
    )
    return library.Apprise.instantiate(url, asset=asset)


@dataclass(slots=True)
class _Url:
    """One URL of a NAME."""

    url: str
    number: int  # as people count
    kind: str  # of the service, such as "Telegram"
    secrets: tuple[str, ...]
    threads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(THREADS_MAX))

    def reason(self, said: str) -> str:
        """What is said of this URL, without any part of it."""
        for secret in self.secrets:
            if len(secret) < SHORT_CHARS:  # it would be found within other words
                said = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", said)
            else:
                said = said.replace(secret, "***")
        return plain(f"number {self.number} ({self.kind}): {said}")


@dataclass(slots=True)
class _Known:
    """What is known of one delivery: by a URL's number, the targets within it that took it; None: all of them."""

    taken: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)
    targets: dict[int, set[Any]] = field(default_factory=dict)


@dataclass(slots=True)
class _Outcome:
    """What came of one URL. `ok` None: not known."""

    ok: bool | None
    reason: str = ""
    final: bool = False


class Connector:
    """The notifier `apprise`; an address is the NAME of an `[apprise.NAME]`."""

    class Options(BaseModel):
        """Services that are told together."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        urls: tuple[SecretStr, ...] = Field(
            min_length=1,
            max_length=URLS_MAX,
            description="Apprise's URLs; a file of them has one a line, and lines that begin with # are left out",
        )
        timeout_s: float = Field(30.0, gt=0, le=50, description="Seconds for one attempt, all its URLs side by side")

        @field_validator("urls", mode="before")
        @classmethod
        def _are_lines(cls, urls: object) -> object:
            if not isinstance(urls, str):
                return urls
            lines = (line.strip() for line in urls.splitlines())
            return tuple(line for line in lines if line and not line.startswith("#"))

        @field_validator("urls")
        @classmethod
        def _are_usable(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
            for number, url in enumerate(urls, 1):
                text = url.get_secret_value().strip()
                if "://" not in text or _service(text) is None:  # the library need not be loaded to see the first
                    raise ValueError(f"number {number} is no URL that apprise can use, or its service lacks a library")
            return urls

    multiple: ClassVar[bool] = True
    section: ClassVar[str] = "apprise"

    def __init__(self, options: Mapping[str, Options]) -> None:
        """`options` by NAME."""
        self._options = dict(options)
        self._urls = {name: _urls(one) for name, one in options.items()}
        self._known: OrderedDict[str, _Known] = OrderedDict()

    @staticmethod
    def address_problem(address: str) -> str | None:
        """An address is a name without spaces; whether the configuration has it is seen elsewhere."""
        if not address or len(address) > NAME_CHARS_MAX or not address.isprintable() or " " in address:
            return "must be the NAME of an [apprise.NAME] of the configuration"
        return None

    async def send(self, message: Message) -> str:
        """Tells every service that did not take this delivery before. They give no references, so "" comes back.

        A service that failed makes the attempt one to repeat. It is for good only when nothing is left that another
        attempt could mend, though others may have taken it: then the reason says so. Where no answer came, and nothing
        is known to have failed, the outcome is unknown.
        """
        options = self._options.get(message.address)
        if options is None:
            raise ConnectorError(f"the configuration has no [apprise.{plain(message.address)}]", permanent=True)
        urls = self._urls[message.address]
        known = self._remembered(message.key)
        left = [one for one in urls if one.number not in known.taken]
        outcomes = await asyncio.gather(*(self._tell(one, message, known, options.timeout_s) for one in left))
        failed = [one for one in outcomes if one.ok is False]
        unsure = [one for one in outcomes if one.ok is None]
        if not failed and not unsure:
            self._known.pop(message.key, None)
            return ""
        if failed and not unsure and all(one.final for one in failed):
            self._known.pop(message.key, None)
            raise ConnectorError(_reason(urls, known, failed), permanent=True)
        if failed:
            raise ConnectorError(_reason(urls, known, [*failed, *unsure]), permanent=False)
        raise OutcomeUnknownError(_reason(urls, known, unsure))

    async def close(self) -> None:
        """Nothing is kept open between messages; a thread that still waits ends with the process."""

    def _remembered(self, key: str) -> _Known:
        known = self._known.setdefault(key, _Known())
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return known

    async def _tell(self, url: _Url, message: Message, known: _Known, timeout_s: float) -> _Outcome:
        """One URL, on a thread of its own."""
        handed_over = False
        try:
            async with asyncio.timeout(timeout_s):
                await url.threads.acquire()
                handed_over = True
                return await asyncio.shield(self._start(url, message, known))
        except TimeoutError:
            if not handed_over:
                return _Outcome(
                    ok=False, reason=url.reason(f"its {THREADS_MAX} threads all wait for the service still")
                )
            known.unsure.add(url.number)
            return _Outcome(ok=None, reason=url.reason(f"no answer within {timeout_s:g} s"))

    def _start(self, url: _Url, message: Message, known: _Known) -> "asyncio.Future[_Outcome]":
        """The thread runs; what comes of it is noted even when nobody waits for it any more."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_Outcome] = loop.create_future()
        repeat = message.possible_repeat or url.number in known.unsure
        tracker = known.targets.setdefault(url.number, set())

        def settle(outcome: _Outcome) -> None:
            url.threads.release()
            known.unsure.discard(url.number)
            if outcome.ok:
                known.taken.add(url.number)
            if not done.done():
                done.set_result(outcome)

        def work() -> None:
            outcome = _notified(url, message, tracker, repeat=repeat)
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever would want to know
                loop.call_soon_threadsafe(settle, outcome)

        threading.Thread(target=work, name=f"apprise {url.kind}", daemon=True).start()
        return done


def _reason(urls: Sequence[_Url], known: _Known, outcomes: Sequence[_Outcome]) -> str:
    took = f"{len(known.taken)} of {len(urls)} took it; " if len(urls) > 1 else ""
    return took + "; ".join(one.reason for one in outcomes)


def _urls(options: Connector.Options) -> tuple[_Url, ...]:
    found = []
    for number, secret in enumerate(options.urls, 1):
        url = secret.get_secret_value().strip()
        service = _service(url)
        kind = plain(getattr(service, "service_name", "") or "unknown")
        found.append(_Url(url, number, kind, _secrets(url)))
    return tuple(found)


def _secrets(url: str) -> tuple[str, ...]:
    """Every part of a URL but its scheme, as it stands and unquoted, the longest first.

    Which of them are secret, only its service knows: for one the host is the token, for another the path.
    """
    rest = url.partition("://")[2]
    parts = {part for text in (rest, unquote(rest)) for part in (text, *re.split(r"[/?&=@:,;#+\s]+", text)) if part}
    return (url, *sorted(parts, key=len, reverse=True))


# ---------------------------------------------------------------- on a thread
def _notified(url: _Url, message: Message, tracker: set[Any], *, repeat: bool) -> _Outcome:
    """Sends to one URL; never raises. `tracker`: the targets within the URL that took it, kept over attempts."""
    try:
        _track(tracker)
        library = _library()
        service = _service(url.url)
        if service is None:
            return _Outcome(ok=False, reason=url.reason("apprise cannot use it any more"), final=True)
        apprise = library.Apprise(asset=service.asset)
        apprise.add(service)
        text = _clean(message.text).strip() or _clean(message.subject).strip() or "?"
        result = apprise.notify(
            body=f"(2?) {text}" if repeat and not message.possible_repeat else text,
            title=_clean(message.subject),
            notify_type=_gravity(message),
            body_format=library.NotifyFormat.TEXT,
        )
        attempts = [attempt for one in result.results for attempt in one.attempts]
        if attempts and attempts[-1]:  # not the result's own word: a URL may call itself optional
            return _Outcome(ok=True)
        said = [entry.message for attempt in attempts[-1:] for entry in attempt.logs] or ["it was not taken"]
    except Exception as error:  # noqa: BLE001 - hundreds of services, each of which may fail in its own way
        return _Outcome(ok=False, reason=url.reason(f"the service failed: {type(error).__name__}"))
    final = all(_is_final(line) for line in said)
    part = "some of its targets took it; " if tracker else ""
    return _Outcome(ok=False, reason=url.reason(part + " ".join(said[-3:])), final=final)


def _is_final(line: str) -> bool:
    """Whether a line of the library names an HTTP status that no repeat will change."""
    statuses = [int(one) for one in _STATUS.findall(line)]
    return bool(statuses) and all(one // 100 == 4 and one not in AGAIN for one in statuses)  # noqa: PLR2004 - 4xx


def _track(tracker: set[Any]) -> None:
    """Lets the library pass over targets that took this delivery before, as it does within its own retries."""
    found = getattr(importlib.import_module("apprise.plugins.base"), "_delivery_tracker", None)
    if found is not None:  # a version without it tells all targets of the URL again
        found.set(tracker)


def _clean(text: str) -> str:
    """What every service can encode."""
    return text.replace("\0", " ").encode(errors="replace").decode()


def _gravity(message: Message) -> str:
    if message.purpose is Purpose.RESOLVED:
        return "success"
    if message.purpose is not Purpose.PAGE:
        return "info"
    return {"P1": "failure", "P2": "warning"}.get(str(message.ticket.get("priority")), "info")
