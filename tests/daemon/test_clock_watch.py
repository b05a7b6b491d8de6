"""The machine's clock is set: back is noticed, once each time; ahead, and by a little, is nobody's business here."""

import pytest

from daemon.clock_watch import ClockWatch
from rules.instants import HOUR, MINUTE, SECOND


class TwoClocks:
    """A wall clock that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.at = 1_000 * HOUR
        self.running_s = 0.0

    def pass_by(self, seconds: float, moved: int = 0) -> None:
        """So much time, after which the wall clock is set by `moved`."""
        self.running_s += seconds
        self.at += int(seconds * SECOND) + moved

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.running_s


@pytest.mark.parametrize(
    ("moved", "noticed"),
    [(0, 0), (6 * HOUR, 0), (-6 * HOUR, 1), (-30 * SECOND, 1), (-29 * SECOND, 0), (MINUTE, 0)],
)
def test_a_clock_set_back_by_half_a_minute_or_more_is_noticed(moved: int, noticed: int) -> None:
    clock, turned = TwoClocks(), [0]

    def back() -> None:
        turned[0] += 1

    watch = ClockWatch(clock, back)  # type: ignore[arg-type]  # it needs these two of a clock, and to sleep
    clock.pass_by(5, moved)
    watch.look()
    assert turned == [noticed]
    clock.pass_by(5)
    watch.look()
    assert turned == [noticed], "once"


def test_ahead_and_right_again_is_noticed_when_it_is_set_right() -> None:
    clock, turned = TwoClocks(), [0]

    def back() -> None:
        turned[0] += 1

    watch = ClockWatch(clock, back)  # type: ignore[arg-type]
    clock.pass_by(5, 6 * HOUR)
    watch.look()
    assert turned == [0]
    clock.pass_by(5, -6 * HOUR)
    watch.look()
    assert turned == [1]
