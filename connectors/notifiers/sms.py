"""Text messages through Twilio, their delivery reports, and the answers that people type.

The one law: an answer counts only with the code of the message that it answers, and speaks for the number that it came
from, which the network vouches for. A text that has no code changes nothing.
"""

import asyncio
import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar, Final

from connectors import replytext, twilio
from connectors.base import Callback, ConnectorError, Heard, Reply, Told
from connectors.net import Sleep
from rules.instants import MINUTE, Instant, Span
from rules.model import Message, Purpose

SEGMENTS_MAX: Final = 3  # each is charged; a longer text is cut
CODE_CHARS: Final = 10  # of the token after its ticket: the key's id and 30 bits
HINT_EVERY: Final[Span] = 10 * MINUTE  # to one number, so that two machines never talk to each other for long
HINTS_KEPT_MAX: Final = 1_000

_GSM: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE: Final = frozenset("^{}\\[~]|€\f")  # each takes the room of two
_DASHES: Final = re.compile("[\u2010-\u2015\u2212\u0640]")  # what telephones make of a hyphen
_CODE: Final = re.compile(r"(?<![\w-])([1-9]\d{0,18})-([0-9a-f]{4}[a-z2-7]{6,26})(?![\w-])", re.IGNORECASE | re.ASCII)
_OPT_OUT: Final = frozenset(  # words that Twilio itself answers
    {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "start", "yes", "unstop", "help", "info"}
)
_HINTS: Final = {  # after a page: how to answer it
    "en": "Reply {word} {code}",
    "ar": "للرد أرسل: {word} {code}",
    "zh": "回复 {word} {code}",
}
_HOWTO: Final = {  # after a text without a code
    "en": "Nothing was done: your text names no message. Reply ACK and the code from the message, such as "
    "ACK 1042-3f2akq7w12.",
    "ar": "لم يُنفَّذ شيء: لا يوجد رمز في رسالتك. أرسل ACK ثم الرمز الوارد في الرسالة، مثل ACK 1042-3f2akq7w12",
    "zh": "未执行任何操作。短信中没有代码。请回复 ACK 和消息中的代码。例如 ACK 1042-3f2akq7w12",
}
_REPORTS: Final = {
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "failed",
    "failed": "failed",
    "canceled": "failed",
}
_ERRORS: Final = {  # the commonest of a carrier, in words
    "30003": "the telephone could not be reached",
    "30004": "the telephone or its network blocks the message",
    "30005": "nobody has this number",
    "30006": "this number takes no text messages",
    "30007": "the network took it for unwanted",
    "30008": "the network gives no reason",
}


class Connector:
    """The notifier `sms`; an address is a telephone number."""

    Options = twilio.Options
    multiple: ClassVar[bool] = False
    section: ClassVar[str] = "twilio"

    def __init__(self, options: twilio.Options, *, sleep: Sleep = asyncio.sleep) -> None:
        """`sleep` waits between attempts at connecting."""
        self._options = options
        self._account = twilio.Account(options, sleep)
        self._hinted: dict[str, Instant] = {}  # when a number was last told how to answer

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Why this is no telephone number, or None."""
        return twilio.number_problem(address)

    async def send(self, message: Message) -> str:
        """Hands the text to Twilio; the reference is the message's SID.

        Whether a text whose answer was lost is there all the same, Twilio is asked before it is sent again.
        """
        options = self._options
        if message.possible_repeat and (sid := await self._sent_before(message)):
            return sid
        fields = {"To": message.address, "Body": text(message, answerable=_takes_answers(options))}
        if options.messaging_service_sid is not None:
            fields["MessagingServiceSid"] = options.messaging_service_sid
        if options.sender is not None:
            fields["From"] = options.sender
        if message.token and twilio.reachable(message.callback):
            fields["StatusCallback"] = f"{message.callback}sms/main?token={message.token}{twilio.RETRIES}"
        return await self._account.create("Messages", fields, message.at)

    async def _sent_before(self, message: Message) -> str:
        """The SID of this very delivery's text, unless it failed; "" where none is found or the question fails."""
        code = code_of(message.token) if message.token else ""
        try:
            texts = await self._account.recent(message.address, message.at) if code else []
        except ConnectorError:  # then it is sent again: twice is better than never
            return ""
        found = (
            one for one in texts if code in str(one.get("body")) and _REPORTS.get(str(one.get("status"))) != "failed"
        )
        return str(next(found, {}).get("sid", ""))

    def hear(self, name: str, call: Callback) -> Sequence[Heard | Told]:  # noqa: ARG002 - there is one account
        """What became of a message, or what somebody texts."""
        form = self._account.form(call)
        if "MessageStatus" in form:
            return _told(call.query.get("token", ""), form)
        found = _answer(form.get("Body", ""))
        if found is None:
            return ()
        token, action, note = found
        return (Heard(token, action, note, form.get("From", ""), proven=True),)

    async def answered(self, name: str, call: Callback, said: Sequence[str]) -> Reply:  # noqa: ARG002 - as above
        """A text back to the person: the sentences, or how to answer. A delivery report is answered by nothing."""
        form = self._account.form(call)
        body = form.get("Body", "")
        if "MessageStatus" in form or "Body" not in form or "OptOutType" in form:
            return twilio.reply()
        sentences = [one for one in said if one]
        if not sentences and _answer(body) is None and body.strip().casefold() not in _OPT_OUT:
            sentences = self._hint(form.get("From", ""), body, call.received_at)
        if not sentences:
            return twilio.reply()
        return twilio.reply(twilio.element("Message", twilio.clean(shortened("\n".join(sentences)))))

    async def close(self) -> None:
        """Ends the client."""
        await self._account.close()

    def _hint(self, number: str, body: str, at: Instant) -> list[str]:
        last = self._hinted.pop(number, None)
        if last is not None and 0 <= at - last < HINT_EVERY:
            self._hinted[number] = last
            return []
        self._hinted[number] = at
        if len(self._hinted) > HINTS_KEPT_MAX:
            del self._hinted[next(iter(self._hinted))]
        return [_HOWTO[_script(body)]]


def _takes_answers(options: twilio.Options) -> bool:
    """A name as the sender cannot be replied to."""
    return options.messaging_service_sid is not None or not re.search("[A-Za-z]", options.sender or "")


# ---------------------------------------------------------------- what is sent
def text(message: Message, *, answerable: bool = True) -> str:
    """The whole text: what a page is about and how to answer it; of a notice its first paragraph."""
    lead = twilio.gist(message)
    if message.possible_repeat and (message.others or message.purpose is Purpose.PAGE):  # others say so in words
        lead = f"(2?) {lead}"
    words = {"acknowledge": "ACK", "resolve": "RESOLVE", "escalate": "ESCALATE"}
    word = next((words[action] for action in message.actions if action in words), "")
    if not (answerable and message.token and word):
        return shortened(lead)
    hint = _HINTS.get(message.language.partition("-")[0], _HINTS["en"])
    return shortened(lead, "\n" + hint.format(word=word, code=code_of(message.token)))


def code_of(token: str) -> str:
    """What people type instead of a whole token."""
    ticket, _, proof = token.partition("-")
    return f"{ticket}-{proof[:CODE_CHARS]}"


def segments(said: str) -> int:
    """How many messages a text takes on the air, as GSM 03.38 packs it: 160 or 153 septets, 70 or 67 UTF-16 units."""
    if all(one in _GSM or one in _GSM_TWICE for one in said):
        size, alone, each = sum(1 + (one in _GSM_TWICE) for one in said), 160, 152
    else:
        size, alone, each = len(said.encode("utf-16-le", "replace")) // 2, 70, 66
    return 1 if size <= alone else -(-size // each)  # one less than fits: a pair of units is never split


def shortened(lead: str, end: str = "") -> str:
    """The lead and the end, in SEGMENTS_MAX segments: of the lead so much as fits."""
    lead = "".join(one if one == "\n" or one.isprintable() else " " for one in lead).strip()
    if segments(lead + end) <= SEGMENTS_MAX:
        return lead + end
    low, high = 0, len(lead)
    while low < high:
        middle = (low + high + 1) // 2
        if segments(f"{lead[:middle]}...{end}") <= SEGMENTS_MAX:
            low = middle
        else:
            high = middle - 1
    return f"{lead[:low].rstrip()}...{end}"


# ---------------------------------------------------------------- what comes back
def _told(token: str, form: dict[str, str]) -> tuple[Told, ...]:
    """Only what is final: queued and sent say nothing, in whatever order and however often they come."""
    status = form["MessageStatus"]
    outcome = _REPORTS.get(status)
    if outcome is None or not token:
        return ()
    if outcome == "delivered":
        return (Told(token, outcome),)
    code = form.get("ErrorCode", "")
    reason = f"{status}, error {code}" if code.isdigit() else status
    return (Told(token, outcome, f"{reason}: {_ERRORS[code]}" if code in _ERRORS else reason),)


def _answer(body: str) -> tuple[str, str, str] | None:
    """Code, action and note of a text; None where it names no code.

    A word counts where it stands alone before the code, or alone after it. Anything else is a comment: "it was not
    resolved 1042-…" must not resolve.
    """
    typed = _DASHES.sub("-", unicodedata.normalize("NFKC", body))
    typed = "".join(str(unicodedata.decimal(one, one)) if one.isdecimal() else one for one in typed)
    found = _CODE.search(typed)
    if found is None:
        return None
    token = found[0].lower()
    before, after = typed[: found.start()].strip(), typed[found.end() :].strip()
    if action := _alone(before):
        return token, action, after
    if not before and (action := _alone(after)):
        return token, action, ""
    return token, "comment", " ".join(part for part in (before, after) if part)


def _alone(typed: str) -> str:
    """The action that these words are and nothing else, as a reply by mail would name it; "" where they are none."""
    said = replytext.said(typed)
    return said.action if said is not None and not said.note else ""


def _script(body: str) -> str:
    """The language to tell a stranger in: by the letters that they write."""
    for one in body:
        name = unicodedata.name(one, "")
        if name.startswith("ARABIC"):
            return "ar"
        if name.startswith("CJK"):
            return "zh"
    return "en"
