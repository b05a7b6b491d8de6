"""A Slack workspace with one app in it: takes messages, checks their blocks, and sends signed presses."""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlencode

from aiohttp import web

from tests.connectors.fakes.provider import Pressed, Provider

_CONTROL = re.compile(r"<(?!https?://[^<>|]+(?:\|[^<>|]*)?>)")  # what begins a mention, or anything but a plain link


@dataclass
class Slack(Provider):
    kind: ClassVar[str] = "slack"
    person: ClassVar[str] = "U0AMINA"
    other: ClassVar[str] = "U0STRANGER"
    nobody: ClassVar[str] = "U0NOBODY"
    channel: ClassVar[str] = "C0PAGER"

    token: str = "xoxb-1-T0KEN"
    signing_secret: str = "8f742231b10e8888abcd99yyyzzz85a5"
    revoked: bool = False
    known: set[str] = field(default_factory=lambda: {"U0AMINA", "U0STRANGER", "C0PAGER", "C0OTHER", "C0OLD"})
    joined: set[str] = field(default_factory=lambda: {"U0AMINA", "U0STRANGER", "C0PAGER", "C0OLD"})
    archived: set[str] = field(default_factory=lambda: {"C0OLD"})
    code: str = ""  # instead of the usual answer
    messages: list[dict[str, Any]] = field(default_factory=list)
    ephemeral: dict[str, list[str]] = field(default_factory=dict)  # by response_url's last part

    @property
    def options(self) -> dict[str, Any]:
        place = f"http://127.0.0.1:{self.port}"
        return {
            "token": self.token,
            "signing_secret": self.signing_secret,
            "api_url": f"{place}/api",
            "hooks_url": place,
        }

    @property
    def texts(self) -> list[str]:
        return [
            "\n".join(one["text"]["text"] for one in message["blocks"] if one["type"] in {"header", "section"})
            for message in self.messages
        ]

    # ---- the Web API
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.path.startswith("/actions/"):
            return self._replied(request.path.rpartition("/")[2], body)
        if request.path != "/api/chat.postMessage" or request.method != "POST":
            return web.Response(status=404)
        if self.broken:
            self.broken -= 1
            return web.Response(status=503, text="Service Unavailable")
        if self.limited:
            self.limited -= 1
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "30"})
        error = self.code or self._wrong(request, body)
        if error:
            return web.json_response({"ok": False, "error": error})
        said = json.loads(body)
        ts = f"17698536{len(self.messages):02}.000100"
        self.messages.append({**said, "ts": ts})
        return web.json_response({"ok": True, "channel": said["channel"], "ts": ts, "message": {"text": said["text"]}})

    def _wrong(self, request: web.BaseRequest, body: bytes) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        typed = request.headers.get("Content-Type") == "application/json; charset=utf-8"
        said = json.loads(body) if typed else {}
        channel, text = said.get("channel"), said.get("text", "")
        if said and (said.get("unfurl_links") is not False or said.get("unfurl_media") is not False):
            self.wrongs.append("links would be opened to unfold them")
        if _CONTROL.search(text):
            self.wrongs.append("the fallback is not escaped")
        checks = (
            (scheme != "Bearer", "not_authed"),
            (token != self.token, "invalid_auth"),
            (self.revoked, "account_inactive"),
            (not typed, "invalid_post_type"),
            (channel not in self.known, "channel_not_found"),
            (channel not in self.joined, "not_in_channel"),
            (channel in self.archived, "is_archived"),
            (not text, "no_text"),
            (len(text) > 40_000, "msg_too_long"),
            (not self._fits(said.get("blocks", [])), "invalid_blocks"),
        )
        return next((code for wrong, code in checks if wrong), "")

    def _fits(self, blocks: list[dict[str, Any]]) -> bool:
        return 0 < len(blocks) <= 50 and all(self._block_fits(one) for one in blocks)

    def _block_fits(self, block: dict[str, Any]) -> bool:
        match block:
            case {"type": "header", "text": {"type": "plain_text", "text": str(text)}}:
                return 0 < len(text) <= 150
            case {"type": "section", "text": {"type": "mrkdwn", "text": str(text)}}:
                if _CONTROL.search(text):
                    self.wrongs.append(f"a section is not escaped: {text}")
                return 0 < len(text) <= 3_000
            case {"type": "actions", "block_id": str(), "elements": list(elements)}:
                names = [one.get("action_id") for one in elements]
                return 0 < len(elements) <= 25 and len(set(names)) == len(names) and all(map(_button_fits, elements))
            case _:
                return False

    # ---- people
    def _elements(self, number: int) -> dict[str, dict[str, Any]]:
        blocks = self.messages[number]["blocks"]
        return {one["action_id"]: one for block in blocks if block["type"] == "actions" for one in block["elements"]}

    def buttons(self, number: int = -1) -> list[str]:
        return [name for name, one in self._elements(number).items() if "value" in one]

    def pressed(self, action: str, user: str, at_s: int, number: int = -1) -> Pressed:
        return self._signed(self._payload(action, user, number), at_s, self.signing_secret)

    def forged(self, action: str, user: str, at_s: int, number: int = -1) -> Pressed:
        return self._signed(self._payload(action, user, number), at_s, "not the signing secret")

    def _payload(self, action: str, user: str, number: int) -> dict[str, Any]:
        message, element = self.messages[number], self._elements(number)[action]
        response = f"R{len(self.ephemeral)}"
        self.ephemeral[response] = []
        return {
            "type": "block_actions",
            "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": "T0TEAM"},
            "api_app_id": "A0APP",
            "token": "legacy",
            "container": {
                "type": "message",
                "message_ts": message["ts"],
                "channel_id": message["channel"],
                "is_ephemeral": False,
            },
            "trigger_id": "1.2.3",
            "team": {"id": "T0TEAM", "domain": "example"},
            "enterprise": None,
            "channel": {"id": message["channel"], "name": "pager"},
            "message": {"ts": message["ts"], "text": message["text"], "blocks": message["blocks"]},
            "state": {"values": {}},
            "response_url": f"http://127.0.0.1:{self.port}/actions/T0TEAM/1/{response}",
            "actions": [{**element, "block_id": "ticketd", "action_ts": "1769853700.000000"}],
        }

    def _signed(self, payload: dict[str, Any], at_s: int, secret: str) -> Pressed:
        return self.vouched(urlencode({"payload": json.dumps(payload)}).encode(), at_s, secret)

    def vouched(self, body: bytes, at_s: int, secret: str) -> Pressed:
        """Any body, signed."""
        signed = b"v0:%d:" % at_s + body
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": str(at_s),
            "X-Slack-Signature": "v0=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest(),
        }
        return Pressed(self.callback_url, headers, body)

    def _replied(self, name: str, body: bytes) -> web.Response:
        said = json.loads(body)
        if name not in self.ephemeral or len(self.ephemeral[name]) >= 5:
            return web.Response(status=404, text="expired_url")
        if said.get("response_type") != "ephemeral" or said.get("replace_original") is not False:
            self.wrongs.append("a reply to one person is shown to all")
        self.ephemeral[name].append(said["text"])
        return web.Response(text="ok")

    def shows(self, pressed: Pressed, status: int, body: bytes) -> str:
        if body:
            self.wrongs.append("the answer to a press has a body, which nobody sees")
        return "\n".join(list(self.ephemeral.values())[-1])


def _button_fits(element: dict[str, Any]) -> bool:
    text = element["text"]
    return (
        element["type"] == "button"
        and text["type"] == "plain_text"
        and 0 < len(text["text"]) <= 75
        and 0 < len(element["action_id"]) <= 255
        and len(element.get("value", "")) <= 2_000
        and len(element.get("url", "")) <= 3_000
        and element.get("style", "primary") in {"primary", "danger"}
    )
