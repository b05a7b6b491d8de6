"""The targets that probes find for themselves: looked for again and again, and handed on when they have changed.

The one law: what was found last counts until another whole answer has come: a discovery that fails takes nobody's
targets away, and says so (a log line, a metric, an alert of ticketd's own). What cannot be a target of the probe's kind
is refused by name, and harms no other.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from connectors.kinds import load
from connectors.network.reach import Reach
from connectors.network.trial import UP, Credential, Failure, Trial
from connectors.probing.base import FOUND_MAX
from connectors.probing.base import Discovery as Finder
from connectors.probing.base import Probe as Kind
from daemon import own
from daemon.clock import Clock
from daemon.metrics import Metrics
from daemon.tasks import CANCEL_S_MAX, Supervisor, within
from rules.events import AlertsReceived
from rules.instants import MINUTE, SECOND, Instant, Span
from rules.policy import Discovery, Policy, Probe, ProbeTarget
from rules.probing import placed
from rules.words import listed

REFRESH: Final[Span] = MINUTE  # of a discovery that names none
FIND_S_MAX: Final = 30.0  # one look
AGAIN_S: Final = 5.0  # after a failure, then doubled, up to the discovery's own refresh
FINDING_MAX: Final = 20  # looks at a time
TELL_EVERY: Final[Span] = 5 * MINUTE  # the same trouble
JUDGED_AT_ONCE: Final = 200  # targets; then others have their turn

Problem = Callable[[Probe, str], str | None]

_log = structlog.get_logger("daemon.probing.targets")


def problems_of(kinds: Mapping[str, type[Kind]]) -> Problem:
    """Why a text, once put into the probe's template, cannot be a target of the probe's kind; or None."""

    def problem(probe: Probe, target: str) -> str | None:
        return kinds[probe.kind].target_problem(placed(probe, target))

    return problem


@dataclass(slots=True, eq=False)
class _Watch:
    """One discovery of one probe."""

    probe: str
    discovery: Discovery
    finder: Finder
    task: "asyncio.Task[None] | None" = None
    found: tuple[ProbeTarget, ...] | None = None  # None: it has not answered yet
    failures: int = 0
    why: str = ""  # it fails; "": it does not, or has not been asked yet

    @property
    def refresh_s(self) -> float:
        span: Span = getattr(self.discovery.options, "refresh", REFRESH) or REFRESH
        return span / SECOND


@dataclass(slots=True, eq=False)
class _Found:
    """What is known of one probe's targets."""

    probe: Probe
    watches: list[_Watch] = field(default_factory=list)
    carried: tuple[ProbeTarget, ...] = ()  # found by discoveries that have given way to others, until those answer
    refused: frozenset[str] = frozenset()
    turn: int = 0  # raised whenever what was found is put together anew
    told: str | None = None  # what the alert says, "" that it has ended; None: nothing was told in this life
    told_at: Instant = 0

    @property
    def answered(self) -> bool:
        """Whether each of its discoveries has."""
        return all(one.found is not None for one in self.watches)

    @property
    def every(self) -> tuple[ProbeTarget, ...]:
        """What counts of all that was found, whatever it is."""
        return (*(target for one in self.watches for target in one.found or ()), *self.carried)


class Targets:
    """All discoveries of the policy in force. `found`: probe id -> its targets; probes that find nothing are absent."""

    def __init__(  # noqa: PLR0913 - the composition root hands it what it needs, each by itself
        self,
        kinds: Mapping[str, type[Finder]],
        reach: Reach,
        credentials: Mapping[str, Credential],
        clock: Clock,
        supervisor: Supervisor,
        metrics: Metrics,
        changed: Callable[[], None],
        tell: Callable[[AlertsReceived], None],
        *,
        problem: Problem | None = None,
        runs: Callable[[Probe], bool] = lambda _probe: True,
    ) -> None:
        """`changed`: called when `found` has changed. `tell`: takes alerts of ticketd's own.

        `problem`: why a text cannot be a target of this probe, or None; by default as its kind says. `runs`: whether a
        probe looks from here; of others no targets are looked for.
        """
        self._kinds = kinds
        self._reach = reach
        self._credentials = credentials
        self._clock = clock
        self._supervisor = supervisor
        self._metrics = metrics
        self._changed = changed
        self._tell = tell
        self._problem = problem or problems_of(load().probes)
        self._runs = runs
        self._finding = asyncio.Semaphore(FINDING_MAX)
        self._known: dict[str, _Found] = {}
        self.found: dict[str, tuple[ProbeTarget, ...]] = {}

    def adopt(self, policy: Policy) -> None:
        """Another policy is in force. Discoveries that stay go on as they were; what was found before counts on."""
        wanted = {name: probe for name, probe in policy.probes.items() if probe.discoveries and self._runs(probe)}
        for name in self._known.keys() - wanted.keys():
            self._leave(self._known.pop(name))
        for name, probe in wanted.items():
            known = self._known.setdefault(name, _Found(probe))
            same = known.probe.kind == probe.kind and known.probe.template == probe.template
            known.probe = probe
            if not same:
                self.found.pop(name, None)  # what is a target of one kind may be none of another
            if self._watch(known) or not same:
                known.turn += 1  # what is being judged is judged anew
                self._supervisor.start(f"targets of {name}", self._take(known))

    def _watch(self, known: _Found) -> bool:
        """Begin and end looks as the probe's discoveries say now. Whether what one of them found counts no more."""
        left, watches = list(known.watches), []
        for one in known.probe.discoveries:
            watch = next((each for each in left if each.discovery == one), None)
            if watch is not None:
                left.remove(watch)
            else:
                watch = _Watch(known.probe.id, one, self._made(one))
                watch.task = self._supervisor.job(f"targets of {known.probe.id}", self._follow(known, watch))
            watches.append(watch)
        self._end(left)
        known.watches = watches
        known.carried = (*known.carried, *(target for one in left for target in one.found or ()))
        if known.answered:
            known.carried = ()
        return bool(left)

    def _made(self, discovery: Discovery) -> Finder:
        """With the credential that the discovery names itself: the probe's is for what it looks at."""
        name = getattr(discovery.options, "credentials", None)
        credential = None if name is None else self._credentials.get(name)
        return self._kinds[discovery.kind](discovery.options, self._reach, credential)

    def _leave(self, known: _Found) -> None:
        name = known.probe.id
        self._end(known.watches)
        self.found.pop(name, None)
        for gauge in (self._metrics.discovery_targets, self._metrics.discovery_refused):
            with suppress(KeyError):
                gauge.remove(name)
        if known.told:
            self._tell(own.discovery_failing(name, "", self._clock.now()))

    @staticmethod
    def _end(watches: Sequence[_Watch]) -> None:
        for one in watches:
            if one.task is not None:
                one.task.cancel()

    async def find_once(self, probe: Probe) -> tuple[ProbeTarget, ...]:
        """What this probe's discoveries find now. Raises Failure when one of them fails."""
        found: list[ProbeTarget] = []
        for one in probe.discoveries:
            finder = self._made(one)
            try:
                targets, trial = await self._look(finder)
            finally:
                await finder.close()
            if trial.outcome != UP:
                raise Failure(trial.outcome, f"{one.kind}: {trial.note}")
            found += targets
        wrong = await self._wrong(probe, found)
        _tell_refused(probe, wrong)
        return tuple(one for one in found if one.target not in wrong)

    async def close(self) -> None:
        """Ends every look, each within `CANCEL_S_MAX`; what was found stays."""
        tasks = [one.task for known in self._known.values() for one in known.watches if one.task is not None]
        self._known.clear()
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        try:
            await within(self._clock, CANCEL_S_MAX, asyncio.wait(tasks))
        except TimeoutError:
            left = [one for one in tasks if not one.done()]
            for one in left:
                one.cancel()
            _log.error("discoveries do not end, and are left behind", looks=len(left))

    # ---- looking
    async def _follow(self, known: _Found, watch: _Watch) -> None:
        """Look again and again, until this is cancelled."""
        try:
            while True:
                await self._once(known, watch)
                pause_s = watch.refresh_s
                if watch.failures:
                    pause_s = min(pause_s, AGAIN_S * 2 ** min(watch.failures - 1, 16))
                await self._clock.sleep(pause_s * (0.95 + self._clock.jitter() / 10))
        finally:
            await watch.finder.close()

    async def _once(self, known: _Found, watch: _Watch) -> None:
        try:
            async with self._finding:
                found, trial = await self._look(watch.finder)
        except Failure as failure:
            self._failed(watch, failure.reason)
        except Exception as error:  # noqa: BLE001 - a kind's own fault: logged, counted and told like any other failure
            _log.exception("a discovery failed", kind=watch.discovery.kind, probe=watch.probe)
            self._failed(watch, f"it failed itself: {type(error).__name__}")
        else:
            if trial.outcome != UP:
                self._failed(watch, trial.note)
            elif watch.failures:
                watch.failures, watch.why = 0, ""
                _log.info("targets can be found again", probe=watch.probe, kind=watch.discovery.kind)
            if found != watch.found:
                watch.found = found
                await self._take(known)
        self._say(known)

    async def _look(self, finder: Finder) -> tuple[tuple[ProbeTarget, ...], Trial]:
        """One look. A trial that failed and yet has targets: those of the parts that fail are what they were."""
        clock = self._clock
        trial = Trial("", labels={}, timeout_s=FIND_S_MAX, now=clock.now(), monotonic=clock.monotonic)
        try:
            found = tuple(await within(clock, FIND_S_MAX, finder.find(trial)))
        except TimeoutError:
            raise Failure("timeout", f"it did not answer within {FIND_S_MAX:g} s") from None
        if len(found) > FOUND_MAX:
            raise Failure("limit", f"it found {len(found)} targets, more than {FOUND_MAX}")
        return found, trial

    async def _take(self, known: _Found) -> None:
        """One of the probe's discoveries has found something else than before."""
        known.turn += 1
        turn, probe = known.turn, known.probe
        if known.answered:
            known.carried = ()
        right = {one.target for one in self.found.get(probe.id, ())}  # as was seen before
        wrong = await self._wrong(probe, [one for one in known.every if one.target not in right])
        if known.turn == turn and self._known.get(probe.id) is known:  # else it is done again
            self._compose(known, wrong)

    async def _wrong(self, probe: Probe, targets: Sequence[ProbeTarget]) -> dict[str, str]:
        """Those that cannot be targets, and why; some at a time, so that others have their turn."""
        wrong: dict[str, str] = {}
        for start in range(0, len(targets), JUDGED_AT_ONCE):
            wrong.update(_wrong(self._problem, probe, targets[start : start + JUDGED_AT_ONCE]))
            await asyncio.sleep(0)
        return wrong

    def _compose(self, known: _Found, wrong: Mapping[str, str]) -> None:
        probe = known.probe
        fine = tuple(one for one in known.every if one.target not in wrong)
        self._metrics.discovery_targets.labels(probe.id).set(len(fine))
        self._metrics.discovery_refused.labels(probe.id).set(len(wrong))
        if wrong.keys() != known.refused:
            known.refused = frozenset(wrong)
            _tell_refused(probe, wrong)
        if self.found.get(probe.id, ()) == fine:
            return
        if fine:
            self.found[probe.id] = fine
        else:
            self.found.pop(probe.id, None)
        _log.info("the targets of a probe have changed", probe=probe.id, targets=len(fine))
        self._changed()

    # ---- telling
    def _failed(self, watch: _Watch, why: str) -> None:
        watch.failures += 1
        watch.why = why
        kind, found = watch.discovery.kind, watch.found
        kept = "nothing was found yet" if found is None else f"the {len(found)} targets found last count"
        _log.warning("a discovery fails", probe=watch.probe, kind=kind, why=why, kept=kept, failures=watch.failures)
        self._metrics.discovery_failures.labels(kind).inc()

    def _say(self, known: _Found) -> None:
        """Raise the probe's alert, or end it; the same once and then now and then, in case a person has ended it."""
        if any(one.found is None and not one.failures for one in known.watches):
            return  # not all is known yet
        why, now = "; ".join(f"{one.discovery.kind}: {one.why}" for one in known.watches if one.why), self._clock.now()
        if why == known.told and (not why or 0 <= now - known.told_at < TELL_EVERY):
            return
        known.told, known.told_at = why, now
        self._tell(own.discovery_failing(known.probe.id, why, now))


def _wrong(problem: Problem, probe: Probe, targets: Sequence[ProbeTarget]) -> Iterator[tuple[str, str]]:
    for one in targets:
        if (why := problem(probe, one.target)) is not None:
            yield one.target, why


def _tell_refused(probe: Probe, wrong: Mapping[str, str]) -> None:
    if wrong:
        first = next(iter(wrong.values()))
        _log.warning(
            "some of what was found can be no target", probe=probe.id, kind=probe.kind, count=len(wrong),
            targets=listed(wrong), why=first,
        )  # fmt: skip
