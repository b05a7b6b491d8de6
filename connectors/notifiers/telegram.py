"""Telegram: messages by a bot, with buttons and replies that come back to `/callbacks/telegram/main`.

The one law: an update counts only with the secret that the webhook was set up with; the id of the user in it is then
Telegram's word for who speaks. What is answered is the bot's own message, and its token stands in that very message: in
its buttons, or in its last line where it has none. Texts are sent plain, so nothing in them is ever markup.
"""

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from connectors import chat, net
from connectors.base import Callback, ConnectorError, Heard, NotGenuineError, OutcomeUnknownError, Reply, Told
from connectors.replytext import said as said_in
from rules.instants import SECOND
from rules.model import Message

TEXT_UNITS_MAX: Final = 4_096  # of UTF-16, as Telegram counts
DATA_BYTES_MAX: Final = 64  # of a button
SHOWN_CHARS_MAX: Final = 200  # of the answer to a press
ROWS_MAX: Final = 20
SEEN_MAX: Final = 1_000  # updates that are known again when they come twice
AFTER_S_MAX: Final = 86_400
LETTERS: Final = {"acknowledge": "a", "resolve": "r", "escalate": "e"}
WORDLESS: Final = "(a message without text)"

_ACTIONS: Final = {letter: action for action, letter in LETTERS.items()}
_TOKEN: Final = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{20,100}", re.ASCII)
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{16,256}", re.ASCII)
_ADDRESS: Final = re.compile(r"-?[1-9][0-9]{0,18}|@[A-Za-z][A-Za-z0-9_]{3,63}", re.ASCII)
_PUBLIC: Final = re.compile(r"https://[^/\s:@]+\.[A-Za-z]{2,63}(?::[0-9]{1,5})?/", re.ASCII)
_MARK: Final = re.compile(r"\[([0-9]{1,19}-[0-9a-f]{4}[a-z2-7]{26})\]\s*\Z", re.ASCII)


class Connector:
    """The notifier `telegram`; an address is the number of a chat, or a channel's @name."""

    class Options(BaseModel):
        """The bot that speaks for us."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        token: SecretStr = Field(description="The bot's token, as @BotFather gave it")
        webhook_secret: SecretStr | None = Field(
            None,
            description="The secret_token that the webhook was set up with: letters, digits, _ and -, 16 to 256."
            " None: messages cannot be answered in the chat",
        )
        api_url: str = Field("https://api.telegram.org", description="Where Telegram's Bot API is")
        timeout_s: float = Field(10.0, gt=0, le=50, description="Seconds for one attempt, connecting included")

        @field_validator("token")
        @classmethod
        def _is_token(cls, token: SecretStr) -> SecretStr:
            if not _TOKEN.fullmatch(token.get_secret_value().strip()):
                raise ValueError("must be a bot's token: digits, a colon, and some 35 letters, digits, _ and -")
            return token

        @field_validator("webhook_secret")
        @classmethod
        def _is_secret(cls, secret: SecretStr | None) -> SecretStr | None:
            if secret is not None:
                for one in chat.secrets(secret.get_secret_value()):
                    if not _SECRET.fullmatch(one):
                        raise ValueError("must be 16 to 256 letters, digits, _ and -: Telegram takes no others")
            return secret

        @field_validator("api_url")
        @classmethod
        def _is_url(cls, url: str) -> str:
            net.place(url)
            return url.rstrip("/")

    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "telegram"

    def __init__(self, options: Options, *, sleep: net.Sleep = asyncio.sleep) -> None:
        """`sleep` waits between attempts at connecting."""
        self._options = options
        self._token = options.token.get_secret_value().strip()
        secret = options.webhook_secret
        self._secrets = chat.secrets(secret.get_secret_value()) if secret is not None else ()
        self.answerable = bool(self._secrets)  # whether a text may say that a reply answers it
        self._bot = int(self._token.partition(":")[0])
        self._where = net.place(options.api_url)
        self._client = net.Client(sleep)
        self._seen: OrderedDict[int, None] = OrderedDict()

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Why this cannot be an address of Telegram's, or None."""
        if not _ADDRESS.fullmatch(address):
            return "must be the number of a chat, such as \"12345\" (a group's is negative), or a channel's @name"
        return None

    # ---- telling
    async def send(self, message: Message) -> str:
        """Sends the message; the reference is its `message_id`. Links are not previewed: that would open them."""
        asked = self._message(message)
        response = await self._client.request(
            "POST",
            f"{self._options.api_url}/bot{self._token}/sendMessage",
            timeout_s=self._options.timeout_s,
            headers={"Content-Type": "application/json"},
            data=json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"),
        )
        answer = chat.reply_of(response.body)
        if answer.get("ok") is True:
            return str(chat.number_at(answer, "result", "message_id") or "")
        after = chat.number_at(answer, "parameters", "retry_after")
        if response.status == 429 and after is not None:  # noqa: PLR2004 - too many requests
            raise ConnectorError(
                f"{self._where} wants us to wait", permanent=False, after=max(0, min(after, AFTER_S_MAX)) * SECOND
            )
        said = net.plain(chat.text_at(answer, "description"))
        if 400 <= response.status < 500 and response.status not in net.AGAIN and said:  # noqa: PLR2004 - refused
            moved = chat.number_at(answer, "parameters", "migrate_to_chat_id")
            hint = f"; the group is now the chat {moved}" if moved is not None else ""
            raise ConnectorError(f"{self._where} refuses: {response.status} {said}{hint}", permanent=True)
        net.judge(response, self._where, message.at)
        raise OutcomeUnknownError(f"{self._where} answered {response.status} and nothing that Telegram would say")

    def _message(self, message: Message) -> dict[str, Any]:
        chat_id = message.address if message.address.startswith("@") else int(message.address)
        pressed = [
            {"text": label, "callback_data": f"{LETTERS[action]}:{message.token}"}
            for action, label in (chat.labels(message) if self._secrets else [])
            if len(message.token) + 2 <= DATA_BYTES_MAX
        ]
        pages = [
            {"text": label, "url": url}
            for label, url in chat.pages(message, beside_buttons=bool(pressed))
            if _PUBLIC.match(url)  # for the button of a local address Telegram refuses the whole message
        ]
        mark = f"\n\n[{message.token}]" if message.token and self._secrets and not pressed else ""
        subject = _fitting(message.subject, TEXT_UNITS_MAX // 4)
        text = _fitting(f"{subject}\n\n{message.text.strip()}", TEXT_UNITS_MAX - len(mark)) + mark
        asked: dict[str, Any] = {
            "chat_id": chat_id,
            "text": text,
            "entities": [{"type": "bold", "offset": 0, "length": _units(subject)}] if subject else [],
            "link_preview_options": {"is_disabled": True},
        }
        keyboard = [row for row in (pressed, pages) if row]
        if keyboard:
            asked["reply_markup"] = {"inline_keyboard": keyboard}
        return asked

    async def close(self) -> None:
        """Ends the client."""
        await self._client.close()

    # ---- hearing
    def hear(self, name: str, call: Callback) -> Sequence[Heard | Told]:  # noqa: ARG002 - there is one section
        """A press of a button of ours, or a reply to a message of ours; nothing for any other update."""
        if not self._secrets:
            raise NotGenuineError("there is no [telegram] webhook_secret to check callbacks with")
        given = call.headers.get("x-telegram-bot-api-secret-token", "")
        if not sum(chat.same(given, one) for one in self._secrets):
            raise NotGenuineError("its secret token is not [telegram] webhook_secret")
        update = chat.parsed(call.body)
        if chat.number_at(update, "update_id") in self._seen:
            return ()
        heard = _pressed(update) or self._replied(update)
        return () if heard is None else (heard,)

    def _replied(self, update: dict[str, Any]) -> Heard | None:
        user = chat.number_at(update, "message", "from", "id")
        ours = chat.at(update, "message", "reply_to_message")
        if user is None or chat.number_at(ours, "from", "id") != self._bot:
            return None
        token = _token_of(ours)
        if not token:
            return None
        text = chat.text_at(update, "message", "text") or chat.text_at(update, "message", "caption")
        said = said_in(text) if text else None
        return Heard(
            token,
            said.action if said else "comment",
            said.note if said else text or WORDLESS,
            address=str(user),
            proven=True,
            automatic=chat.at(update, "message", "from", "is_bot") is True,
        )

    async def answered(self, name: str, call: Callback, said: Sequence[str]) -> Reply:  # noqa: ARG002
        """The method to call stands in the answer: Telegram shows the text, or ends the button's waiting."""
        update = chat.parsed(call.body)
        if (number := chat.number_at(update, "update_id")) is not None:
            self._seen[number] = None
            while len(self._seen) > SEEN_MAX:
                self._seen.popitem(last=False)
        text = "\n".join(one for one in said if one)
        if query := chat.text_at(update, "callback_query", "id"):
            method: dict[str, Any] = {"method": "answerCallbackQuery", "callback_query_id": query}
            if text:
                method |= {"text": chat.cut(text, SHOWN_CHARS_MAX), "show_alert": True}
        elif text:
            method = {
                "method": "sendMessage",
                "chat_id": chat.number_at(update, "message", "chat", "id"),
                "text": _fitting(text, TEXT_UNITS_MAX),
                "link_preview_options": {"is_disabled": True},
                "reply_parameters": {
                    "message_id": chat.number_at(update, "message", "message_id"),
                    "allow_sending_without_reply": True,
                },
            }
        else:
            return Reply()
        return Reply(body=json.dumps(method).encode(), content_type="application/json")


def _pressed(update: dict[str, Any]) -> Heard | None:
    user = chat.number_at(update, "callback_query", "from", "id")
    letter, colon, token = chat.text_at(update, "callback_query", "data").partition(":")
    if user is None or not colon or letter not in _ACTIONS:
        return None
    return Heard(token, _ACTIONS[letter], address=str(user), proven=True)


def _token_of(ours: object) -> str:
    """The token of a message of ours: of its buttons, or of its last line."""
    for row in range(ROWS_MAX):
        for one in chat.list_at(ours, "reply_markup", "inline_keyboard", row)[:ROWS_MAX]:
            letter, colon, token = chat.text_at(one, "callback_data").partition(":")
            if colon and letter in _ACTIONS:
                return token
    found = _MARK.search(chat.text_at(ours, "text"))
    return found[1] if found else ""


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def _fitting(text: str, units_max: int) -> str:
    """At most so many units of UTF-16, never half a character."""
    if _units(text) <= units_max:
        return text
    data = text.encode("utf-16-le", "replace")[: 2 * (units_max - 1)]
    return data.decode("utf-16-le", "ignore").rstrip() + "…"
