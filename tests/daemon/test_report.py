"""What the daemon says of itself: told until it is taken, and only the newest of it."""

from collections.abc import AsyncIterator

import pytest

from daemon.batch import QuarantinedError
from daemon.ingest import BusyError
from daemon.report import AGAIN_S, Report
from daemon.tasks import Supervisor
from rules.commands import Answer, Noted
from rules.events import Event, PolicyLoaded
from tests.daemon.house import HandClock, settle


class Path:
    """The one path: `script` holds what each next event meets."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.asked = 0
        self.script: list[Exception] = []

    async def submit(self, event: Event) -> Answer:
        assert isinstance(event, PolicyLoaded)
        self.asked += 1
        if self.script:
            raise self.script.pop(0)
        self.taken.append(event.version)
        return Noted()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def supervisor(clock: HandClock) -> AsyncIterator[Supervisor]:
    found = Supervisor(clock)
    yield found
    await found.stop()


async def test_it_is_told_once(clock: HandClock, supervisor: Supervisor) -> None:
    path = Path()
    Report("policy", path.submit, supervisor, clock).tell(PolicyLoaded("1"))
    await clock.advance(60)
    assert path.taken == ["1"]


async def test_a_full_path_is_tried_again_until_it_takes_it(clock: HandClock, supervisor: Supervisor) -> None:
    path = Path()
    path.script = [BusyError("full", 1)] * 3
    Report("policy", path.submit, supervisor, clock).tell(PolicyLoaded("1"))
    await clock.advance(3 * AGAIN_S - 1)
    assert (path.taken, path.asked) == ([], 3)
    await clock.advance(1)
    assert path.taken == ["1"]


async def test_what_was_overtaken_is_never_told(clock: HandClock, supervisor: Supervisor) -> None:
    path = Path()
    path.script = [BusyError("full", 1)]
    report = Report("policy", path.submit, supervisor, clock)
    for version in "123":
        report.tell(PolicyLoaded(version))
        await settle()
    await clock.advance(60)
    assert path.taken == ["3"]
    report.tell(PolicyLoaded("4"))
    await settle()
    assert path.taken == ["3", "4"]


async def test_after_a_failure_the_next_is_told_all_the_same(clock: HandClock, supervisor: Supervisor) -> None:
    path = Path()
    path.script = [QuarantinedError("cannot be decided")]
    report = Report("policy", path.submit, supervisor, clock)
    report.tell(PolicyLoaded("1"))
    await clock.advance(60)
    assert path.taken == []
    report.tell(PolicyLoaded("2"))
    await settle()
    assert path.taken == ["2"]
