"""What a replay counts: tickets, pages, minutes and episodes of a short history, and that it is the same every time."""

from dataclasses import replace
from typing import Any

import pytest

from rules.events import AlertsReceived
from rules.instants import HOUR, MINUTE, SECOND, Instant
from rules.model import Alert
from rules.policy import CATCH_ALL, Choice, Policy
from rules.tuning import replay as replaying
from rules.tuning.replay import Result, Totals, play
from tests.rules.tuning.stories import policy_of
from tests.rules.world import START, a_policy, an_alert

END = START + 4 * HOUR


def body(minutes: float, *alerts: Alert) -> AlertsReceived:
    return AlertsReceived("alertmanager", "am", after(minutes), alerts)


def after(minutes: float) -> Instant:
    return START + round(minutes * MINUTE)


def fires(minutes: float, **labels: Any) -> AlertsReceived:
    return body(minutes, an_alert(at=after(minutes), **labels))


def clears(minutes: float, since: float, **labels: Any) -> AlertsReceived:
    return body(minutes, an_alert(False, after(since), after(minutes), **labels))


def policy(**changes: object) -> Policy:
    """The rule `errors` with these things changed."""
    base = a_policy()
    rule = replace(base.rules["errors"], dedup=("service",), **changes)  # type: ignore[arg-type]
    return a_policy(rules={"errors": rule})


def told(result: Result) -> list[tuple[str, str, int, int | None, int]]:
    """(ticket, service, opened, resolved, pages) of each episode, in whole minutes after the start."""
    return [
        (
            f"T-{one.ticket}{' again' if one.reopened else ''}",
            one.labels.get("service", ""),
            (one.opened_at - START) // MINUTE,
            None if one.resolved_at is None else (one.resolved_at - START) // MINUTE,
            one.pages,
        )
        for one in result.episodes
    ]


def test_a_ticket_pages_until_its_problem_is_over() -> None:
    # Steps of 5, 10 and 15 min, one repeat, then the last resort, for a P3 every four hours.
    events = [fires(0, service="cart"), clears(12, 0, service="cart"), fires(60, service="pay")]
    result = play(policy(), events, START, END)
    assert told(result) == [("T-1", "cart", 0, 12, 2), ("T-2", "pay", 60, None, 2 * 3 + 1)]
    assert result.rules == {"errors": Totals(tickets=2, pages=9, open=192 * MINUTE)}
    assert result.total == result.rules["errors"]
    assert (result.events, result.signals, result.left_out) == (3, 3, 0)


def test_the_same_ticket_again_is_a_reopening_and_no_ticket() -> None:
    events = [
        fires(0, service="cart"),
        clears(5, 0, service="cart"),
        fires(20, service="cart"),
        clears(23, 20, service="cart"),
    ]
    result = play(policy(), events, START, END)
    assert told(result) == [("T-1", "cart", 0, 5, 2), ("T-1 again", "cart", 20, 23, 1)]
    assert result.rules["errors"] == Totals(tickets=1, reopened=1, pages=3, open=8 * MINUTE)


def test_an_episode_has_the_priority_that_it_had_at_its_end() -> None:
    events = [fires(0, service="cart"), fires(1, service="cart", severity="critical")]
    (episode,) = play(policy(), events, START, END).episodes
    assert episode.priority == "P1"


def test_pages_that_are_withdrawn_before_their_time_are_none() -> None:
    base = a_policy()
    amina = base.contacts["amina"]
    late = replace(amina, reach=tuple(replace(one, after=3 * MINUTE) for one in amina.reach))
    world = replace(policy(), contacts={**base.contacts, "amina": late})
    events = [
        fires(0, service="cart"),
        clears(2, 0, service="cart"),
        fires(10, service="pay"),
        clears(14, 10, service="pay"),
    ]
    assert [one.pages for one in play(world, events, START, END).episodes] == [0, 1]


def test_shadow_is_counted_apart_and_opens_nothing() -> None:
    events = [fires(0, service="cart"), clears(2, 0, service="cart"), fires(10, service="cart")]
    result = play(replace(policy(shadow=True), catch_all=None), events, START, END)
    assert result.rules == {"errors": Totals(would_open=2)}
    assert result.episodes == ()


def test_what_no_rule_matches_goes_to_the_catch_all_and_keeps_its_labels() -> None:
    result = play(policy(), [fires(0, alertname="Odd", host="db1")], START, START + MINUTE)
    assert list(result.rules) == [CATCH_ALL]
    assert result.episodes[0].labels == {"alertname": "Odd", "host": "db1"}


def test_the_result_lists_rules_by_id_and_is_the_same_every_time() -> None:
    some = {name: replace(policy().rules["errors"], id=name) for name in ("z.last", "a.first")}
    world = a_policy(rules=some)
    events = [fires(minute, service=f"s{minute % 7}") for minute in range(30)]
    one, other = play(world, events, START, END), play(world, events, START, END)
    assert one == other
    assert list(one.rules) == ["a.first", "z.last"]
    assert [each.opened_at for each in one.episodes] == sorted(each.opened_at for each in one.episodes)


def test_for_is_reached_after_the_last_event_too_but_not_after_the_end() -> None:
    world = policy(pending_for=10 * MINUTE)
    events = [fires(0, service="cart")]
    assert play(world, events, START, START + 10 * MINUTE).total.tickets == 1
    assert play(world, events, START, START + 10 * MINUTE - SECOND).total.tickets == 0


def test_an_event_from_before_the_one_above_counts_as_coming_with_it() -> None:
    events = [fires(10, service="cart"), fires(5, service="pay")]
    assert [one.opened_at for one in play(policy(), events, START, END).episodes] == [after(10), after(10)]


def test_a_flood_goes_to_the_storm_ticket() -> None:
    world = policy(max_open=3, impact=Choice("user"))
    result = play(world, [body(0, *(an_alert(service=f"s{number}") for number in range(50)))], START, END)
    assert result.total.tickets == 4
    assert [one.labels for one in result.episodes[:3]] == [{"service": f"s{number}"} for number in range(3)]


def test_no_more_episodes_are_kept_than_a_bound_but_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "EPISODES_MAX", 10)
    events = []
    for minute in range(0, 60, 2):
        service = f"s{minute}"
        events += [fires(minute, service=service), clears(minute + 1, minute, service=service)]
    result = play(policy(), events, START, END)
    assert (len(result.episodes), result.left_out, result.total.tickets) == (10, 20, 30)


DOWN_AND_SLOW = """
rules:
  - {id: down, match: ['alertname="Down"'], dedup: [region], impact: site, urgency: high}
  - {id: slow, match: ['alertname="Slow"'], dedup: [region], impact: service, urgency: low,
     depends_on: [{rule: down, on: [region]}]}
maintenance:
  - {id: patch, match: ['region="sa"'], cron: "0 12 * * *", for: 2h, tz: UTC, effect: hold}
"""


def test_what_a_dependency_suppresses_and_maintenance_holds_is_counted_apart() -> None:
    events = [
        fires(0, alertname="Down", region="eu"),
        fires(1, alertname="Slow", region="eu"),
        fires(2, alertname="Slow", region="sa"),
        clears(30, 2, alertname="Slow", region="sa"),
        clears(40, 1, alertname="Slow", region="eu"),
        clears(41, 0, alertname="Down", region="eu"),
    ]
    result = play(policy_of(DOWN_AND_SLOW), events, START, END)
    assert result.rules == {"down": Totals(tickets=1, open=41 * MINUTE), "slow": Totals(suppressed=1, held=1)}
