"""When the mail protocols begin TLS."""

import pytest

from connectors.network.trial import Credential
from connectors.probing.dialogue import tls_of

AMINA, NOBODY = Credential("shop", "amina", "hunter2"), Credential("shop")


@pytest.mark.parametrize(
    ("written", "port", "credential", "begins"),
    [
        (None, 25, None, "off"),
        (None, 25, NOBODY, "off"),
        (None, 587, AMINA, "starttls"),  # no password in the clear
        (None, 465, None, "implicit"),  # the port that is for it
        (None, 465, AMINA, "implicit"),
        ("starttls", 465, None, "starttls"),
        ("off", 587, AMINA, "off"),  # somebody wrote so
        ("implicit", 2525, None, "implicit"),
    ],
)
def test_tls_begins_as_written_else_as_the_port_and_the_login_want(
    written: str | None, port: int, credential: Credential | None, begins: str
) -> None:
    assert tls_of(written, port, 465, credential) == begins
