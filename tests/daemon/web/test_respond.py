"""The page behind a one-click link: GET shows, POST acts, and a token that proves nothing learns nothing."""

import base64
import hashlib
import re
from dataclasses import fields
from string import Formatter
from typing import Any

import pytest

from daemon.ingest import BusyError
from daemon.links import Claim, Links
from daemon.web.pages.words import ENGLISH, LANGUAGES, PageWords
from daemon.web.sayings import ACTIONS
from rules.commands import Denied, Done, Noted
from rules.events import Actor, Refused, Responded
from rules.instants import HOUR, MINUTE, SECOND
from rules.model import Status
from rules.policy import Allowance, Allowed, Contact, Policy, Promise, Sla
from rules.response.phrases import LANGUAGES as SPOKEN
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


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_scanners_get_and_head_of_a_link_do_nothing_whatever_the_link_is_for(serve: Serve, action: str) -> None:
    daemon = with_ticket()
    client = await serve(daemon)
    path = link(daemon, action=action)
    for headers in ({}, {"Purpose": "prefetch"}, {"Sec-Purpose": "prefetch;prerender"}, {"X-Moz": "prefetch"}):
        assert (await client.get(path, headers=headers)).status == 200
        assert (await client.head(path, headers=headers)).status == 200
    assert daemon.ingest.seen == []


async def test_no_other_method_of_a_link_acts(serve: Serve) -> None:
    daemon = with_ticket()
    client = await serve(daemon)
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert (await client.request(method, link(daemon))).status == 405
    assert daemon.ingest.seen == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_scanners_get_and_head_of_a_callback_do_nothing(serve: Serve, method: str) -> None:
    daemon = with_ticket()
    response = await (await serve(daemon)).request(method, "/callbacks/sms/main?token=7-abcd")
    assert response.status == 405
    assert daemon.ingest.seen == []


@pytest.mark.parametrize(
    ("action", "button"), [("acknowledge", "Acknowledge"), ("resolve", "Resolve"), ("escalate", "Escalate")]
)
async def test_each_link_of_a_page_has_its_own_button_and_does_that(serve: Serve, action: str, button: str) -> None:
    daemon = with_ticket()
    client = await serve(daemon)
    assert f">{button}</button>" in await (await client.get(link(daemon, action=action))).text()
    await client.post(link(daemon, action=action))
    assert daemon.ingest.events == [Responded(7, action, Actor("amina", via="link"), generation=1)]


async def test_escalating_says_that_the_next_step_is_told_and_a_part_of_a_quorum_that_others_are_waited_for(
    serve: Serve,
) -> None:
    daemon = with_ticket()
    client = await serve(daemon)
    assert "goes on to the next step" in said(await (await client.post(link(daemon, action="escalate"))).text())
    note = "1 of 2 have acknowledged it: the escalation goes on"
    daemon.ingest.script = lambda _: Done(a_ticket(acknowledgers=("amina",)), changed=True, note=note)
    page = await (await client.post(link(daemon))).text()
    assert said(page) == f"Done: {note}."
    assert "Acknowledged so far by" in page


async def test_times_stand_on_the_clock_of_whom_the_link_was_made_for_with_what_was_promised(serve: Serve) -> None:
    daemon = with_ticket()
    amina = Contact("amina", "Amina Salem", timezone="Africa/Tripoli")
    hour = Allowance(Allowed(HOUR), Allowed(HOUR))
    standard = Sla("standard", None, {"P2": Promise(respond=hour)})
    daemon.policies.current = Policy(
        version="v2", contacts={"amina": amina}, slas={"standard": standard}, default_sla="standard"
    )
    page = await (await (await serve(daemon)).get(link(daemon))).text()
    assert "2026-03-03 14:00 Africa/Tripoli (12:00 UTC)" in page
    assert "2026-03-03 15:00 Africa/Tripoli (13:00 UTC) (running)" in page


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


@pytest.mark.parametrize(
    ("language", "button", "state", "head"),
    [
        ("ar", "تأكيد الاستلام", "T-7 الآن مؤكَّدة الاستلام من قِبل omar", '<html lang="ar" dir="rtl">'),
        ("zh-Hans", "确认", "T-7 现在的状态是已由 omar 确认", '<html lang="zh" dir="ltr">'),
        ("fr", "Acknowledge", "T-7 is acknowledged by omar", '<html lang="en" dir="ltr">'),
    ],
)
async def test_the_page_is_in_the_language_of_whom_the_link_was_made_for(
    serve: Serve, language: str, button: str, state: str, head: str
) -> None:
    daemon = with_ticket()
    amina = Contact("amina", "<b>Amina</b>", language=language)
    daemon.policies.current = Policy(version="v2", contacts={"amina": amina})
    client = await serve(daemon)
    page = await (await client.get(link(daemon))).text()
    assert f">{button}</button>" in page
    assert head in page
    assert "&lt;b&gt;Amina&lt;/b&gt;" in page
    assert state in said(await (await client.post(link(daemon))).text())


@pytest.mark.parametrize("name", [one.name for one in fields(PageWords)])
@pytest.mark.parametrize("words", LANGUAGES, ids=lambda one: one.language)
def test_every_word_of_a_page_is_there_with_the_same_blanks_as_in_english(words: PageWords, name: str) -> None:
    text = getattr(words, name)
    assert text.strip()
    assert blanks(text) == blanks(getattr(ENGLISH, name))
    if words is not ENGLISH and name not in {"language", "direction"}:
        assert not re.search("[A-Za-z]", re.sub("{.*?}", "", text))


def blanks(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def test_pages_and_messages_speak_the_same_languages() -> None:
    assert [one.language for one in LANGUAGES] == [one.language for one in SPOKEN]


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


# ---- each wrong token is refused, and says why
async def test_a_forwarded_link_acts_as_nobody_but_whom_it_was_made_for(serve: Serve) -> None:
    daemon = with_ticket()
    client = await serve(daemon)
    page = await (await client.get(link(daemon))).text()
    assert 'You answer as <strong dir="auto">Amina Salem</strong>' in page
    await client.post(link(daemon), data={"by": "omar", "contact": "omar", "note": "me"})
    (event,) = daemon.ingest.events
    assert isinstance(event, Responded)
    assert event.actor == Actor("amina", via="link")


async def test_a_forwarded_link_of_somebody_no_longer_a_contact_is_refused_with_the_reason(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.ingest.script = lambda _: Denied(403, "amina is not a contact of the policy")
    response = await (await serve(daemon)).post(link(daemon))
    assert (response.status, said(await response.text())) == (403, "Amina is not a contact of the policy.")


async def test_a_replayed_link_after_a_release_is_refused_with_the_reason(serve: Serve) -> None:
    daemon = with_ticket(generation=3)  # acknowledged by this very link, held, and released again
    why = "T-7 has changed since (generation 3, not 1): it is open now"
    daemon.ingest.script = lambda _: Denied(409, why, "generation")
    response = await (await serve(daemon)).post(link(daemon))
    assert response.status == 409
    assert "T-7 has changed since" in said(await response.text())


async def test_a_token_with_another_tickets_claim_put_in_is_refused_and_changes_nothing(serve: Serve) -> None:
    daemon = with_ticket()
    mine, other = link(daemon), link(daemon, ticket=8)
    head, signed = mine.rsplit(".", 1)
    assert other.rsplit(".", 1)[1] != signed
    response = await (await serve(daemon)).post(f"{other.rsplit('.', 1)[0]}.{signed}")
    assert head != other.rsplit(".", 1)[0]
    assert (response.status, daemon.ingest.seen) == (404, [])
    assert "not valid" in await response.text()


async def test_a_token_of_a_key_rotated_out_is_refused_with_the_reason(serve: Serve) -> None:
    daemon = with_ticket()
    path = link(daemon)
    daemon.links = Links(["n" * 40], "http://x")
    response = await (await serve(daemon)).post(path)
    assert (response.status, daemon.ingest.seen) == (404, [])
    assert "Its key is no longer in use" in said(await response.text())


async def test_an_expired_token_is_refused_with_the_reason(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.ingest.script = lambda _: Noted("recorded")
    daemon.clock.at = NOW + HOUR
    response = await (await serve(daemon)).post(link(daemon))
    assert (response.status, "This link has expired" in await response.text()) == (410, True)


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
    assert "Already acknowledged by omar at 2026-03-03 12:01 UTC" in said(page)
    assert "<button" not in page


async def test_acknowledging_what_is_acknowledged_is_harmless_and_names_the_first(serve: Serve) -> None:
    daemon = with_ticket(**ACKNOWLEDGED)
    daemon.ingest.script = lambda _: Done(a_ticket(**ACKNOWLEDGED), changed=False, note="already")
    response = await (await serve(daemon)).post(link(daemon))
    assert response.status == 200
    assert "Already acknowledged by omar" in said(await response.text())


async def test_an_answer_already_in_force_is_said_to_be(serve: Serve) -> None:
    daemon = with_ticket(**ACKNOWLEDGED)
    daemon.ingest.script = lambda _: Done(a_ticket(), changed=False, note="amina has acknowledged it already: 1 of 2")
    response = await (await serve(daemon)).post(link(daemon))
    assert "amina has acknowledged it already: 1 of 2" in said(await response.text())


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
