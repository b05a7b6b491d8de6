"""What is told of looks as a policy comes and goes: nothing twice, nothing late, and nobody is waited for in vain.

Law: all of it runs in virtual time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from connectors.kinds import Kinds
from connectors.network.reach import Reach
from connectors.network.trial import Credential, Failure, Found, Trial
from connectors.probing.base import Probe
from daemon.config import Settings
from daemon.metrics import Metrics
from daemon.probe_settings import ProbingSettings
from daemon.probing.looking import BEACON_EVERY_S, Looking
from daemon.tasks import Supervisor
from rules import policy as policies
from rules.instants import SECOND, Span
from rules.model import Sample
from rules.policy import Policy, ProbeTarget
from rules.typed import Shape
from tests.simulation.virtual import VirtualClock, VirtualLoop

INTERVAL_S = 10
NOWHERE = "ticketd.location"


class Fake(Probe):
    """A kind whose targets answer but for those that are `down`, each with the `series` that it has."""

    Options: ClassVar[type[Shape]] = Shape
    summary: ClassVar[str] = "whether the test says so"
    target: ClassVar[str] = "a word"
    example: ClassVar[str] = "shop"
    down: ClassVar[set[str]] = set()
    series: ClassVar[dict[str, list[str]]] = {}

    def __init__(self, options: Any, reach: Reach, credential: Credential | None = None) -> None:
        """Nothing is needed."""

    @staticmethod
    def target_problem(target: str) -> str | None:
        return None

    def host(self, target: str) -> str:
        return target

    async def look(self, trial: Trial) -> None:
        if trial.target in self.down:
            raise Failure("refused", "nobody is there")
        trial.series += [Found({"disk": one}, {"used": 1.0}) for one in self.series.get(trial.target, ())]

    async def close(self) -> None:
        return None


class Book:
    """Who is told."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def tell(self, samples: Any) -> None:
        self.samples += samples

    async def run(self) -> None:
        """Nothing waits here."""


class Held:
    """Leases: all that are wanted, as long as `mine`."""

    def __init__(self) -> None:
        self.mine = True
        self.wanted: set[str] = set()

    def want(self, keys: dict[str, Span]) -> None:
        self.wanted = set(keys)

    def holds(self, probe_id: str) -> bool:
        return self.mine and probe_id in self.wanted

    async def run(self) -> None:
        """Nothing is asked."""


class Place:
    """One location, its policy, and what it told of targets: (target, labels of its own, mark)."""

    def __init__(self, loop: VirtualLoop, *, keeper: bool = True) -> None:
        self.clock = VirtualClock(loop, 1_800_000_000 * SECOND, 1)
        self.metrics = Metrics()
        self.supervisor = Supervisor(self.clock)
        self.current = Policy(probes={"shop": probe("a")})
        self.book = Book()
        self.leases = Held()
        report: Any = self.book
        leases: Any = self.leases
        self.looking = Looking(
            Settings(probing=ProbingSettings(location="here")), Kinds({}, {}, {"fake": Fake}, {}), self, self.clock,
            self.supervisor, self.metrics,
            keeper=keeper, report=report, leases=leases, tell=lambda _event: None,
        )  # fmt: skip

    def start(self) -> None:
        self.looking.start()
        for name in ("probes", "references", "location"):
            assert name in {one.get_name() for one in self.supervisor._jobs} | set(self.supervisor._loops)

    def take(self, *probes: policies.Probe) -> None:
        self.current = Policy(probes={one.id: one for one in probes})
        self.looking.adopt()

    @property
    def told(self) -> list[tuple[str, str, str]]:
        return [
            (one.labels["target"], one.labels.get("team") or one.labels.get("disk", ""), str(one.mark))
            for one in self.book.samples
            if one.labels["probe"] != NOWHERE
        ]

    @property
    def beacons(self) -> list[str]:
        return [str(one.mark) for one in self.book.samples if one.labels["probe"] == NOWHERE]


def probe(*targets: str, **given: Any) -> policies.Probe:
    found = policies.Probe("shop", "fake", None, targets=tuple(map(ProbeTarget, targets)))
    return replace(found, interval=INTERVAL_S * SECOND, timeout=5 * SECOND, **given)


def sure(*targets: str) -> policies.Probe:
    return replace(probe(*targets, reference=True), id="sure", interval=3_600 * SECOND)


def played(story: Callable[[Place], Awaitable[None]], *, keeper: bool = True) -> None:
    """Plays in virtual time."""
    loop = VirtualLoop()

    async def whole() -> None:
        place = Place(loop, keeper=keeper)
        place.start()
        try:
            await story(place)
        finally:
            await place.looking.close()
            await place.supervisor.stop()

    Fake.down, Fake.series = set(), {}
    try:
        loop.run_until_complete(whole())
    finally:
        loop.close()


def test_what_no_file_names_any_more_is_told_as_gone_once() -> None:
    async def story(place: Place) -> None:
        await place.clock.sleep(INTERVAL_S)
        place.take()
        await place.clock.sleep(3 * INTERVAL_S)
        assert place.told == [("a", "", ""), ("a", "", "gone")]

    played(story)


def test_the_series_of_what_is_gone_are_gone_too() -> None:
    async def story(place: Place) -> None:
        Fake.series = {"a": ["c", "d"]}
        await place.clock.sleep(INTERVAL_S)
        Fake.series = {"a": ["d"]}
        await place.clock.sleep(INTERVAL_S)
        place.take()
        assert place.told[-3:] == [("a", "", "gone"), ("a", "c", "gone"), ("a", "d", "gone")]

    played(story)


def test_what_is_looked_at_under_other_labels_is_gone_only_when_those_were_heard_of() -> None:
    async def story(place: Place) -> None:
        await place.clock.sleep(INTERVAL_S)
        place.take(probe("a", labels={"team": "blue"}))
        assert place.told == [("a", "", "")], "else it would seem to be over until the next look"
        await place.clock.sleep(INTERVAL_S)
        assert place.told == [("a", "", ""), ("a", "blue", ""), ("a", "", "gone")]
        await place.clock.sleep(3 * INTERVAL_S)
        assert place.told.count(("a", "", "gone")) == 1

    played(story)


def test_labels_that_come_back_before_the_next_look_were_never_gone() -> None:
    async def story(place: Place) -> None:
        await place.clock.sleep(INTERVAL_S)
        place.take(probe("a", labels={"team": "blue"}))
        place.take(probe("a"))
        await place.clock.sleep(INTERVAL_S)
        assert place.told == [("a", "", ""), ("a", "", ""), ("a", "blue", "gone")]

    played(story)


def test_labels_that_were_replaced_and_then_taken_out_are_gone_at_once() -> None:
    async def story(place: Place) -> None:
        await place.clock.sleep(INTERVAL_S)
        place.take(probe("a", labels={"team": "blue"}))
        place.take()
        assert place.told == [("a", "", ""), ("a", "", "gone"), ("a", "blue", "gone")]

    played(story)


def test_what_somebody_else_looks_at_is_not_told_as_gone_from_here() -> None:
    async def story(place: Place) -> None:
        await place.clock.sleep(INTERVAL_S)
        place.leases.mine = False
        place.take()
        assert place.told == [("a", "", "")]

    played(story)


def test_a_doubt_of_what_is_gone_does_not_come_after_its_end() -> None:
    async def story(place: Place) -> None:
        place.take(probe("a"), sure("r"))
        Fake.down = {"a"}
        place.looking._references._ask_all = lambda _jobs: place.clock.sleep(3)  # type: ignore[method-assign,assignment]
        await place.clock.sleep(INTERVAL_S)
        place.take(sure("r"))
        await place.clock.sleep(INTERVAL_S)
        assert ("a", "", "") not in place.told[place.told.index(("a", "", "gone")) :]

    played(story)


def test_what_is_in_doubt_when_it_is_closed_is_not_told_as_failed() -> None:
    async def story(place: Place) -> None:
        place.take(probe(*"abcdefghij"), sure("r1", "r2"))
        Fake.down = {*"abcdefghij", "r1", "r2"}
        await place.clock.sleep(2 * INTERVAL_S)
        for _ in range(100):
            if place.looking._references._doubted:
                break  # some failed since the references were asked
            await place.clock.sleep(0.2)
        else:
            pytest.fail("nothing is in doubt")
        await place.looking.close()
        place.take(probe("new"))
        await place.clock.sleep(5 * INTERVAL_S)
        assert {mark for _, _, mark in place.told} == {"own_network"}, "neither failed nor gone, and nothing new"

    played(story)


@pytest.mark.parametrize("cut_off", [False, True])
def test_a_location_that_has_said_that_it_leaves_says_nothing_more(*, cut_off: bool) -> None:
    async def story(place: Place) -> None:
        everywhere = ("here",)
        place.take(probe("a", locations=everywhere), replace(sure("r"), locations=everywhere))
        Fake.down = {"a", "r"} if cut_off else set()
        await place.clock.sleep(2 * INTERVAL_S)
        await place.looking.close()
        await place.clock.sleep(2 * BEACON_EVERY_S)
        assert place.beacons[-1] == "gone"
        assert place.beacons.count("gone") == 1
        assert len(place.beacons) >= 2, "it spoke before"

    played(story, keeper=False)
