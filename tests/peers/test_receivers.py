"""Receivers as they are: slow, for now or for good unwilling, or gone in the middle of an answer.

Law: real SMTP and HTTP servers; a message is sent again only when it was refused for now or when its answer was lost,
and in the second case it says that it may be a repeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.peers import policies
from tests.peers.bodies import firing, resolved
from tests.peers.harness import Daemon, holds_for, http_call, wait_until
from tests.peers.sinks import LINK, MailSink, Plan, WebhookSink, plain_text

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(90)

TOLD_S_MAX = 10.0
RETRIED_S_MAX = 20.0
LONG_AGO = "2026-01-01T00:00:00Z"


def people(*reach: str) -> str:
    """One step of one hour that tells a contact for each of these `reach` lists; every alert is grave."""
    contacts = "".join(f"  - {{id: p{n}, may: [acknowledge], reach: {one}}}\n" for n, one in enumerate(reach))
    names = ", ".join(f"contact:p{n}" for n in range(len(reach)))
    return (
        policies.MATRIX
        + "contacts:\n"
        + contacts
        + f"escalations:\n  - {{id: one, steps: [{{notify: [{names}], wait: 1h}}], last_resort: [contact:p0]}}\n"
        + "default_escalation: one\n"
        + "rules:\n  - {id: grave, match: ['alertname=\"Grave\"'], dedup: [service], impact: site, urgency: high}\n"
    )


def words(daemon: Daemon, ticket: str) -> list[str]:
    """What happened to a ticket."""
    return [str(entry["what"]) for entry in daemon.timeline(ticket)]


def open_grave(daemon: Daemon, service: str = "core") -> str:
    """Posts the alert and gives the ticket's id."""
    answer = daemon.webhook(firing(LONG_AGO, alertname="Grave", service=service))
    assert answer.status == 200, answer
    return str(answer.json()["tickets"][0])


@pytest.fixture
def mail(make_mail: Callable[..., MailSink]) -> MailSink:
    """An SMTP server."""
    return make_mail()


def smtp(mail: MailSink) -> dict[str, Any]:
    """The configuration's `[smtp]`."""
    return {"smtp": {"host": "127.0.0.1", "port": mail.port, "from": "ticketd@example.test", "starttls": False}}


def test_a_webhook_is_signed_answered_and_told_the_end(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """A program reads the page, checks the signature, follows the link, and hears of the resolve."""
    daemon = make_daemon(people("[{webhook: first}]"), hook_settings("first")).start()
    ticket = open_grave(daemon)
    page = wait_until(lambda: hooks.to("first"), TOLD_S_MAX, "the page")[0]
    assert page.signed()
    assert not page.signed(b"another secret")
    said = page.json()
    assert (said["purpose"], said["ticket"]["id"], said["ticket"]["priority"]) == ("page", ticket, "P1")
    assert said["possible_repeat"] is False
    link = LINK.findall(page.body.decode())[0]
    assert http_call("POST", link).status in {200, 303}
    assert daemon.ticket(ticket)["acknowledged_by"] == "p0"
    assert daemon.webhook(resolved(LONG_AGO, alertname="Grave", service="core")).status == 200
    wait_until(lambda: hooks.all()[-1].json()["purpose"] == "resolved", TOLD_S_MAX, "the notice of the end")
    assert len({request.id for request in hooks.all()}) == len(hooks.all())
    assert all(request.signed() for request in hooks.all())


def test_refused_for_now_is_sent_again_until_taken(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """503, then 200: the same identity, and no word of a repeat, since the first was refused."""
    hooks.plans["first"] = [Plan(status=503)]
    daemon = make_daemon(people("[{webhook: first}]"), hook_settings("first")).start()
    ticket = open_grave(daemon)
    wait_until(lambda: [request.answered for request in hooks.to("first")] == [503, 200], RETRIED_S_MAX, "taken")
    assert len({request.id for request in hooks.all()}) == 1
    assert not any(request.marked() for request in hooks.all())
    wait_until(lambda: words(daemon, ticket)[-2:] == ["delivery_retry", "delivered"], 5, "the timeline tells it")
    holds_for(lambda: len(hooks.all()) == 2, 2, "taken once is enough")


def test_an_answer_that_is_lost_is_sent_again_and_says_so(
    make_daemon: Callable[..., Daemon], hooks: WebhookSink, hook_settings: Callable[..., dict[str, Any]]
) -> None:
    """The receiver reads it all and hangs up."""
    hooks.plans["first"] = [Plan(drop=True)]
    daemon = make_daemon(people("[{webhook: first}]"), hook_settings("first")).start()
    open_grave(daemon)
    wait_until(lambda: len(hooks.to("first")) == 2, RETRIED_S_MAX, "sent again")
    assert [request.marked() for request in hooks.to("first")] == [False, True]
    assert len({request.id for request in hooks.all()}) == 1


def test_refused_for_good_gives_way_to_the_next_channel_at_once(
    make_daemon: Callable[..., Daemon],
    mail: MailSink,
    hooks: WebhookSink,
    hook_settings: Callable[..., dict[str, Any]],
) -> None:
    """A mailbox that does not exist, a webhook that is gone: the person's next channel is used now, not in an hour."""
    hooks.plans["gone"] = [Plan(status=410)]
    daemon = make_daemon(
        people(
            "[{email: reject@example.test}, {email: second@example.test, after: 1h}]",
            "[{webhook: gone}, {webhook: next, after: 1h}]",
        ),
        {**smtp(mail), **hook_settings("gone", "next")},
    ).start()
    ticket = open_grave(daemon)
    wait_until(lambda: mail.to("second@example.test"), TOLD_S_MAX, "the second mailbox has it")
    wait_until(lambda: hooks.to("next"), TOLD_S_MAX, "the next webhook has it")
    assert words(daemon, ticket).count("delivery_failed") == 2
    assert any("550" in entry["why"] for entry in daemon.timeline(ticket) if entry["what"] == "delivery_failed")
    assert len(hooks.to("gone")) == 1


def test_one_bad_receiver_does_not_hold_up_the_others(
    make_daemon: Callable[..., Daemon],
    mail: MailSink,
    hooks: WebhookSink,
    hook_settings: Callable[..., dict[str, Any]],
) -> None:
    """Deferred, slow and silent receivers beside a good one, ten tickets long."""
    hooks.plans["silent"] = [Plan(delay_s=60) for _ in range(10)]
    daemon = make_daemon(
        people(
            "[{webhook: silent}]", "[{email: defer@example.test}]", "[{email: slow@example.test}]", "[{webhook: good}]"
        ),
        {**smtp(mail), **hook_settings("silent", "good")},
    ).start()
    tickets = [open_grave(daemon, f"s{number}") for number in range(10)]
    wait_until(lambda: len(hooks.to("good")) == len(tickets), TOLD_S_MAX, "the good one has all ten in time")
    wait_until(lambda: mail.to("slow@example.test"), 15, "the slow one accepts after five seconds")
    assert daemon.is_ready()


def test_a_mailbox_that_is_busy_once_gets_its_mail_once(make_daemon: Callable[..., Daemon], mail: MailSink) -> None:
    """451, then 250."""
    daemon = make_daemon(people("[{email: flaky@example.test}]"), smtp(mail)).start()
    ticket = open_grave(daemon)
    (message,) = wait_until(lambda: mail.to("flaky@example.test"), RETRIED_S_MAX, "the mail")
    assert ticket in message["Subject"]
    assert "repeat" not in plain_text(message).lower()
    holds_for(lambda: len(mail.files()) == 1, 2, "once")


def test_a_mail_server_that_is_down_gets_the_mail_when_it_is_back(
    make_daemon: Callable[..., Daemon], mail: MailSink
) -> None:
    """Nobody listens; the delivery waits in the store, over a kill too."""
    mail.stop()
    daemon = make_daemon(people("[{email: amina@example.test}]"), smtp(mail)).start()
    ticket = open_grave(daemon)
    wait_until(lambda: "delivery_retry" in words(daemon, ticket), TOLD_S_MAX, "the timeline says that it failed")
    daemon.kill9()
    mail.start()
    daemon.start()
    wait_until(lambda: mail.to("amina@example.test"), RETRIED_S_MAX, "the mail")
