"""A real mail server on the way: what it defers, refuses, cannot deliver, and hands back.

Law: Postfix takes what ticketd sends, over STARTTLS with a certificate made for the test, and relays it to an SMTP
server that keeps it; replies and bounces it hands to ticketd's receiver. Greylisting is a policy service of Postfix.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers.harness import Daemon, holds_for, wait_until
from tests.peers.mailing import (
    REPLY_TO,
    GreyPolicy,
    Postfix,
    open_grave,
    people,
    reachable_folder,
    reasons,
    reply,
    require,
)
from tests.peers.sinks import MailSink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.timeout(120), pytest.mark.peer("postfix")]

TOLD_S_MAX = 20.0
RETRIED_S_MAX = 40.0


@pytest.fixture(scope="module")
def grey() -> Iterator[GreyPolicy]:
    """The greylist."""
    made = GreyPolicy()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(scope="module")
def server(grey: GreyPolicy) -> Iterator[Postfix]:
    """One Postfix for all."""
    require("/usr/sbin/postfix", "postfix.sh")
    require("/usr/bin/openssl", "prometheus.sh")
    if os.geteuid() != 0:
        pytest.skip("postfix must be started by root")
    with reachable_folder() as folder:
        made = Postfix(folder, grey)
        try:
            made.run("start")
            yield made
        finally:
            print(made.log()[-5_000:])
            made.run("clean")


@pytest.fixture
def world(server: Postfix, tmp_path: Path) -> Iterator[MailSink]:
    """Where Postfix relays to."""
    made = MailSink(tmp_path / "world", port=server.ports.next).start()
    yield made
    made.stop()


def words(daemon: Daemon, ticket: str) -> list[str]:
    """What happened to a ticket."""
    return [str(entry["what"]) for entry in daemon.timeline(ticket)]


def test_greylisted_once_and_then_taken(
    make_daemon: Callable[..., Daemon], server: Postfix, world: MailSink, grey: GreyPolicy
) -> None:
    """451 the first time: it is tried again by itself, arrives once, and says nothing of a repeat."""
    daemon = make_daemon(people("[{email: amina@grey.test}]"), server.settings).start()
    ticket = open_grave(daemon)
    (page,) = wait_until(lambda: world.to("amina@grey.test"), RETRIED_S_MAX, "the page came through the greylist")
    assert page["X-Ticketd-Possible-Repeat"] == "no"
    assert len([one for one in grey.met if one[1] == "amina@grey.test"]) == 2
    wait_until(lambda: "delivered" in words(daemon, ticket), 10, "the timeline tells it")
    assert any("451 4.7.1" in why and "greylisted" in why for why in reasons(daemon, ticket, "delivery_retry"))
    holds_for(lambda: len(world.to("amina@grey.test")) == 1, 1, "once")


def test_refused_at_the_door_gives_way_to_the_next_channel_at_once(
    make_daemon: Callable[..., Daemon], server: Postfix, world: MailSink
) -> None:
    """550 to the recipient: the person's next address is used now, not in an hour."""
    daemon = make_daemon(
        people("[{email: gone@office.test}, {email: amina@office.test, after: 1h}]"), server.settings
    ).start()
    ticket = open_grave(daemon)
    wait_until(lambda: world.to("amina@office.test"), TOLD_S_MAX, "her second address has it")
    assert any("550 5.1.1" in why for why in reasons(daemon, ticket, "delivery_failed"))
    assert not world.to("gone@office.test")


def test_a_bounce_makes_the_delivery_failed_and_the_next_channel_follows(
    make_daemon: Callable[..., Daemon], server: Postfix, world: MailSink
) -> None:
    """Postfix takes it, the world refuses it: its report comes back to the message's own address."""
    daemon = make_daemon(
        people("[{email: reject@far.test}, {email: amina@office.test, after: 1h}]"), server.settings
    ).start()
    ticket = open_grave(daemon)
    wait_until(lambda: "delivery_failed" in words(daemon, ticket), RETRIED_S_MAX, "the bounce is on the timeline")
    (why,) = reasons(daemon, ticket, "delivery_failed")
    assert "it came back" in why
    assert "5.1.1" in why
    told = words(daemon, ticket)
    assert told.index("delivered") < told.index("delivery_failed"), "Postfix had taken it"
    (page,) = wait_until(lambda: world.to("amina@office.test"), TOLD_S_MAX, "her second address has it at once")
    assert str(page["X-Sink-From"]).startswith("ticketd+")
    assert daemon.ticket(ticket)["status"] == "open"
    daemon.verify()


def test_a_certificate_is_verified_and_one_that_nobody_vouches_for_stops_the_mail(
    make_daemon: Callable[..., Daemon], server: Postfix, world: MailSink
) -> None:
    """STARTTLS with the bundle works; without it nothing is sent, and the timeline says why."""
    good = make_daemon(people("[{email: amina@office.test}]"), server.settings).start()
    open_grave(good)
    wait_until(lambda: world.to("amina@office.test"), TOLD_S_MAX, "it went out over STARTTLS")
    good.stop()
    settings: dict[str, Any] = server.settings
    del settings["smtp"]["ca_bundle"]
    bad = make_daemon(people("[{email: omar@office.test}]"), settings).start()
    ticket = open_grave(bad)
    wait_until(
        lambda: any("certificate verify failed" in why for why in reasons(bad, ticket, "delivery_retry")),
        TOLD_S_MAX,
        "the timeline says that the certificate is not trusted",
    )
    assert not world.to("omar@office.test")


def test_a_reply_handed_over_by_the_mail_server_acknowledges(
    make_daemon: Callable[..., Daemon], server: Postfix, world: MailSink
) -> None:
    """From page to acknowledgement through Postfix both ways; a letter to nobody in particular is refused."""
    daemon = make_daemon(people("[{email: amina@office.test}]"), server.settings).start()
    ticket = open_grave(daemon)
    (page,) = wait_until(lambda: world.to("amina@office.test"), TOLD_S_MAX, "the page")
    server.take(reply(page, "hello", "amina@office.test", To=REPLY_TO), "amina@office.test")
    server.take(reply(page, "resolved? no: ack", "amina@office.test"), "amina@office.test")
    server.take(reply(page, "ack\nusing the runbook", "amina@office.test"), "amina@office.test")
    wait_until(lambda: daemon.ticket(ticket)["status"] == "acknowledged", RETRIED_S_MAX, "her reply acknowledges")
    assert "using the runbook" in str(daemon.timeline(ticket))
    wait_until(
        lambda: any("550" in str(one.get_payload()) for one in world.to("amina@office.test")[1:]),
        RETRIED_S_MAX,
        "what was for nobody comes back to its writer",
    )


def test_a_reply_waits_in_the_mail_server_while_the_daemon_is_down(
    make_daemon: Callable[..., Daemon], server: Postfix, world: MailSink
) -> None:
    """Nobody listens: Postfix keeps it, and hands it over when somebody does."""
    daemon = make_daemon(people("[{email: amina@office.test}]"), server.settings).start()
    ticket = open_grave(daemon)
    (page,) = wait_until(lambda: world.to("amina@office.test"), TOLD_S_MAX, "the page")
    wait_until(lambda: "delivered" in words(daemon, ticket), 10, "its delivery is on record")
    assert daemon.stop() == 0
    server.take(reply(page, "ack", "amina@office.test"), "amina@office.test")
    wait_until(lambda: "status=deferred" in server.log(), TOLD_S_MAX, "Postfix keeps the reply")
    daemon.start()
    wait_until(lambda: daemon.ticket(ticket)["status"] == "acknowledged", RETRIED_S_MAX, "the reply is heard")
