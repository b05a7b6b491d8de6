"""Telegram's Bot API with one bot: takes messages within its limits, and sends updates with the webhook's secret."""

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from tests.connectors.fakes.provider import Pressed, Provider, Seen

BOT = 7_000_001
_LETTERS = {"acknowledge": "a", "resolve": "r", "escalate": "e"}


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@dataclass
class Telegram(Provider):
    kind: ClassVar[str] = "telegram"
    person: ClassVar[str] = "12345"
    other: ClassVar[str] = "666"
    nobody: ClassVar[str] = "999"
    channel: ClassVar[str] = "-1001234"

    token: str = f"{BOT}:AAH-T0KEN_aaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    secret: str = "wEbhook-secret_1234"
    chats: set[int | str] = field(default_factory=lambda: {12345, 666, 13, 14, -1001234, "@pager"})
    blocked: set[int | str] = field(default_factory=lambda: {13})
    moved: dict[Any, int] = field(default_factory=lambda: {14: -10014})
    messages: list[dict[str, Any]] = field(default_factory=list)
    updates: int = 5_000
    asked: dict[str, str] = field(default_factory=dict)  # callback queries waiting: "" until answered

    @property
    def options(self) -> dict[str, Any]:
        return {
            "token": self.token,
            "webhook_secret": self.secret,
            "api_url": f"http://127.0.0.1:{self.port}",
        }

    @property
    def texts(self) -> list[str]:
        return [one["text"] for one in self.messages]

    # ---- the Bot API
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if self.broken:
            self.broken -= 1
            return self._refused(500, "Internal Server Error")
        if self.limited:
            self.limited -= 1
            return self._refused(429, "Too Many Requests: retry after 30", retry_after=30)
        if request.path != f"/bot{self.token}/sendMessage":
            return self._refused(401, "Unauthorized") if request.path.startswith("/bot") else self._refused(404, "Not")
        if request.method != "POST" or request.content_type != "application/json":
            return self._refused(400, "Bad Request: message text is empty")
        return self.sent(json.loads(body))

    def sent(self, said: dict[str, Any]) -> web.Response:
        """A `sendMessage`, by request or in the answer to an update."""
        where, text = said.get("chat_id"), said.get("text", "")
        if where in self.moved:
            wrong, moved = "Bad Request: group chat was upgraded to a supergroup chat", self.moved[where]
            return self._refused(400, wrong, migrate_to_chat_id=moved)
        if where in self.blocked:
            return self._refused(403, "Forbidden: bot was blocked by the user")
        if said.get("parse_mode"):
            self.wrongs.append("a text is sent as markup")
        if said.get("link_preview_options") != {"is_disabled": True}:
            self.wrongs.append("links would be opened to preview them")
        buttons = [one for row in said.get("reply_markup", {}).get("inline_keyboard", []) for one in row]
        checks = (
            (where not in self.chats, "chat not found"),
            (not text.strip(), "message text is empty"),
            (units(text) > 4_096, "message is too long"),
            (
                any(
                    one["offset"] + one["length"] > units(text) or one["length"] < 1 for one in said.get("entities", [])
                ),
                "ENTITY_BOUNDS_INVALID",
            ),
            (
                any(len(one.get("callback_data", "x").encode()) not in range(1, 65) for one in buttons),
                "BUTTON_DATA_INVALID",
            ),
            (
                any("." not in one.get("url", "https://a.b/").split("/")[2] for one in buttons),
                "inline keyboard button URL is invalid: Wrong HTTP URL",
            ),
        )
        if wrong := next((text for found, text in checks if found), ""):
            return self._refused(400, f"Bad Request: {wrong}")
        number = 100 + len(self.messages)
        self.messages.append({**said, "message_id": number})
        return web.json_response({"ok": True, "result": {"message_id": number, "chat": {"id": where}, "text": text}})

    def _refused(self, code: int, text: str, **parameters: int) -> web.Response:
        said: dict[str, Any] = {"ok": False, "error_code": code, "description": text}
        if parameters:
            said["parameters"] = parameters
        return web.json_response(said, status=code)

    # ---- people
    def buttons(self, number: int = -1) -> list[str]:
        rows = self.messages[number].get("reply_markup", {}).get("inline_keyboard", [])
        names = {letter: action for action, letter in _LETTERS.items()}
        return [names[one["callback_data"][0]] for row in rows for one in row if "callback_data" in one]

    def _ours(self, number: int) -> dict[str, Any]:
        """A message of the bot's as updates show it."""
        kept = self.messages[number]
        shown = {"message_id": kept["message_id"], "chat": {"id": kept["chat_id"]}, "text": kept["text"], "date": 1}
        shown["from"] = {"id": BOT, "is_bot": True, "first_name": "ticketd"}
        return shown | ({"reply_markup": kept["reply_markup"]} if "reply_markup" in kept else {})

    def pressed(self, action: str, user: str, at_s: int, number: int = -1) -> Pressed:
        if action not in self.buttons(number):
            raise LookupError(action)
        rows = self.messages[number]["reply_markup"]["inline_keyboard"]
        (data,) = (
            one["callback_data"]
            for row in rows
            for one in row
            if one.get("callback_data", "").startswith(f"{_LETTERS[action]}:")
        )
        query = f"q{len(self.asked)}"
        self.asked[query] = ""
        return self._update(
            callback_query={
                "id": query,
                "from": {"id": int(user), "is_bot": False, "first_name": "A"},
                "message": self._ours(number),
                "chat_instance": "1",
                "data": data,
            }
        )

    def replied(self, text: str, user: str, number: int = -1, **fields: Any) -> Pressed:
        """A reply to a message of the bot's."""
        ours = self._ours(number)
        return self._update(
            message={
                "message_id": 900,
                "from": {"id": int(user), "is_bot": False, "first_name": "A"},
                "chat": ours["chat"],
                "date": 2,
                "text": text,
                "reply_to_message": ours,
                **fields,
            }
        )

    def _update(self, **said: Any) -> Pressed:
        self.updates += 1
        body = json.dumps({"update_id": self.updates, **said}).encode()
        headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": self.secret}
        return Pressed(self.callback_url, headers, body)

    def forged(self, action: str, user: str, at_s: int, number: int = -1) -> Pressed:
        real = self.pressed(action, user, at_s, number)
        return Pressed(real.url, {**real.headers, "X-Telegram-Bot-Api-Secret-Token": "guessed"}, real.body)

    def shows(self, pressed: Pressed, status: int, body: bytes) -> str:
        if not body:
            return ""
        said = json.loads(body)
        match said.pop("method"):
            case "answerCallbackQuery":
                text = str(said.get("text", ""))
                if said["callback_query_id"] not in self.asked or len(text) > 200:
                    self.wrongs.append("a query is answered that Telegram does not know, or at too great a length")
                self.asked[said["callback_query_id"]] = text or "(nothing)"
                return text
            case "sendMessage":
                if self.sent(said).status != 200:
                    self.wrongs.append("an answer could not be sent")
                return str(said["text"])
            case other:
                self.wrongs.append(f"{other} is not expected")
                return ""

    async def reply(self, text: str, user: str, number: int = -1, **fields: Any) -> Seen:
        """A person replies."""
        return await self.deliver(self.replied(text, user, number, **fields))
