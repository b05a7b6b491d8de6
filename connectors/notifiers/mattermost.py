"""Mattermost: posts by a bot, with buttons whose presses come back to `/callbacks/mattermost/main`.

The one law: Mattermost signs nothing, so each button carries a code of ours over the message's token and the action,
which Mattermost keeps from its users and sends back with a press. Only with that code is the `user_id` beside it taken
as Mattermost's word for who pressed.
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from connectors import chat, net
from connectors.base import Callback, ConnectorError, Heard, NotGenuineError, OutcomeUnknownError, Reply, Told
from rules.model import Message

TEXT_CHARS_MAX: Final = 12_000  # a post may have some 16,000, and escaping adds to them
SUBJECT_CHARS_MAX: Final = 250
SECRET_CHARS_MIN: Final = 16
DIRECT_MAX: Final = 10_000  # direct channels remembered
CHANNEL: Final = "channel:"
NAME: Final = "mattermost/main"  # what a message's `callback` is completed with

_ID: Final = re.compile(r"[a-z0-9]{26}", re.ASCII)
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|>~])")  # all that a backslash takes its meaning from
_MENTION: Final = re.compile(r"@(?=\w)")
_PURPOSE: Final = b"ticketd.mattermost.1\0"


class Connector:
    """The notifier `mattermost`; an address is a user's id, or `channel:` and a channel's id."""

    class Options(BaseModel):
        """The bot that speaks for us."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        url: str = Field(description="Where Mattermost is, such as https://chat.example.test")
        token: SecretStr = Field(min_length=1, description="The bot account's access token")
        callback_secret: SecretStr | None = Field(
            None,
            description="What the buttons' codes are made with: 16 characters at least, of your own choice; several,"
            " one a line, the newest first, while it is being changed. None: messages have no buttons",
        )
        timeout_s: float = Field(10.0, gt=0, le=50, description="Seconds for one attempt, connecting included")

        @field_validator("url")
        @classmethod
        def _is_url(cls, url: str) -> str:
            net.place(url)
            return url.rstrip("/")

        @field_validator("callback_secret")
        @classmethod
        def _has_secrets(cls, secret: SecretStr | None) -> SecretStr | None:
            if secret is not None and any(
                len(one) < SECRET_CHARS_MIN for one in chat.secrets(secret.get_secret_value())
            ):
                raise ValueError(f"must have {SECRET_CHARS_MIN} characters at least")
            return secret

    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "mattermost"

    def __init__(self, options: Options, *, sleep: net.Sleep = asyncio.sleep) -> None:
        """`sleep` waits between attempts at connecting."""
        self._options = options
        secret = options.callback_secret
        self._secrets = chat.secrets(secret.get_secret_value()) if secret is not None else ()
        self._where = net.place(options.url)
        self._client = net.Client(sleep)
        self._me = ""
        self._direct: dict[str, str] = {}  # user -> the channel between them and the bot

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Why this cannot be an address of Mattermost's, or None."""
        if not _ID.fullmatch(address.removeprefix(CHANNEL)):
            return "must be the id of a user (26 letters and digits), or channel: and the id of a channel"
        return None

    # ---- telling
    async def send(self, message: Message) -> str:
        """Posts the message; the reference is the post's id."""
        channel = await self._channel(message)
        answer = await self._ask("POST", "posts", self._post(message, channel), message, self._options.timeout_s / 2)
        if not (post := chat.text_at(answer, "id")):
            raise OutcomeUnknownError(f"{self._where} answered without the id of a post")
        return post

    async def _channel(self, message: Message) -> str:
        """Where to post. A user's direct channel is asked for once; what goes wrong here has posted nothing."""
        address = message.address
        if address.startswith(CHANNEL):
            return address.removeprefix(CHANNEL)
        if (known := self._direct.get(address)) is not None:
            return known
        limit_s = self._options.timeout_s / 4
        try:
            if not self._me:
                self._me = chat.text_at(await self._ask("GET", "users/me", None, message, limit_s), "id")
            answer = await self._ask("POST", "channels/direct", [self._me, address], message, limit_s)
        except OutcomeUnknownError as error:
            raise ConnectorError(error.reason, permanent=False) from None
        found = chat.text_at(answer, "id")
        if not found:
            raise ConnectorError(f"{self._where} answered without the id of a channel", permanent=False)
        if len(self._direct) >= DIRECT_MAX:
            self._direct.clear()
        self._direct[address] = found
        return found

    async def _ask(self, method: str, path: str, said: object, message: Message, limit_s: float) -> dict[str, Any]:
        response = await self._client.request(
            method,
            f"{self._options.url}/api/v4/{path}",
            timeout_s=limit_s,
            headers={
                "Authorization": f"Bearer {self._options.token.get_secret_value()}",
                "Content-Type": "application/json",
            },
            data=b"" if said is None else json.dumps(said, ensure_ascii=False).encode(errors="replace"),
        )
        answer = chat.reply_of(response.body)
        try:
            net.judge(response, self._where, message.at)
        except ConnectorError as error:
            said_why = net.plain(chat.text_at(answer, "message"))
            raise ConnectorError(
                f"{error.reason}: {said_why}" if said_why else error.reason,
                permanent=error.permanent,
                after=error.after,
            ) from None
        return answer

    def _post(self, message: Message, channel: str) -> dict[str, Any]:
        subject = escaped(chat.cut(message.subject, SUBJECT_CHARS_MAX))
        attachment: dict[str, Any] = {
            "fallback": chat.cut(message.subject, SUBJECT_CHARS_MAX),
            "text": escaped(chat.cut(message.text.strip(), TEXT_CHARS_MAX)),
        }
        pressed = chat.labels(message) if self._secrets and message.callback else []
        attachment["actions"] = [
            {
                "id": action,  # letters and digits only: with anything else the press would be a 404
                "type": "button",
                "name": label,
                "style": "primary" if action == "acknowledge" else "default",
                "integration": {
                    "url": f"{message.callback}{NAME}",
                    "context": {
                        "token": message.token,
                        "action": action,
                        "mac": _code(self._secrets[0], message.token, action),
                    },
                },
            }
            for action, label in pressed
        ]
        return {"channel_id": channel, "message": f"**{subject}**", "props": {"attachments": [attachment]}}

    async def close(self) -> None:
        """Ends the client."""
        await self._client.close()

    # ---- hearing
    def hear(self, name: str, call: Callback) -> Sequence[Heard | Told]:  # noqa: ARG002 - there is one section
        """The press of a button of ours."""
        if not self._secrets:
            raise NotGenuineError("there is no [mattermost] callback_secret to check callbacks with")
        press = chat.parsed(call.body)
        token, action = chat.text_at(press, "context", "token"), chat.text_at(press, "context", "action")
        given = chat.text_at(press, "context", "mac")
        if not sum(chat.same(given, _code(one, token, action)) for one in self._secrets):
            raise NotGenuineError("its code is not one that [mattermost] callback_secret makes")
        user = chat.text_at(press, "user_id")
        return (Heard(token, action, address=user, proven=True),) if _ID.fullmatch(user) else ()

    async def answered(self, name: str, call: Callback, said: Sequence[str]) -> Reply:  # noqa: ARG002
        """What came of it, for the person alone to see; the post stays as it is."""
        text = "\n".join(one for one in said if one)
        answer = {"ephemeral_text": escaped(text), "skip_slack_parsing": True} if text else {}
        return Reply(body=json.dumps(answer).encode(), content_type="application/json")


def escaped(text: str) -> str:
    """As Mattermost's Markdown wants text that is none: its URLs stay links, and nobody is mentioned."""
    parts = chat.URL.split(text)  # what the pattern's group found stands at the odd places
    return "".join(part if number % 2 else _literal(part) for number, part in enumerate(parts))


def _literal(text: str) -> str:
    return _MENTION.sub("@\u200b", _MARKUP.sub(r"\\\1", text))


def _code(secret: str, token: str, action: str) -> str:
    said = _PURPOSE + token.encode(errors="replace") + b"\0" + action.encode(errors="replace")
    return hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()
