"""What the kinds that go through Twilio share: the account, the request, the signature, and the answer in TwiML.

The one law: nothing is learnt from a callback whose X-Twilio-Signature is not the account's. Twilio knows no
idempotency key for messages and calls: a request that it was handed and did not answer has an unknown outcome. Of a
text it can be asked later, since its code is its own.
"""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final, Self
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from connectors import net
from connectors.base import Callback, ConnectorError, NotGenuineError, OutcomeUnknownError, Reply
from rules.instants import Instant
from rules.model import Message, Purpose

FIELDS_MAX: Final = 200  # of a callback; Twilio sends some thirty
AGAIN_CODES: Final = frozenset({14107, 20429, 21611})  # too fast, or the sender's queue is full: all pass
RETRIES: Final = (
    "#rc=3&rp=all"  # behind a callback's URL: Twilio comes again when we are away; it is not sent or signed
)
RECENT: Final = 50  # texts to one number that are looked through for one of ours
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_SENDER: Final = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|[A-Za-z0-9 ]{1,11}", re.ASCII)
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PORTS: Final = {"https": 443, "http": 80}


class Options(BaseModel):
    """One account at Twilio, for text messages and calls alike."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$", description="The account, as the console shows it")
    auth_token: SecretStr = Field(
        description="The account's Auth Token: callbacks are checked with it, and without an api_key requests are made"
        " with it. While it is being changed: both, one a line, the new one first"
    )
    api_key: SecretStr | None = Field(None, description="SID of an API key to make requests with instead")
    api_secret: SecretStr | None = Field(None, description="That key's secret")
    sender: str | None = Field(
        None, alias="from", description="The number that messages and calls come from, such as +218910000000"
    )
    messaging_service_sid: str | None = Field(
        None,
        pattern=r"^MG[0-9a-fA-F]{32}$",
        description="A messaging service to send text messages by, instead of from",
    )
    api_url: str = Field("https://api.twilio.com", description="Where the API is; another one for other regions")
    ring_s: int = Field(30, ge=5, le=600, description="Seconds that a telephone rings before it counts as not answered")
    timeout_s: float = Field(15.0, gt=0, le=50, description="Seconds for one request, connecting included")

    @field_validator("auth_token")
    @classmethod
    def _has_tokens(cls, token: SecretStr) -> SecretStr:
        if not _lines(token):
            raise ValueError("is empty: callbacks could not be checked")
        return token

    @field_validator("sender")
    @classmethod
    def _is_sender(cls, sender: str | None) -> str | None:
        if sender is not None and not _SENDER.fullmatch(sender):
            raise ValueError("must be a number such as +218910000000, a short code, or a name of 11 letters at most")
        return sender

    @field_validator("api_url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        return net.place(url)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.api_key is None) != (self.api_secret is None):
            raise ValueError("api_key and api_secret (or api_secret_file) go together")
        if self.sender is None and self.messaging_service_sid is None:
            raise ValueError("give from, or messaging_service_sid: a message needs a sender")
        return self


def _lines(secret: SecretStr) -> list[str]:
    return [line.strip() for line in secret.get_secret_value().splitlines() if line.strip()]


def number_problem(address: str) -> str | None:
    """Why this is no telephone number as E.164 has it, or None."""
    if _NUMBER.fullmatch(address):
        return None
    return "must be a telephone number such as +218910000000: a plus, the country's code and the rest, digits only"


def reachable(callback: str) -> bool:
    """Whether Twilio may be given this URL: it refuses a callback that can only be the machine itself."""
    host = urlsplit(callback).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." in host


def gist(message: Message) -> str:
    """What a channel of few words says: a page's subject, a notice's first paragraph, the heads of several."""
    if message.others:
        heads = [block.strip().partition("\n")[0] for block in re.split(r"\n\s*\n", message.text)]
        return "\n".join(head for head in heads if re.search(r"\w", head)) or message.subject
    if message.purpose is Purpose.PAGE or not message.text:
        return message.subject
    return message.text.partition("\n\n")[0]


class Account:
    """Requests to the account, and callbacks from it."""

    def __init__(self, options: Options, sleep: net.Sleep) -> None:
        """`sleep` waits between attempts at connecting."""
        self.options = options
        self._client = net.Client(sleep)
        self._tokens = _lines(options.auth_token)

    async def create(self, resource: str, fields: Mapping[str, str], at: Instant) -> str:
        """POSTs a new Messages or Calls resource; its SID. Raises as `Notifier.send` does."""
        options = self.options
        url = f"{options.api_url}/2010-04-01/Accounts/{options.account_sid}/{resource}.json"
        headers = {"Authorization": self._proof(), "Content-Type": "application/x-www-form-urlencoded"}
        response = await self._client.request(
            "POST",
            url,
            timeout_s=options.timeout_s,
            headers=headers,
            data=urlencode(fields, errors="replace").encode("ascii"),
        )
        if not 200 <= response.status < 300:  # noqa: PLR2004 - the class of success
            raise self._refusal(response, at)
        sid = _object(response.body).get("sid")
        return sid if isinstance(sid, str) else ""

    async def recent(self, number: str, at: Instant) -> list[dict[str, Any]]:
        """The latest texts to this number, as the API shows them. Raises ConnectorError, whatever the reason."""
        options = self.options
        query = urlencode({"To": number, "PageSize": RECENT})
        url = f"{options.api_url}/2010-04-01/Accounts/{options.account_sid}/Messages.json?{query}"
        try:
            response = await self._client.request(
                "GET", url, timeout_s=options.timeout_s / 4, headers={"Authorization": self._proof()}
            )
        except OutcomeUnknownError as error:
            raise ConnectorError(error.reason, permanent=False) from None
        if response.status != 200:  # noqa: PLR2004 - that of an answer to a question
            raise self._refusal(response, at)
        found = _object(response.body).get("messages")
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def _refusal(self, response: net.Response, at: Instant) -> ConnectorError:
        """Codes are shown and hardly judged: Twilio splits and renames them, the status says what to do."""
        said = _object(response.body)
        code, text = said.get("code"), self._plain(said.get("message", ""))
        reason = f"Twilio answered {response.status}" + (f", error {code}" if isinstance(code, int) else "")
        if text:
            reason += f": {text}"
        if code in AGAIN_CODES or response.status in net.AGAIN or response.status >= 500:  # noqa: PLR2004 - their trouble
            return ConnectorError(reason, permanent=False, after=net.retry_after(response.headers, at))
        return ConnectorError(reason, permanent=True)

    def _proof(self) -> str:
        options = self.options
        if options.api_key is not None and options.api_secret is not None:
            name, secret = options.api_key.get_secret_value().strip(), options.api_secret.get_secret_value().strip()
        else:
            name, secret = options.account_sid, self._tokens[0]
        return f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"

    def _plain(self, said: object) -> str:
        text = str(said)
        options = self.options
        known = [one.get_secret_value().strip() for one in (options.api_key, options.api_secret) if one is not None]
        for secret in filter(None, [*self._tokens, *known]):
            text = text.replace(secret, "***")
        return net.plain(text)

    def form(self, call: Callback) -> dict[str, str]:
        """The fields of a genuine callback; of a repeated one the last counts. Raises NotGenuineError."""
        given = call.headers.get("x-twilio-signature", "").encode(errors="replace")
        pairs: list[tuple[str, str]] = []
        hashed = call.query.get("bodySHA256")
        if hashed is not None and not _is_form(call):
            if not hmac.compare_digest(hashlib.sha256(call.body).hexdigest().encode(), hashed.lower().encode()):
                raise NotGenuineError("the body is not the one whose hash is in the URL")
        else:
            pairs = _pairs(call.body)
        wanted = [signature(token, url, pairs).encode() for token in self._tokens for url in _spellings(call.url)]
        if not any([hmac.compare_digest(given, one) for one in wanted]):  # noqa: C419 - each is compared, in equal time
            raise NotGenuineError("X-Twilio-Signature is missing" if not given else "X-Twilio-Signature is not ours")
        return dict(pairs)

    async def close(self) -> None:
        """Ends the client."""
        await self._client.close()


def signature(token: str, url: str, pairs: Sequence[tuple[str, str]]) -> str:
    """What Twilio puts into X-Twilio-Signature: the URL and the sorted fields, without anything between them."""
    signed = url + "".join(f"{name}{value}" for name, value in sorted(set(pairs)))
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(errors="replace"), hashlib.sha1)).decode()


def _spellings(url: str) -> Iterator[str]:
    """The URL as it came, and with the scheme's own port left out or named: which of them is signed has changed."""
    yield url
    parts = urlsplit(url)
    port = _PORTS.get(parts.scheme)
    bare = parts.netloc.removesuffix(f":{port}")
    for netloc in (bare, f"{bare}:{port}"):
        if netloc != parts.netloc and not re.search(r":[0-9]+:[0-9]+$", netloc):
            yield _with_netloc(parts, netloc)


def _with_netloc(parts: SplitResult, netloc: str) -> str:
    return parts._replace(netloc=netloc).geturl()


def _is_form(call: Callback) -> bool:
    return call.headers.get("content-type", "").partition(";")[0].strip() == "application/x-www-form-urlencoded"


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="replace")
    except ValueError:
        raise NotGenuineError("the body is no form, so its signature cannot be checked") from None


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object of an answer; {} where it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


# ---------------------------------------------------------------- TwiML
def element(name: str, inner: str = "", **attributes: str) -> str:
    """An element around what is TwiML already."""
    said = "".join(f' {key}="{clean(value)}"' for key, value in attributes.items())
    return f"<{name}{said}>{inner}</{name}>" if inner else f"<{name}{said}/>"


def clean(text: str) -> str:
    """Text as it may stand in an element or in an attribute: escaped, without what XML cannot hold."""
    return escape(_NO_XML.sub(" ", text))


def document(*elements: str) -> str:
    """A whole answer."""
    return f"<Response>{''.join(elements)}</Response>"


def reply(*elements: str) -> Reply:
    """The same as what Twilio is answered."""
    return Reply(body=document(*elements).encode(), content_type="text/xml; charset=utf-8")
