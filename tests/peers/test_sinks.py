"""The receivers that the other tests rely on do what their files say; else a green test would prove nothing.

Law: spoken to with the standard library's own clients, without the daemon.
"""

from __future__ import annotations

import smtplib
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.peers.harness import Unanswered, http_call
from tests.peers.monitoring import require_programs
from tests.peers.sinks import MailSink, Plan, WebhookSink, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = "Subject: hello\r\n\r\nbody\r\n"


def test_a_recipient_steers_the_mail_sink(make_mail: Callable[..., MailSink]) -> None:
    """550 for good, 451 for now, 451 once."""
    sink = make_mail()
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
        for address, code in (("reject1@x.test", 550), ("defer@x.test", 451), ("flaky@x.test", 451)):
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                client.sendmail("me@x.test", [address], TEXT)
            assert refused.value.recipients[address][0] == code
        client.sendmail("me@x.test", ["flaky@x.test"], TEXT)
        client.sendmail("me@x.test", ["amina@x.test"], TEXT)
    assert [message["X-Sink-To"] for message in sink.messages()] == ["flaky@x.test", "amina@x.test"]
    assert sink.to("amina@x.test")[0]["Subject"] == "hello"


def test_the_mail_sink_wants_encryption_and_a_password(make_mail: Callable[..., MailSink], tmp_path: Path) -> None:
    """Neither without STARTTLS nor with a wrong password."""
    require_programs("openssl")
    certificate, key = self_signed(tmp_path / "tls")
    sink = make_mail("--auth", "me:right", "--tls", str(certificate), str(key))
    trust = ssl.create_default_context(cafile=str(certificate))
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
        with pytest.raises(smtplib.SMTPException):
            client.sendmail("me@x.test", ["amina@x.test"], TEXT)
        client.starttls(context=trust)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("me", "wrong")
        client.login("me", "right")
        client.sendmail("me@x.test", ["amina@x.test"], TEXT)
    assert len(sink.files()) == 1


def test_the_webhook_sink_follows_its_script(hooks: WebhookSink) -> None:
    """A refusal, a dropped connection, then 200; all three are on record."""
    hooks.plans["first"] = [Plan(status=503), Plan(drop=True)]
    assert http_call("POST", hooks.url("first"), b"1").status == 503
    with pytest.raises(Unanswered):
        http_call("POST", hooks.url("first"), b"2")
    assert http_call("POST", hooks.url("first"), b"3").status == 200
    assert [(request.body, request.answered) for request in hooks.to("first")] == [(b"1", 503), (b"2", 0), (b"3", 200)]
