"""Whether an instance flaps: Nagios' weighted share of changes among its last verdicts.

The one law: newer changes weigh more, from 0.75 for the oldest to 1.25 for the newest; from `high` percent it flaps,
until it is at `low` or below, or until nothing has changed for half an hour. While it flaps, clear counts as neither
for what is open: there is one ticket and one note, and the state that it ends in always shows.
"""

from typing import Final

from msgspec.structs import replace

from rules.case import Case
from rules.instants import MINUTE, Instant, Span, format_instant
from rules.model import LIVE, Instance, Labels, Phase, Verdict
from rules.policy import Flap, Rule
from rules.tickets.timeline import What

OLDEST: Final = 0.75
NEWEST: Final = 1.25
CALM: Final[Span] = 30 * MINUTE  # so long without a change ends flapping, whatever the share of changes is


def percent(states: str, window: int) -> float:
    """The share of changes among `window + 1` states ("1" bad, "0" clear, oldest first), weighted, in percent."""
    if not states or states.count(states[0]) == len(states):
        return 0.0
    step = (NEWEST - OLDEST) / (window - 1)
    first = window + 1 - len(states)  # what is not known yet did not change
    weights = [
        OLDEST + step * (first + index - 1) for index in range(1, len(states)) if states[index] != states[index - 1]
    ]
    return sum(weights) * 100 / window


def stepped(flap: Flap, states: str, flapping: bool, bad: bool) -> tuple[str, bool]:  # noqa: FBT001 - two facts
    """The states with one more, and whether it flaps now."""
    states = (states + ("1" if bad else "0"))[-flap.window - 1 :]
    share = percent(states, flap.window)
    if share >= flap.high:
        return states, True
    return states, flapping and share > flap.low


def taken(case: Case, rule: Rule, instance: Instance, verdict: Verdict | None, at: Instant) -> Instance:
    """Take a verdict into the history of an instance whose rule says `flap`; None: only time has passed."""
    flap = rule.flap
    if flap is None:  # it said so once
        return replace(instance, flapping=False, states="", turned_at=0) if instance.states else instance
    states, was = instance.states, instance.flapping
    if verdict is not None:
        last = states[-1:] or "0"
        is_bad = last == "1" if verdict is Verdict.BETWEEN else verdict is Verdict.BAD
        states, flaps = stepped(flap, states, was, is_bad)
        turned = at if states[-1:] != last else instance.turned_at
        if states != instance.states or flaps is not was:  # what stays the same need not be written again
            instance = replace(instance, states=states, flapping=flaps, turned_at=turned)
    if instance.flapping and at - instance.turned_at >= CALM:
        instance = replace(instance, flapping=False, states=states[-1:])
    if was and not instance.flapping:
        _note(case, instance, at)
    if instance.flapping:
        instance = case.look_at(instance, instance.turned_at + CALM + case.now - at)
    return instance


def told(case: Case, before: Instance, after: Instance, at: Instant) -> None:
    """Have the ticket say that it is held open, once: when it begins to flap, or opens while it does."""
    if held_open(after) and not held_open(before):
        _note(case, after, at)


def _note(case: Case, instance: Instance, at: Instant) -> None:
    ticket = case.ticket(instance.ticket)
    if ticket is None or ticket.status not in LIVE or instance.parked is not None:
        return
    labels: Labels = instance.labels
    name = ", ".join(f"{key}={value}" for key, value in labels.items()) or "it"
    said = f"{name} flaps: it is held open until it is calm" if instance.flapping else f"{name} no longer flaps"
    case.record(ticket, What.FLAPPING, said, data={"flapping": instance.flapping, "since": format_instant(at)})


def held_open(instance: Instance) -> bool:
    """Whether a clear verdict must not end it."""
    return instance.flapping and instance.phase in {Phase.OPEN, Phase.RECOVERING}
