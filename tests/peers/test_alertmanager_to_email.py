"""The main job on real peers: a metric turns bad, and the story ends with a resolved ticket that tells it all.

Law: Prometheus, Alertmanager, Pushgateway and the SMTP server are real processes; nothing is posted by the test itself
but the click on the link.
"""

from __future__ import annotations

import datetime as dt
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.peers import policies
from tests.peers.bodies import firing
from tests.peers.harness import Daemon, holds_for, http_call, wait_until
from tests.peers.monitoring import Monitoring, require_programs
from tests.peers.sinks import MailSink, links, plain_text, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(150)

TOLD_S_MAX = 2.0
FIRED_S_MAX = 30.0
STEP_WAIT_S = 4.0


def smtp(mail: MailSink) -> dict[str, Any]:
    """The configuration's `[smtp]` towards a sink that wants neither encryption nor a password."""
    return {"smtp": {"host": "127.0.0.1", "port": mail.port, "from": "ticketd@example.test", "starttls": False}}


def epoch_s(text: str) -> float:
    """An RFC 3339 time as seconds since 1970."""
    return dt.datetime.fromisoformat(text).timestamp()


def frozen(daemon: Daemon, ticket_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What must not change when somebody only looks: the ticket without its clocks' next times, and its timeline."""
    ticket = daemon.ticket(ticket_id)
    return {key: ticket[key] for key in ("status", "generation", "acknowledged_by")}, [
        entry for entry in daemon.timeline(ticket_id) if entry["what"] not in {"delivered", "sent"}
    ]


def told_the_end(mail: MailSink, address: str) -> bool:
    """Whether this person's last mail says that it is over."""
    return "resolved" in str(mail.to(address)[-1]["Subject"])


def promtool_says_nothing(text: str) -> None:
    """`promtool check metrics` must accept the exposition without a word."""
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text.encode(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_from_metric_to_mail_to_click_to_resolve(
    make_daemon: Callable[..., Daemon], make_mail: Callable[..., MailSink], make_monitoring: Callable[..., Monitoring]
) -> None:
    """One alert: one ticket, one mail in time, a click that stops the escalation, a resolve that is told."""
    require_programs()
    mail = make_mail()
    daemon = make_daemon(policies.by_mail(f"{STEP_WAIT_S:g}s"), smtp(mail)).start()
    peers = make_monitoring().start(daemon.url)

    peers.fire("checkout", tier="2", severity="warning")
    first = wait_until(lambda: mail.to("amina@example.test"), FIRED_S_MAX, "Amina has mail")
    (ticket,) = daemon.tickets()
    assert (ticket["status"], ticket["priority"], ticket["impact"], ticket["urgency"], ticket["rule"]) == (
        "open", "P2", "service", "medium", "demo.fault",
    )  # fmt: skip
    assert ticket["title"] == "checkout has a fault"
    assert [one["status"] for one in ticket["alerts"]] == ["firing"]
    arrived_s = mail.files()[0].stat().st_mtime
    assert arrived_s - epoch_s(ticket["opened_at"]) < TOLD_S_MAX, "the mail took too long"
    assert ticket["id"] in first[0]["Subject"]

    link = links(plain_text(first[0]))[0]
    before = frozen(daemon, ticket["id"])
    assert http_call("GET", link).status == 200
    assert http_call("HEAD", link).status == 200
    assert frozen(daemon, ticket["id"]) == before, "looking at the page changed the ticket"

    assert http_call("POST", link).status in {200, 303}
    answered = daemon.ticket(ticket["id"])
    assert (answered["status"], answered["acknowledged_by"]) == ("acknowledged", "amina")
    holds_for(
        lambda: not mail.to("omar@example.test"), STEP_WAIT_S + 2.0, "Omar is left in peace once Amina has answered"
    )

    peers.clear("checkout")
    wait_until(lambda: daemon.ticket(ticket["id"])["status"] == "resolved", FIRED_S_MAX, "the ticket is resolved")
    wait_until(lambda: told_the_end(mail, "amina@example.test"), 10, "Amina learns of the resolve")
    assert not mail.to("omar@example.test")
    assert not mail.to("manager@example.test")

    told = daemon.timeline(ticket["id"])
    assert all(entry["why"] for entry in told), told
    words = [entry["what"] for entry in told]
    assert words[0] == "opened", words
    assert words.index("acknowledged") < words.index("resolved"), words
    assert any(entry["who"] == "contact:amina" for entry in told if entry["what"] == "acknowledged"), told
    assert [t["id"] for t in daemon.tickets()] == [ticket["id"]], "one problem, one ticket"
    daemon.verify()
    promtool_says_nothing(daemon.metrics())


def test_a_group_that_ends_in_parts_resolves_ticket_by_ticket(
    make_daemon: Callable[..., Daemon], make_monitoring: Callable[..., Monitoring]
) -> None:
    """A partial resolve keeps the group's status `firing`; each alert is believed on its own."""
    require_programs()
    daemon = make_daemon(policies.by_mail()).start()
    peers = make_monitoring(GROUP_BY="alertname").start(daemon.url)
    for name in ("one", "two", "three"):
        peers.fire(name, tier="2", severity="warning")
    wait_until(lambda: len(daemon.tickets(status="open")) == 3, FIRED_S_MAX, "three tickets are open")

    peers.clear("two")
    wait_until(lambda: daemon.tickets(status="resolved"), FIRED_S_MAX, "one of them is resolved")
    assert [t["labels"]["name"] for t in daemon.tickets(status="resolved")] == ["two"]
    assert {t["labels"]["name"] for t in daemon.tickets(status="open")} == {"one", "three"}

    peers.clear("one")
    peers.clear("three")
    wait_until(lambda: len(daemon.tickets(status="resolved")) == 3, FIRED_S_MAX, "all are resolved")
    assert len(daemon.tickets()) == 3
    daemon.verify()


def test_a_receiver_that_was_down_gets_the_alert_when_it_is_back(
    make_daemon: Callable[..., Daemon], make_monitoring: Callable[..., Monitoring]
) -> None:
    """Alertmanager retries what found nobody; the daemon that comes up late opens the one ticket."""
    require_programs()
    daemon = make_daemon(policies.by_mail())
    peers = make_monitoring().start(daemon.url)
    peers.fire("late", tier="1", severity="critical")
    log = peers.folder / "alertmanager.log"
    wait_until(lambda: "connection refused" in log.read_text(), FIRED_S_MAX, "Alertmanager found nobody")
    daemon.start()
    wait_until(lambda: daemon.tickets(status="open"), FIRED_S_MAX, "the retried alert opened a ticket")
    assert [t["priority"] for t in daemon.tickets()] == ["P1"]


def test_prometheus_posts_straight_to_the_daemon(
    make_daemon: Callable[..., Daemon], make_monitoring: Callable[..., Monitoring]
) -> None:
    """No Alertmanager: resends change nothing, endsAt in the past resolves, and silence is not jumped at."""
    require_programs()
    daemon = make_daemon(policies.by_mail()).start()
    peers = make_monitoring(VIA="direct").start(daemon.url)

    def status(name: str) -> list[str]:
        return [t["status"] for t in daemon.tickets(label=f"name={name}")]

    for name in ("explicit", "steady"):
        peers.fire(name, tier="2", severity="warning")
    peers.fire("silent", value=2)
    wait_until(lambda: len(daemon.tickets(status="open")) == 3, FIRED_S_MAX, "three tickets are open")
    # Prometheus gives each alert four seconds to live and says it again each second.
    holds_for(lambda: len(daemon.tickets(status="open")) == 3, 6, "alerts that are said again stay open, once")

    peers.clear("explicit")
    wait_until(lambda: status("explicit") == ["resolved"], FIRED_S_MAX, "endsAt in the past resolves")
    # Silence means resolved only from a sender that has been heard long enough, and this one is seconds old.
    peers.forget("DemoSecond")
    holds_for(lambda: status("silent") == ["open"], 6, "a young sender's silence about an alert proves nothing")

    peers.silence_prometheus()
    holds_for(lambda: status("steady") == ["open"], 6, "a sender silent altogether says nothing about its alerts")
    daemon.verify()


def test_mail_over_starttls_with_a_password(
    make_daemon: Callable[..., Daemon], make_mail: Callable[..., MailSink], tmp_path: Path
) -> None:
    """The daemon trusts the server's certificate by the machine's own means and signs in before it sends."""
    require_programs("openssl")
    certificate, key = self_signed(tmp_path / "tls")
    mail = make_mail("--auth", "ticketd:correct horse", "--tls", str(certificate), str(key))
    password = tmp_path / "smtp.password"
    password.write_text("correct horse")
    settings = smtp(mail)
    settings["smtp"] |= {"starttls": True, "username": "ticketd", "password_file": str(password)}
    daemon = make_daemon(policies.by_mail("1h"), settings).start(env={"SSL_CERT_FILE": str(certificate)})
    assert daemon.webhook(firing(alertname="DemoFault", name="tls", severity="critical")).status == 200
    wait_until(lambda: mail.to("amina@example.test"), 10, "the mail came over the encrypted connection")
    assert "correct horse" not in daemon.log_text()


def test_mail_never_goes_out_over_a_connection_it_cannot_trust(
    make_daemon: Callable[..., Daemon], make_mail: Callable[..., MailSink], tmp_path: Path
) -> None:
    """A certificate nobody vouches for: nothing is sent, the delivery says why, the ticket stands."""
    require_programs("openssl")
    certificate, key = self_signed(tmp_path / "tls")
    mail = make_mail("--tls", str(certificate), str(key))
    settings = smtp(mail)
    settings["smtp"]["starttls"] = True
    daemon = make_daemon(policies.by_mail("1h"), settings).start()
    assert daemon.webhook(firing(alertname="DemoFault", name="tls", severity="critical")).status == 200
    (ticket,) = daemon.tickets()
    wait_until(
        lambda: any("certificate" in str(entry).lower() for entry in daemon.timeline(ticket["id"])),
        15,
        "the timeline says that the certificate is not trusted",
    )
    assert not mail.files()
