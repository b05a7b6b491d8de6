"""Push notifications through ntfy, by the JSON that a server of it takes at its root.

The one law: a topic's name is its password where no token guards it, so no reason holds any part of the URL but its
host. A repeat carries the delivery's own sequence id, so that a newer app shows it in the place of the first.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from yarl import URL

from connectors import net
from connectors.base import ConnectorError
from rules.model import Message, Purpose

NAME_CHARS_MAX: Final = 100
TEXT_BYTES_MAX: Final = 3_900  # a server takes 4,096 by default and makes a file of what is longer
TITLE_CHARS_MAX: Final = 250
ACTIONS_MAX: Final = 3
PRIORITIES: Final = {"P1": 5, "P2": 4, "P3": 3, "P4": 2}
NOTICE: Final = 3
_TOPIC: Final = re.compile(r"[-_A-Za-z0-9]{1,64}", re.ASCII)
_LABELS: Final = {  # of a link's button
    "en": {"acknowledge": "Acknowledge", "resolve": "Resolve", "escalate": "Escalate"},
    "ar": {"acknowledge": "تأكيد الاستلام", "resolve": "حل", "escalate": "تصعيد"},
    "zh": {"acknowledge": "确认", "resolve": "解决", "escalate": "升级"},
}


def _parts(url: str) -> tuple[str, str]:
    """The server's root and the topic. Raises ValueError for what is no URL of a topic, without showing it."""
    net.place(url)
    parsed = URL(url)
    path, _, topic = parsed.path.rpartition("/")
    if not _TOPIC.fullmatch(topic) or parsed.query_string or parsed.fragment:
        raise ValueError("must be the URL of a topic, such as https://ntfy.example.test/TOPIC")
    return str(parsed.with_path(f"{path}/")), topic


class Connector:
    """The notifier `ntfy`; an address is the NAME of an `[ntfy.NAME]`."""

    class Options(BaseModel):
        """One topic."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        url: SecretStr = Field(description="The topic's URL, such as https://ntfy.example.test/TOPIC")
        token: SecretStr | None = Field(None, description="An access token of the server, where the topic needs one")
        timeout_s: float = Field(10.0, gt=0, le=50, description="Seconds for one attempt, connecting included")

        @field_validator("url")
        @classmethod
        def _is_topic(cls, url: SecretStr) -> SecretStr:
            _parts(url.get_secret_value())
            return url

        @field_validator("token")
        @classmethod
        def _is_token(cls, token: SecretStr | None) -> SecretStr | None:
            if token is not None and not re.fullmatch(r"[!-~]+", token.get_secret_value()):
                raise ValueError("must be one word of ASCII, as the server gave it out")
            return token

    multiple: ClassVar[bool] = True
    section: ClassVar[str] = "ntfy"

    def __init__(self, options: Mapping[str, Options], *, sleep: net.Sleep = asyncio.sleep) -> None:
        """`options` by NAME. `sleep` waits between attempts at connecting."""
        self._options = dict(options)
        self._client = net.Client(sleep)

    @staticmethod
    def address_problem(address: str) -> str | None:
        """An address is a name without spaces; whether the configuration has it is seen elsewhere."""
        if not address or len(address) > NAME_CHARS_MAX or not address.isprintable() or " " in address:
            return "must be the NAME of an [ntfy.NAME] of the configuration"
        return None

    async def send(self, message: Message) -> str:
        """Publishes the message; the reference is the server's id of it."""
        options = self._options.get(message.address)
        if options is None:
            raise ConnectorError(f"the configuration has no [ntfy.{net.plain(message.address)}]", permanent=True)
        root, topic = _parts(options.url.get_secret_value())
        headers = {"Content-Type": "application/json"}
        if options.token is not None:
            headers["Authorization"] = f"Bearer {options.token.get_secret_value()}"
        body = json.dumps(content(message, topic), ensure_ascii=False).encode(errors="replace")
        response = await self._client.request("POST", root, timeout_s=options.timeout_s, headers=headers, data=body)
        net.judge(response, net.place(root), message.at)
        return _id(response.body)

    async def close(self) -> None:
        """Ends the client."""
        await self._client.close()


def content(message: Message, topic: str) -> dict[str, Any]:
    """The body: title and text, how loud, where a touch leads, and a button for each one-click answer."""
    labels = _LABELS.get(message.language.partition("-")[0], _LABELS["en"])
    said: dict[str, Any] = {
        "topic": topic,
        "sequence_id": hashlib.sha256(message.key.encode(errors="surrogatepass")).hexdigest()[:32],
        "title": _shortened(message.subject, 4 * TITLE_CHARS_MAX)[:TITLE_CHARS_MAX],
        "message": _shortened(message.text, TEXT_BYTES_MAX),
        "priority": PRIORITIES.get(str(message.ticket.get("priority")), NOTICE)
        if message.purpose is Purpose.PAGE
        else NOTICE,
    }
    if message.links:
        said["click"] = message.links[0].url
        said["actions"] = [
            {"action": "view", "label": labels.get(link.action, link.action), "url": link.url}
            for link in message.links[:ACTIONS_MAX]
        ]
    return said


def _shortened(text: str, bytes_max: int) -> str:
    data = text.encode(errors="replace")
    return data.decode() if len(data) <= bytes_max else data[: bytes_max - 3].decode(errors="ignore") + "…"


def _id(body: bytes) -> str:
    """What the server calls the message; "" where it does not say so."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    found = said.get("id") if isinstance(said, dict) else None
    return net.plain(found) if isinstance(found, str) else ""
