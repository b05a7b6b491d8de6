"""Bugs planted on purpose, one at a time: the simulation must notice each, or it proves nothing.

The one law: a plant changes one thing that keeps a promise, at its one place, and nothing of the judge.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import rules.decide
import rules.response.promises
import rules.samples
from daemon.app import Daemon
from rules.case import Case
from rules.events import Delivered, TimerFired
from rules.model import Delivery, Instance, Ticket
from rules.policy import Rule
from tests.simulation.faults import FaultyStore
from tests.simulation.world import World


@dataclass(frozen=True)
class Plant:
    """`promise`: the one that must be seen broken. `replicas`: how many daemons it takes."""

    name: str
    promise: str
    apply: Callable[[World], None]
    replicas: int = 1


def _answer_before_commit(world: World) -> None:
    world.answers_early = True


def _mark_before_send(world: World) -> None:
    def replace(daemon: Daemon) -> None:
        telling = daemon.outbox._telling
        send = telling.attempt

        async def marked_first(
            delivery: Delivery, ticket: Ticket | None, others: Sequence[tuple[Delivery, Ticket | None]] = ()
        ) -> Delivered:
            keys = tuple((one.key, one.attempt) for one, _ in others)
            done = Delivered(delivery.key, delivery.attempt, "delivered", others=keys)
            await daemon.ingest.submit(done)
            await send(delivery, ticket, others)
            return done

        telling.attempt = marked_first  # type: ignore[method-assign]

    world.around = replace


def _no_generation_check(_world: World) -> None:
    def always(ticket: Ticket, event: TimerFired) -> bool:
        del ticket, event
        return True

    rules.decide.still_holds = always


def _missing_unique_index(world: World) -> None:
    def drop(store: FaultyStore) -> None:
        with store._session.transaction() as cursor:
            cursor.execute("DROP INDEX IF EXISTS uq_tickets_live_key")

    world.prepare_store = drop


def _time_goes_unnoticed(_world: World) -> None:
    def nothing(case: Case, instance: Instance, rule: Rule) -> tuple[Instance, str]:
        del case, rule
        return instance, "taken"

    rules.samples.looked = nothing


def _promises_go_unjudged(_world: World) -> None:
    def nothing(case: Case, ticket: Ticket) -> str:
        del case, ticket
        return "nothing"

    rules.response.promises.fired = nothing


PLANTS = (
    Plant("answer-before-commit", "I1", _answer_before_commit),
    Plant("mark-before-send", "I3", _mark_before_send),
    Plant("no generation check", "I5", _no_generation_check),
    Plant("time goes unnoticed", "verdict", _time_goes_unnoticed),
    Plant("promises go unjudged", "SLA", _promises_go_unjudged),
    Plant("missing unique index", "I2", _missing_unique_index, replicas=2),
)
