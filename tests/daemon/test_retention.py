"""Retention: bounded chunks with pauses between, and a store that is gone is not hammered."""

from daemon.executor import Inline
from daemon.retention import EVERY_S, FIRST_S, Retention
from daemon.store.errors import StoreUnavailableError
from rules.instants import DAY, Instant, Span
from tests.daemon.house import House


class Old:
    """A journal with so many chunks to prune."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks
        self.asked: list[tuple[Span, int]] = []
        self.error: Exception | None = None

    def prune(self, now: Instant, keep: Span, max_bytes: int) -> bool:
        self.asked.append((keep, max_bytes))
        if self.error is not None:
            raise self.error
        self.chunks -= 1
        return self.chunks > 0


def start(house: House, old: Old) -> None:
    retention = Retention(old, Inline(), house.clock, house.health, keep=35 * DAY, max_bytes=1_000)
    house.supervisor.keep("retention", retention.run)


async def test_chunk_by_chunk_then_a_long_rest(house: House) -> None:
    old = Old(5)
    start(house, old)
    await house.clock.advance(FIRST_S + 2)
    assert old.asked == [(35 * DAY, 1_000)] * 5
    await house.clock.advance(EVERY_S)
    assert len(old.asked) == 6


async def test_a_store_that_is_gone_is_asked_again_much_later(house: House) -> None:
    old = Old(5)
    old.error = StoreUnavailableError("disk full")
    start(house, old)
    await house.clock.advance(FIRST_S + 60)
    assert len(old.asked) == 1
    assert any("disk full" in problem for problem in house.health.problems())
