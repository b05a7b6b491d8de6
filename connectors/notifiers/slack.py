"""Slack: messages by `chat.postMessage`, with buttons whose presses come back to `/callbacks/slack/main`.

The one law: a press counts only where Slack's signature covers its very bytes and is not five minutes old; the id of
the user in it is then Slack's word for who pressed. Our replies go to Slack's own host and to no other, whatever a
callback names.
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from connectors import chat, net
from connectors.base import (
    Callback,
    ConnectorError,
    Heard,
    NotGenuineError,
    OutcomeUnknownError,
    Problem,
    RefusedBodyError,
    Reply,
    Told,
)
from rules.instants import MINUTE, SECOND, Span
from rules.model import Message

SKEW_MAX: Final[Span] = 5 * MINUTE  # between Slack's time in a callback and ours
HEADER_CHARS_MAX: Final = 150
SECTION_CHARS_MAX: Final = 3_000
SECTIONS_MAX: Final = 4
LINE_CHARS_MAX: Final = 550  # handled at once: five characters at most become of one
LABEL_CHARS_MAX: Final = 75
FALLBACK_CHARS_MAX: Final = 1_000  # what a notification shows; Slack takes more
URL_CHARS_MAX: Final = 3_000
FIELDS_MAX: Final = 20
PRESSES_MAX: Final = 25  # elements of one block of actions
REPLY_S: Final = 1.5  # of the three that Slack waits for the answer to a press

# What Slack says of a request that may well be taken later; everything else would be refused again.
AGAIN: Final = frozenset(
    {
        "ratelimited",
        "rate_limited",
        "message_limit_exceeded",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "org_login_required",
    }
)
_HINTS: Final[Mapping[str, str]] = {
    "not_in_channel": "invite the app into the channel",
    "channel_not_found": "no such channel or user, or the app may not see it",
    "is_archived": "the channel is archived",
    "invalid_auth": "see [slack] token",
    "not_authed": "see [slack] token",
    "token_revoked": "see [slack] token",
    "token_expired": "see [slack] token",
    "account_inactive": "the app was removed: see [slack] token",
    "missing_scope": "give the app the scope chat:write",
}
_ADDRESS: Final = re.compile(r"[UWCDG][A-Z0-9]{2,30}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class Connector:
    """The notifier `slack`; an address is a user's id (U…, W…) or a conversation's (C…, D…, G…)."""

    class Options(BaseModel):
        """The Slack app that speaks for us."""

        model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

        token: SecretStr = Field(
            min_length=1, description="The app's bot token (xoxb-…); it needs the scope chat:write"
        )
        signing_secret: SecretStr | None = Field(
            None,
            description="The app's signing secret, which presses are checked with; several, one a line, while it is"
            " being changed. None: messages have no buttons",
        )
        api_url: str = Field("https://slack.com/api", description="Where Slack's Web API is")
        hooks_url: str = Field(
            "https://hooks.slack.com", description="Where Slack takes our reply to a press; no other place is called"
        )
        timeout_s: float = Field(10.0, gt=0, le=50, description="Seconds for one attempt, connecting included")

        @field_validator("api_url", "hooks_url")
        @classmethod
        def _is_url(cls, url: str) -> str:
            net.place(url)
            return url.rstrip("/")

        @field_validator("signing_secret")
        @classmethod
        def _has_secrets(cls, secret: SecretStr | None) -> SecretStr | None:
            if secret is not None:
                chat.secrets(secret.get_secret_value())
            return secret

    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "slack"

    def __init__(self, options: Options, *, sleep: net.Sleep = asyncio.sleep) -> None:
        """`sleep` waits between attempts at connecting."""
        self._options = options
        secret = options.signing_secret
        self._secrets = chat.secrets(secret.get_secret_value()) if secret is not None else ()
        self._where = net.place(options.api_url)
        self._hooks = net.place(options.hooks_url)
        self._client = net.Client(sleep)

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Why this cannot be an address of Slack's, or None."""
        if not _ADDRESS.fullmatch(address):
            return "must be the id of a user (U…, W…) or of a conversation (C…, D…, G…), as Slack shows it"
        return None

    # ---- telling
    async def send(self, message: Message) -> str:
        """Posts the message; the reference is its `ts`. Links are not unfolded: that would open them."""
        said = {
            "channel": message.address,
            "text": escaped(chat.cut(message.subject, FALLBACK_CHARS_MAX)),
            "blocks": self._blocks(message),
            "unfurl_links": False,
            "unfurl_media": False,
        }
        response = await self._client.request(
            "POST",
            f"{self._options.api_url}/chat.postMessage",
            timeout_s=self._options.timeout_s,
            headers={
                "Authorization": f"Bearer {self._options.token.get_secret_value()}",
                "Content-Type": "application/json; charset=utf-8",
            },
            data=_json(said),
        )
        net.judge(response, self._where, message.at)
        answer = chat.reply_of(response.body)
        if answer.get("ok") is True:
            return chat.text_at(answer, "ts")
        code = chat.text_at(answer, "error")
        if answer.get("ok") is not False or not code:
            raise OutcomeUnknownError(f"{self._where} answered {response.status} and nothing that Slack would say")
        hint = f" ({_HINTS[code]})" if code in _HINTS else ""
        raise ConnectorError(
            f"{self._where} refuses: {net.plain(code)}{hint}",
            permanent=code not in AGAIN,
            after=net.retry_after(response.headers, message.at),
        )

    def _blocks(self, message: Message) -> list[dict[str, Any]]:
        subject = {"type": "plain_text", "text": chat.cut(message.subject, HEADER_CHARS_MAX), "emoji": False}
        blocks: list[dict[str, Any]] = [{"type": "header", "text": subject}]
        blocks += [
            {"type": "section", "text": {"type": "mrkdwn", "text": part, "verbatim": True}}
            for part in _sections(message.text)
        ]
        pressed = chat.labels(message) if self._secrets else []
        elements: list[dict[str, Any]] = []
        for action, label in pressed:
            button = {"type": "button", "action_id": action, "text": _label(label), "value": message.token}
            elements.append({**button, "style": "primary"} if action == "acknowledge" else button)
        for number, (label, url) in enumerate(chat.pages(message, beside_buttons=bool(pressed))):
            if len(url) <= URL_CHARS_MAX:
                elements.append({"type": "button", "action_id": f"open{number}", "text": _label(label), "url": url})
        if elements:
            blocks.append({"type": "actions", "block_id": "ticketd", "elements": elements})
        return blocks

    async def close(self) -> None:
        """Ends the client."""
        await self._client.close()

    # ---- hearing
    def hear(self, name: str, call: Callback) -> Sequence[Heard | Told]:  # noqa: ARG002 - there is one section
        """Each press of a button of ours. A press of the link to the page is told too, and means nothing."""
        self._check(call)
        payload = _payload(call.body)
        user = chat.text_at(payload, "user", "id")
        if chat.text_at(payload, "type") != "block_actions" or not user:
            return ()
        return [
            Heard(chat.text_at(one, "value"), chat.text_at(one, "action_id"), address=user, proven=True)
            for one in chat.list_at(payload, "actions")[:PRESSES_MAX]
            if chat.text_at(one, "action_id") in chat.BUTTONS
        ]

    async def answered(self, name: str, call: Callback, said: Sequence[str]) -> Reply:  # noqa: ARG002
        """An empty 200; what came of it is posted to the callback's `response_url`, for the person alone to see."""
        text = "\n".join(one for one in said if one)
        url = chat.text_at(_payload(call.body), "response_url")
        if text and url:
            if not url.startswith(f"{self._hooks}/"):
                raise ConnectorError("the callback names a place to reply to that is not Slack's", permanent=True)
            note = {"response_type": "ephemeral", "replace_original": False, "text": escaped(text)}
            response = await self._client.request(
                "POST", url, timeout_s=REPLY_S, headers={"Content-Type": "application/json"}, data=_json(note)
            )
            net.judge(response, self._hooks, call.received_at)
        return Reply()

    def _check(self, call: Callback) -> None:
        if not self._secrets:
            raise NotGenuineError("there is no [slack] signing_secret to check callbacks with")
        stamp = call.headers.get("x-slack-request-timestamp", "")
        if not _SECONDS.fullmatch(stamp):
            raise NotGenuineError("it has no timestamp")
        if abs(call.received_at - int(stamp) * SECOND) > SKEW_MAX:
            raise NotGenuineError("its timestamp is more than five minutes away from our clock")
        given = call.headers.get("x-slack-signature", "")
        signed = b"v0:" + stamp.encode() + b":" + call.body
        wanted = [f"v0={hmac.new(one.encode(), signed, hashlib.sha256).hexdigest()}" for one in self._secrets]
        if not sum(chat.same(given, one) for one in wanted):  # all are compared, so that the time tells nothing
            raise NotGenuineError("its signature is not that of [slack] signing_secret")


def escaped(text: str) -> str:
    """As Slack wants text: its three control characters can then begin no mention and no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _label(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": chat.cut(text, LABEL_CHARS_MAX), "emoji": False}


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _payload(body: bytes) -> dict[str, Any]:
    """The JSON inside the form. Raises RefusedBodyError."""
    try:
        form = parse_qs(body.decode("utf-8"), strict_parsing=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise RefusedBodyError([Problem("", "must be a form in UTF-8")]) from None
    if "payload" not in form:
        raise RefusedBodyError([Problem("payload", "is missing")])
    return chat.parsed(form["payload"][0])


def _sections(text: str) -> list[str]:
    """The text in pieces that fit a block, split between lines; what is beyond the last is cut."""
    pieces: list[str] = []
    piece = ""
    for line in text.strip().split("\n"):
        for start in range(0, len(line), LINE_CHARS_MAX):
            part = _marked_up(line[start : start + LINE_CHARS_MAX])
            if len(piece) + 1 + len(part) > SECTION_CHARS_MAX:
                pieces.append(piece)
                piece = ""
            piece += part
        piece += "\n" * (len(piece) < SECTION_CHARS_MAX)
    whole = [one.strip("\n") for one in (*pieces, piece) if one.strip()]
    return whole if len(whole) <= SECTIONS_MAX else [*whole[: SECTIONS_MAX - 1], "…"]


def _marked_up(text: str) -> str:
    """Escaped, with its URLs as links: nothing else in it becomes one."""
    parts = chat.URL.split(text)  # what the pattern's group found stands at the odd places
    return "".join(f"<{escaped(part)}>" if number % 2 else escaped(part) for number, part in enumerate(parts))
