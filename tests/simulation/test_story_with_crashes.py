"""The worked example of people, told to the whole daemon, and killed at every step of it: it ends the same.

The files are those of docs/examples/rules. The process dies before and after each commit of the story, and with each
message in its hands, before and after the channel took it; the next life begins two seconds later on the same store.
TICKETD_KILLS says how many of these points are tried (all); they are chosen evenly.
"""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rules.instants import SECOND, format_span
from tests.simulation.tale import Got, Kill, Seen, tell
from tests.simulation.test_simulation import pooled

LATE = 5 * SECOND  # of anything, for one death: the time down, and whoever speaks says it again
CHUNK = 8
MINUTE = 60 * SECOND  # nothing in the story is nearer to the next thing than this
CRASH = "delivery_unknown"  # what a crash adds to a timeline
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
PROMISE = "notice of the time promised"
AMINA, AMINA_SMS, OMAR, DUTY = "amina by email", "amina by sms", "omar by email", "duty-manager by email"
L1, L2, L3 = (AMINA,), (AMINA, AMINA_SMS, OMAR), (DUTY,)
L2_AT_ONCE = (AMINA, OMAR)
# A step waits from when it was told, and what was promised does not wait: after a crash the run is late by the time
# that nobody was there, and a share that passes with the change of a step goes to those of the step before.
OF_LATE_RUN = {75: L2_AT_ONCE, 100: L3}
TOLD = [
    # first round
    ("0s", "page", L1), ("5m", "page", L2), ("10m", "page", (AMINA_SMS,)), ("15m", "page", L3),
    # second round, and the first warning: 75 % of an hour
    ("30m", "page", L1), ("35m", "page", L2), ("40m", "page", (AMINA_SMS,)), ("45m", "page", L3),
    ("45m", "promise", L3),
    # third round; the hour of the response is over: the step's people, and the next tier too
    ("1h", "page", L1), ("1h", "promise", (AMINA, OMAR)), ("1h5m", "page", L2), ("1h10m", "page", (AMINA_SMS,)),
    ("1h15m", "page", L3),
    # the last resort, every quarter of an hour
    ("1h30m", "page", L3), ("1h45m", "page", L3),
    # omar acknowledges, and forgets it for an hour
    ("1h50m", "answered", (AMINA, AMINA_SMS, DUTY)), ("2h50m", "page", L1), ("2h55m", "page", L2),
    # amina holds it for ten minutes; when they are over it is as it was before
    ("2h57m", "answered", (DUTY, OMAR)), ("3h7m", "page", L1), ("3h12m", "page", L2),
    # the duty manager acknowledges; then it is clear
    ("3h13m", "answered", (AMINA, AMINA_SMS, OMAR)), ("3h30m", "resolved", (AMINA, AMINA_SMS, DUTY, OMAR)),
]  # fmt: skip


def whole(after: int) -> str:
    """A time after the beginning, in whole seconds."""
    return format_span(after // SECOND * SECOND)


def told(seen: Seen) -> list[tuple[str, str, tuple[str, ...]]]:
    """(when, why, whom), those of one instant together; nothing twice."""
    found: dict[tuple[int, str], set[str]] = {}
    for one in first_copies(seen).values():
        found.setdefault((one.after // SECOND, one.purpose), set()).add(f"{one.contact} by {one.kind}")
    return [(format_span(at * SECOND), why, tuple(sorted(whom))) for (at, why), whom in sorted(found.items())]


def first_copies(seen: Seen, *, promises: bool = True) -> dict[str, Got]:
    """Each message as it came the first time, by its identity; with or without those of what was promised."""
    found: dict[str, Got] = {}
    for one in seen.got:
        if promises or one.purpose != "promise":
            found.setdefault(one.key, one)
    return found


def promised(seen: Seen) -> dict[int, tuple[str, ...]]:
    """Whom each share was told."""
    found: dict[int, set[str]] = {}
    for one in first_copies(seen).values():
        if one.purpose == "promise":
            found.setdefault(share_of(one), set()).add(f"{one.contact} by {one.kind}")
    return {share: tuple(sorted(whom)) for share, whom in sorted(found.items())}


def entries(seen: Seen, group: str) -> list[tuple[str, str, int]]:
    """(what, why, when) of the timeline but for what a crash adds: of messages, of what was promised, or all else."""
    groups = {"deliver": "messages", "sla_": "promises"}
    lines = [
        (what, INSTANT.sub("then", why.removesuffix(" (perhaps a repeat)")), at) for at, what, why in seen.timeline
        if what != CRASH and not why.startswith(PROMISE)
        and next((name for prefix, name in groups.items() if what.startswith(prefix)), "story") == group
    ]  # fmt: skip
    return sorted(lines, key=lambda one: (one[2] // MINUTE, one)) if group == "messages" else lines


def differences(seen: Seen, expected: Seen) -> Iterator[str]:
    """What a telling with a kill has got wrong."""
    if seen.deaths != 1:
        yield f"it died {seen.deaths} times"
    if seen.status != expected.status:
        yield f"the ticket is {seen.status}"
    mine, theirs = first_copies(seen, promises=False), first_copies(expected, promises=False)
    if set(mine) != set(theirs):
        yield f"not told: {sorted(set(theirs) - set(mine))}; told besides: {sorted(set(mine) - set(theirs))}"
        return
    for key, one in theirs.items():
        late = mine[key].after - one.after
        if not 0 <= late <= LATE:
            yield f"{key} is {format_span(abs(late))} too {'late' if late > 0 else 'early'}"
        if (mine[key].contact, mine[key].kind, mine[key].purpose) != (one.contact, one.kind, one.purpose):
            yield f"{key} came to {mine[key]}"
    yield from repeats(seen)
    yield from timelines(seen, expected)
    yield from records(seen, expected)


def records(seen: Seen, expected: Seen) -> Iterator[str]:
    """What was promised: the same breaches, each told to those whose step it was when it passed, at its time."""
    if [one[:2] for one in seen.breaches] != [one[:2] for one in expected.breaches]:
        yield f"on record: {seen.breaches}"
        return
    for one, other in zip(seen.breaches, expected.breaches, strict=True):
        lates = (one[2] - other[2], one[3] - other[3])  # it is due later where the alert itself came later
        if not all(0 <= late <= LATE for late in lates) or one[4] != other[4]:
            yield f"on record: {one}, and not {other}"
        late_run = step_before(seen, one[3]) != step_before(expected, other[3])
        whom, wanted = promised(seen).get(one[1]), promised(expected)[one[1]]
        if whom != tuple(sorted(OF_LATE_RUN[one[1]] if late_run else wanted)):
            yield f"{one[1]} % was told to {whom} ({late_run=})"
    passed = {share: observed for _, share, _, observed, _ in expected.breaches}
    for got in first_copies(seen).values():
        if got.purpose == "promise" and not 0 <= got.after - passed[share_of(got)] <= LATE:
            yield f"{got.key} came at {whole(got.after)}"


def step_before(seen: Seen, at: int) -> str:
    """Which step was the last to be told when a share passed."""
    shares = [number for number, entry in enumerate(seen.timeline) if entry[1].startswith("sla_") and entry[0] == at]
    return next(why for _, what, why in reversed(seen.timeline[: shares[0]]) if what == "told")


def share_of(got: Got) -> int:
    """Of which share a notice tells."""
    return int(got.key.split("/")[2].rsplit(".", 1)[1])


def repeats(seen: Seen) -> Iterator[str]:
    """Doubled is only what was in hand when it died, once, and the second says so."""
    for key, count in Counter(one.key for one in seen.got).items():
        marks = [one.possible_repeat for one in seen.got if one.key == key]
        if key not in seen.in_hand and (count, marks) != (1, [False]):
            yield f"{key} was not in hand, and came {count} times, marked {marks}"
        elif marks not in ([False], [True], [False, True]):
            yield f"{key} was in hand, and came {count} times, marked {marks}"


def timelines(seen: Seen, expected: Seen) -> Iterator[str]:
    """The same words and reasons, each at its time."""
    for group in ("story", "promises", "messages"):
        mine, theirs = entries(seen, group), entries(expected, group)
        if [one[:2] for one in mine] != [one[:2] for one in theirs]:
            missing = Counter(one[:2] for one in theirs) - Counter(one[:2] for one in mine)
            more = Counter(one[:2] for one in mine) - Counter(one[:2] for one in theirs)
            yield f"the timeline of the {group} lacks {dict(missing)}, and has besides {dict(more)}"
            continue
        for one, other in zip(mine, theirs, strict=True):
            if not 0 <= one[2] - other[2] <= LATE:
                yield f"{one[:2]} is at {whole(one[2])}, not {whole(other[2])}"


def tell_some(kills: list[Kill | None]) -> list[tuple[Kill | None, Seen]]:
    """Several tellings, in a process of the pool."""
    found = []
    for kill in kills:
        with tempfile.TemporaryDirectory(prefix="ticketd-tale-") as folder:
            found.append((kill, tell(Path(folder), kill)))
    return found


def points(seen: Seen) -> list[Kill]:
    """Every point at which it may die."""
    numbers = {"commit": seen.commits, "send": seen.sends}
    every = [
        Kill(where, number + 1, after) for where, count in numbers.items() for number in range(count)
        for after in (False, True)
    ]  # fmt: skip
    wanted = int(os.environ.get("TICKETD_KILLS", len(every)))
    return [every[number * len(every) // wanted] for number in range(min(wanted, len(every)))]


@pytest.mark.timeout(300)
def test_the_story_with_a_kill_at_each_commit_and_each_message_ends_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pooled() as pool:
        ((_, expected),) = pool.submit(tell_some, [None]).result()
        assert told(expected) == [(at, why, tuple(sorted(whom))) for at, why, whom in TOLD]
        assert [one[:2] for one in expected.breaches] == [("respond", 75), ("respond", 100)]
        assert (expected.status, expected.sends) == ("closed", 43)
        kills = points(expected)
        jobs = [pool.submit(tell_some, list(kills[at : at + CHUNK])) for at in range(0, len(kills), CHUNK)]
        tellings = [one for job in jobs for one in job.result()]
    assert len(tellings) == len(kills)
    wrong = {str(kill): list(differences(seen, expected)) for kill, seen in tellings if kill is not None}
    wrong = {kill: found for kill, found in wrong.items() if found}
    assert not wrong, f"{len(wrong)} of {len(kills)}: {dict(list(wrong.items())[:5])}"
    doubled = sum(len(seen.got) - len(first_copies(seen)) for _, seen in tellings)
    with capsys.disabled():
        print(f"\n{len(kills)} kills; {expected.commits} commits, {expected.sends} messages, {doubled} came twice")
    assert doubled >= sum(kill.where == "send" and kill.after for kill in kills), (
        "a kill after a message was taken must make it come twice, or nothing was proved"
    )
