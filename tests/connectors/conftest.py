"""What the tests of connectors share: a message, and kinds under their own names."""

from collections.abc import Callable
from typing import Any

import pytest

from rules.instants import parse_instant
from rules.model import Link, Message, Purpose

MakeMessage = Callable[..., Message]


@pytest.fixture
def make_message() -> MakeMessage:
    """`make_message(address, **fields)`: a page for a contact called Amina."""

    def make(address: str, **fields: Any) -> Message:
        given: dict[str, Any] = {
            "key": "1042/1/0/0/amina/email",
            "subject": "[P1] T-1042 /var on db-1 is 97 % full",
            "text": "T-1042 is open.\n\nAcknowledge: https://ticketd.example.test/respond/abc\n",
            "purpose": Purpose.PAGE,
            "ticket": {"id": "T-1042", "priority": "P1", "opened_at": "2026-01-31T09:58:13Z", "labels": {}},
            "contact": "amina",
            "contact_name": "Amina Salem",
            "links": (Link("acknowledge", "https://ticketd.example.test/respond/abc"),),
            "at": parse_instant("2026-01-31T10:00:00Z"),
        }
        return Message(address=address, **(given | fields))

    return make
