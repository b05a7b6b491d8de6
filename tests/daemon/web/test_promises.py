"""What was promised, by the API: due times of a ticket, and the listing of what was late."""

from dataclasses import replace
from typing import Any

import pytest
from jsonschema_rs import validator_for

from daemon.web.shapes import BREACH, BREACHES, TICKET
from rules.commands import Done
from rules.instants import HOUR, MINUTE, parse_instant
from rules.model import Breach, Mark, Run
from rules.policy import Allowance, Allowed, Promise, Sla
from tests.daemon.web.fakes import NOW, FakeDaemon, Serve, a_ticket

HOURS = Allowance(Allowed(HOUR), Allowed(HOUR))


def a_breach(ticket: int = 7, **changes: Any) -> Breach:
    values: dict[str, Any] = {
        "ticket": ticket, "clock": "respond", "version": "v", "share": 100, "sla": "standard", "priority": "P2",
        "due_at": NOW, "observed_at": NOW, "overrun": 0, "cause": "nobody had answered",
    }  # fmt: skip
    return Breach(**{**values, **changes})


def promising() -> FakeDaemon:
    """T-7 is to be answered within an hour."""
    daemon = FakeDaemon()
    sla = Sla("standard", None, {"P2": Promise(HOURS)})
    daemon.policies.current = replace(daemon.policies.current, slas={"standard": sla}, default_sla="standard")
    daemon.reader.by_id[7] = a_ticket()
    return daemon


async def test_a_ticket_shows_by_when_it_is_to_be_answered_and_what_is_on_record(serve: Serve) -> None:
    daemon = promising()
    daemon.reader.broken = [a_breach(), a_breach(8)]
    daemon.clock.at = NOW + 10 * MINUTE
    shown = await (await (await serve(daemon)).get("/api/v1/tickets/T-7")).json()
    assert (shown["sla"]["respond"]["due_at"], shown["sla"]["respond"]["left"]) == ("2026-03-03T13:00:00Z", "50m")
    assert [(one["ticket"], one["cause"]) for one in shown["breaches"]] == [("T-7", "nobody had answered")]


async def test_answers_have_the_shapes_that_the_description_gives_them(serve: Serve) -> None:
    daemon = promising()
    run = Run("main", 1, 0, -1, True, NOW, plan="0123", waiting=True, since=NOW)
    held = (Mark(NOW, "answered"), Mark(NOW, "paused", "vendor"))
    kinds: list[dict[str, Any]] = [{}, {"run": run}, {"priority": "P1", "escalation": "main"}, {"marks": held}]
    for number, changes in enumerate(kinds, 1):
        daemon.reader.by_id[number] = a_ticket(number, **changes)
    daemon.reader.broken = [a_breach(1), a_breach(1, share=75, superseded_at=NOW, superseded_by="another target")]
    client = await serve(daemon)
    for number in daemon.reader.by_id:
        shown = await (await client.get(f"/api/v1/tickets/T-{number}")).json()
        assert [error.message for error in validator_for(TICKET).iter_errors(shown)] == []
        assert set(shown) <= {*TICKET["properties"], "storm"}
    listed = await (await client.get("/api/v1/breaches")).json()
    assert [error.message for error in validator_for(BREACHES).iter_errors(listed)] == []
    assert set(listed["breaches"][0]) == set(BREACH["properties"])


async def test_a_listing_shows_due_times_and_no_records(serve: Serve) -> None:
    (shown,) = (await (await (await serve(promising())).get("/api/v1/tickets")).json())["tickets"]
    assert shown["sla"]["respond"]["state"] == "running"
    assert "breaches" not in shown


async def test_an_answer_comes_back_with_the_clocks_as_they_are_then(serve: Serve) -> None:
    daemon = promising()
    daemon.ingest.script = lambda _: Done(a_ticket(), changed=True)
    answer = await (await serve(daemon)).post("/api/v1/tickets/T-7/acknowledge", json={"by": "amina"})
    assert (await answer.json())["sla"]["id"] == "standard"


async def test_the_listing_of_breaches_asks_the_store_and_pages_follow_each_other(serve: Serve) -> None:
    daemon = promising()
    daemon.reader.broken = [a_breach(), a_breach(8)]
    query = "ticket=T-7&clock=resolve&since=2026-03-03T12:00:00Z&share=100&superseded=false&limit=1&cursor=c"
    shown = await (await (await serve(daemon)).get(f"/api/v1/breaches?{query}")).json()
    assert daemon.reader.asked == [
        {
            "since": parse_instant("2026-03-03T12:00:00Z"),
            "ticket": 7,
            "clock": "resolve",
            "share_min": 100,
            "superseded": False,
            "limit": 1,
            "cursor": "c",
        }
    ]
    assert ([one["ticket"] for one in shown["breaches"]], shown["next"]) == (["T-7"], "more")


async def test_without_a_query_all_are_listed(serve: Serve) -> None:
    daemon = promising()
    assert await (await (await serve(daemon)).get("/api/v1/breaches")).json() == {"breaches": [], "next": None}
    assert daemon.reader.asked[0] == {
        "since": 0, "ticket": None, "clock": None, "share_min": None, "superseded": True, "limit": 50, "cursor": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "path", "reason"),
    [
        ("tikcet=T-7", "tikcet", 'unknown parameter; did you mean "ticket"?'),
        ("ticket=x", "ticket", "a ticket is named like T-1042"),
        ("clock=noon", "clock", "'noon' is none of respond, resolve"),
        ("since=yesterday", "since", "'yesterday' is not an RFC 3339 time such as 2026-01-31T12:00:00Z"),
        ("share=0", "share", "must be a number from 1 to 1000"),
        ("superseded=no", "superseded", "'no' is none of true, false"),
        ("limit=501", "limit", "must be a number from 1 to 500"),
        ("cursor=%00", "cursor", "must not hold control characters"),
    ],
)
async def test_a_wrong_query_is_400_and_named(serve: Serve, query: str, path: str, reason: str) -> None:
    response = await (await serve(FakeDaemon())).get(f"/api/v1/breaches?{query}")
    assert response.status == 400
    assert (await response.json())["errors"] == [{"path": path, "reason": reason}]


async def test_a_cursor_that_the_store_refuses_is_400(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.reader.fails = ValueError("no such cursor")
    response = await (await serve(daemon)).get("/api/v1/breaches?cursor=zzz")
    assert (response.status, (await response.json())["errors"]) == (
        400,
        [{"path": "cursor", "reason": "no such cursor"}],
    )
