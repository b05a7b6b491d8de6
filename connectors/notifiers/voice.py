"""Telephone calls through Twilio: a voice says what happened, and a key answers.

The one law: a key speaks for the number that was called, and for the message that the call's own URL names. What is
said goes with the request, so nothing about a call is kept here.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import ClassVar, Final
from urllib.parse import urlencode

from connectors import twilio
from connectors.base import Callback, ConnectorError, Heard, Reply, Told
from connectors.net import Sleep
from rules.model import Message, Purpose

TWIML_CHARS_MAX: Final = 4_000  # of the parameter Twiml
SPOKEN_CHARS_MAX: Final = 600  # about a minute
KEYS: Final = {"1": "acknowledge", "2": "escalate"}
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_VOICES: Final = {  # attributes of Say; a voice is named only where the default one may not speak the language
    "en": {"language": "en-US"},
    "ar": {"language": "arb", "voice": "Polly.Zeina"},
    "zh": {"language": "cmn-CN", "voice": "Polly.Zhiyu"},
}
_TICKET: Final = {"en": "ticket", "ar": "التذكرة", "zh": "工单"}
_HELLO: Final = {"en": "This is ticketd.", "ar": "معك تيكت دي.", "zh": "这里是 ticketd。"}
_PRESS: Final = {
    "en": {"acknowledge": "Press 1 to acknowledge.", "escalate": "Press 2 to escalate."},
    "ar": {"acknowledge": "اضغط 1 لتأكيد الاستلام.", "escalate": "اضغط 2 للتصعيد."},
    "zh": {"acknowledge": "按 1 确认。", "escalate": "按 2 升级。"},
}
_NO_KEY: Final = {
    "en": "That key has no meaning here.",
    "ar": "هذا الزر لا معنى له هنا.",
    "zh": "该按键无效。",
}
_FAILED: Final = {
    "busy": "the line was busy",
    "no-answer": "nobody picked up",
    "failed": "the call could not be made",
    "canceled": "the call was cancelled",
}


class Connector:
    """The notifier `voice`; an address is a telephone number."""

    Options = twilio.Options
    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "twilio"

    def __init__(self, options: twilio.Options, *, sleep: Sleep = asyncio.sleep) -> None:
        """`sleep` waits between attempts at connecting."""
        self._options = options
        self._account = twilio.Account(options, sleep)

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Why this is no telephone number, or None."""
        return twilio.number_problem(address)

    async def send(self, message: Message) -> str:
        """Has Twilio call; the reference is the call's SID. That somebody picks up is told later."""
        sender = self._options.sender
        if sender is None or not _NUMBER.fullmatch(sender):
            raise ConnectorError("[twilio] from must be a telephone number: calls need one", permanent=True)
        fields = {
            "To": message.address,
            "From": sender,
            "Twiml": twiml(message),
            "Timeout": str(self._options.ring_s),
        }
        if message.token and twilio.reachable(message.callback):
            fields["StatusCallback"] = f"{message.callback}voice/main?token={message.token}{twilio.RETRIES}"
        return await self._account.create("Calls", fields, message.at)

    def hear(self, name: str, call: Callback) -> Sequence[Heard | Told]:  # noqa: ARG002 - there is one account
        """A key that was pressed, or how the call ended."""
        form, token = self._account.form(call), call.query.get("token", "")
        if not token:
            return ()
        if "Digits" in form:
            action = _offered(call).get(form["Digits"])
            return () if action is None else (Heard(token, action, address=form.get("To", ""), proven=True),)
        status = form.get("CallStatus", "")
        if status == "completed":  # somebody picked up, or a machine did: what that means, the key says
            return (Told(token, "delivered"),)
        return (Told(token, "failed", _FAILED[status]),) if status in _FAILED else ()

    async def answered(self, name: str, call: Callback, said: Sequence[str]) -> Reply:  # noqa: ARG002 - as above
        """What the voice says next: the sentences, or, after a key that means nothing, the keys again."""
        form, language = self._account.form(call), _language(call.query.get("language", ""))
        if "Digits" not in form:
            return twilio.reply()
        if sentences := [one for one in said if one]:
            return twilio.reply(_say(" ".join(sentences), "en"), twilio.element("Hangup"))  # they are English
        offered = _offered(call)
        if form["Digits"] in offered:  # whoever may not answer learns nothing
            return twilio.reply(twilio.element("Hangup"))
        return twilio.reply(
            _gather(call.url, " ".join([_NO_KEY[language], *_pressing(offered, language)]), language, 1)
        )

    async def close(self) -> None:
        """Ends the client."""
        await self._account.close()


# ---------------------------------------------------------------- what is said
def twiml(message: Message) -> str:
    """The call as TwiML, 4,000 characters at most: what happened and which key does what, twice."""
    language = _language(message.language)
    keys = {key: action for key, action in KEYS.items() if action in message.actions}
    asked = message.purpose is Purpose.PAGE and bool(keys and message.token) and twilio.reachable(message.callback)
    query = urlencode({"token": message.token, "language": language, "keys": "".join(keys)})
    url = f"{message.callback}voice/main?{query}"
    lead, pressing = spoken(message, language), _pressing(keys, language) if asked else []
    for room in range(SPOKEN_CHARS_MAX, -1, -50):
        said = " ".join([_HELLO[language], _cut(lead, room), *pressing])
        whole = twilio.document(_gather(url, said, language, 2) if asked else _say(said, language, 2))
        if len(whole) <= TWIML_CHARS_MAX:
            return whole
    raise ConnectorError("[external_url] is too long for a call's keys to lead to it", permanent=True)


def spoken(message: Message, language: str) -> str:
    """A page's subject, else a notice's first paragraph, without what a voice would stumble over."""
    text = twilio.gist(message).replace("\n", ". ")
    text = re.sub(r"\bT-([0-9]+)", rf"{_TICKET[language]} \1,", text)
    return re.sub(r"\s+", " ", re.sub(r"[\[\]<>{}|\\\u2066-\u2069\u200e\u200f]+", " ", text)).strip()


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[:room].rstrip()}."


def _pressing(keys: dict[str, str], language: str) -> list[str]:
    return [_PRESS[language][action] for action in keys.values()]


def _say(said: str, language: str, times: int = 1) -> str:
    return twilio.element("Say", twilio.clean(said), **_VOICES[language], loop=str(times))


def _gather(url: str, said: str, language: str, times: int) -> str:
    return twilio.element(
        "Gather", _say(said, language, times), numDigits="1", timeout="10", method="POST", action=url + twilio.RETRIES
    )


def _language(wanted: str) -> str:
    short = wanted.partition("-")[0]
    return short if short in _VOICES else "en"


def _offered(call: Callback) -> dict[str, str]:
    """The keys that the call named, by its own URL."""
    named = call.query.get("keys", "")
    return {key: action for key, action in KEYS.items() if key in named}
