"""One look at one target: from a job to its samples, whatever happens on the way.

The one law: a look always ends, within its timeout, and with samples that say what was seen: whatever goes wrong inside
a kind, a library or a setting is a look that does not hold, with a word of `OUTCOMES` and a sentence, never an error
that somebody else has to deal with.
"""

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, Final

import structlog

from connectors import alerts
from connectors.network.reach import Reach
from connectors.network.trial import OUTCOMES, SERIES_MAX, UP, Credential, Failure, Trial
from connectors.probing.base import Probe
from connectors.sources.probe import FIELDS_MAX, NAME_CHARS_MAX
from daemon.clock import Clock
from daemon.metrics import Metrics
from daemon.probing.look import Look
from daemon.tasks import within
from rules import policy as policies
from rules.instants import SECOND, Instant, format_span
from rules.model import NOTE_CHARS_MAX, Labels, Sample
from rules.probing import OWN, Job
from rules.tickets.identity import fingerprint

CLOSE_S_MAX: Final = 5.0  # what a kind may take to release what it holds
TOLD_AGAIN_S: Final = 60.0  # an error inside a kind is logged whole once in so long
TOLD_MAX: Final = 1_000  # kinds of errors remembered as logged
EXPORTED: Final = "exported_"  # before a series' own label that would hide who looked at what
_NAME: Final = re.compile(rf"[a-zA-Z_][a-zA-Z0-9_]{{0,{NAME_CHARS_MAX - 1}}}", re.ASCII)

_log = structlog.get_logger("daemon.probing")


class _Held:
    """The instance of a kind that serves one probe, made when it is first needed; it is closed when nobody uses it."""

    __slots__ = ("instance", "retired", "running", "settings")

    def __init__(self, settings: tuple[object, ...]) -> None:
        self.settings = settings
        self.instance: Probe | None = None
        self.running = 0
        self.retired = False


class Runner:
    """Takes looks, many at a time."""

    def __init__(
        self,
        kinds: Mapping[str, type[Probe]],
        reach: Reach,
        credentials: Mapping[str, Credential],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`credentials`: of config.toml, by name."""
        self._kinds = kinds
        self._reach = reach
        self._credentials = credentials
        self._clock = clock
        self._metrics = metrics
        self._held: dict[str, _Held] = {}  # by the probe's id
        self._idle: list[Probe] = []  # that nobody needs any more
        self._told: dict[tuple[str, str], float] = {}

    def adopt(self, policy: policies.Policy) -> None:
        """Goes by these probes from now on. One whose kind, options and credentials are as before keeps its instance.

        What nobody needs any more is released by `tidy`, or by the last look that uses it.
        """
        before, self._held = self._held, {}
        for probe in policy.probes.values():
            settings = (probe.kind, probe.options, probe.credentials)
            held = before.get(probe.id)
            self._held[probe.id] = before.pop(probe.id) if held and held.settings == settings else _Held(settings)
        for held in before.values():
            self._retire(held)

    def _retire(self, held: _Held) -> None:
        held.retired = True
        if not held.running and held.instance is not None:
            self._idle.append(held.instance)
            held.instance = None

    @property
    def untidy(self) -> bool:
        """Whether there is anything for `tidy` to do."""
        return bool(self._idle)

    async def tidy(self) -> None:
        """Releases what no probe needs any more."""
        while self._idle:
            instance = self._idle.pop()
            try:
                await within(self._clock, CLOSE_S_MAX, instance.close())
            except Exception as error:  # noqa: BLE001 - it is gone either way, and that is said
                _log.warning("a kind of probe could not release what it held", error=type(error).__name__)

    async def close(self) -> None:
        """Releases everything. Looks that are running must have ended."""
        for held in self._held.values():
            self._retire(held)
        self._held = {}
        await self.tidy()

    def host(self, job: Job) -> str:
        """What the limit per host counts this job by; "": it bothers nobody."""
        try:
            return self._instance(self._of(job)).host(job.target)
        except Exception as error:  # noqa: BLE001 - its look fails too, and says why
            _log.debug("the host of a target is not known", kind=job.probe.kind, error=type(error).__name__)
            return ""

    async def look(self, job: Job) -> Look:
        """One look, now. Raises nothing but CancelledError."""
        clock, probe = self._clock, job.probe
        at = clock.now()
        trial = Trial(
            job.target, labels=job.labels, timeout_s=probe.timeout / SECOND, now=at, monotonic=clock.monotonic
        )
        held: _Held | None = None
        broken = False
        try:
            held = self._of(job)
            held.running += 1
            instance = self._instance(held)
            async with asyncio.timeout(trial.timeout_s) as alarm:
                await instance.look(trial)
            if alarm.expired():  # and the kind went on nevertheless
                broken = True
                trial.failed("timeout", _late(job, trial))
        except Failure as error:
            broken = True
            known = error.outcome in OUTCOMES and error.outcome != UP
            trial.failed(error.outcome if known else "failed", error.reason)
        except TimeoutError:
            broken = True
            trial.failed("timeout", _late(job, trial))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            broken = True  # something inside was cancelled, and not we
            trial.failed("failed", "the probe itself failed: it was broken off from inside")
        except Exception as error:  # noqa: BLE001 - the one place where a kind's mistake ends: logged, counted, told
            broken = True
            self._tell(job, error)
            trial.failed("failed", f"the probe itself failed: {type(error).__name__}; the log says more")
        finally:
            if held is not None:
                held.running -= 1
                if held.retired and not held.running:
                    self._retire(held)
                    await self.tidy()
        took_s = clock.monotonic() - trial.started_s
        note, samples = _samples(job, at, trial, took_s, broken=broken)
        self._metrics.probes.ran(probe.kind, trial.outcome, took_s)
        return Look(job, at, trial.outcome, note, samples, took_s, trial)

    def _of(self, job: Job) -> _Held:
        held = self._held.get(job.probe.id)
        if held is None:
            raise Failure("failed", "the policy in force has no such probe")
        return held

    def _instance(self, held: _Held) -> Probe:
        """Raises Failure where it cannot be made; the next look tries again, since a file may have come meanwhile."""
        if held.instance is None:
            kind, options, name = held.settings
            found = self._kinds.get(str(kind))
            if found is None:
                raise Failure("failed", f"there is no kind of probe {kind}")
            credential = None if name is None else self._credentials.get(str(name))
            if name is not None and credential is None:
                raise Failure("failed", f"config.toml has no [credentials.{name}]")
            held.instance = found(options, self._reach, credential)
        return held.instance

    def _tell(self, job: Job, error: Exception) -> None:
        """A mistake inside a kind comes with each of its targets: whole once a minute, a line at other times."""
        name, now = (job.probe.kind, type(error).__name__), self._clock.monotonic()
        told = self._told.get(name)
        if told is not None and now - told < TOLD_AGAIN_S:
            _log.debug("a probe failed inside", kind=name[0], probe=job.probe.id, error=name[1])
            return
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told[name] = now
        _log.error("a probe failed inside", kind=name[0], probe=job.probe.id, exc_info=error)


def _late(job: Job, trial: Trial) -> str:
    where = f" while in {trial.current}" if trial.current else ""
    return f"timed out after {format_span(job.probe.timeout)}{where}"


def _samples(job: Job, at: Instant, trial: Trial, took_s: float, *, broken: bool) -> tuple[str, tuple[Sample, ...]]:
    """The note, and the samples; `broken`: the look did not come to its end, and the phase it was in has not either."""
    up = trial.outcome == UP
    fields: dict[str, float] = {"up": 1.0, "latency_ms": _ms(took_s)} if up else {"up": 0.0}
    for phase, seconds in trial.phases.items():
        if not broken or phase != trial.current:
            fields[f"{phase}_ms"] = _ms(seconds)
    left_out = _add(fields, trial.fields) if trial.fields else 0
    more: list[Sample] = []
    if trial.series:
        left_out += _series(job, at, trial, more)
    note = trial.note
    if left_out:
        note = f"{note}; " if note else ""
        note += f"{left_out} of what was seen left out: no numbers, odd names, labels that cannot be kept, or too many"
    if note:
        note = _fit_note(note)
    return note, (Sample(job.fingerprint, job.labels, at, fields, note), *more)


def _series(job: Job, at: Instant, trial: Trial, more: list[Sample]) -> int:
    """Adds a sample for each series; how many had to be left out."""
    seen = {job.fingerprint}
    left_out = max(0, len(trial.series) - SERIES_MAX)
    for found in trial.series[:SERIES_MAX]:
        labels = _merged(job.labels, found.labels)
        fields: dict[str, float] = {}
        bad = _add(fields, found.fields)
        name = fingerprint(labels) if labels is not None and fields else None
        if labels is None or name is None or name in seen:
            left_out += 1
            continue
        left_out += bad
        seen.add(name)
        more.append(Sample(name, labels, at, fields))
    return left_out


def _merged(ours: Labels, own: Labels) -> dict[str, str] | None:
    """The labels of a series; None: they cannot be kept."""
    try:
        kept = {f"{EXPORTED}{name}" if name in OWN else name: value for name, value in own.items() if value}
        return alerts.fit_labels({**ours, **kept})
    except (alerts.UnfitError, UnicodeEncodeError):
        return None


def _add(fields: dict[str, float], given: Mapping[str, Any]) -> int:
    """Adds what can be a field; how many could not. What is there already stays."""
    left_out = 0
    for name, value in given.items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            left_out += 1
            continue
        if not isfinite(number) or not _fit_name(name) or len(fields) >= FIELDS_MAX:
            left_out += 1
        else:
            fields.setdefault(name, number)
    return left_out


@lru_cache(maxsize=4_096)
def _fit_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _fit_note(note: str) -> str:
    """Fit for the store: without U+0000 and lone surrogates, and not too long."""
    note = note.replace("\0", "␀").encode(errors="replace").decode()
    return note if len(note) <= NOTE_CHARS_MAX else f"{note[: NOTE_CHARS_MAX - 1]}…"


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 3)
