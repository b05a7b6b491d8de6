"""What `ticketd tickets` shows of promises and escalations: due times on the reader's clock, states, breaches."""

import json
from typing import Any

import pytest

from tests.daemon.cli.conftest import Double, Ticketd
from tests.daemon.cli.test_tickets import TICKET

RUNNING: dict[str, Any] = {
    "clock": "respond",
    "state": "running",
    "due_at": "2026-11-22T01:00:00Z",
    "allowed": "1h",
    "working": True,
    "used": "10m",
    "left": "50m",
    "stretches": [{"since": "2026-11-22T00:00:00Z", "until": None, "running": True, "why": "opened"}],
}
PAUSED = {
    **RUNNING,
    "clock": "resolve",
    "state": "paused",
    "due_at": None,
    "left": "3h50m",
    "stretches": [
        {"since": "2026-11-22T00:00:00Z", "until": "2026-11-22T00:10:00Z", "running": True, "why": "opened"},
        {"since": "2026-11-22T00:10:00Z", "until": None, "running": False, "why": "waits for the vendor"},
    ],
}
LATE = {**RUNNING, "state": "breached", "due_at": "2026-11-22T00:30:00Z", "left": "-30m"}
ANSWERED_LATE = {**LATE, "stretches": [{**RUNNING["stretches"][0], "until": "2026-11-22T00:40:00Z"}]}
BREACH = {
    "ticket": "T-1042",
    "clock": "respond",
    "share": 100,
    "priority": "P1",
    "due_at": "2026-11-22T01:00:00Z",
    "overrun": "2s",
    "cause": "nobody had answered",
    "superseded_by": None,
}


def promised(**clocks: Any) -> dict[str, Any]:
    """The ticket, with these clocks."""
    return {**TICKET, "sla": {"id": "standard", "respond": None, "resolve": None, **clocks}}


def shown(cli: Ticketd, double: Double, ticket: dict[str, Any], *more: str) -> list[str]:
    """The words of each line of `tickets show`, joined by one blank."""
    double.on("/api/v1/tickets/T-1042", ticket)
    double.on("/api/v1/tickets/T-1042/timeline", {"timeline": []})
    done = cli("tickets", "show", "1042", "--url", double.url, "--zone", "Africa/Tripoli", *more)
    assert done.exit_code == 0, done.stderr
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_due_times_and_states_stand_on_the_readers_clock(cli: Ticketd, double: Double) -> None:
    lines = shown(cli, double, promised(respond=RUNNING, resolve=PAUSED))
    assert "promised by standard" in lines
    assert "respond running 2026-11-22 03:00 Africa/Tripoli (01:00 UTC) 1h working 10m 50m" in lines
    assert "resolve paused 1h working 10m 3h50m" in lines
    assert "opened at 2026-11-22 02:00:01 Africa/Tripoli (00:00:01 UTC)" in lines


def test_how_each_clock_ran_and_why_it_stood_still_is_shown(cli: Ticketd, double: Double) -> None:
    lines = shown(cli, double, promised(resolve=PAUSED))
    first, second = "2026-11-22 02:00 Africa/Tripoli (00:00 UTC)", "2026-11-22 02:10 Africa/Tripoli (00:10 UTC)"
    assert f"resolve {first} {second} ran opened" in lines
    assert f"resolve {second} stood still waits for the vendor" in lines


def test_breaches_are_shown_with_their_cause(cli: Ticketd, double: Double) -> None:
    lines = shown(cli, double, {**promised(respond=LATE), "breaches": [BREACH]})
    assert "respond 100% P1 2026-11-22 03:00 Africa/Tripoli (01:00 UTC) 2s nobody had answered" in lines


def test_how_far_the_escalation_came_is_shown(cli: Ticketd, double: Double) -> None:
    before: Any = TICKET["escalation"]
    escalation = {
        **before, "run": 2, "pinned": True, "waiting": True, "paused": False,
        "since": "2026-11-22T00:00:00Z", "next_at": "2026-11-22T00:05:00Z", "acknowledgers": ["omar", "lena"],
    }  # fmt: skip
    lines = shown(cli, double, {**TICKET, "escalation": escalation})
    place = "policy=payments run=2 round=1 step=1"
    assert f"escalation {place}, waits for opening hours, goes by an earlier text of the policy" in lines
    assert "step told 2026-11-22 02:00 Africa/Tripoli (00:00 UTC)" in lines
    assert "next step 2026-11-22 02:05 Africa/Tripoli (00:05 UTC)" in lines
    assert "acknowledged so far omar, lena" in lines
    assert "told amina by email" in lines


def test_a_ticket_that_nothing_is_promised_for_shows_no_clocks(cli: Ticketd, double: Double) -> None:
    assert "promised" not in " ".join(shown(cli, double, {**TICKET, "sla": None}))


@pytest.mark.parametrize(
    ("clocks", "cell"),
    [
        ({"respond": RUNNING, "resolve": PAUSED}, "respond 2026-11-22 03:00"),
        ({"respond": {**RUNNING, "due_at": "2026-11-23T00:00:00Z"}, "resolve": RUNNING}, "resolve 2026-11-22 03:00"),
        ({"respond": LATE, "resolve": RUNNING}, "respond late by 30m"),
        ({"respond": ANSWERED_LATE, "resolve": RUNNING}, "resolve 2026-11-22 03:00"),
        ({"respond": {**RUNNING, "state": "met"}, "resolve": PAUSED}, ""),
    ],
)
def test_a_listing_says_what_is_due_next(cli: Ticketd, double: Double, clocks: dict[str, Any], cell: str) -> None:
    double.on("/api/v1/tickets", {"tickets": [promised(**clocks)], "next": None})
    done = cli("tickets", "list", "--url", double.url, "--zone", "Africa/Tripoli")
    heads, row = done.stdout.splitlines()
    start, end = heads.index("NEXT DUE (Africa/Tripoli)"), heads.index("RULE")
    assert row[start:end].strip() == cell


def test_the_zone_is_that_of_the_machine_unless_said_otherwise(
    cli: Ticketd, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.on("/api/v1/tickets", {"tickets": [promised(respond=RUNNING)], "next": None})
    for name, told in (("Asia/Shanghai", "2026-11-22 09:00"), (":Asia/Shanghai", "09:00"), ("<+03>-3", "01:00")):
        monkeypatch.setenv("TZ", name)
        assert told in cli("tickets", "list", "--url", double.url).stdout
    done = cli("tickets", "list", "--url", double.url, "--zone", "Atlantis")
    assert (done.exit_code, "'Atlantis' is not a time zone such as Africa/Tripoli" in done.stderr) == (2, True)


# ---- breaches
def test_breaches_are_listed_as_asked(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/breaches", {"breaches": [BREACH], "next": "c2"})
    done = cli(
        *("tickets", "breaches", "1042", "--clock", "respond", "--share", "100", "--since", "2026-11-01T00:00:00Z"),
        *("--current", "--limit", "1", "--url", double.url, "--zone", "UTC"),
    )
    assert double.asked[0].target == (
        "/api/v1/breaches?ticket=T-1042&clock=respond&share=100&since=2026-11-01T00%3A00%3A00Z&superseded=false&limit=1"
    )
    heads, row = done.stdout.splitlines()
    assert heads.split()[:3] == ["TICKET", "CLOCK", "SHARE"]
    assert " ".join(row.split()) == "T-1042 respond 100% P1 2026-11-22 01:00 UTC 2s nobody had answered"
    assert done.stderr == "More than 1: raise --limit, or go on with --cursor c2\n"


def test_breaches_as_json_and_none_at_all(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/breaches", {"breaches": [BREACH], "next": None})
    double.on("/api/v1/breaches", {"breaches": [], "next": None})
    assert json.loads(cli("tickets", "breaches", "--url", double.url, "-o", "json").stdout)["breaches"] == [BREACH]
    done = cli("tickets", "breaches", "--url", double.url)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "No breaches.\n")


# ---- compare and set
@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("acknowledge", ()), ("release", ()), ("resolve", ()), ("close", ()), ("reopen", ()), ("escalate", ()),
        ("comment", ("--note", "x")), ("hold", ("--note", "x", "--until", "2h")), ("priority", ("--impact", "site")),
    ],
)  # fmt: skip
def test_every_answer_takes_the_generation_that_it_was_made_for(
    cli: Ticketd, double: Double, action: str, more: tuple[str, ...]
) -> None:
    double.on(f"/api/v1/tickets/T-1/{action}", {"detail": "T-1 has changed since"}, 409)
    done = cli("tickets", action, "1", "--by", "amina", "--generation", "3", *more, "--url", double.url)
    assert (done.exit_code, double.asked[0].json()["generation"]) == (1, 3)
    assert done.stderr == f"ticketd: {action} T-1: 409 T-1 has changed since\n"
