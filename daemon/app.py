"""The composition root: the only place where the daemon's objects are made and joined.

The one law: a daemon is a value of its settings and its ports (clock, executor, store, notifiers …); given others, the
very same code runs in tests and in the simulation. Nothing here decides.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from connectors.base import Notifier
from connectors.kinds import Kinds, load
from daemon import __version__, own
from daemon.auth import Auth
from daemon.batch import Writer
from daemon.clock import Clock, SystemClock
from daemon.clock_watch import ClockWatch
from daemon.config import Settings
from daemon.entries import EntryLog
from daemon.executor import Executor, Inline, OwnedThread
from daemon.feeds import Feeds
from daemon.health import Health
from daemon.hearing import Hearing
from daemon.ingest import Ingest
from daemon.keys import Keyring, KeysError, read_keys
from daemon.links import Links
from daemon.logs import redaction
from daemon.mailroom import Mailroom
from daemon.metrics import Metrics
from daemon.notify import Notify
from daemon.outbox import Outbox
from daemon.policies import Policies
from daemon.readers import InlineReader, Readers, Reading
from daemon.report import Report
from daemon.retention import Retention
from daemon.sending import Telling
from daemon.store.store import Store
from daemon.tasks import Supervisor, within
from daemon.timers import POLL_S_MAX, Timers
from daemon.tokens import Tokens
from daemon.web.app import build
from daemon.web.server import Server
from daemon.wiring import feeds_of, language_kinds, make_notifiers, secrets_of, snapshot_of
from rules.concerns import concerns
from rules.decide import decide
from rules.events import PolicyLoaded
from rules.instants import SECOND, Instant
from rules.language import Problem

if TYPE_CHECKING:
    from daemon.probing.here import Here

T = TypeVar("T")

PROBLEMS_LOGGED_MAX: Final = 20
LAST_RESULTS_S: Final = 2.0  # for the last results of probes at the end
SHUTDOWN_S: Final = 3.0  # for answers on their way out when the listener closes

_log = structlog.get_logger("daemon.app")


class Daemon:
    """The running process. `start`, then `serve`; `drain` and `stop` at the end."""

    clock: Clock
    store: Store
    keys: Keyring
    links: Links
    tokens: Tokens
    ingest: Ingest
    hearing: Hearing
    mailroom: Mailroom | None = None
    timers: Timers
    outbox: Outbox

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        store: Store | None = None,
        notifiers: Mapping[str, Notifier] | None = None,
        kinds: Kinds | None = None,
        environ: Mapping[str, str] = os.environ,
        poll_s_max: float = POLL_S_MAX,
    ) -> None:
        """Opens nothing. With an `Inline` executor everything runs on the event loop."""
        self.settings = settings
        self.clock = clock or SystemClock()
        self.kinds = kinds or load()
        self.executor = executor or OwnedThread("store")
        inline = isinstance(self.executor, Inline)
        self._background: Executor = Inline() if inline else OwnedThread("background")
        self._inline = inline
        self._given_store = store
        self._poll_s_max = poll_s_max
        self.notifiers = dict(make_notifiers(settings, self.kinds) if notifiers is None else notifiers)
        self.metrics = Metrics()
        self.supervisor = Supervisor(self.clock, lambda name: self.metrics.task_failures.labels(name).inc())
        self.health = Health(self.clock, self.supervisor, self.metrics, poll_s_max)
        self.notify = Notify(environ, self.clock)
        self.auth = Auth(settings)
        self.feeds = Feeds(settings.calendars, feeds_of(settings), self.clock, self._background, self.metrics)
        self.policies = Policies(
            settings.rules,
            language_kinds(settings, self.kinds),
            self.clock,
            snapshot=snapshot_of(settings),
            feeds=self.feeds.current,
        )
        self._reading: Reading | None = None
        self.server: Server | None = None
        self._reloading = asyncio.Lock()
        self._here: Here | None = None  # what looks, once the policy has probes
        self._bad_files = self._started_on_bad_files = False
        redaction.hide(secrets_of(settings))

    # ---- beginning
    async def start(self, *, strict: bool = False) -> None:
        """Load the policy, open the store, start the loops.

        Raises what `Policies.load_first` and `Store.open` raise: the process should then end, saying why.
        """
        await self._background.run(self.feeds.load)
        problems = await self._background.run(partial(self.policies.load_first, strict=strict))
        self.metrics.policy(self.policies.last_ok, self.policies.loaded_at)
        self.health.policy_loaded = True
        given = self._given_store
        self.store = await self.executor.run(Store.open, self.settings.store) if given is None else given
        own_key = await self.executor.run(self.store.secret, "links", self.clock.token)
        listed = await self._background.run(self._listed_keys)
        redaction.hide([own_key, *listed])
        self.keys = Keyring(listed or [own_key])
        self.links = Links(self.keys, self.settings.base_url)
        self.tokens = Tokens(self.keys)
        self.metrics.counts(await self.executor.run(self.store.counts))
        self._reading = InlineReader(self.store.reader) if self._inline else Readers(self.store.reader)
        self._join(await self.executor.run(self.store.alive_at))
        await self.outbox.recover()
        await self.executor.run(self.store.ping, self.clock.now())
        self.health.store_ok()
        keep = self.supervisor.keep
        keep("ingest", self.ingest.run)
        keep("ingest deadlines", self.ingest.sweep)
        keep("timers", self.timers.run)
        keep("outbox", self.outbox.run)
        keep("health", partial(self.health.beat, self.notify))
        keep("clock", ClockWatch(self.clock, self._tell_policy).run)
        keep("store ping", partial(self.health.ping, self.executor, self.store))
        if self.mailroom is not None:
            keep("mail", self.mailroom.run)
        for name in self.feeds.names:
            keep(f"calendar {name}", partial(self.feeds.follow, name))
        if self.feeds.names:
            keep("changed calendars", partial(self.feeds.reload_on_change, self.reload))
        journal = self.settings.journal
        retention = Retention(
            self.store, self.executor, self.clock, self.health, keep=journal.keep, max_bytes=journal.max_bytes
        )
        keep("retention", retention.run)
        if problems:
            _tell_problems(
                "the rule files have errors: the last good ones, or the catch-all alone, are in force", problems
            )
        self._started_on_bad_files = bool(problems)
        self._tell_files(problems)
        self._tell_policy()
        self._look()
        policy = self.policies.current
        _log.info("started", version=__version__, policy=policy.version, rules=len(policy.rules))

    def _join(self, down_at: Instant | None) -> None:
        """Make the parts that need the store. `down_at`: when a daemon last lived on it."""
        limits = self.settings.limits
        self.ingest = Ingest(
            Writer(self.store, self.policies, self.clock, concerns, decide, down_at=down_at),
            self.executor,
            self.clock,
            self.metrics,
            self.health,
            inbox_max=limits.inbox,
            deadline_s=limits.body_deadline / SECOND,
        )
        self.ingest.listen(EntryLog(self.clock))
        self.hearing = Hearing(self.policies, self.tokens, self.ingest.submit, self.read, self.clock, self.metrics)
        if self.settings.mail is not None:
            self.mailroom = Mailroom(
                self.settings, self.hearing, self.ingest.submit, self.supervisor, self.clock, self.metrics
            )
        self.feeds.join(self.ingest.submit, self.supervisor)
        self._files_report = Report("report rule files", self.ingest.submit, self.supervisor, self.clock)
        self._policy_report = Report("report policy", self.ingest.submit, self.supervisor, self.clock)
        self.timers = Timers(
            self.store, self.executor, self.ingest, self.clock, self.health, poll_s_max=self._poll_s_max
        )
        telling = Telling(
            self.notifiers, self.policies, self.links, self.clock, self.metrics,
            tokens=self.tokens, callback=f"{self.settings.base_url.rstrip('/')}/callbacks/",
        )  # fmt: skip
        self.outbox = Outbox(
            self.store,
            self.executor,
            self.ingest,
            self.clock,
            self.health,
            self.supervisor,
            telling,
            poll_s_max=self._poll_s_max,
        )

    async def serve(self) -> tuple[str, int]:
        """Listen. The address that was bound. Raises ListenError when it cannot be."""
        self.server = Server(self, partial(build, self))
        await self.server.start()
        host, port = self.server.addresses[0]
        self.notify.ready()
        _log.info("listening", host=host, port=port)
        return host, port

    # ---- while running
    async def read(self, read: Callable[[Any], T]) -> T:
        """`read(reader)` over a reader of the store. Raises BusyError when too many wait."""
        if self._reading is None:
            raise RuntimeError("the daemon has not started")
        return await self._reading.run(read)

    async def reload(self) -> Sequence[Problem]:
        """Load the policy's files and the keys again: all of them, or, with what is wrong with them, nothing."""
        async with self._reloading:
            self.notify.reloading()
            problems = await self._background.run(self._read_again)
            self.metrics.policy(not problems, self.policies.loaded_at)
            if problems:
                _tell_problems("the rule files have errors: the old policy stays in force", problems)
                self._tell_files(problems)
            else:
                _log.info("policy reloaded", policy=self.policies.current.version)
                self._started_on_bad_files = False
                if self._bad_files:
                    self._tell_files(())
                self._tell_policy()
                self._look()
            self.notify.ready()
            return problems

    def _read_again(self) -> Sequence[Problem]:
        try:
            listed = self._listed_keys()
        except KeysError as error:
            return (Problem(str(self.settings.links.keys_file), 1, 1, str(error)),)
        problems = self.policies.reload()
        if listed and not problems:
            redaction.hide(listed)
            self.keys.replace(listed)
        return problems

    def _listed_keys(self) -> tuple[str, ...]:
        """The keys that the settings' file lists; () where they name none, and the store's own counts."""
        file = self.settings.links.keys_file
        return () if file is None else read_keys(file)

    def request_reload(self) -> None:
        """For a signal handler: reload soon."""

        async def reload() -> None:
            await self.reload()

        self.supervisor.start("reload", reload())

    def _tell_files(self, problems: Sequence[Problem]) -> None:
        """Raise, or end, ticketd's own alerts about the rule files; at start also those of the process before."""
        self._bad_files = bool(problems)
        at_start = self._started_on_bad_files
        self._files_report.tell(own.rule_files(problems, self.clock.now(), at_start=at_start))

    def _tell_policy(self) -> None:
        """Have what stands judged anew by the policy in force."""
        self._policy_report.tell(PolicyLoaded(self.policies.current.version))

    def _look(self) -> None:
        """Look at what the policy in force says; never again once it ends."""
        if self.health.draining:
            return
        if self._here is not None:
            self._here.adopt()
        elif self.policies.current.probes:
            from daemon.probing.here import Here  # noqa: PLC0415 - who probes nothing need not hold what probes

            self._here = Here(self)
            self._here.start()

    async def _look_no_more(self, seconds: float) -> None:
        """What was seen last is still taken, if that can be within `seconds`; whatever fails, the rest still ends."""
        here, self._here = self._here, None
        if here is None:
            return
        try:
            await within(self.clock, seconds + SHUTDOWN_S, here.close(seconds))
        except Exception:  # noqa: BLE001 - messages in flight are still to be brought to an end
            _log.exception("what looks could not be ended")

    # ---- ending
    async def drain(self) -> None:
        """Take nothing more (503), commit what was taken, deliver what is in flight, all within `limits.drain`."""
        self.health.draining = True
        await self._look_no_more(LAST_RESULTS_S)
        self.ingest.draining = True
        if self.mailroom is not None:
            self.mailroom.drain()
        self.notify.stopping()
        started = self.clock.monotonic()
        grace_s = self.settings.limits.drain / SECOND
        _log.info("draining", grace_s=grace_s)
        try:
            await within(self.clock, grace_s, self.ingest.settled())
        except TimeoutError:
            _log.error("the store did not take what was queued; its senders were not answered 2xx")
        await self.outbox.drain(max(0.0, grace_s - (self.clock.monotonic() - started)))

    async def stop(self) -> None:
        """Close everything. Safe after a failed `start`."""
        if self.server is not None:
            await self.server.close(SHUTDOWN_S)
        await self._look_no_more(0.0)
        if hasattr(self, "ingest"):
            self.ingest.draining = True
        await self.supervisor.stop()
        if self.mailroom is not None:
            self.mailroom.close()
        await self.feeds.close()
        for kind, notifier in self.notifiers.items():
            try:
                await within(self.clock, SHUTDOWN_S, notifier.close())
            except Exception:  # noqa: BLE001 - the others are still to be closed
                _log.exception("a notifier could not be closed", kind=kind)
        if self._reading is not None:
            self._reading.close()
        if hasattr(self, "store") and self._given_store is None:
            await self.executor.run(self.store.close)
        self.executor.close()
        self._background.close()
        _log.info("stopped")


def _tell_problems(what: str, problems: Sequence[Problem]) -> None:
    _log.error(what, problems=[str(one) for one in problems[:PROBLEMS_LOGGED_MAX]], count=len(problems))
