"""Supervised tasks: none ends unseen, each wait has an end, and stopping stops."""

import asyncio

import pytest

from daemon.tasks import CANCEL_S_MAX, Supervisor, Wake, within
from tests.daemon.house import HandClock, settle


async def test_work_done_in_time_gives_its_result() -> None:
    clock = HandClock()

    async def work() -> int:
        await clock.sleep(3)
        return 7

    waiting = asyncio.ensure_future(within(clock, 5, work()))
    await clock.advance(3)
    assert waiting.result() == 7


async def test_work_that_takes_too_long_is_cancelled() -> None:
    clock = HandClock()
    ended: list[str] = []

    async def work() -> None:
        try:
            await clock.sleep(100)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    waiting = asyncio.ensure_future(within(clock, 5, work()))
    await clock.advance(5)
    with pytest.raises(TimeoutError, match="5 s"):
        waiting.result()
    assert ended == ["cancelled"]


async def test_work_that_clings_to_life_is_left_behind() -> None:
    clock = HandClock()
    release = asyncio.Event()

    async def work() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    waiting = asyncio.ensure_future(within(clock, 5, work()))
    await clock.advance(5)
    assert not waiting.done()
    await clock.advance(CANCEL_S_MAX)
    with pytest.raises(TimeoutError):
        waiting.result()
    release.set()
    await settle()


async def test_who_waits_and_is_cancelled_takes_the_work_along() -> None:
    clock = HandClock()
    work = asyncio.ensure_future(clock.sleep(100))
    waiting = asyncio.ensure_future(within(clock, 50, work))
    await settle()
    waiting.cancel()
    await settle()
    assert work.cancelled()
    assert waiting.cancelled()


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        await within(HandClock(), 1, work())


async def test_a_bell_ends_a_wait_or_the_next_one() -> None:
    clock = HandClock()
    wake = Wake(clock)
    waiting = asyncio.ensure_future(wake.wait(10))
    await settle()
    wake.ring()
    await settle()
    assert waiting.result() is True
    wake.ring()
    wake.ring()
    assert await wake.wait(10) is True
    waiting = asyncio.ensure_future(wake.wait(10))
    await clock.advance(10)
    assert waiting.result() is False


async def test_a_job_that_fails_is_counted_and_stops_nobody() -> None:
    crashed: list[str] = []
    supervisor = Supervisor(HandClock(), crashed.append)

    async def fails() -> None:
        raise KeyError("k")

    async def works() -> None:
        return

    supervisor.start("fails", fails())
    supervisor.start("works", works())
    await settle()
    assert crashed == ["fails"]
    assert supervisor.problems() == ()


async def test_stopping_ends_loops_and_jobs_and_leaves_what_clings() -> None:
    clock = HandClock()
    supervisor = Supervisor(clock)
    release = asyncio.Event()

    async def clings() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def loops() -> None:
        await clock.sleep(1_000)

    supervisor.keep("loops", loops)
    supervisor.start("clings", clings())
    await settle()
    stopping = asyncio.ensure_future(supervisor.stop())
    await clock.advance(2 * CANCEL_S_MAX)
    assert stopping.done()
    release.set()
    await settle()
    await stopping
