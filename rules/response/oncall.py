"""Who would be told, by policy, step and time: the plan of each escalation, without a ticket.

The one law: it reads the same policy and resolves the same targets as the escalation does.
"""

from dataclasses import dataclass

from rules.instants import Span
from rules.policy import Escalation, Policy, Target

LAST_RESORT = "last resort"


@dataclass(frozen=True, slots=True)
class Turn:
    """One step of one round: `after` is counted from the run's start."""

    escalation: str
    round: int  # from 1
    step: str  # "1", "2" … or "last resort"
    tier: str
    after: Span
    contacts: tuple[tuple[str, tuple[str, ...]], ...]  # (contact id, how reached)


def turns(policy: Policy, escalation: Escalation) -> list[Turn]:
    """Every step of every round, then the last resort, at the time it is told when nobody answers."""
    found: list[Turn] = []
    after: Span = 0
    for number in range(escalation.repeat + 1):
        for index, step in enumerate(escalation.steps):
            contacts = reached(policy, step.notify)
            found.append(Turn(escalation.id, number + 1, str(index + 1), step.tier, after, contacts))
            after += step.wait if contacts else 0
    if escalation.last_resort:
        contacts = reached(policy, escalation.last_resort)
        found.append(Turn(escalation.id, escalation.repeat + 2, LAST_RESORT, "", after, contacts))
    return found


def reached(policy: Policy, targets: tuple[Target, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The contacts that these targets mean now, each with the channels that reach it."""
    contacts = [policy.contacts.get(target.id) for target in targets]
    return tuple(
        (one.id, tuple(method.kind for method in one.reach))
        for one in contacts
        if one is not None and one.active and one.reach
    )


def who(policy: Policy) -> list[Turn]:
    """The turns of every escalation, in the order of the files."""
    return [turn for escalation in policy.escalations.values() for turn in turns(policy, escalation)]
