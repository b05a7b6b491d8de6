"""`ticketd tickets …` against a double: what is asked of the daemon, what is printed, and which code it ends with."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from rules.instants import parse_instant
from rules.tickets.timeline import What, entry
from rules.tickets.view import entry_json
from tests.daemon.cli.conftest import Double, Ticketd

Story = list[dict[str, Any]]

TICKET = {
    "id": "T-1042",
    "kind": "incident",
    "priority": "P1",
    "status": "open",
    "generation": 3,
    "title": "checkout errors in prod",
    "description": "first line\nsecond \x1b[31mline",
    "rule": "checkout.errors",
    "impact": "site",
    "urgency": "high",
    "labels": {"service": "checkout", "env": "prod"},
    "alerts": [{"fingerprint": "2c3f", "status": "firing", "startsAt": "2026-11-22T00:00:00Z", "labels": {"a": "b"}}],
    "opened_at": "2026-11-22T00:00:01Z",
    "acknowledged_by": None,
    "reopened": 0,
    "escalation": {
        "policy": "payments",
        "round": 1,
        "step": 1,
        "next_at": None,
        "notified": [{"contact": "amina", "by": "email"}],
    },
}


def chain(ticket: int, *words: What) -> dict[str, Any]:
    """A whole timeline, as the API gives it."""
    lines: list[dict[str, Any]] = []
    head = ""
    for seq, word in enumerate(words, 1):
        at = parse_instant("2026-11-22T00:00:00Z") + seq
        line = entry(head, ticket, seq, at, word, "ticketd", f"because {seq}", {"n": seq})
        head = line.hash
        lines.append(entry_json(line))
    return {"ticket": f"T-{ticket}", "entries": len(lines), "head": head, "timeline": lines}


def test_a_listing_shows_a_line_a_ticket(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets", {"tickets": [TICKET], "next": None})
    done = cli("tickets", "list", "--url", double.url)
    assert done.exit_code == 0
    heads, row = done.stdout.splitlines()
    assert heads.split()[:3] == ["ID", "PRIORITY", "STATUS"]
    assert row.split()[:3] == ["T-1042", "P1", "open"]
    assert row.rstrip().endswith("checkout errors in prod")


def test_filters_go_to_the_daemon(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets", {"tickets": [], "next": None})
    done = cli(
        *("tickets", "list", "--url", double.url, "--status", "open", "--status", "on_hold", "--priority", "P1"),
        *("--rule", "r", "--kind", "incident", "--label", "team=a=b", "-q", "x y", "--limit", "5", "--cursor", "c"),
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "No tickets.\n")
    assert double.asked[0].target == (
        "/api/v1/tickets?status=open&status=on_hold&priority=P1&label=team%3Da%3Db&rule=r&kind=incident&q=x+y"
        "&limit=5&cursor=c"
    )


def test_pages_are_followed_up_to_the_limit_and_the_rest_is_announced(cli: Ticketd, double: Double) -> None:
    for page in range(3):
        tickets = [{**TICKET, "id": f"T-{number}"} for number in range(page * 200, page * 200 + 200)]
        double.on("/api/v1/tickets", {"tickets": tickets, "next": f"page{page + 1}"})
    done = cli("tickets", "list", "--url", double.url, "--limit", "600", "-o", "json")
    found = json.loads(done.stdout)
    assert [one["id"] for one in found["tickets"]] == [f"T-{number}" for number in range(600)]
    assert found["next"] == "page3"
    assert [one.target for one in double.asked] == [
        "/api/v1/tickets?limit=200",
        "/api/v1/tickets?limit=200&cursor=page1",
        "/api/v1/tickets?limit=200&cursor=page2",
    ]


def test_a_daemon_whose_pages_never_end_is_not_followed_for_ever(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets", {"tickets": [TICKET], "next": "same"})
    done = cli("tickets", "list", "--url", double.url, "-o", "json")
    assert len(json.loads(done.stdout)["tickets"]) == 2
    assert len(double.asked) == 2


def test_one_ticket_with_its_story(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets/T-1042", TICKET)
    double.on("/api/v1/tickets/T-1042/timeline", chain(1042, What.OPENED, What.TOLD))
    done = cli("tickets", "show", "1042", "--url", double.url)
    assert done.exit_code == 0
    assert done.stdout.startswith("T-1042  P1  open\ncheckout errors in prod\n  first line\n  second \\x1b[31mline\n")
    for part in ("service=checkout env=prod", "policy=payments round=1 step=1", "amina by email", "2c3f", "because 2"):
        assert part in done.stdout
    assert "\x1b" not in done.stdout


def test_one_ticket_as_json_holds_its_timeline(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets/T-7", TICKET)
    double.on("/api/v1/tickets/T-7/timeline", chain(7, What.OPENED))
    found = json.loads(cli("tickets", "show", "t-7", "--url", double.url, "--output", "json").stdout)
    assert found["title"] == TICKET["title"]
    assert [one["what"] for one in found["timeline"]] == ["opened"]


@pytest.mark.parametrize("text", ["", "T-", "T-x", "-1", "T-1/../x", "T-" + "9" * 40, "٣"])
def test_what_is_no_ticket_is_wrong_usage(cli: Ticketd, double: Double, text: str) -> None:
    done = cli("tickets", "show", "--url", double.url, "--", text)
    assert done.exit_code == 2
    assert double.asked == []


def test_opening_by_hand_sends_what_was_given(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets", TICKET, 201)
    done = cli(
        *("tickets", "open", "Checkout is slow", "--by", "amina", "--impact", "service", "--urgency", "high"),
        *("--label", "team=payments", "--category", "network", "--url", double.url),
    )
    assert (done.exit_code, done.stdout) == (0, "T-1042 P1 open checkout errors in prod\n")
    assert double.asked[0].json() == {
        "by": "amina",
        "title": "Checkout is slow",
        "impact": "service",
        "urgency": "high",
        "category": "network",
        "labels": {"team": "payments"},
    }


@pytest.mark.parametrize("action", ["acknowledge", "release", "resolve", "close", "reopen", "comment", "escalate"])
def test_an_answer_is_one_post(cli: Ticketd, double: Double, action: str) -> None:
    double.on(f"/api/v1/tickets/T-1042/{action}", {**TICKET, "status": "acknowledged"})
    done = cli("tickets", action, "1042", "--by", "amina", "--note", "on it", "--generation", "3", "--url", double.url)
    assert (done.exit_code, done.stdout) == (0, "T-1042 P1 acknowledged checkout errors in prod\n")
    assert double.asked[0].method == "POST"
    assert double.asked[0].json() == {"by": "amina", "note": "on it", "generation": 3}


def test_resolve_says_force_only_when_told(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets/T-1/resolve", TICKET)
    cli("tickets", "resolve", "1", "--by", "amina", "--url", double.url)
    cli("tickets", "resolve", "1", "--by", "amina", "--force", "--url", double.url)
    assert [one.json() for one in double.asked] == [{"by": "amina"}, {"by": "amina", "force": True}]


@pytest.mark.parametrize(
    ("until", "sent"),
    [("2026-12-01T10:00:00+02:00", "2026-12-01T08:00:00Z"), ("2h", "2026-11-22T02:00:00Z")],
)
def test_a_hold_ends_at_a_time_or_after_a_span(
    cli: Ticketd, double: Double, monkeypatch: pytest.MonkeyPatch, until: str, sent: str
) -> None:
    monkeypatch.setattr("daemon.clock.SystemClock.now", lambda _: parse_instant("2026-11-22T00:00:00Z"))
    double.on("/api/v1/tickets/T-1/hold", TICKET)
    done = cli("tickets", "hold", "1", "--until", until, "--note", "vendor", "--by", "amina", "--url", double.url)
    assert done.exit_code == 0, done.stderr
    assert double.asked[0].json() == {"by": "amina", "note": "vendor", "until": sent}


def test_a_hold_needs_its_end_and_its_reason(cli: Ticketd, double: Double) -> None:
    assert cli("tickets", "hold", "1", "--note", "x", "--url", double.url).exit_code == 2
    assert cli("tickets", "hold", "1", "--until", "2h", "--url", double.url).exit_code == 2
    done = cli("tickets", "hold", "1", "--until", "soon", "--note", "x", "--url", double.url)
    assert done.exit_code == 2
    assert "'soon' is not an RFC 3339 time" in done.stderr
    assert double.asked == []


def test_a_priority_is_changed_by_impact_or_urgency(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets/T-1/priority", TICKET)
    assert cli("tickets", "priority", "1", "--url", double.url).exit_code == 2
    assert cli("tickets", "priority", "1", "--impact", "site", "--url", double.url).exit_code == 0
    assert [one.json() for one in double.asked] == [{"impact": "site"}]


def test_several_are_answered_although_one_is_refused(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets/T-1/acknowledge", {**TICKET, "id": "T-1"})
    double.on("/api/v1/tickets/T-2/acknowledge", {"detail": "amina may not acknowledge T-2"}, 403)
    double.on("/api/v1/tickets/T-3/acknowledge", {**TICKET, "id": "T-3"})
    done = cli("tickets", "acknowledge", "1", "2", "3", "--by", "amina", "--url", double.url)
    assert done.exit_code == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["T-1", "T-3"]
    assert done.stderr == "ticketd: acknowledge T-2: 403 amina may not acknowledge T-2\n"


def test_a_stale_answer_is_a_no_with_the_reason(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets/T-1/escalate", {"detail": "the ticket is at generation 4, not 3"}, 409)
    done = cli("tickets", "escalate", "1", "--generation", "3", "--by", "amina", "--url", double.url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "ticketd: escalate T-1: 409 the ticket is at generation 4, not 3\n"


def test_a_generation_belongs_to_one_ticket(cli: Ticketd, double: Double) -> None:
    assert cli("tickets", "close", "1", "2", "--generation", "3", "--url", double.url).exit_code == 2
    assert double.asked == []


def test_a_bad_field_is_named_with_its_path(cli: Ticketd, double: Double) -> None:
    double.on(
        "/api/v1/tickets", {"detail": "no such impact", "errors": [{"path": "impact", "reason": "no such impact"}]}, 400
    )
    done = cli("tickets", "open", "x", "--impact", "?", "--urgency", "high", "--url", double.url)
    assert done.exit_code == 1
    assert done.stderr == "ticketd: POST /api/v1/tickets: 400 no such impact (field impact)\n"


def test_whole_chains_verify(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets", {"tickets": [{"id": "T-1"}, {"id": "T-2"}], "next": None})
    double.on("/api/v1/tickets/T-1/timeline", chain(1, What.OPENED, What.TOLD))
    double.on("/api/v1/tickets/T-2/timeline", chain(2, What.OPENED))
    done = cli("tickets", "verify", "--url", double.url)
    assert (done.exit_code, done.stdout) == (0, "3 entries of 2 tickets: every chain holds\n")


def test_a_timeline_that_grew_while_it_was_read_verifies(cli: Ticketd, double: Double) -> None:
    before, after = chain(1, What.OPENED), chain(1, What.OPENED, What.TOLD)
    double.on("/api/v1/tickets/T-1/timeline", {**after, "entries": before["entries"], "head": before["head"]})
    assert cli("tickets", "verify", "1", "--url", double.url).exit_code == 0


def edited(lines: Story) -> None:
    lines[1]["why"] = "another story"


def gap(lines: Story) -> None:
    del lines[1]


def cut(lines: Story) -> None:
    del lines[2]


def swapped(lines: Story) -> None:
    lines.reverse()


def unreadable(lines: Story) -> None:
    del lines[1]["who"]


def odd(lines: Story) -> None:
    lines[1]["data"] = 7


@pytest.mark.parametrize(
    ("harm", "flaw"),
    [
        (edited, "entry 2 (told) was changed after it was written"),
        (gap, "entry 2 is missing: 3 stands in its place"),
        (cut, "the ticket has 3 entries, the timeline 2"),
        (swapped, "entry 1 is missing: 3 stands in its place"),
        (unreadable, "entry 2 cannot be read: KeyError('who')"),
        (odd, "entry 2 cannot be read: its data is no object"),
        (list.clear, "the ticket has 3 entries, the timeline 0"),
    ],
)
def test_tampering_shows(cli: Ticketd, double: Double, harm: Callable[[Story], None], flaw: str) -> None:
    answer = chain(1, What.OPENED, What.TOLD, What.DELIVERED)
    harm(answer["timeline"])
    double.on("/api/v1/tickets/T-1/timeline", answer)
    done = cli("tickets", "verify", "T-1", "--url", double.url)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [f"T-1: {flaw}", "1 of 1 timelines are not as they were written"]


@pytest.mark.parametrize(
    ("changed", "flaw"),
    [
        ({"timeline": None}, "the answer holds no timeline"),
        ({"head": "0" * 64}, "the timeline's last entry is not the one that the ticket names"),
        ({"entries": "many"}, "the timeline cannot be read"),
    ],
)
def test_an_answer_that_contradicts_itself_shows(
    cli: Ticketd, double: Double, changed: dict[str, object], flaw: str
) -> None:
    double.on("/api/v1/tickets/T-1/timeline", {**chain(1, What.OPENED), **changed})
    done = cli("tickets", "verify", "T-1", "--url", double.url, "-o", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["flaws"]["T-1"].startswith(flaw)


def test_a_timeline_of_another_ticket_does_not_verify(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets/T-2/timeline", chain(1, What.OPENED))
    assert cli("tickets", "verify", "T-2", "--url", double.url).exit_code == 1


def test_what_the_daemon_remarks_is_printed(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets/T-1/acknowledge", {**TICKET, "note": "omar has acknowledged it already"})
    done = cli("tickets", "acknowledge", "1", "--by", "amina", "--url", double.url)
    assert done.stdout == "T-1042 P1 open checkout errors in prod (omar has acknowledged it already)\n"
