"""`ticketd run --only probes`: a location that looks, and reports to the daemon that keeps the tickets.

The one law: nothing is decided here and no ticket is kept; what was seen is on the disk before it is reported, and goes
in the order in which it was seen. It has rule files of its own, of which only the probes count, and its own troubles
are told by its log and its metrics, since whoever would make tickets of them may be what cannot be reached.
"""

import asyncio
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import structlog

from connectors.kinds import Kinds, load
from daemon import __version__
from daemon.auth import Auth
from daemon.clock import Clock, SystemClock
from daemon.config import Settings
from daemon.executor import Executor, Inline, OwnedThread
from daemon.feed_copies import copies
from daemon.health import Health
from daemon.logs import redaction
from daemon.metrics import Metrics
from daemon.notify import Notify
from daemon.policies import Policies
from daemon.probe_settings import HERE, ReportSettings
from daemon.probing.leases import Leases
from daemon.probing.looking import Looking
from daemon.probing.relay import Relay, Sender
from daemon.probing.reporting import Reporting, SpoolSink
from daemon.store.store import Store
from daemon.tasks import Supervisor, within
from daemon.web.app import build_probes_only
from daemon.web.server import Server
from daemon.wiring import feeds_of, language_kinds, secrets_of, snapshot_of
from rules.events import AlertsReceived
from rules.instants import SECOND
from rules.language import Problem

PROBLEMS_LOGGED_MAX: Final = 20
SHUTDOWN_S: Final = 3.0  # for answers on their way out when the listener closes
LAST_RESULTS_S: Final = 5.0  # for what was seen last to be on the disk

_log = structlog.get_logger("daemon.probing")


def unfit(settings: Settings) -> Iterator[str]:
    """Why these settings are not those of a location that only probes."""
    if settings.report_to is None:
        yield "[report_to] is missing: --only probes needs the url of the ticketd to report to, and a token"
    if settings.probing.location == HERE:
        yield (
            f'probing.location is "{HERE}", which is where the tickets are kept: give this location a name of its own, '
            'such as "fra"'
        )
    bundle = None if settings.report_to is None else settings.report_to.ca_bundle
    if bundle is not None:
        try:
            ssl.create_default_context(cafile=bundle)
        except OSError as error:
            yield f"report_to.ca_bundle: {bundle} holds no certificates that can be read: {error.strerror or error}"


class Satellite:
    """The running process. `start`, then `serve`; `drain` and `stop` at the end."""

    store: Store
    _relay: Relay
    _leases: Leases
    _reporting: Reporting
    _looking: Looking | None = None

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        executor: Executor | None = None,
        store: Store | None = None,
        kinds: Kinds | None = None,
        sender: Sender | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Opens nothing. Raises ValueError for settings that are `unfit`."""
        if (problems := list(unfit(settings))) or settings.report_to is None:
            raise ValueError("; ".join(problems))
        self.settings = settings
        self._report_to: ReportSettings = settings.report_to
        self.clock = clock or SystemClock()
        self._kinds = kinds or load()
        self._executor = executor or OwnedThread("store")
        self._background: Executor = Inline() if isinstance(self._executor, Inline) else OwnedThread("background")
        self._given_store = store
        self._sender = sender
        self.metrics = Metrics()
        self.supervisor = Supervisor(self.clock, lambda name: self.metrics.task_failures.labels(name).inc())
        self.health = Health(self.clock, self.supervisor, self.metrics, keeps_tickets=False, also=self._to_be_mended)
        self.auth = Auth(settings)
        self.policies = Policies(
            settings.rules,
            language_kinds(settings, self._kinds),
            self.clock,
            snapshot=snapshot_of(settings),
            feeds=lambda: copies(settings.calendars, feeds_of(settings)),
        )
        self._notify = Notify(environ, self.clock)
        self._server: Server | None = None
        self._reloading = asyncio.Lock()
        redaction.hide(secrets_of(settings))

    # ---- beginning
    async def start(self, *, strict: bool = False) -> None:
        """Load the policy, open the store, begin to look.

        Raises what `Policies.load_first` and `Store.open` raise: the process should then end, saying why.
        """
        problems = await self._background.run(partial(self.policies.load_first, strict=strict))
        self.metrics.policy(self.policies.last_ok, self.policies.loaded_at)
        self.health.policy_loaded = True
        given = self._given_store
        self.store = await self._executor.run(Store.open, self.settings.store) if given is None else given
        await self._executor.run(self.store.ping, self.clock.now())
        self.health.store_ok()
        self._relay = Relay(
            self._report_to, self.store, self._executor, self.clock, self.metrics, self._sender
        )  # fmt: skip
        await self._relay.load()
        sink = SpoolSink(self.store, self._executor, self.clock, self._relay.kept)
        self._reporting = Reporting(sink, self.clock, self.metrics)
        alone = self.settings.store.startswith("sqlite:")
        self._leases = Leases(self.store, self._executor, self.clock, self.clock.token(), alone=alone)
        self._looking = Looking(
            self.settings, self._kinds, self.policies, self.clock, self.supervisor, self.metrics,
            keeper=False, report=self._reporting, leases=self._leases, tell=tell,
        )  # fmt: skip
        keep = self.supervisor.keep
        keep("health", partial(self.health.beat, self._notify))
        keep("store ping", partial(self.health.ping, self._executor, self.store))
        keep("relay", self._relay.run)
        self._looking.start()
        if problems:
            _tell_problems("the rule files have errors: the last good ones, or none, are in force", problems)
        if _readable(self._report_to.url):
            _log.warning("the token of [report_to] travels readable to another machine: use https, or a private way")
        policy = self.policies.current
        _log.info(
            "started",
            version=__version__, policy=policy.version, location=self.settings.probing.location,
            probes=len(policy.probes), reports_to=self._report_to.url, waiting=self._relay.waiting,
        )  # fmt: skip

    async def serve(self) -> tuple[str, int]:
        """Listen. The address that was bound. Raises ListenError when it cannot be."""
        self._server = Server(self, partial(build_probes_only, self))
        await self._server.start()
        host, port = self._server.addresses[0]
        self._notify.ready()
        _log.info("listening", host=host, port=port)
        return host, port

    # ---- while running
    async def reload(self) -> Sequence[Problem]:
        """Read the policy's files again: all of them, or, with what is wrong with them, nothing."""
        async with self._reloading:
            self._notify.reloading()
            problems = await self._background.run(self.policies.reload)
            self.metrics.policy(not problems, self.policies.loaded_at)
            if problems:
                _tell_problems("the rule files have errors: the old policy stays in force", problems)
            else:
                _log.info("policy reloaded", policy=self.policies.current.version)
                if self._looking is not None:
                    self._looking.adopt()
            self._notify.ready()
            return problems

    def request_reload(self) -> None:
        """For a signal handler: reload soon."""

        async def reload() -> None:
            await self.reload()

        self.supervisor.start("reload", reload())

    def _to_be_mended(self) -> Sequence[str]:
        """That the other daemon is away is its own matter; that it does not know us is ours."""
        relay = getattr(self, "_relay", None)
        return () if relay is None or relay.problem is None else (f"reports are refused: {relay.problem}",)

    # ---- ending
    async def drain(self) -> None:
        """Look no more, keep what was seen, and report what can be reported, all within `limits.drain`."""
        self.health.draining = True
        self._notify.stopping()
        started = self.clock.monotonic()
        grace_s = self.settings.limits.drain / SECOND
        _log.info("draining", grace_s=grace_s)
        await self._look_no_more(min(grace_s, LAST_RESULTS_S))
        try:
            await within(self.clock, max(0.0, grace_s - (self.clock.monotonic() - started)), self._relay.drain())
        except TimeoutError:
            _log.warning("not all was reported before the end: the rest is kept, and reported after the next start")

    async def _look_no_more(self, seconds: float) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            await looking.close()
            await self._reporting.drain(seconds)
            await self._leases.release()

    async def stop(self) -> None:
        """Close everything. Safe after a failed `start`."""
        if self._server is not None:
            await self._server.close(SHUTDOWN_S)
        await self._look_no_more(LAST_RESULTS_S)
        await self.supervisor.stop()
        if hasattr(self, "_relay"):
            await self._relay.close()
        if hasattr(self, "store") and self._given_store is None:
            await self._executor.run(self.store.close)
        self._executor.close()
        self._background.close()
        _log.info("stopped")


def _readable(url: str) -> bool:
    """Whether others on the way can read what is sent there."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        here = False
    return parts.scheme != "https" and not here


def tell(event: AlertsReceived) -> None:
    """What would be a ticket where tickets are kept is a line of the log here."""
    for alert in event.alerts:
        told = {"alert": alert.labels.get("alertname"), **alert.annotations}
        if alert.firing:
            _log.error("a trouble of this location", **told)
        else:
            _log.info("a trouble of this location has ended", **told)


def _tell_problems(what: str, problems: Sequence[Problem]) -> None:
    _log.error(what, problems=[str(one) for one in problems[:PROBLEMS_LOGGED_MAX]], count=len(problems))
