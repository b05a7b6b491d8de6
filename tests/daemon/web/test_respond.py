"""The page behind a one-click link: GET shows, POST acts, and a token that proves nothing learns nothing."""

import base64
import hashlib
import re
from typing import Any

import pytest

from daemon.ingest import BusyError
from daemon.links import Claim, Links
from rules.commands import Denied, Done, Noted
from rules.events import Actor, Refused, Responded
from rules.instants import HOUR, MINUTE, SECOND
from rules.model import Status
from tests.daemon.web.fakes import NOW, FakeDaemon, Serve, a_ticket

ACKNOWLEDGED: dict[str, Any] = {
    "status": Status.ACKNOWLEDGED,
    "generation": 2,
    "acknowledged_by": "omar",
    "acknowledged_at": NOW + MINUTE,
}


def link(daemon: FakeDaemon, **changes: Any) -> str:
    values = {"ticket": 7, "contact": "amina", "action": "acknowledge", "generation": 1, "expires": NOW + HOUR}
    return "/respond/" + daemon.links.token(Claim(**{**values, **changes}))


def with_ticket(**changes: Any) -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.reader.by_id[7] = a_ticket(**changes)
    daemon.ingest.script = lambda _: Done(a_ticket(**ACKNOWLEDGED), changed=True)
    return daemon


def said(page: str) -> str:
    found = re.search(r'<p class="said"[^>]*>(.*?)</p>', page, re.DOTALL)
    return found[1] if found else ""


async def test_get_shows_the_ticket_and_a_button_and_changes_nothing(serve: Serve) -> None:
    daemon = with_ticket()
    response = await (await serve(daemon)).get(link(daemon))
    page = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    assert "Disk full on db-1" in page
    assert "Amina Salem" in page
    assert "<button" in page
    assert '<form method="post">' in page
    assert daemon.ingest.seen == []


async def test_head_says_nothing_and_looks_at_nothing(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.reader.fails = AssertionError("looked")
    client = await serve(daemon)
    for path in (link(daemon), "/respond/forged"):
        response = await client.head(path)
        assert (response.status, await response.read()) == (200, b"")
    assert daemon.ingest.seen == []


async def test_post_acts_as_the_contact_of_the_link_and_shows_what_happened(serve: Serve) -> None:
    daemon = with_ticket()
    response = await (await serve(daemon)).post(link(daemon), data={"note": " on it \0"})
    page = await response.text()
    assert response.status == 200
    assert daemon.ingest.events == [Responded(7, "acknowledge", Actor("amina", via="link"), note="on it", generation=1)]
    assert "T-7 is acknowledged by omar" in said(page)
    assert "<button" not in page


@pytest.mark.parametrize("data", [b"", b"\xff\xfe=%%%", b"&" * 1_000, b"note", b"x" * 30_000])
async def test_a_post_needs_no_form_and_minds_no_odd_one(serve: Serve, data: bytes) -> None:
    daemon = with_ticket()
    assert (await (await serve(daemon)).post(link(daemon), data=data)).status == 200


async def test_a_form_too_large_is_refused_as_a_page(serve: Serve) -> None:
    daemon = with_ticket()
    response = await (await serve(daemon)).post(link(daemon), data=b"x" * 40_000)
    assert (response.status, response.content_type) == (413, "text/html")
    assert daemon.ingest.seen == []


# ---- tokens that prove nothing
@pytest.mark.parametrize(
    ("how", "status"), [("cut", 404), ("forged", 404), ("other key", 404), ("garbage", 404), ("expired", 410)]
)
async def test_a_token_that_proves_nothing_shows_nothing(serve: Serve, how: str, status: int) -> None:
    daemon = with_ticket()
    path = link(daemon)
    match how:
        case "cut":
            path = path[:-10]
        case "forged":
            path = path[:-10] + "A" * 10
        case "other key":
            path = "/respond/" + Links(["z" * 40], "").token(Claim(7, "amina", "acknowledge", 1, NOW + HOUR))
        case "garbage":
            path = "/respond/%00%ff%3Cscript%3E"
        case _:
            daemon.clock.at = NOW + HOUR
    client = await serve(daemon)
    for method in (client.get, client.post):
        response = await method(path)
        page = await response.text()
        assert (response.status, response.content_type) == (status, "text/html")
        assert "Disk full" not in page
        assert "<button" not in page
        assert "<script" not in page
    assert [type(event) for event in daemon.ingest.events] == ([Refused] if how == "expired" else [])


async def test_an_expired_link_that_was_pressed_stands_on_the_timeline(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.ingest.script = lambda _: Noted("recorded")
    daemon.clock.at = NOW + HOUR
    await (await serve(daemon)).post(link(daemon))
    assert daemon.ingest.events == [Refused(7, "acknowledge", "contact:amina", "the link has expired")]


async def test_a_rotated_key_still_opens_the_page(serve: Serve) -> None:
    daemon = with_ticket()
    path = link(daemon)
    daemon.links = Links(["n" * 40, "k" * 40], "http://x")
    assert (await (await serve(daemon)).get(path)).status == 200


async def test_an_action_that_no_button_can_do_is_refused(serve: Serve) -> None:
    daemon = with_ticket()
    assert (await (await serve(daemon)).post(link(daemon, action="hold"))).status == 404
    assert daemon.ingest.seen == []


async def test_a_link_to_a_ticket_that_is_gone(serve: Serve) -> None:
    daemon = FakeDaemon()
    assert (await (await serve(daemon)).get(link(daemon))).status == 404


# ---- the ticket has moved on
async def test_a_link_to_an_acknowledged_ticket_names_the_first_and_has_no_button(serve: Serve) -> None:
    daemon = with_ticket(**ACKNOWLEDGED)
    page = await (await (await serve(daemon)).get(link(daemon))).text()
    assert "Already acknowledged by omar at 2026-03-03T12:01:00Z" in said(page)
    assert "<button" not in page


async def test_acknowledging_what_is_acknowledged_is_harmless_and_names_the_first(serve: Serve) -> None:
    daemon = with_ticket(**ACKNOWLEDGED)
    daemon.ingest.script = lambda _: Denied(409, "T-7 has changed since", "generation")
    response = await (await serve(daemon)).post(link(daemon))
    assert response.status == 200
    assert "Already acknowledged by omar" in said(await response.text())


async def test_an_answer_already_in_force_is_said_to_be(serve: Serve) -> None:
    daemon = with_ticket(**ACKNOWLEDGED)
    daemon.ingest.script = lambda _: Done(
        a_ticket(**ACKNOWLEDGED), changed=False, note="T-7 is acknowledged by omar already"
    )
    response = await (await serve(daemon)).post(link(daemon, generation=2))
    assert "T-7 is acknowledged by omar already" in said(await response.text())


async def test_a_link_from_before_a_reopening_says_what_is_in_force(serve: Serve) -> None:
    daemon = with_ticket(generation=4)
    daemon.ingest.script = lambda _: Denied(
        409, "T-7 has changed since (generation 4, not 1): it is open now", "generation"
    )
    client = await serve(daemon)
    page = await (await client.get(link(daemon))).text()
    assert "now it is open" in said(page)
    assert "<button" not in page
    response = await client.post(link(daemon))
    assert response.status == 409
    assert "it is open now" in said(await response.text())


@pytest.mark.parametrize("status", [Status.RESOLVED, Status.CLOSED])
@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
async def test_a_link_to_what_is_over_has_no_button(serve: Serve, status: Status, action: str) -> None:
    daemon = with_ticket(status=status, resolved_by="omar", resolved_at=NOW)
    page = await (await (await serve(daemon)).get(link(daemon, action=action))).text()
    assert f"{status.value} by omar" in said(page)
    assert "<button" not in page


async def test_somebody_no_longer_authorised_is_refused_with_the_reason_and_shown_nothing_more(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.ingest.script = lambda _: Denied(403, "amina may not acknowledge this ticket")
    response = await (await serve(daemon)).post(link(daemon))
    page = await response.text()
    assert (response.status, said(page)) == (403, "Amina may not acknowledge this ticket.")
    assert "Disk full" not in page


async def test_a_busy_daemon_asks_to_try_again_in_a_page(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.ingest.script = lambda _: BusyError("shutting down", 10)
    response = await (await serve(daemon)).post(link(daemon))
    assert (response.status, response.headers["Retry-After"], response.content_type) == (503, "10", "text/html")
    assert "Try again" in await response.text()


# ---- what is on the page
async def test_everything_from_outside_is_escaped(serve: Serve) -> None:
    nasty = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    labels = {nasty: nasty, "url": "javascript:alert(1)"}
    daemon = with_ticket(title=nasty, description=nasty, labels=labels, rule=nasty, impact=nasty)
    page = await (await (await serve(daemon)).get(link(daemon))).text()
    assert "<script" not in page
    assert "<img" not in page
    assert "href" not in page
    assert page.count("&lt;script&gt;") == 6


async def test_a_page_may_do_nothing_but_post_its_form_and_is_kept_nowhere(serve: Serve) -> None:
    daemon = with_ticket()
    client = await serve(daemon)
    for response in (await client.get(link(daemon)), await client.post(link(daemon)), await client.get("/respond/x")):
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"


async def test_the_style_on_the_page_is_the_one_whose_hash_is_allowed(serve: Serve) -> None:

    daemon = with_ticket()
    response = await (await serve(daemon)).get(link(daemon))
    style = re.search(r"<style>(.*?)</style>", await response.text(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in response.headers["Content-Security-Policy"]


async def test_expiry_is_judged_by_the_daemons_clock(serve: Serve) -> None:
    daemon = with_ticket()
    client = await serve(daemon)
    daemon.clock.at = NOW + HOUR - SECOND
    assert (await client.get(link(daemon))).status == 200
