"""What stories of people look at again and again: who was paged, what is on record, which timer waits."""

from rules.events import TimerFired
from rules.policy import Allowance, Allowed, Policy, Promise, Sla, Target
from tests.rules.world import World, a_policy

AMINA, OMAR, DUTY = (Target("contact", name) for name in ("amina", "omar", "duty"))


def within(respond: int, resolve: int | None = None, **more: object) -> Policy:
    """An answer is promised within `respond`, warned of at 75 %."""
    spans = [None if one is None else Allowance(Allowed(one), Allowed(one)) for one in (respond, resolve)]
    sla = Sla("standard", None, dict.fromkeys(("P1", "P2", "P3", "P4"), Promise(*spans)), (75,))
    return a_policy(slas={"standard": sla}, default_sla="standard", **more)


def paged(world: World) -> list[str]:
    return [who for _, who in world.pages()]


def standing(world: World) -> list[tuple[str, int]]:
    """(clock, share) on record and not superseded."""
    return sorted((one.clock, one.share) for one in world.breaches.values() if one.superseded_at is None)


def step_timer(world: World, ticket: int = 1) -> TimerFired:
    """What the timer of the running step will say."""
    one = world.timers[f"T-{ticket}", "escalate"]
    return TimerFired(one.subject, one.kind, one.generation, one.due_at)


def row(world: World) -> str:
    """The key of the newest delivery."""
    return list(world.state.deliveries)[-1]
