"""Ready tells the truth: it turns within ten seconds when a promise cannot be kept, and back by itself."""

from daemon.executor import Inline
from daemon.health import Health
from daemon.metrics import Metrics
from daemon.notify import Notify
from daemon.store.errors import StoreUnavailableError
from daemon.tasks import Supervisor
from rules.instants import SECOND, Instant
from tests.daemon.house import HandClock, HeldExecutor, settle


class Pulse:
    """A store that takes commits, or does not."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.pings = 0

    def ping(self, now: Instant) -> None:
        self.pings += 1
        if self.error is not None:
            raise self.error


class Watch:
    """Health with everything in order, its loops running."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.supervisor = Supervisor(self.clock)
        self.metrics = Metrics()
        self.health = Health(self.clock, self.supervisor, self.metrics)
        self.store = Pulse()
        self.executor = HeldExecutor()
        self.health.policy_loaded = True
        self.health.store_ok()
        self.looking = True

    async def looks(self) -> None:
        while True:
            if self.looking:
                self.health.timers_seen(None, self.clock.now())
                self.health.outbox_seen(None, self.clock.now())
            await self.clock.sleep(1)

    def start(self) -> None:
        self.supervisor.keep("looks", self.looks)
        self.supervisor.keep("ping", lambda: self.health.ping(self.executor, self.store))
        self.supervisor.keep("beat", lambda: self.health.beat(Notify({}, self.clock)))

    async def stop(self) -> None:
        await self.supervisor.stop()

    @property
    def gauge(self) -> float | None:
        return self.metrics.registry.get_sample_value("ticketd_ready")


async def test_nothing_is_ready_before_it_has_been_seen_to_work() -> None:
    clock = HandClock()
    health = Health(clock, Supervisor(clock), Metrics())
    assert health.problems() == (
        "no policy is loaded",
        "the store has not taken a commit yet",
        "no look at the timers yet",
        "no look at the outbox yet",
    )


async def test_all_in_order_is_ready_for_as_long_as_it_lasts() -> None:
    watch = Watch()
    watch.start()
    for _ in range(12):
        await watch.clock.advance(10)
        assert watch.health.problems() == ()
        assert watch.gauge == 1
    assert 20 <= watch.store.pings <= 26
    await watch.stop()


async def test_a_store_that_takes_nothing_shows_within_ten_seconds_although_nobody_writes() -> None:
    watch = Watch()
    watch.start()
    await watch.clock.advance(7)
    watch.store.error = StoreUnavailableError("disk full")
    await watch.clock.advance(10)
    assert watch.health.problems() == ("the store takes no commit: disk full",)
    assert watch.gauge == 0
    watch.store.error = None
    await watch.clock.advance(2)
    assert watch.health.ready
    assert watch.gauge == 1
    await watch.stop()


async def test_a_store_that_never_answers_shows_within_ten_seconds() -> None:
    watch = Watch()
    watch.start()
    await watch.clock.advance(4)
    watch.executor.open.clear()
    await watch.clock.advance(10)
    assert any("has not taken a commit for" in problem for problem in watch.health.problems())
    watch.executor.open.set()
    await settle()
    assert watch.health.ready
    await watch.stop()


async def test_timers_overdue_show_when_it_lasts_but_catching_up_does_not() -> None:
    watch = Watch()
    now = watch.clock.now()
    watch.health.outbox_seen(None, now)
    watch.health.timers_seen(now - 3 * 3_600 * SECOND, now)
    assert watch.health.ready
    assert watch.metrics.registry.get_sample_value("ticketd_timers_overdue_seconds") == 3 * 3_600
    await watch.clock.advance(4)
    watch.health.timers_seen(None, watch.clock.now())
    assert watch.health.ready
    for _ in range(7):
        watch.health.timers_seen(now, now + 60 * SECOND)
        watch.health.outbox_seen(None, now)
        watch.health.store_ok()
        await watch.clock.advance(1)
    assert watch.health.problems() == ("timers are 60 s overdue",)


async def test_a_loop_that_looks_no_more_shows() -> None:
    watch = Watch()
    watch.start()
    await watch.clock.advance(3)
    watch.looking = False
    await watch.clock.advance(9)
    assert watch.health.ready
    await watch.clock.advance(2)
    assert [problem.rsplit(" for ")[0] for problem in watch.health.problems()] == [
        "no look at the timers",
        "no look at the outbox",
    ]
    await watch.stop()


async def test_a_loop_that_stood_still_shows() -> None:
    watch = Watch()
    watch.start()
    await watch.clock.advance(3)
    watch.clock.since += 7  # the process was stopped, or something blocked it
    await watch.clock.advance(0)
    assert any("event loop" in problem for problem in watch.health.problems())
    await watch.clock.advance(3)
    assert watch.health.ready
    await watch.stop()


async def test_a_task_that_died_shows_until_it_is_up_again() -> None:
    watch = Watch()
    watch.start()
    broken = True

    async def fragile() -> None:
        if broken:
            raise KeyError("?")
        await watch.clock.sleep(1_000)

    watch.supervisor.keep("fragile", fragile)
    await watch.clock.advance(1)
    (problem,) = watch.health.problems()
    assert problem.startswith("task fragile failed")
    assert "KeyError" in problem
    broken = False
    await watch.clock.advance(3)
    assert watch.health.problems() != ()  # it may die again
    await watch.clock.advance(5)
    assert watch.health.ready
    await watch.stop()


async def test_a_loop_that_ends_unasked_is_started_again_with_growing_pauses() -> None:
    clock = HandClock()
    crashed: list[float] = []
    supervisor = Supervisor(clock, lambda _: crashed.append(clock.since - 1_000))

    async def brief() -> None:
        return

    supervisor.keep("brief", brief)
    await clock.advance(100)
    assert crashed == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 61.5, 91.5]
    await supervisor.stop()


async def test_draining_is_not_ready_and_yet_healthy() -> None:
    watch = Watch()
    watch.health.timers_seen(None, 0)
    watch.health.outbox_seen(None, 0)
    assert watch.health.ready
    watch.health.draining = True
    assert watch.health.problems() == ("shutting down",)
    assert watch.health.healthy


async def test_an_executor_in_line_runs_at_once() -> None:
    assert await Inline().run(max, 1, 2) == 2
