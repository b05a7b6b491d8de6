"""A look always ends with samples that say what was seen, whatever its kind does. In virtual time where time passes."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import pytest

from connectors.network.guard import Guard
from connectors.network.reach import Reach
from connectors.network.trial import SERIES_MAX, Credential, Failure, Found, Trial
from connectors.probing.base import Probe
from connectors.sources.probe import FIELDS_MAX
from daemon.metrics import Metrics
from daemon.probing.look import Look
from daemon.probing.runner import Runner
from rules import policy as policies
from rules.instants import SECOND, Instant
from rules.model import NOTE_CHARS_MAX
from rules.policy import Policy, ProbeTarget
from rules.probing import Job, jobs
from rules.typed import Shape
from tests.simulation.virtual import VirtualClock, VirtualLoop

START: Instant = 1_800_000_000 * SECOND
T = TypeVar("T")
Does = Callable[[Trial], Awaitable[None]]


class Script(Probe):
    """A kind that does what the test says."""

    Options: ClassVar[type[Shape]] = Shape
    does: ClassVar[Does]
    clock: ClassVar[VirtualClock]
    made: ClassVar[list["Script"]] = []
    closed: ClassVar[list["Script"]] = []

    def __init__(self, options: Any, reach: Reach, credential: Credential | None = None) -> None:
        if options == "bad":
            raise Failure("failed", "the files of these credentials cannot be used: not found")
        self.credential = credential
        type(self).made.append(self)

    @staticmethod
    def target_problem(target: str) -> str | None:
        return None

    def host(self, target: str) -> str:
        if target == "odd":
            raise ValueError("no host")
        return target.partition(":")[0]

    async def look(self, trial: Trial) -> None:
        await type(self).does(trial)

    async def close(self) -> None:
        type(self).closed.append(self)


async def passes(seconds: float) -> None:
    """Time does, virtually."""
    await Script.clock.sleep(seconds)


PROBE = policies.Probe("p", "script", None, targets=(ProbeTarget("db:1", {"region": "eu"}),))


class Stage:
    """A runner and its clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.clock = Script.clock = VirtualClock(loop, START, 1)
        self.metrics = Metrics()
        kinds: dict[str, Any] = {"script": Script}
        self.runner = Runner(
            kinds,
            Reach(Guard()),
            {"shop": Credential("shop", "amina", "secret")},
            self.clock,
            self.metrics,
        )

    def adopt(self, *probes: policies.Probe) -> tuple[Job, ...]:
        policy = Policy(probes={one.id: one for one in probes})
        self.runner.adopt(policy)
        return jobs(policy, "main", keeper=True, found={})

    def counted(self, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "ticketd_probe_runs_total", {"kind": "script", "outcome": outcome}
        )


def staged(story: Callable[[Stage], Coroutine[Any, Any, T]]) -> T:
    """Plays in virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(story(Stage(loop)))
    finally:
        loop.close()


def looked(does: Does, probe: policies.Probe = PROBE) -> Look:
    """One look of a kind that does this."""

    async def story(stage: Stage) -> Look:
        (job,) = stage.adopt(probe)
        look = await stage.runner.look(job)
        assert stage.counted(look.outcome) == 1
        await stage.runner.close()
        return look

    Script.does = staticmethod(does)
    return staged(story)


@pytest.fixture(autouse=True)
def _nobody() -> None:
    Script.made.clear()
    Script.closed.clear()


def test_a_look_that_holds_is_a_sample_with_its_phases_and_fields() -> None:
    async def does(trial: Trial) -> None:
        with trial.phase("dns"):
            await passes(0.25)
        with trial.phase("connect"):
            await passes(0.5)
        trial.fields["days_left"] = 12

    look = looked(does)
    (sample,) = look.samples
    assert sample.fields == {"up": 1, "latency_ms": 750, "dns_ms": 250, "connect_ms": 500, "days_left": 12}
    assert sample.labels == {"probe": "p", "kind": "script", "location": "main", "target": "db:1", "region": "eu"}
    assert sample.at == look.at == START
    assert (look.outcome, look.note, sample.note, look.took_s) == ("up", "", "", 0.75)


def test_a_failure_is_its_word_and_its_sentence_with_the_phases_that_ended() -> None:
    async def does(trial: Trial) -> None:
        with trial.phase("dns"):
            await passes(0.25)
        with trial.phase("connect"):
            await passes(0.5)
            raise Failure("refused", "connecting to 192.0.2.1 port 1: connection refused")

    look = looked(does)
    assert look.outcome == "refused"
    assert look.note == look.samples[0].note == "connecting to 192.0.2.1 port 1: connection refused"
    assert look.samples[0].fields == {"up": 0, "dns_ms": 250}


def test_a_check_that_does_not_hold_keeps_what_was_measured() -> None:
    async def does(trial: Trial) -> None:
        with trial.phase("tls"):
            await passes(0.1)
        trial.fields["days_left"] = 3.0
        trial.check("days left", held=False, said="3 days are left, and 14 are wanted", outcome="certificate")

    look = looked(does)
    assert look.samples[0].fields == {"up": 0, "tls_ms": 100, "days_left": 3}
    assert (look.outcome, look.note) == ("certificate", "3 days are left, and 14 are wanted")


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_timeout_ends_it_and_says_where_it_was(stubborn: bool) -> None:
    async def does(trial: Trial) -> None:
        with trial.phase("connect"):
            await passes(1)
        with trial.phase("transfer"):
            try:
                await passes(100)
            except asyncio.CancelledError:
                if not stubborn:
                    raise

    look = looked(does)
    assert look.took_s == 10
    assert look.outcome == "timeout"
    assert look.note == ("timed out after 10s" if stubborn else "timed out after 10s while in transfer")
    assert look.samples[0].fields["up"] == 0
    assert ("transfer_ms" in look.samples[0].fields) is stubborn


def test_a_timeout_of_a_library_is_a_timeout() -> None:
    async def does(trial: Trial) -> None:
        with trial.phase("query"):
            raise TimeoutError

    assert looked(does).note == "timed out after 10s while in query"


def test_a_mistake_inside_a_kind_is_a_look_that_failed_and_tells_no_secret() -> None:
    async def does(trial: Trial) -> None:
        raise KeyError("password: hunter2")

    look = looked(does)
    assert look.outcome == "failed"
    assert look.note == "the probe itself failed: KeyError; the log says more"


def test_a_word_that_nobody_knows_is_failed() -> None:
    async def does(trial: Trial) -> None:
        raise Failure("gremlins", "there are gremlins in it")

    look = looked(does)
    assert (look.outcome, look.note) == ("failed", "there are gremlins in it")


def test_something_cancelled_inside_is_no_cancelling_of_the_look() -> None:
    async def does(trial: Trial) -> None:
        inner: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    assert looked(does).outcome == "failed"


def test_a_look_that_is_cancelled_is_cancelled() -> None:
    async def does(trial: Trial) -> None:
        await passes(5)

    async def story(stage: Stage) -> None:
        (job,) = stage.adopt(PROBE)
        task = asyncio.ensure_future(stage.runner.look(job))
        await passes(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stage.counted("failed") is None
        await stage.runner.close()

    Script.does = staticmethod(does)
    staged(story)
    assert Script.closed == Script.made


def test_only_finite_numbers_with_proper_names_are_fields() -> None:
    async def does(trial: Trial) -> None:
        trial.fields |= {
            "fine": 1.5, "whole": 2, "nan": math.nan, "inf": math.inf, "huge": 10**400, "no-name": 1.0, "9th": 1.0,
            "n" * 101: 1.0, "up": 0.0, "latency_ms": 5.0,
        }  # fmt: skip

    look = looked(does)
    assert look.samples[0].fields == {"up": 1, "latency_ms": 0, "fine": 1.5, "whole": 2}
    assert look.outcome == "up"
    assert look.note.startswith("6 of what was seen left out")


def test_fields_have_an_end() -> None:
    async def does(trial: Trial) -> None:
        trial.fields |= {f"f{number}": 1.0 for number in range(FIELDS_MAX + 10)}

    look = looked(does)
    assert len(look.samples[0].fields) == FIELDS_MAX
    assert look.note.startswith("12 of what")


def test_notes_are_cut_and_fit_for_the_store() -> None:
    async def does(trial: Trial) -> None:
        raise Failure("answer", "it said \0 and \udc80 " + "x" * 5_000)

    note = looked(does).note
    assert len(note) == NOTE_CHARS_MAX
    assert note.startswith("it said ␀ and ? x")
    assert note.endswith("x…")


def test_each_series_is_a_sample_beside_the_targets_own() -> None:
    async def does(trial: Trial) -> None:
        trial.fields["series"] = 2.0
        trial.series = [
            Found({"pod": "a", "region": "us"}, {"value": 1.0}),
            Found({"pod": "b", "target": "their own", "empty": ""}, {"value": 2.0}),
        ]

    look = looked(does)
    own, first, second = look.samples
    assert own.fields["series"] == 2
    assert first.fields == {"value": 1}
    assert first.labels == {**own.labels, "pod": "a", "region": "us"}
    assert second.labels == {**own.labels, "pod": "b", "exported_target": "their own"}
    assert len({one.fingerprint for one in look.samples}) == 3
    assert look.note == ""


def test_series_that_cannot_be_kept_are_left_out_and_counted() -> None:
    async def does(trial: Trial) -> None:
        trial.series = [
            Found({}, {"value": 1.0}),  # the target's own
            Found({"pod": "a"}, {"value": 1.0}),
            Found({"pod": "a"}, {"value": 2.0}),
            Found({"pod": "b"}, {"value": math.nan}),
            Found({"pod": "\udc80"}, {"value": 1.0}),
            Found({"pod": "x" * 100_000}, {"value": 1.0}),
        ]

    look = looked(does)
    assert [one.fields for one in look.samples[1:]] == [{"value": 1}]
    assert look.note.startswith("5 of what")


def test_series_have_an_end() -> None:
    async def does(trial: Trial) -> None:
        trial.series = [Found({"n": str(number)}, {"value": 1.0}) for number in range(SERIES_MAX + 3)]

    look = looked(does)
    assert len(look.samples) == 1 + SERIES_MAX
    assert look.note.startswith("3 of what")


async def fine(trial: Trial) -> None:
    """Everything holds."""


def test_credentials_are_taken_by_name() -> None:
    looked(fine, replace(PROBE, credentials="shop"))
    assert [one.credential and one.credential.username for one in Script.made] == ["amina"]


@pytest.mark.parametrize(
    ("probe", "note"),
    [
        (replace(PROBE, credentials="gone"), "config.toml has no [credentials.gone]"),
        (replace(PROBE, options="bad"), "the files of these credentials cannot be used: not found"),
    ],
)
def test_what_is_missing_when_it_runs_is_said(probe: policies.Probe, note: str) -> None:
    look = looked(fine, probe)
    assert (look.outcome, look.note) == ("failed", note)


def test_a_kind_that_is_not_there_is_said() -> None:
    async def story(stage: Stage) -> Look:
        (job,) = stage.adopt(replace(PROBE, kind="telepathy"))
        assert stage.runner.host(job) == ""
        return await stage.runner.look(job)

    assert staged(story).note == "there is no kind of probe telepathy"


def test_a_probe_that_no_file_has_any_more_is_said() -> None:
    async def story(stage: Stage) -> Look:
        (job,) = stage.adopt(PROBE)
        stage.adopt()
        return await stage.runner.look(job)

    assert staged(story).note == "the policy in force has no such probe"


def test_the_host_is_asked_of_the_kind() -> None:
    async def story(stage: Stage) -> list[str]:
        there = stage.adopt(replace(PROBE, targets=(ProbeTarget("db:1"), ProbeTarget("odd"))))
        return [stage.runner.host(one) for one in there]

    assert staged(story) == ["db", ""]


def test_a_reload_keeps_the_instance_of_what_did_not_change_and_releases_the_others() -> None:
    async def story(stage: Stage) -> None:
        other = replace(PROBE, id="q")
        for job in stage.adopt(PROBE, other):
            await stage.runner.look(job)
        kept, changed = Script.made
        stage.adopt(replace(PROBE, interval=SECOND), replace(other, options="new"))
        await stage.runner.tidy()
        assert Script.closed == [changed]
        for job in stage.adopt(replace(PROBE, interval=SECOND), replace(other, options="new")):
            await stage.runner.look(job)
        assert len(Script.made) == 3
        await stage.runner.close()
        assert set(Script.closed) == set(Script.made)
        assert Script.closed.count(kept) == 1

    Script.does = staticmethod(fine)
    staged(story)


def test_what_is_in_use_is_released_by_the_last_look_that_uses_it() -> None:
    async def does(trial: Trial) -> None:
        await passes(5)

    async def story(stage: Stage) -> None:
        (job,) = stage.adopt(PROBE)
        running = asyncio.ensure_future(stage.runner.look(job))
        await passes(1)
        stage.adopt()
        assert not stage.runner.untidy
        assert Script.closed == []
        assert (await running).outcome == "up"
        assert Script.closed == Script.made

    Script.does = staticmethod(does)
    staged(story)
