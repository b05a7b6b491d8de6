"""Targets that probes find: what counts while a discovery fails, what changes reach the scheduler, who is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from connectors.network.guard import Guard
from connectors.network.reach import Reach
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Discovery
from daemon.metrics import Metrics
from daemon.probing import targets as module
from daemon.probing.targets import Targets, problems_of
from daemon.tasks import CANCEL_S_MAX, Supervisor
from rules import policy as nouns
from rules.events import AlertsReceived
from rules.instants import MINUTE, SECOND
from rules.policy import Policy, Probe, ProbeTarget
from rules.typed import LongSpanText, Shape
from tests.daemon.house import HandClock, settle

Said = Sequence[str] | Exception | None  # None: no answer ever


class Fake(Discovery):
    """Finds what the test says; `of` names which."""

    class Options(Shape):
        of: str = "hosts"
        refresh: LongSpanText = MINUTE
        credentials: str | None = None

    summary: ClassVar[str] = "a test's"
    says: ClassVar[dict[str, Said]]
    partly: ClassVar[dict[str, str]]  # what fails beside what is found
    looked: ClassVar[list[tuple[str, float]]]
    closed: ClassVar[list[str]]
    proofs: ClassVar[list[Credential | None]]

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        self._of = options.of
        self.proofs.append(credential)

    async def find(self, trial: Trial) -> Sequence[ProbeTarget]:
        self.looked.append((self._of, trial.monotonic() - 1_000))
        said = self.says[self._of]
        if said is None:
            await asyncio.Event().wait()
        if isinstance(said, Exception):
            raise said
        if self._of in self.partly:
            trial.failed("body", self.partly[self._of])
        return [ProbeTarget(one) for one in said or ()]

    async def close(self) -> None:
        if self._of == "stuck":
            await asyncio.Event().wait()
        self.closed.append(self._of)


def options(of: str = "hosts", refresh: str = "1m") -> nouns.Discovery:
    return nouns.Discovery("fake", Fake.Options.model_validate({"of": of, "refresh": refresh}))


def probe(name: str = "web", *found: nouns.Discovery, **more: Any) -> Probe:
    return Probe(name, "tcp", None, discoveries=found or (options(),), **more)


def policy(*probes: Probe) -> Policy:
    return Policy(probes={one.id: one for one in probes})


class House:
    """The targets of a daemon, and whom they told what."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.metrics = Metrics()
        self.supervisor = Supervisor(self.clock)
        self.changes = 0
        self.told: list[tuple[str, bool, str]] = []
        credential = Credential("inventory", token="T0KEN")
        self.targets = Targets(
            {"fake": Fake}, Reach(Guard()), {"inventory": credential}, self.clock, self.supervisor, self.metrics,
            self._changed, self._tell, problem=lambda _, text: "it is bad" if text.startswith("bad") else None,
        )  # fmt: skip

    def _changed(self) -> None:
        self.changes += 1

    def _tell(self, event: AlertsReceived) -> None:
        (alert,) = event.alerts
        assert alert.labels["alertname"] == "TicketdDiscoveryFailing"
        self.told.append((alert.labels["probe"], alert.firing, alert.annotations["description"]))

    async def adopt(self, *probes: Probe) -> None:
        self.targets.adopt(policy(*probes))
        await settle()

    def found(self, name: str = "web") -> list[str]:
        return [one.target for one in self.targets.found.get(name, ())]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"ticketd_{name}", labels)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    Fake.says, Fake.partly, Fake.looked, Fake.closed, Fake.proofs = {"hosts": ["a:1", "b:1"]}, {}, [], [], []
    made = House()
    yield made
    await made.targets.close()
    assert not made.supervisor._jobs


# ---------------------------------------------------------------- what is found
async def test_what_is_found_is_handed_on_and_looked_for_again_at_its_refresh(house: House) -> None:
    await house.adopt(probe())
    assert (house.found(), house.changes) == (["a:1", "b:1"], 1)
    Fake.says["hosts"] = ["b:1", "c:1"]
    await house.clock.advance(59)
    assert house.changes == 1
    await house.clock.advance(1)
    assert (house.found(), house.changes) == (["b:1", "c:1"], 2)
    await house.clock.advance(600)
    assert house.changes == 2, "the same again is no change"
    assert [when for _, when in Fake.looked] == [60.0 * n for n in range(12)]
    assert house.metric("discovery_targets", probe="web") == 2


async def test_a_probe_without_discoveries_is_none_of_its_business(house: House) -> None:
    await house.adopt(Probe("web", "tcp", None, targets=(ProbeTarget("a:1"),)))
    assert not house.targets.found
    assert not Fake.looked


async def test_several_discoveries_of_a_probe_are_put_together_in_their_order(house: House) -> None:
    Fake.says |= {"more": ["c:1"]}
    await house.adopt(probe("web", options("more"), options("hosts")))
    assert house.found() == ["c:1", "a:1", "b:1"]


async def test_two_probes_look_each_for_itself(house: House) -> None:
    Fake.says |= {"more": ["c:1"]}
    await house.adopt(probe(), probe("db", options("more")))
    assert (house.found(), house.found("db")) == (["a:1", "b:1"], ["c:1"])


async def test_a_whole_answer_without_targets_is_believed(house: House) -> None:
    await house.adopt(probe())
    Fake.says["hosts"] = []
    await house.clock.advance(60)
    assert (house.found(), house.changes, house.told) == ([], 2, [("web", False, "They are found again.")])


async def test_who_asks_proves_himself_by_the_discovery_s_credentials_and_never_by_the_probe_s(house: House) -> None:
    named = nouns.Discovery("fake", Fake.Options(credentials="inventory"))
    await house.adopt(probe("web", named), probe("db", credentials="inventory"))
    assert [None if one is None else one.token for one in Fake.proofs] == ["T0KEN", None]


async def test_for_a_probe_that_looks_from_elsewhere_nothing_is_looked_for(house: House) -> None:
    house.targets._runs = lambda one: one.id == "web"
    await house.adopt(probe(), probe("db"))
    assert (house.found(), house.found("db"), len(Fake.looked)) == (["a:1", "b:1"], [], 1)


# ---------------------------------------------------------------- what is no target
async def test_what_can_be_no_target_is_refused_by_name_and_harms_no_other(house: House) -> None:
    Fake.says["hosts"] = ["a:1", "bad\n1", "b:1", "bad2"]
    with capture_logs() as lines:
        await house.adopt(probe())
        await house.clock.advance(120)
    assert house.found() == ["a:1", "b:1"]
    assert house.metric("discovery_refused", probe="web") == 2
    (line,) = [one for one in lines if one["log_level"] == "warning"]
    assert (line["count"], line["why"], line["targets"]) == (2, "it is bad", "bad\\n1, bad2"), "said once"
    Fake.says["hosts"] = ["a:1"]
    await house.clock.advance(60)
    assert house.metric("discovery_refused", probe="web") == 0


async def test_many_are_judged_in_parts(house: House) -> None:
    Fake.says["hosts"] = [f"{'bad' if n % 10 == 0 else 'h'}{n}:1" for n in range(5_000)]
    await house.adopt(probe())
    assert (len(house.found()), house.metric("discovery_refused", probe="web")) == (4_500, 500)


async def test_more_than_can_be_looked_at_is_a_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOUND_MAX", 1)
    await house.adopt(probe())
    assert house.found() == []
    assert "found 2 targets, more than 1" in house.told[0][2]


def test_a_target_is_judged_as_the_probe_looks_at_it() -> None:
    class Kind:
        @staticmethod
        def target_problem(target: str) -> str | None:
            return None if target.startswith("https://") else "no URL"

    problem = problems_of({"tcp": Kind})  # type: ignore[dict-item]
    plain, made = probe(), probe(template="https://{target}/health")
    assert (problem(plain, "a:1"), problem(made, "a:1")) == ("no URL", None)


# ---------------------------------------------------------------- failures
async def test_while_it_fails_what_was_found_last_counts_and_people_are_told(house: House) -> None:
    await house.adopt(probe())
    Fake.says["hosts"] = Failure("refused", "inventory.example.test: connection refused")
    with capture_logs() as lines:
        await house.clock.advance(60)
    assert (house.found(), house.changes) == (["a:1", "b:1"], 1)
    assert house.told[1:] == [("web", True, "fake: inventory.example.test: connection refused")]
    assert house.metric("discovery_failures_total", kind="fake") == 1
    (line,) = [one for one in lines if one["log_level"] == "warning"]
    assert line["kept"] == "the 2 targets found last count"
    Fake.says["hosts"] = ["a:1"]
    await house.clock.advance(60)
    assert (house.found(), house.told[-1]) == (["a:1"], ("web", False, "They are found again."))


async def test_after_a_failure_it_is_looked_again_sooner_and_then_patiently(house: House) -> None:
    Fake.says["hosts"] = Failure("timeout", "nobody answers")
    await house.adopt(probe())
    await house.clock.advance(200)
    assert [when for _, when in Fake.looked] == [0, 5, 15, 35, 75, 135, 195]


async def test_the_same_failure_is_told_now_and_then_and_another_at_once(house: House) -> None:
    Fake.says["hosts"] = Failure("timeout", "nobody answers")
    await house.adopt(probe())
    await house.clock.advance(299)
    assert len(house.told) == 1
    await house.clock.advance(60)
    assert len(house.told) == 2, "in case somebody has ended it by hand"
    Fake.says["hosts"] = Failure("answer", "it answers nonsense")
    await house.clock.advance(60)
    assert [why for _, _, why in house.told[2:]] == ["fake: it answers nonsense"]


async def test_no_answer_is_a_failure_after_a_while(house: House) -> None:
    Fake.says["hosts"] = None
    await house.adopt(probe())
    await house.clock.advance(29.9)
    assert not house.told
    await house.clock.advance(0.1)
    assert house.told == [("web", True, "fake: it did not answer within 30 s")]


async def test_a_fault_of_the_kind_itself_is_logged_and_told_and_does_not_end_the_looking(house: House) -> None:
    Fake.says["hosts"] = RuntimeError("a fault")
    with capture_logs() as lines:
        await house.adopt(probe())
    assert [one["event"] for one in lines if one["log_level"] == "error"] == ["a discovery failed"]
    assert house.told == [("web", True, "fake: it failed itself: RuntimeError")]
    Fake.says["hosts"] = ["a:1"]
    await house.clock.advance(5)
    assert house.found() == ["a:1"]


async def test_one_that_fails_in_part_brings_what_it_has_and_says_so(house: House) -> None:
    Fake.partly["hosts"] = "b.json is not JSON"
    await house.adopt(probe())
    assert (house.found(), house.told) == (["a:1", "b:1"], [("web", True, "fake: b.json is not JSON")])
    Fake.partly.clear()
    await house.clock.advance(5)
    assert house.told[1:] == [("web", False, "They are found again.")]


async def test_one_of_several_that_fails_takes_nothing_from_the_others(house: House) -> None:
    Fake.says |= {"more": Failure("name", "no such host")}
    await house.adopt(probe("web", options(), options("more")))
    assert (house.found(), house.told) == (["a:1", "b:1"], [("web", True, "fake: no such host")])
    Fake.says["hosts"] = ["c:1"]
    await house.clock.advance(60)
    assert house.found() == ["c:1"]


async def test_one_that_has_not_answered_yet_keeps_nobody_from_being_looked_at(house: House) -> None:
    Fake.says |= {"more": None}
    await house.adopt(probe("web", options(), options("more")))
    assert (house.found(), house.told) == (["a:1", "b:1"], [])


# ---------------------------------------------------------------- another policy
async def test_a_reload_that_changes_nothing_looks_for_nothing_anew(house: House) -> None:
    await house.adopt(probe())
    await house.clock.advance(30)
    await house.adopt(probe(interval=5 * SECOND))
    assert (house.found(), len(Fake.looked), house.changes) == (["a:1", "b:1"], 1, 1)
    await house.clock.advance(30)
    assert len(Fake.looked) == 2, "the rhythm stays"


async def test_a_probe_that_leaves_takes_its_targets_its_series_and_its_alert_along(house: House) -> None:
    Fake.says |= {"more": Failure("name", "no such host")}
    await house.adopt(probe("web", options(), options("more")))
    await house.adopt()
    assert (house.found(), house.told[-1]) == ([], ("web", False, "They are found again."))
    assert house.metric("discovery_targets", probe="web") is None
    assert sorted(Fake.closed) == ["hosts", "more"]
    await house.clock.advance(600)
    assert len(Fake.looked) == 2


async def test_a_probe_that_leaves_without_trouble_ends_no_alert(house: House) -> None:
    await house.adopt(probe())
    told = list(house.told)
    await house.adopt()
    assert house.told == told


async def test_a_discovery_that_replaces_another_takes_over_when_it_answers(house: House) -> None:
    await house.adopt(probe())
    Fake.says |= {"more": Failure("name", "no such host")}
    await house.adopt(probe("web", options("more")))
    assert house.found() == ["a:1", "b:1"], "a typo takes nobody's targets away"
    Fake.says["more"] = ["c:1"]
    await house.clock.advance(5)
    assert house.found() == ["c:1"]


async def test_another_refresh_is_in_force_at_once(house: House) -> None:
    await house.adopt(probe())
    await house.adopt(probe("web", options("hosts", "10s")))
    await house.clock.advance(10)
    assert (len(Fake.looked), house.changes, house.found()) == (3, 1, ["a:1", "b:1"])


async def test_a_discovery_that_is_taken_out_takes_its_targets_along(house: House) -> None:
    Fake.says |= {"more": ["c:1"]}
    await house.adopt(probe("web", options(), options("more")))
    await house.adopt(probe("web", options("more")))
    assert (house.found(), len(Fake.looked)) == (["c:1"], 2)


@pytest.mark.parametrize("other", [replace(probe(), kind="udp"), replace(probe(), template="x{target}")])
async def test_another_kind_or_template_judges_what_was_found_anew(house: House, other: Probe) -> None:
    Fake.says["hosts"] = ["a:1", "bad1"]
    await house.adopt(probe())
    house.targets._problem = lambda one, text: None if one == other else "it is bad"
    await house.adopt(other)
    assert (house.found(), len(Fake.looked)) == (["a:1", "bad1"], 1)
    house.targets._problem = lambda _one, _text: "it is bad"
    await house.adopt(other)
    Fake.says["hosts"] = ["a:1", "c:1"]
    await house.clock.advance(60)
    assert house.found() == ["a:1"], "what was right before is not judged again"


async def test_what_is_found_while_another_policy_comes_is_judged_by_that_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "JUDGED_AT_ONCE", 1)
    house.targets._problem = lambda one, _text: "it is bad" if one.kind == "tcp" else None
    house.targets.adopt(policy(probe()))
    for _ in range(100):
        await asyncio.sleep(0)
        if house.targets._known["web"].turn:
            break
    assert not house.found(), "one of two is judged"
    await house.adopt(replace(probe(), kind="udp"))
    assert (house.found(), house.changes) == (["a:1", "b:1"], 1)


# ---------------------------------------------------------------- once
async def test_the_command_line_looks_once(house: House) -> None:
    Fake.says |= {"more": ["bad", "c:1"]}
    found = await house.targets.find_once(probe("web", options(), options("more")))
    assert [one.target for one in found] == ["a:1", "b:1", "c:1"]
    assert Fake.closed == ["hosts", "more"]
    assert not house.targets.found
    for said in (Failure("name", "no such host"), ["a:1"]):
        Fake.says["more"] = said
        Fake.partly["more"] = "half of it"
        with pytest.raises(Failure, match=r"no such host|fake: half of it"):
            await house.targets.find_once(probe("web", options("more")))


async def test_a_discovery_that_does_not_let_go_keeps_nobody_from_ending(house: House) -> None:
    Fake.says["stuck"] = ["a:1"]
    await house.adopt(probe("web", options("stuck")))
    ending = asyncio.create_task(house.targets.close())
    await settle()
    assert not ending.done()
    with capture_logs() as logs:
        await house.clock.advance(CANCEL_S_MAX)
    assert ending.done()
    assert [one["event"] for one in logs] == ["discoveries do not end, and are left behind"]
