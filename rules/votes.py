"""What all series of an instance say together: no data, and quorum.

The one law: a series that has been silent for too long no longer reports; what its silence means is `no_data`'s to say.
Without a quorum any bad series is bad and all clear are clear; with one, each value of its label counts once. Of a
series whose newest sample is marked own_network nothing is known for as long as it is heard of: it keeps what it said,
cannot help a quorum to open, and where nobody else can say anything nothing moves, whatever `no_data` says. One that is
gone counts no more; with the last of them the instance is clear.
"""

from collections.abc import Mapping
from typing import NamedTuple

from rules.case import Case
from rules.conditions.base import ORIGIN, Condition
from rules.instants import Instant, Span
from rules.model import Instance, SampleMark, Verdict, Window
from rules.policy import Quorum, Rule


class Report(NamedTuple):
    """What one series of an instance says, and until when that counts."""

    window: Window
    verdict: Verdict
    until: Instant


class Vote(NamedTuple):
    """What all series of an instance say together."""

    verdict: Verdict
    blind: bool = False  # too few report for any verdict
    since: Instant = 0  # blind since when
    next: Instant | None = None  # when this may change though nothing comes
    settled: bool = False  # the verdict is silence's, or time's: it needs no further sample to go on
    held: bool = False  # whoever would know was cut off: nothing moves


def deadline_of(case: Case, rule: Rule, window: Window, *, blind: bool = False) -> Instant | None:
    """When a series counts as silent. What ticketd could not hear while it was down is no silence of the sender's."""
    if rule.no_data is None:
        return None
    deadline = window.heard_at + rule.no_data.after
    down, started = case.state.down_at, case.state.started_at
    if not blind and window.heard_at < started and deadline > down:
        return deadline + started - down
    return deadline


def voted(case: Case, rule: Rule, condition: Condition, instance: Instance, windows: Mapping[str, Window]) -> Vote:
    """The vote of an instance's windows now."""
    there = [one for one in windows.values() if one.mark is not SampleMark.GONE]
    if not there and windows:
        return Vote(Verdict.CLEAR, settled=True)
    every = [one for one in there if not one.expected] or there
    if condition.timed:
        return _timed(case, condition, every)
    fresh: list[Report] = []
    silent: list[Report] = []
    cut_off: list[Report] = []
    for one in every:
        deadline = deadline_of(case, rule, one, blind=instance.blind_at is not None)
        report = Report(one, verdict_of(condition, one), case.now if deadline is None else deadline)
        heard = deadline is None or case.now < deadline
        (silent if not heard else cut_off if one.mark is SampleMark.OWN_NETWORK else fresh).append(report)
    then = "hold" if rule.no_data is None else rule.no_data.then
    if rule.quorum is not None:
        vote = _quorate(case, rule.quorum, fresh, silent, cut_off, then)
        ever = {one.labels.get(rule.quorum.by, "") for one in every} if vote.settled and then == "open" else ()
        return _awaiting(case, rule, instance, vote) if ever and len(ever) < rule.quorum.min_reporting else vote
    last = [one.verdict for one in silent]
    if not fresh and cut_off:
        return _cut_off(case, cut_off)
    if not fresh:
        return _silent(then, last, max([one.until for one in silent], default=case.now))
    held = last if then == "hold" else [Verdict.BAD if then == "open" else Verdict.CLEAR] * len(last)
    verdict = _together([one.verdict for one in (*fresh, *cut_off)] + held)
    return Vote(verdict, next=_ahead(case, [*fresh, *cut_off]), settled=bool(last) and then == "open")


def _ahead(case: Case, fresh: list[Report]) -> Instant | None:
    """When the next of those that report counts as silent."""
    return min([one.until for one in fresh if one.until > case.now], default=None)


def verdict_of(condition: Condition, window: Window) -> Verdict:
    """What a series says by the condition of today."""
    if window.judged == condition.digest:
        return window.verdict
    if window.judged[:ORIGIN] != condition.digest[:ORIGIN]:
        return Verdict.BETWEEN
    return condition.judge(window.points, window.labels, window.at)


def _together(verdicts: list[Verdict]) -> Verdict:
    """Bad when any is bad, clear when all are."""
    if Verdict.BAD in verdicts:
        return Verdict.BAD
    return Verdict.BETWEEN if Verdict.BETWEEN in verdicts else Verdict.CLEAR


def _silent(then: str, last: list[Verdict], since: Instant) -> Vote:
    """Nobody reports: what was said last is held, or silence is bad, or clear."""
    match then:
        case "open":
            return Vote(Verdict.BAD, blind=True, since=since, settled=True)
        case "ok":
            return Vote(Verdict.CLEAR, blind=True, since=since, settled=True)
        case _:
            return Vote(_together(last) if last else Verdict.BETWEEN, blind=True, since=since)


def _timed(case: Case, condition: Condition, every: list[Window]) -> Vote:
    """Verdicts that time changes: judged now, and again when the next is due."""
    verdicts: list[Verdict] = []
    due: list[Instant] = []
    for one in every:
        unheard = _unheard(case, condition, one)
        verdicts.append(condition.judge(one.points, one.labels, max(case.now - unheard, one.at)))
        if (when := condition.due(one.points, case.now - unheard)) is not None:
            due.append(when + unheard)
    return Vote(_together(verdicts) if verdicts else Verdict.BETWEEN, next=min(due, default=None), settled=True)


def _cut_off(case: Case, cut_off: list[Report]) -> Vote:
    """Whoever would know cannot see: nothing moves, until they see again or count as silent."""
    return Vote(Verdict.BETWEEN, blind=True, since=case.now, next=_ahead(case, cut_off), held=True)


def _unheard(case: Case, condition: Condition, window: Window) -> Span:
    """How long ticketd was down while this series was awaited: what was due then may have been said to nobody."""
    down, started = case.state.down_at, case.state.started_at
    if window.heard_at >= started or down >= started:
        return 0
    due = condition.due(window.points, window.at)
    return started - down if due is not None and due > down else 0


def _quorate(
    case: Case, quorum: Quorum, fresh: list[Report], silent: list[Report], cut_off: list[Report], then: str
) -> Vote:
    """Each value of the label counts once, the worst that it says; too few that report are blind."""
    voices: dict[str, Verdict] = {}
    for one in fresh:
        name = one.window.labels.get(quorum.by, "")
        voices[name] = one.verdict if name not in voices else _together([voices[name], one.verdict])
    if len(voices) < quorum.min_reporting and cut_off:
        return _cut_off(case, cut_off)
    if len(voices) < quorum.min_reporting:
        return _silent(then, [], _lost(case, quorum, [*fresh, *silent]))
    bad = sum([verdict is Verdict.BAD for verdict in voices.values()])
    not_clear = sum([verdict is not Verdict.CLEAR for verdict in voices.values()])
    unseen = {one.window.labels.get(quorum.by, "") for one in cut_off if one.verdict is not Verdict.CLEAR}
    not_clear += len(unseen - voices.keys())  # what they last called bad is not known to be over
    verdict = (
        Verdict.BAD if bad >= quorum.at_least else Verdict.CLEAR if not_clear < quorum.at_least else Verdict.BETWEEN
    )
    return Vote(verdict, next=_ahead(case, [*fresh, *cut_off]))


def _awaiting(case: Case, rule: Rule, instance: Instance, vote: Vote) -> Vote:
    """Where too few voices have ever been heard, the others have as long to report as they may be silent."""
    since = case.now if instance.blind_at is None else instance.blind_at
    due = since + (rule.no_data.after if rule.no_data is not None else 0)
    return vote if case.now >= due else Vote(Verdict.BETWEEN, blind=True, since=since, next=due)


def _lost(case: Case, quorum: Quorum, every: list[Report]) -> Instant:
    """Since when too few voices report."""
    until: dict[str, Instant] = {}
    for one in every:
        name = one.window.labels.get(quorum.by, "")
        until[name] = max(until.get(name, one.until), one.until)
    ended = sorted(until.values(), reverse=True)
    return min(ended[quorum.min_reporting - 1], case.now) if len(ended) >= quorum.min_reporting else case.now
