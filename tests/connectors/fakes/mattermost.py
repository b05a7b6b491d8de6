"""A Mattermost server with one bot: takes posts, keeps what belongs to buttons from people, and passes presses on."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from tests.connectors.fakes.provider import Pressed, Provider

BOT = "b" * 26
_DIRECT = "d" * 20


def an_id(name: str) -> str:
    return (name + "x" * 26)[:26]


@dataclass
class Mattermost(Provider):
    kind: ClassVar[str] = "mattermost"
    person: ClassVar[str] = an_id("amina")
    other: ClassVar[str] = an_id("stranger")
    nobody: ClassVar[str] = an_id("nobody")
    channel: ClassVar[str] = f"channel:{an_id('pager')}"

    token: str = "m4tt3rm0st-t0ken"
    callback_secret: str = "a secret of our own choice"
    users: set[str] = field(default_factory=lambda: {an_id("amina"), an_id("stranger")})
    channels: set[str] = field(default_factory=lambda: {an_id("pager")})
    posts: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # each request's method and path

    @property
    def options(self) -> dict[str, Any]:
        return {
            "url": f"http://127.0.0.1:{self.port}",
            "token": self.token,
            "callback_secret": self.callback_secret,
        }

    @property
    def texts(self) -> list[str]:
        return [f"{one['message']}\n{one['props']['attachments'][0]['text']}" for one in self.posts]

    # ---- the API
    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        path = f"{request.method} {request.path.removeprefix('/api/v4')}"
        self.asked.append(path)
        if self.broken:
            self.broken -= 1
            return self._refused(500, "An internal error has occurred")
        if self.limited:
            self.limited -= 1
            return web.Response(
                status=429, text="limit exceeded", headers={"X-Ratelimit-Reset": "30", "Retry-After": "30"}
            )
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._refused(401, "Invalid or expired session, please login again.")
        match path:
            case "GET /users/me":
                return web.json_response({"id": BOT, "username": "ticketd", "is_bot": True})
            case "POST /channels/direct":
                return self._direct(json.loads(body))
            case "POST /posts":
                return self._posted(json.loads(body))
            case _:
                return self._refused(404, "Sorry, we could not find the page.")

    def _direct(self, ids: list[str]) -> web.Response:
        if len(ids) != 2 or ids[0] != BOT or ids[1] not in self.users:
            return self._refused(400, "Invalid or missing user_ids in request body.")
        self.channels.add(found := _DIRECT + ids[1][:6])
        return web.json_response({"id": found, "type": "D"}, status=201)

    def _posted(self, post: dict[str, Any]) -> web.Response:
        if post.get("channel_id") not in self.channels:
            return self._refused(403, "You do not have the appropriate permissions.")
        if len(post["message"]) > 16_383:
            return self._refused(400, "Invalid message.")
        (attachment,) = post["props"]["attachments"]
        for text in (post["message"], attachment["text"]):
            if re.search(r"@\w", text):
                self.wrongs.append("somebody would be mentioned")
        for one in attachment["actions"]:
            if not re.fullmatch("[A-Za-z0-9]+", one["id"]) or one["type"] != "button" or not one["name"]:
                self.wrongs.append(f"the press of {one['id']} would be a 404")
        kept = {**post, "id": an_id(f"post{len(self.posts)}")}
        self.posts.append(kept)
        shown = json.loads(json.dumps(kept))
        for one in shown["props"]["attachments"][0]["actions"]:
            del one["integration"]  # nobody gets to see it
        return web.json_response(shown, status=201)

    def _refused(self, status: int, text: str) -> web.Response:
        said = {"id": "api.error", "message": text, "detailed_error": "", "request_id": "r", "status_code": status}
        return web.json_response(said, status=status)

    # ---- people
    def _actions(self, number: int) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in self.posts[number]["props"]["attachments"][0]["actions"]}

    def buttons(self, number: int = -1) -> list[str]:
        return list(self._actions(number))

    def pressed(self, action: str, user: str, at_s: int, number: int = -1) -> Pressed:
        post, one = self.posts[number], self._actions(number)[action]
        said = {
            "user_id": user,
            "user_name": "somebody",
            "channel_id": post["channel_id"],
            "channel_name": "pager",
            "team_id": an_id("team"),
            "team_domain": "example",
            "post_id": post["id"],
            "trigger_id": "dHJpZ2dlcg==",
            "type": "button",
            "data_source": "",
            "context": one["integration"]["context"],
        }
        return Pressed(one["integration"]["url"], {"Content-Type": "application/json"}, json.dumps(said).encode())

    def forged(self, action: str, user: str, at_s: int, number: int = -1) -> Pressed:
        real = self.pressed(action, user, at_s, number)
        said = json.loads(real.body)
        said["context"]["mac"] = "0" * 64
        return Pressed(real.url, real.headers, json.dumps(said).encode())

    def shows(self, pressed: Pressed, status: int, body: bytes) -> str:
        said = json.loads(body)
        if said.get("update"):
            self.wrongs.append("the post is replaced for everybody")
        return re.sub(r"\\([^\w\s])", r"\1", str(said.get("ephemeral_text", "")))
