"""The worked example of people, from the alert to the last resort: who is told, when, by what, and why.

The files are those of docs/examples/rules, as a reader would copy them; the times are worked out by hand.
"""

from pathlib import Path

import pytest

from rules.instants import DAY, HOUR, MINUTE, SECOND, Instant, format_span, parse_instant, parse_span
from rules.language import LanguageKinds, load
from rules.model import Status
from rules.policy import Policy
from tests.rules.world import START, World, an_alert

PEOPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules" / "people.yaml"
RULES = """
version: 1
rules:
  - id: payments.errors
    match: ['alertname="ErrorRate"']
    dedup: [team]
    impact: {from: impact, map: {site: site, service: service}, else: user}
    urgency: {from: severity, map: {critical: high, warning: medium}, else: low}
"""


@pytest.fixture(scope="module")
def example() -> Policy:
    kinds = LanguageKinds(sources=("alertmanager",), notifiers={"email": lambda _: None, "sms": lambda _: None})
    loaded = load({"people.yaml": PEOPLE.read_bytes(), "rules.yaml": RULES}, kinds)
    assert [str(one) for one in loaded.errors] == []
    assert loaded.policy is not None
    return loaded.policy


def opened(policy: Policy, at: str, severity: str, impact: str = "service") -> World:
    """An alert of team payments at a time in Tripoli (two hours ahead of UTC)."""
    world = World(policy)
    world.now = parse_instant(f"{at}:00Z") - 2 * HOUR
    world.load(policy)
    world.alerts(an_alert(at=world.now, team="payments", severity=severity, impact=impact))
    return world


def told(world: World, since: Instant) -> list[tuple[str, str, str, str]]:
    """(after the opening, purpose, contact, channel), in order; of one instant in the order of the words."""
    rows = [
        (START + span_of(when) - since, purpose, contact, kind)
        for (when, purpose, contact), kind in zip(world.sent, world.by, strict=True)
        if purpose != "handoff"
    ]
    return [(format_span(after), *rest) for after, *rest in sorted(rows)]  # type: ignore[misc]


def span_of(text: str) -> int:
    return -parse_span(text[1:]) if text.startswith("-") else parse_span(text)


def timeline(world: World, since: Instant, words: set[str]) -> list[tuple[str, str]]:
    """(after the opening, why) of the entries with these words."""
    return [(format_span(one.at - since), one.why) for one in world.entries[1] if one.what in words]


def test_from_the_alert_to_the_last_resort(example: Policy) -> None:
    world = opened(example, "2026-03-02T10:00", "critical")  # a Monday in office hours; Amina's week
    since = world.now
    assert world.ticket().priority == "P1"
    world.forward(2 * HOUR)
    assert told(world, since) == [
        # first round
        ("0s", "page", "amina", "email"),
        ("5m", "page", "amina", "email"), ("5m", "page", "amina", "sms"), ("5m", "page", "omar", "email"),
        ("10m", "page", "amina", "sms"),
        ("15m", "page", "duty-manager", "email"),
        # second round
        ("30m", "page", "amina", "email"),
        ("35m", "page", "amina", "email"), ("35m", "page", "amina", "sms"), ("35m", "page", "omar", "email"),
        ("40m", "page", "amina", "sms"),
        ("45m", "page", "duty-manager", "email"), ("45m", "promise", "duty-manager", "email"),  # 75 % of an hour
        # third round; the hour of the response is over: the step's people, and the next tier too
        ("1h", "page", "amina", "email"), ("1h", "promise", "amina", "email"), ("1h", "promise", "omar", "email"),
        ("1h5m", "page", "amina", "email"), ("1h5m", "page", "amina", "sms"), ("1h5m", "page", "omar", "email"),
        ("1h10m", "page", "amina", "sms"),
        ("1h15m", "page", "duty-manager", "email"),
        # the last resort, every quarter of an hour for a P1
        ("1h30m", "page", "duty-manager", "email"),
        ("1h45m", "page", "duty-manager", "email"),
        ("2h", "page", "duty-manager", "email"),
    ]  # fmt: skip
    words = {"opened", "told", "sla_warning", "sla_breached"}
    by_l2 = "nobody has answered: step 2 of payments-oncall tells amina by email, amina by sms, omar by email"
    by_l3 = "nobody has answered: step 3 of payments-oncall tells duty-manager by email"
    again = "nobody has answered: step 1 of payments-oncall tells amina by email, amina by sms"
    last = "nobody has answered: last resort of payments-oncall tells duty-manager by email"
    assert timeline(world, since, words) == [
        ("0s", "ErrorRate team=payments impact=service fires: rule payments.errors opens a P1"),
        ("0s", "opened: step 1 of payments-oncall tells amina by email, amina by sms"),
        ("5m", by_l2), ("15m", by_l3),
        ("30m", again), ("35m", by_l2), ("45m", by_l3),
        ("45m", "75% of the response time of standard has passed (1h in all)"),
        ("1h", again), ("1h", "100% of the response time of standard has passed (1h in all)"),
        ("1h5m", by_l2), ("1h15m", by_l3),
        ("1h30m", last), ("1h45m", last), ("2h", last),
    ]  # fmt: skip


def test_whoever_answers_at_the_last_resort_ends_it_and_those_told_are_told(example: Policy) -> None:
    world = opened(example, "2026-03-02T10:00", "critical")
    since = world.now
    world.forward(2 * HOUR)
    answer = world.says("omar", "acknowledge", note="on it")
    assert answer.changed
    world.forward(59 * MINUTE)
    assert told(world, since)[-3:] == [
        ("2h", "answered", "amina", "sms"), ("2h", "answered", "duty-manager", "email"),
        ("2h", "page", "duty-manager", "email"),
    ]  # fmt: skip
    world.clears(since, team="payments", severity="critical", impact="service")
    assert world.ticket().status is Status.RESOLVED
    world.forward(DAY)
    assert {one[:2] for one in told(world, since) if span_of(one[0]) > 2 * HOUR} == {("2h59m", "resolved")}


def test_acknowledged_and_forgotten_for_an_hour_begins_again_at_the_first_step(example: Policy) -> None:
    world = opened(example, "2026-03-02T10:00", "critical")
    since = world.now
    world.forward(MINUTE)
    world.says("amina", "acknowledge")
    world.forward(66 * MINUTE)
    assert timeline(world, since, {"acknowledgement_expired", "told"})[1:] == [
        ("1h1m", "amina acknowledged it, and it is not resolved in time"),
        ("1h1m", "the acknowledgement has expired: step 1 of payments-oncall tells amina by email, amina by sms"),
        ("1h6m", "nobody has answered: step 2 of payments-oncall tells amina by email, amina by sms, omar by email"),
    ]


def test_while_amina_is_on_leave_omar_is_told_first(example: Policy) -> None:
    world = opened(example, "2026-03-01T10:00", "critical")
    world.forward(0)
    assert told(world, world.now) == [("0s", "page", "omar", "email")]


def test_a_mild_one_on_thursday_evening_waits_but_never_past_the_first_warning(example: Policy) -> None:
    world = opened(example, "2026-03-05T19:00", "info")  # the office opens again on Saturday at nine
    since = world.now
    assert world.ticket().priority == "P3"
    world.forward(18 * HOUR - SECOND)
    assert told(world, since) == []
    world.forward(SECOND)
    assert told(world, since) == [("18h", "page", "amina", "email"), ("18h", "promise", "amina", "email")]
    assert timeline(world, since, {"waiting_for_hours"}) == [
        ("0s", "opened: office is closed: it waits until its response clock first warns, 2026-03-06T11:00:00Z"),
    ]


def test_a_mild_one_before_opening_time_waits_for_the_office_and_tells_whoever_is_on_call_then(example: Policy) -> None:
    world = opened(example, "2026-03-08T08:00", "info")  # a Sunday: Omar's week begins at nine
    since = world.now
    world.forward(HOUR)
    assert told(world, since) == [("1h", "page", "omar", "email")]


def test_amina_may_answer_for_payments_only_and_every_refusal_is_on_the_timeline(example: Policy) -> None:
    world = opened(example, "2026-03-02T10:00", "critical")
    world.alerts(an_alert(at=world.now, team="search", severity="critical", impact="service"))
    assert "only where" in world.says("amina", "acknowledge", 2).reason
    assert "may not close" in world.says("omar", "close", 1).reason
    assert "not a contact" in world.says("mallory", "acknowledge", 1).reason
    assert [entry.why for entry in world.entries[1] if entry.what == "refused"] == [
        "close refused: omar may not close", "acknowledge refused: mallory is not a contact of the policy",
    ]  # fmt: skip
