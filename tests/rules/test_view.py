"""A ticket as the API shows it: what was promised, how far the escalation came, what is on record of late answers."""

from dataclasses import replace
from typing import Any

from rules.instants import HOUR, MINUTE, SECOND, parse_instant
from rules.model import Breach, Mark, Run, Status, Ticket, Told
from rules.policy import Allowance, Allowed, Escalation, Policy, Promise, Sla
from rules.tickets.view import breach_json, ticket_json, ticket_now

NOW = parse_instant("2026-03-03T12:30:00Z")
OPENED = NOW - 30 * MINUTE


def both(span: int) -> Allowance:
    return Allowance(Allowed(span), Allowed(span))


PROMISES = {"P1": Promise(both(HOUR), both(4 * HOUR)), "P2": Promise(both(HOUR))}
POLICY = Policy(
    version="v1",
    slas={"standard": Sla("standard", None, PROMISES, (75,))},
    default_sla="standard",
    escalations={"main": Escalation("main", ())},
)  # fmt: skip


def a_ticket(**changes: Any) -> Ticket:
    values: dict[str, Any] = {
        "id": 7, "key": "k", "rule": "disk.full", "title": "Disk full", "priority": "P1", "impact": "site",
        "urgency": "high", "opened_at": OPENED,
    }  # fmt: skip
    return Ticket(**{**values, **changes})


def test_what_was_promised_is_shown_by_clock_with_its_due_time_and_state() -> None:
    sla = ticket_now(POLICY, a_ticket(), NOW)["sla"]
    assert sla["id"] == "standard"
    assert (sla["respond"]["due_at"], sla["respond"]["state"]) == ("2026-03-03T13:00:00Z", "running")
    assert (sla["resolve"]["due_at"], sla["resolve"]["left"]) == ("2026-03-03T16:00:00Z", "3h30m")
    assert sla["respond"]["stretches"] == [
        {"since": "2026-03-03T12:00:00Z", "until": None, "running": True, "why": "opened"}
    ]


def test_a_clock_that_nothing_is_promised_for_is_null() -> None:
    sla = ticket_now(POLICY, a_ticket(priority="P2"), NOW)["sla"]
    assert (sla["respond"]["state"], sla["resolve"]) == ("running", None)


def test_without_a_promise_the_whole_is_null() -> None:
    assert ticket_now(POLICY, a_ticket(priority="P4"), NOW)["sla"] is None
    assert ticket_now(Policy(), a_ticket(), NOW)["sla"] is None
    assert ticket_json(a_ticket())["sla"] is None


def test_a_hold_stops_the_clock_and_its_reason_is_shown() -> None:
    marks = (Mark(OPENED + MINUTE, "answered"), Mark(OPENED + MINUTE, "paused", "waits for the vendor"))
    sla = ticket_now(POLICY, a_ticket(status=Status.ON_HOLD, marks=marks), NOW)["sla"]
    assert (sla["respond"]["state"], sla["resolve"]["state"], sla["resolve"]["due_at"]) == ("met", "paused", None)
    assert sla["resolve"]["stretches"][-1]["why"] == "waits for the vendor"


def test_late_is_breached() -> None:
    sla = ticket_now(POLICY, a_ticket(), OPENED + 90 * MINUTE)["sla"]
    assert (sla["respond"]["state"], sla["respond"]["left"]) == ("breached", "-30m")


# ---- escalation
def test_an_escalation_says_how_far_it_came_and_who_has_acknowledged() -> None:
    run = Run("main", 2, 1, 0, True, NOW + MINUTE, plan=POLICY.plans["main"], since=NOW - MINUTE)
    ticket = a_ticket(run=run, acknowledgers=("omar",), told=(Told("amina", "email", "amina@example.test"),))
    assert ticket_now(POLICY, ticket, NOW)["escalation"] == {
        "policy": "main",
        "plan": POLICY.plans["main"],
        "pinned": False,
        "run": 2,
        "round": 2,
        "step": 1,
        "running": True,
        "paused": False,
        "waiting": False,
        "since": "2026-03-03T12:29:00Z",
        "next_at": "2026-03-03T12:31:00Z",
        "acknowledgers": ["omar"],
        "notified": [{"contact": "amina", "by": "email"}],
    }


def test_a_run_that_goes_by_what_the_policy_no_longer_says_is_pinned() -> None:
    run = Run("main", 1, 0, -1, True, NOW, plan="0123456789abcdef", waiting=True)
    shown = ticket_now(POLICY, a_ticket(run=run), NOW)["escalation"]
    assert (shown["pinned"], shown["step"], shown["waiting"]) == (True, "last_resort", True)
    gone = replace(POLICY, escalations={})
    assert ticket_now(gone, a_ticket(run=run), NOW)["escalation"]["pinned"] is True
    assert ticket_json(a_ticket(run=run))["escalation"]["pinned"] is None


def test_a_ticket_that_nobody_was_told_of_yet_names_its_policy_alone() -> None:
    shown = ticket_now(POLICY, a_ticket(escalation="main"), NOW)["escalation"]
    assert (shown["policy"], shown["plan"], shown["pinned"], shown["since"], shown["step"]) == (
        "main",
        None,
        None,
        None,
        0,
    )
    assert ticket_now(POLICY, a_ticket(), NOW)["escalation"] is None


# ---- breaches
def test_a_breach_says_what_was_late_by_how_much_and_why() -> None:
    breach = Breach(
        7, "respond", "v", 100, "standard", "P1", NOW, NOW + 90 * SECOND + 5, 90 * SECOND + 5, "nobody had answered"
    )
    assert breach_json(breach) == {
        "ticket": "T-7",
        "clock": "respond",
        "share": 100,
        "priority": "P1",
        "sla": "standard",
        "version": "v",
        "due_at": "2026-03-03T12:30:00Z",
        "observed_at": "2026-03-03T12:31:30.000005Z",
        "overrun": "1m30s",
        "cause": "nobody had answered",
        "superseded_at": None,
        "superseded_by": None,
    }
