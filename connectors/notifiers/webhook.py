"""Signed JSON to a URL, as Standard Webhooks has it: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

The one law: the id is the delivery's key, equal in every repeat, so that a receiver which remembers ids acts once.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from connectors import net
from connectors.base import ConnectorError
from rules.instants import SECOND, format_instant
from rules.model import Message

PREFIX: Final = "whsec_"
NAME_CHARS_MAX: Final = 100
ID_CHARS_MAX: Final = 200  # a longer key travels as its hash


def keys_of(secret: str) -> tuple[bytes, ...]:
    """The keys of a secret, one a line: `whsec_` and base64, else the text's own bytes. Raises ValueError."""
    lines = [line.strip() for line in secret.splitlines() if line.strip()]
    if not lines:
        raise ValueError("is empty: give a key, or leave it out to send unsigned")
    try:
        return tuple(
            base64.b64decode(line.removeprefix(PREFIX), validate=True) if line.startswith(PREFIX) else line.encode()
            for line in lines
        )
    except binascii.Error:
        raise ValueError("has a key that begins with whsec_ and is not base64 after it") from None


def webhook_id(key: str) -> str:
    """A delivery's key as a header can carry it; full stops are quoted too, since they part what is signed."""
    quoted = quote(key, safe="/:@+", errors="backslashreplace").replace(".", "%2E")
    return quoted if len(quoted) <= ID_CHARS_MAX else hashlib.sha256(quoted.encode()).hexdigest()


def signatures(keys: tuple[bytes, ...], identity: str, timestamp: int, body: bytes) -> str:
    """One signature a key, so that a receiver may change keys in its own time."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}" for key in keys)


class Connector:
    """The notifier `webhook`; an address is the NAME of a `[webhooks.NAME]`."""

    class Options(BaseModel):
        """One receiver."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        url: SecretStr = Field(description="Where to POST; shown to nobody, since many receivers put a token into it")
        secret: SecretStr | None = Field(None, description="Signing keys, one a line, the newest first; none: unsigned")
        timeout_s: float = Field(10.0, gt=0, le=50, description="Seconds for one attempt, connecting included")

        @field_validator("url")
        @classmethod
        def _is_url(cls, url: SecretStr) -> SecretStr:
            net.place(url.get_secret_value())
            return url

        @field_validator("secret")
        @classmethod
        def _has_keys(cls, secret: SecretStr | None) -> SecretStr | None:
            if secret is not None:
                keys_of(secret.get_secret_value())
            return secret

    multiple: ClassVar[bool] = True
    section: ClassVar[str] = "webhooks"

    def __init__(self, options: Mapping[str, Options], *, sleep: net.Sleep = asyncio.sleep) -> None:
        """`options` by NAME. `sleep` waits between attempts at connecting."""
        self._options = dict(options)
        self._client = net.Client(sleep)

    @staticmethod
    def address_problem(address: str) -> str | None:
        """An address is a name without spaces; whether the configuration has it is seen elsewhere."""
        if not address or len(address) > NAME_CHARS_MAX or not address.isprintable() or " " in address:
            return "must be the NAME of a [webhooks.NAME] of the configuration"
        return None

    async def send(self, message: Message) -> str:
        """Posts the message. A receiver gives no reference, so "" comes back."""
        options = self._options.get(message.address)
        if options is None:
            raise ConnectorError(f"the configuration has no [webhooks.{net.plain(message.address)}]", permanent=True)
        url = options.url.get_secret_value()
        body = json.dumps(content(message), ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        identity, timestamp = webhook_id(message.key), message.at // SECOND
        headers = {"Content-Type": "application/json", "webhook-id": identity, "webhook-timestamp": str(timestamp)}
        if options.secret is not None:
            keys = keys_of(options.secret.get_secret_value())
            headers["webhook-signature"] = signatures(keys, identity, timestamp, body)
        response = await self._client.request("POST", url, timeout_s=options.timeout_s, headers=headers, data=body)
        net.judge(response, net.place(url), message.at)
        return ""

    async def close(self) -> None:
        """Ends the client."""
        await self._client.close()


def content(message: Message) -> dict[str, object]:
    """The body: what happened, to which ticket, for whom, and the text that people would read.

    `others` are the keys of the further deliveries that it stands for; `ticket` is {} where it is about none.
    """
    return {
        "type": f"ticket.{message.purpose}",
        "timestamp": format_instant(message.at),
        "delivery": message.key,
        "possible_repeat": message.possible_repeat,
        "purpose": str(message.purpose),
        "contact": message.contact,
        "contact_name": message.contact_name,
        "ticket": dict(message.ticket),
        "links": [{"action": link.action, "url": link.url} for link in message.links],
        "subject": message.subject,
        "text": message.text,
        "language": message.language,
        "others": list(message.others),
    }
