"""Twilio on a free port of 127.0.0.1: it takes messages and calls as its documentation says, and reports on them.

Law: it keeps all that it was sent, refuses what Twilio refuses, signs what it posts, and misbehaves only as it was
told. Nothing of it is shared with the code under test.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree import ElementTree as ET

import aiohttp
from aiohttp import web

from connectors.base import Callback
from tests.connectors.servers import listening

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
AUTH_TOKEN = "correct-horse-battery-staple-T0KEN"
NUMBER = "+218910000001"  # ours
PUBLIC = "https://tickets.example.test"  # how Twilio reaches ticketd

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_VERBS = {"Response", "Gather", "Say", "Hangup", "Message"}
_PATH = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/(Messages|Calls)\.json")
_CALL_ENDS = {"completed", "busy", "no-answer", "failed", "canceled"}


class Refused(Exception):  # noqa: N818 - an answer
    """What Twilio answers instead of taking it."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class Resource:
    """A message or a call, as it was created."""

    sid: str
    fields: dict[str, str]
    status: str = "queued"

    @property
    def to(self) -> str:
        return self.fields["To"]

    @property
    def said(self) -> str:
        """What is read or heard."""
        return self.fields["Body"] if "Body" in self.fields else "".join(self.twiml.itertext())

    @property
    def twiml(self) -> ET.Element:
        return ET.fromstring(self.fields["Twiml"])  # noqa: S314 - of our own making

    @property
    def gather(self) -> dict[str, str]:
        found = self.twiml.find("Gather")
        assert found is not None, "the call asks for no key"
        return dict(found.attrib)


@dataclass(slots=True)
class Twilio:
    """Its memory and its orders. `base`: where ticketd really listens, for those who post to it."""

    base: str = ""
    port: int = 0
    messages: list[Resource] = field(default_factory=list)
    calls: list[Resource] = field(default_factory=list)
    opted_out: set[str] = field(default_factory=set)
    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)  # instead of taking the next ones
    answered: str = "POST"  # which requests `answers` are for
    trouble: str = ""  # "silent": it never answers; "broken off": it ends the connection
    over: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    proofs: set[str] = field(default_factory=set)  # Authorization headers that it takes

    def options(self, **fields: Any) -> dict[str, Any]:
        """What stands in `[twilio]` for this account."""
        return {
            "account_sid": ACCOUNT,
            "auth_token": AUTH_TOKEN,
            "from": NUMBER,
            "api_url": f"http://127.0.0.1:{self.port}",
            **fields,
        }

    # ---- what ticketd asks of it
    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Twilio"]:
        """It listens."""
        server = web.Server(self._handle)  # type: ignore[arg-type]
        try:
            async with listening(server) as self.port:
                yield self
        finally:
            self.over.set()
            await server.shutdown(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.trouble:
            if self.trouble == "broken off":
                assert request.transport is not None
                request.transport.abort()
            await self.over.wait()
        if self.answers and request.method == self.answered:
            status, body, headers = self.answers.pop(0)
            return web.Response(
                status=status, text=body if isinstance(body, str) else json.dumps(body), headers=headers
            )
        try:
            self._check_account(request)
            if request.method == "GET":
                return web.json_response(self._listed(request))
            made = self._create(request, await request.read())
        except Refused as no:
            said = {"code": no.code, "message": no.message, "status": no.status, "more_info": "https://www.twilio.com"}
            return web.json_response(said, status=no.status)
        return web.json_response({"sid": made.sid, "status": "queued", **made.fields}, status=201)

    def _check_account(self, request: web.Request) -> None:
        found = _PATH.fullmatch(request.path)
        if request.method not in {"GET", "POST"} or found is None:
            raise Refused(404, 20404, f"The requested resource {request.path} was not found")
        basic = "Basic " + base64.b64encode(f"{ACCOUNT}:{AUTH_TOKEN}".encode()).decode()
        if request.headers.get("Authorization") not in (self.proofs or {basic}) or found[1] != ACCOUNT:
            raise Refused(401, 20003, "Authenticate")

    def _listed(self, request: web.Request) -> dict[str, Any]:
        """The latest texts to a number, newest first, and a page of them."""
        number, many = request.query.get("To", ""), int(request.query.get("PageSize", "50"))
        found = [one for one in reversed(self.messages) if not number or one.to == number]
        shown = [{"sid": one.sid, "body": one.said, "to": one.to, "status": one.status} for one in found]
        return {"messages": shown[:many], "page": 0, "page_size": many}

    def _create(self, request: web.Request, body: bytes) -> Resource:
        if request.content_type != "application/x-www-form-urlencoded":
            raise Refused(400, 20001, "The parameters are no form")
        fields = {name: values[-1] for name, values in parse_qs(body.decode("ascii"), keep_blank_values=True).items()}
        if not _E164.fullmatch(fields.get("To", "")):
            raise Refused(400, 21211, f"The 'To' number {fields.get('To')} is not a valid phone number.")
        hook = fields.get("StatusCallback")
        host = urlsplit(hook or "").hostname or ""
        if hook is not None and (not hook.startswith(("http://", "https://")) or "." not in host or "_" in host):
            raise Refused(400, 21609, f"The StatusCallback URL {hook} is not a valid URL.")
        made = self.messages if request.path.endswith("/Messages.json") else self.calls
        (_check_message if made is self.messages else _check_call)(fields, self.opted_out)
        made.append(Resource(f"{'SM' if made is self.messages else 'CA'}{len(made):032x}", fields))
        return made[-1]

    # ---- what it tells ticketd
    def signed(self, url: str, fields: Mapping[str, str], token: str = AUTH_TOKEN) -> dict[str, str]:
        """The headers of a callback."""
        text = url + "".join(name + fields[name] for name in sorted(fields))
        proof = base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()
        return {
            "x-twilio-signature": proof,
            "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
            "i-twilio-idempotency-token": "11111111-2222-3333-4444-555555555555",
            "user-agent": "TwilioProxy/1.1",
        }

    def callback(self, url: str, fields: Mapping[str, str], at: int = 0, token: str = AUTH_TOKEN) -> Callback:
        """The same as ticketd's listeners get it."""
        return Callback(url, self.signed(url, fields, token), urlencode(fields).encode(), at)

    async def post(self, url: str, fields: Mapping[str, str], token: str = AUTH_TOKEN) -> tuple[int, str]:
        """Posts to where ticketd really listens what is signed for the public URL; status and body of the answer."""
        assert url.startswith(PUBLIC + "/"), url
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                self.base + url.removeprefix(PUBLIC),
                data=urlencode(fields).encode(),
                headers=self.signed(url, fields, token),
            ) as answer,
        ):
            return answer.status, await answer.text()

    def report(self, message: Resource, status: str, error: str = "") -> tuple[str, dict[str, str]]:
        """URL and fields of a report on a message."""
        fields = {
            "AccountSid": ACCOUNT,
            "ApiVersion": "2010-04-01",
            "From": NUMBER,
            "MessageSid": message.sid,
            "MessageStatus": status,
            "SmsSid": message.sid,
            "SmsStatus": status,
            "To": message.to,
        }
        return _called(message.fields["StatusCallback"]), fields | ({"ErrorCode": error} if error else {})

    def text(self, sender: str, body: str, **more: str) -> tuple[str, dict[str, str]]:
        """URL and fields of a text that somebody sends to our number."""
        fields = {
            "AccountSid": ACCOUNT,
            "Body": body,
            "From": sender,
            "MessageSid": "SM" + "f" * 32,
            "NumMedia": "0",
            "NumSegments": "1",
            "SmsStatus": "received",
            "To": NUMBER,
        }
        return f"{PUBLIC}/callbacks/sms/main", fields | more

    def press(self, call: Resource, digits: str) -> tuple[str, dict[str, str]]:
        """URL and fields of a key that was pressed in a call."""
        gather = call.gather
        assert (gather["numDigits"], gather["method"]) == ("1", "POST")
        return _called(gather["action"]), _of_call(call, "in-progress") | {"Digits": digits, "msg": "Gather End"}

    def end(self, call: Resource, status: str) -> tuple[str, dict[str, str]]:
        """URL and fields of a call's one report."""
        assert status in _CALL_ENDS
        return _called(call.fields["StatusCallback"]), _of_call(call, status) | {
            "CallbackSource": "call-progress-events"
        }


def _called(url: str) -> str:
    """Where it really posts to, and what it signs: the fragment only says how often to try."""
    bare, _, fragment = url.partition("#")
    overrides = dict(one.split("=") for one in fragment.split("&") if one)
    assert set(overrides) <= {"ct", "rt", "tt", "rc", "rp", "sni", "e"}, fragment
    return bare


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def _check_message(fields: dict[str, str], opted_out: set[str]) -> None:
    if not fields.get("Body"):
        raise Refused(400, 21602, "Message body is required.")
    if len(fields["Body"]) > 1600:
        raise Refused(400, 21617, "The concatenated message body exceeds the 1600 character limit")
    if not (fields.get("From") or fields.get("MessagingServiceSid")):
        raise Refused(400, 21603, "A 'From' phone number is required.")
    if fields["To"] in opted_out:
        raise Refused(400, 21610, "Attempt to send to unsubscribed recipient")


def _check_call(fields: dict[str, str], _: set[str]) -> None:
    if not _E164.fullmatch(fields.get("From", "")):
        raise Refused(400, 21213, "The From phone number is required to be a valid number")
    twiml = fields.get("Twiml", "")
    if not twiml:
        raise Refused(400, 21205, "Url parameter is required.")
    if len(twiml) > 4000:
        raise Refused(400, 32018, "Twiml size exceeded maximum allowed value of 4000 characters")
    check_twiml(twiml)
    if not 1 <= int(fields.get("Timeout", "60")) <= 600:
        raise Refused(400, 20001, "Timeout is out of range")


def check_twiml(text: str) -> ET.Element:
    """A document that Twilio can carry out."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - of our own making
    except ET.ParseError as error:
        raise Refused(400, 12100, f"Document parse failure: {error}") from None
    assert root.tag == "Response"
    assert {one.tag for one in root.iter()} <= _VERBS, text
    return root


def _of_call(call: Resource, status: str) -> dict[str, str]:
    return {
        "AccountSid": ACCOUNT,
        "CallSid": call.sid,
        "CallStatus": status,
        "Called": call.to,
        "Caller": NUMBER,
        "Direction": "outbound-api",
        "From": NUMBER,
        "To": call.to,
    }
