"""The API: reading, answering, who may be whom, and refusals that name the field."""

import hashlib
from typing import Any

import pytest

from daemon.batch import QuarantinedError
from daemon.config import Settings, TokenSettings
from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError
from rules.commands import Denied, Done, Noted
from rules.events import Actor, OpenRequested, Refused, Responded
from rules.instants import HOUR, format_instant, parse_instant
from rules.model import Entry, Status
from rules.policy import CATCH_ALL, Choice, Contact, Escalation, Method, Policy, Rule, Step, Target
from tests.daemon.web.fakes import NOW, FakeDaemon, Serve, a_ticket

T7 = "/api/v1/tickets/T-7"


def sha(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


GUARDED = Settings(
    tokens={
        "scraper": TokenSettings(role="reader", hash=(sha("rd"),)),
        "amina-phone": TokenSettings(role="responder", contact="amina", hash=(sha("am"),)),
        "root": TokenSettings(role="operator", hash=(sha("op"),)),
        "pusher": TokenSettings(role="sender", hash=(sha("ps"),)),
    }
)


def with_ticket(settings: Settings | None = None, **changes: Any) -> FakeDaemon:
    daemon = FakeDaemon(settings)
    daemon.reader.by_id[7] = ticket = a_ticket(**changes)
    daemon.ingest.script = lambda event: (
        Noted() if isinstance(event, Refused) else Done(ticket, changed=True, note="as you wish")
    )
    return daemon


# ---- reading
async def test_a_ticket_is_shown_as_the_contract_has_it(serve: Serve) -> None:
    shown = await (await (await serve(with_ticket())).get(T7)).json()
    assert {
        "id": "T-7",
        "status": "open",
        "priority": "P2",
        "opened_at": "2026-03-03T12:00:00Z",
    }.items() <= shown.items()


@pytest.mark.parametrize("path", ["/api/v1/tickets/T-8", "/api/v1/tickets/xyz", "/api/v1/tickets/T-8/timeline"])
async def test_a_ticket_that_is_not_there_is_404(serve: Serve, path: str) -> None:
    response = await (await serve(with_ticket())).get(path)
    assert (response.status, response.content_type) == (404, "application/problem+json")


async def test_a_timeline_comes_with_what_its_chain_needs(serve: Serve) -> None:
    daemon = with_ticket(entries=1, head="h1")
    daemon.reader.entries[7] = [Entry(7, 1, NOW, "opened", "ticketd", "it began", {"a": 1}, "", "h1")]
    shown = await (await (await serve(daemon)).get(f"{T7}/timeline")).json()
    assert (shown["ticket"], shown["entries"], shown["head"]) == ("T-7", 1, "h1")
    assert shown["timeline"][0]["hash"] == "h1"


async def test_filters_reach_the_store_and_pages_follow_each_other(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.reader.by_id[8] = a_ticket(8)
    query = "status=open,on_hold&status=resolved&priority=P1&rule=r&kind=k&label=a%3Db%3Dc&label=d%3D&q=disk"
    query += "&limit=1&cursor=c"
    shown = await (await (await serve(daemon)).get(f"/api/v1/tickets?{query}")).json()
    assert daemon.reader.asked == [
        {
            "status": (Status.OPEN, Status.ON_HOLD, Status.RESOLVED),
            "priority": ("P1",),
            "rule": "r",
            "kind": "k",
            "labels": {"a": "b=c", "d": ""},
            "q": "disk",
            "limit": 1,
            "cursor": "c",
        }
    ]
    assert [one["id"] for one in shown["tickets"]] == ["T-7"]
    assert shown["next"] == "more"


@pytest.mark.parametrize(
    ("query", "path", "reason"),
    [
        ("statsu=open", "statsu", 'unknown parameter; did you mean "status"?'),
        ("status=opened", "status", "'opened' is none of open, acknowledged, on_hold, resolved, closed"),
        ("priority=P5", "priority", "'P5' is none of P1, P2, P3, P4"),
        ("label=team", "label", "must be name=value"),
        ("limit=0", "limit", "must be a number from 1 to 500"),
        ("limit=x", "limit", "must be a number from 1 to 500"),
        ("limit=99999999999999", "limit", "must be a number from 1 to 500"),
        ("q=%00", "q", "must not hold control characters"),
        ("q=" + "x" * 2_000, "q", "is too long"),
    ],
)
async def test_a_wrong_query_is_400_and_named(serve: Serve, query: str, path: str, reason: str) -> None:
    response = await (await serve(FakeDaemon())).get(f"/api/v1/tickets?{query}")
    assert response.status == 400
    assert (await response.json())["errors"] == [{"path": path, "reason": reason}]


async def test_a_cursor_that_the_store_refuses_is_400(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.reader.fails = ValueError("no such cursor")
    response = await (await serve(daemon)).get("/api/v1/tickets?cursor=zzz")
    assert (await response.json())["errors"] == [{"path": "cursor", "reason": "no such cursor"}]


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("locked"), BusyError("too many reads at once", 1), KeyError("x")]
)
async def test_a_read_that_fails_is_503(serve: Serve, error: Exception) -> None:
    daemon = FakeDaemon()
    daemon.reader.fails = error
    response = await (await serve(daemon)).get(T7)
    assert (response.status, response.content_type) == (503, "application/problem+json")
    assert int(response.headers["Retry-After"]) >= 1


def a_policy() -> Policy:
    amina = Contact(
        "amina", name="Amina", may=frozenset({"acknowledge"}), reach=(Method("email", "amina@example.test"),)
    )
    disk = Rule("disk", (), Choice("user"), Choice("low", "severity", {"critical": "high"}))
    return Policy(
        version="v9",
        rules={"disk": disk},
        catch_all=Rule(CATCH_ALL, (), Choice("user"), Choice("low")),
        contacts={"amina": amina},
        escalations={"oncall": Escalation("oncall", (Step((Target("contact", "amina"),), tier="L1"),))},
        default_escalation="oncall",
    )


async def test_the_policy_in_force_is_shown_without_anybodys_address(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.policies.current = a_policy()
    response = await (await serve(daemon)).get("/api/v1/rules")
    shown = await response.json()
    assert (shown["version"], shown["loaded_at"]) == ("v9", format_instant(NOW))
    assert [one["id"] for one in shown["rules"]] == ["disk"]
    assert shown["rules"][0]["urgency"] == {"from": "severity", "map": {"critical": "high"}, "else": "low"}
    assert shown["catch_all"]["id"] == CATCH_ALL
    assert shown["contacts"][0]["reach"] == ["email"]
    assert "example.test" not in await response.text()


async def test_who_is_told_is_shown_by_step(serve: Serve) -> None:
    daemon = FakeDaemon()
    daemon.policies.current = a_policy()
    (turn,) = (await (await (await serve(daemon)).get("/api/v1/oncall")).json())["oncall"]
    assert (turn["escalation"], turn["step"], turn["tier"]) == ("oncall", "1", "L1")
    assert turn["contacts"] == [{"contact": "amina", "by": ["email"]}]


# ---- answering
@pytest.mark.parametrize(
    ("action", "body", "expected"),
    [
        ("acknowledge", {}, {}),
        ("acknowledge", {"note": "on it", "generation": 3}, {"note": "on it", "generation": 3}),
        (
            "hold",
            {"until": "2026-03-03T13:00:00+00:00", "note": "vendor"},
            {"until": NOW + HOUR, "note": "vendor"},
        ),
        ("release", {}, {}),
        ("resolve", {"force": True}, {"force": True}),
        ("close", {}, {}),
        ("reopen", {}, {}),
        ("comment", {"note": "hm\nhm"}, {"note": "hm\nhm"}),
        ("escalate", {"generation": 1}, {"generation": 1}),
        ("priority", {"impact": "site", "urgency": "high"}, {"impact": "site", "urgency": "high"}),
        ("priority", {"urgency": "high"}, {"urgency": "high"}),
    ],
)
async def test_each_answer_is_an_event_and_comes_back_as_the_ticket(
    serve: Serve, action: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    daemon = with_ticket()
    response = await (await serve(daemon)).post(f"{T7}/{action}", json={"by": "amina", **body})
    shown = await response.json()
    assert (response.status, shown["id"], shown["changed"], shown["note"]) == (200, "T-7", True, "as you wish")
    assert daemon.ingest.events == [Responded(ticket=7, action=action, actor=Actor("amina"), **expected)]


@pytest.mark.parametrize(
    ("action", "body", "path", "reason"),
    [
        ("acknowledge", {"by": "amina", "nte": "x"}, "nte", 'unknown key; did you mean "note"?'),
        ("acknowledge", {}, "by", "is required: the contact who acts"),
        ("acknowledge", {"by": 3}, "by", "input should be a valid string"),
        ("acknowledge", {"by": ""}, "by", "string should have at least 1 character"),
        ("acknowledge", {"by": "a\nb"}, "by", "must not hold control characters or line ends"),
        ("acknowledge", {"by": "a", "note": "\0"}, "note", "must not hold U+0000"),
        ("acknowledge", {"by": "a", "generation": "3"}, "generation", "input should be a valid integer"),
        ("acknowledge", {"by": "a", "generation": True}, "generation", "input should be a valid integer"),
        ("hold", {"by": "a", "note": "x"}, "until", "is required"),
        ("hold", {"by": "a", "until": "2026-03-03T13:00:00Z"}, "note", "is required"),
        ("hold", {"by": "a", "until": "tomorrow", "note": "x"}, "until",
         "'tomorrow' is not an RFC 3339 time such as 2026-01-31T12:00:00Z"),
        ("comment", {"by": "a"}, "note", "is required"),
        ("priority", {"by": "a"}, "impact", "give impact, urgency or both"),
        ("resolve", {"by": "a", "force": "yes"}, "force", "input should be a valid boolean"),
    ],
)  # fmt: skip
async def test_a_wrong_answer_is_400_and_the_field_is_named(
    serve: Serve, action: str, body: dict[str, Any], path: str, reason: str
) -> None:
    daemon = with_ticket()
    response = await (await serve(daemon)).post(f"{T7}/{action}", json=body)
    assert response.status == 400
    assert {"path": path, "reason": reason} in (await response.json())["errors"]
    assert daemon.ingest.seen == []


@pytest.mark.parametrize("body", [b"[]", b"{", b"nul", b'{"by":"\\ud800"}', b"[" * 60_000, b"\xff\xfe", b'{"by":NaN}'])
async def test_an_answer_that_is_no_json_object_is_400(serve: Serve, body: bytes) -> None:
    response = await (await serve(with_ticket())).post(f"{T7}/acknowledge", data=body)
    assert (response.status, response.content_type) == (400, "application/problem+json")


async def test_an_answer_of_a_megabyte_is_413(serve: Serve) -> None:
    response = await (await serve(with_ticket())).post(f"{T7}/acknowledge", data=b" " * (1 << 20))
    assert response.status == 413


async def test_an_unknown_action_is_404_and_names_the_known(serve: Serve) -> None:
    response = await (await serve(with_ticket())).post(f"{T7}/acknowlege", json={"by": "amina"})
    assert response.status == 404
    assert "acknowledge, hold" in (await response.json())["detail"]


@pytest.mark.parametrize(
    "denied", [Denied(403, "not authorised"), Denied(404, "no ticket"), Denied(409, "stale", "generation")]
)
async def test_a_refusal_keeps_its_status_and_reason(serve: Serve, denied: Denied) -> None:
    daemon = with_ticket()
    daemon.ingest.script = lambda _: denied
    response = await (await serve(daemon)).post(f"{T7}/acknowledge", json={"by": "amina"})
    said = await response.json()
    assert (response.status, said["detail"]) == (denied.status, denied.reason)
    assert said.get("errors", []) == ([{"path": "generation", "reason": "stale"}] if denied.field else [])


@pytest.mark.parametrize("error", [BusyError("inbox full", 2), QuarantinedError("x"), Done])
async def test_an_answer_that_could_not_be_taken_is_503(serve: Serve, error: Any) -> None:
    daemon = with_ticket()
    daemon.ingest.script = lambda _: error if isinstance(error, Exception) else Noted()
    response = await (await serve(daemon)).post(f"{T7}/acknowledge", json={"by": "amina"})
    assert response.status == 503


async def test_what_is_done_is_said_to_be_done_though_it_cannot_be_read_just_now(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.reader.fails = StoreUnavailableError("locked")
    response = await (await serve(daemon)).post(f"{T7}/acknowledge", json={"by": "amina"})
    assert (response.status, (await response.json())["id"]) == (200, "T-7")


async def test_answers_are_kept_nowhere_and_tell_no_versions(serve: Serve) -> None:
    client = await serve(with_ticket())
    for path in (T7, "/api/v1/tickets/T-8", "/metrics", "/-/ready", "/nothing"):
        headers = (await client.get(path)).headers
        assert (headers["Server"], headers["Cache-Control"]) == ("ticketd", "no-store")
        assert headers["X-Content-Type-Options"] == "nosniff"


async def test_a_ticket_is_opened_by_hand(serve: Serve) -> None:
    daemon = with_ticket()
    body = {"by": "amina", "title": "Slow", "impact": "site", "urgency": "high", "labels": {"team": "a"}}
    response = await (await serve(daemon)).post("/api/v1/tickets", json=body, headers={"Idempotency-Key": "k1"})
    assert (response.status, response.headers["Location"]) == (201, "/api/v1/tickets/T-7")
    assert daemon.ingest.events == [
        OpenRequested(Actor("amina"), "Slow", "site", "high", labels={"team": "a"}, request="anonymous/k1")
    ]


async def test_a_repeat_of_an_opening_is_200(serve: Serve) -> None:
    daemon = with_ticket()
    daemon.ingest.script = lambda _: Done(a_ticket(), changed=False, note="already")
    body = {"by": "amina", "title": "Slow", "impact": "site", "urgency": "high"}
    assert (await (await serve(daemon)).post("/api/v1/tickets", json=body)).status == 200


async def test_an_opening_without_its_fields_names_all_of_them(serve: Serve) -> None:
    response = await (await serve(FakeDaemon())).post("/api/v1/tickets", json={"by": "amina", "labels": {"a": 1}})
    assert {one["path"] for one in (await response.json())["errors"]} == {"title", "impact", "urgency", "labels.a"}


# ---- who may
@pytest.mark.parametrize(
    ("token", "read", "answer", "reload"),
    [(None, 401, 401, 401), ("no", 401, 401, 401), ("ps", 403, 403, 403), ("rd", 200, 403, 403), ("am", 200, 200, 403),
     ("op", 200, 200, 200)],
)  # fmt: skip
async def test_each_role_may_what_it_is_for(
    serve: Serve, token: str | None, read: int, answer: int, reload: int
) -> None:
    daemon = with_ticket(GUARDED)
    daemon.policies.current = a_policy()
    client = await serve(daemon)
    headers = bearer(token) if token else {}
    paths = (
        T7,
        f"{T7}/timeline",
        "/api/v1/tickets",
        "/api/v1/rules",
        "/api/v1/rules/catch-all/explain",
        "/api/v1/oncall",
        "/metrics",
        "/api/openapi.json",
    )
    assert {path: (await client.get(path, headers=headers)).status for path in paths} == dict.fromkeys(paths, read)
    assert (await client.post(f"{T7}/acknowledge", json={"by": "amina"}, headers=headers)).status == answer
    assert (await client.post("/-/reload", headers=headers)).status == reload
    assert [(await client.get(path)).status for path in ("/-/healthy", "/-/ready")] == [200, 200]


async def test_a_responder_answers_as_itself_and_need_not_say_so(serve: Serve) -> None:
    daemon = with_ticket(GUARDED)
    client = await serve(daemon)
    for body in ({"by": "amina"}, {}):
        assert (await client.post(f"{T7}/acknowledge", json=body, headers=bearer("am"))).status == 200
    assert {event.actor for event in daemon.ingest.events if isinstance(event, Responded)} == {Actor("amina")}


async def test_a_responder_as_somebody_else_is_refused_and_that_goes_on_the_timeline(serve: Serve) -> None:
    daemon = with_ticket(GUARDED)
    response = await (await serve(daemon)).post(f"{T7}/acknowledge", json={"by": "omar"}, headers=bearer("am"))
    assert response.status == 403
    why = "the token amina-phone answers for amina, not for omar"
    assert (await response.json())["detail"] == why
    assert daemon.ingest.events == [Refused(7, "acknowledge", "token:amina-phone", why)]


async def test_an_operator_may_act_for_another_and_that_is_recorded(serve: Serve) -> None:
    daemon = with_ticket(GUARDED)
    client = await serve(daemon)
    assert (await client.post(f"{T7}/acknowledge", json={"by": "omar"}, headers=bearer("op"))).status == 200
    assert (await client.post(f"{T7}/acknowledge", json={}, headers=bearer("op"))).status == 400
    (event,) = daemon.ingest.events
    assert isinstance(event, Responded)
    assert event.actor == Actor("omar", operator="root")


async def test_a_stranger_is_not_even_told_what_there_is(serve: Serve) -> None:
    client = await serve(FakeDaemon(GUARDED))
    assert (await client.get("/nothing/here")).status == 401
    assert (await client.get("/nothing/here", headers=bearer("ps"))).status == 404
    assert (await client.post("/nothing/here", headers=bearer("rd"))).status == 404


# ---- strange browsers, where no proof is asked for
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.test"}, 403),
        ({"Host": "evil.example.test:9876", "Origin": "http://evil.example.test:9876"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": "tickets.example.org"}, 200),
        ({"Host": "localhost:9876"}, 200),
        ({"Host": "[::1]:9876"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "null"}, 403),
    ],
)
async def test_a_page_of_another_site_can_neither_read_nor_act(
    serve: Serve, headers: dict[str, str], status: int
) -> None:
    client = await serve(with_ticket(Settings(external_url="https://tickets.example.org")))
    assert (await client.get(T7, headers=headers)).status == status
    assert (await client.post(f"{T7}/acknowledge", json={"by": "amina"}, headers=headers)).status == status


async def test_instants_in_answers_are_read_to_the_microsecond(serve: Serve) -> None:
    daemon = with_ticket()
    until = "2026-03-03T13:00:00.000001Z"
    await (await serve(daemon)).post(f"{T7}/hold", json={"by": "a", "note": "n", "until": until})
    (event,) = daemon.ingest.events
    assert isinstance(event, Responded)
    assert event.until == parse_instant(until)
