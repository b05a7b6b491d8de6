"""What a source and a notifier are: the protocols and their errors.

The one law: a kind is one file in `sources/`, `notifiers/`, `probes/` or `discoveries/`, named after the kind, holding
one class `Connector` whose `Options` (a pydantic model) are its settings, their defaults, their documentation and their
validation. Nothing else lists the kinds: `connectors.kinds` finds them. A file whose name begins with an underscore is
no kind.

Options forbid unknown keys and never show their input in an error. A secret is a field of type `SecretStr`; for a
field `NAME` of that type the configuration also takes `NAME_file`, reads that file and hands over its text, so that
a connector never opens one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol
from urllib.parse import parse_qsl, quote, unquote

from rules.events import AlertsReceived, SamplesReceived
from rules.model import Noun

if TYPE_CHECKING:
    from pydantic import BaseModel

    from rules.instants import Instant, Span
    from rules.model import Alert, Message, Sample

QUERY_MAX: Final = 100  # parameters of a query

_PARAMETER: Final = re.compile(r"{\w+}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*")  # what percent-encoding leaves as it is
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9_.~=:-]*")  # the same in a query's value


class ConnectorError(Exception):
    """The outside said no, or not now. `permanent`: trying again is pointless. `after`: the other side's wish, µs."""

    def __init__(self, reason: str, *, permanent: bool, after: Span | None = None) -> None:
        """`reason` is one sentence for people, without secrets."""
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.after = after


class OutcomeUnknownError(Exception):
    """The message may have been taken: the answer was lost after it was handed over."""

    def __init__(self, reason: str) -> None:
        """`reason` is one sentence for people, without secrets."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a body, or one alert or sample of it, is refused: the field's path (`alerts[3].labels.foo`) and a reason.

    `word`: the same for the metric, of a closed list; "" where the kind has none. `count`: how many are refused.
    """

    path: str
    reason: str
    word: str = ""
    count: int = 1


class RefusedBodyError(Exception):
    """Nothing of the body can be taken: the sender gets 400 with these problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """At least one problem."""
        super().__init__("; ".join(f"{one.path}: {one.reason}" if one.path else one.reason for one in problems[:5]))
        self.problems = tuple(problems)


class UnknownCallError(Exception):
    """The path's last part means nothing to its source: the sender gets 404 with this reason."""

    def __init__(self, reason: str) -> None:
        """`reason` is one sentence that names what there is."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Call:
    """What a request says beside its body: the values of its path's {parameters}, in order, and its query.

    As text, `backup/fail?label=host=db1`, it stands in the journal behind the source's kind; `of` reads it back.
    """

    path: tuple[str, ...] = ()
    query: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Percent-encoded, so that no value can look like two."""
        path = "/".join(_quoted(one, "") for one in self.path)
        query = "&".join(f"{_quoted(name, '')}={_quoted(value, '=:')}" for name, value in self.query)
        return f"{path}?{query}" if query else path

    @classmethod
    def of(cls, text: str) -> Call:
        """The call that reads so. Raises ValueError for a query of more than QUERY_MAX parameters."""
        path, _, query = text.partition("?")
        return cls(
            tuple(unquote(one) for one in path.split("/")) if path else (),
            tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_MAX)) if query else (),
        )


def _quoted(text: str, safe: str) -> str:
    plain = _PLAIN_VALUE if safe else _PLAIN
    return text if plain.fullmatch(text) else quote(text, safe=safe, errors="replace")


NO_CALL: Final = Call()  # of a source whose path has no parameters


class Parsed(Noun, frozen=True):
    """What a source made of a body: one event, and the alerts or samples that it refused by name."""

    event: AlertsReceived | SamplesReceived
    refused: tuple[Problem, ...] = ()

    @property
    def taken(self) -> tuple[Alert, ...] | tuple[Sample, ...]:
        """The alerts or samples of the event."""
        event = self.event
        return event.alerts if type(event) is AlertsReceived else event.samples  # type: ignore[union-attr]


class ParsedAlerts(Parsed, frozen=True):
    """Of a source that brings alerts and nothing else."""

    event: AlertsReceived


class Source(Protocol):
    """Turns a vendor's bytes into one event. No other file knows the vendor's format. Pure: no I/O.

    An option that bears the name of one of `[limits]` takes that one's value.
    """

    Options: ClassVar[type[BaseModel]]
    path: ClassVar[str]  # where it is served, such as "/webhooks/alertmanager"; it may hold {parameters}
    more_paths: ClassVar[tuple[str, ...]] = ()  # where it is served too; with parameters beyond those of `path`
    methods: ClassVar[tuple[str, ...]] = ("POST",)
    keyed: ClassVar[bool] = False  # whether a sender's key may stand in the path, before its first parameter
    summary: ClassVar[str] = "Alerts"  # what it brings, for the API's description
    schema: ClassVar[Mapping[str, Any]] = {}  # of a body, as JSON Schema; {}: its format is its vendor's to describe
    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # the same of each parameter of the paths and of the query
    example: ClassVar[bytes]  # a body that it takes; the contract test feeds and mutates it
    example_call: ClassVar[Call] = NO_CALL  # the call that brings it

    def __init__(self, options: Any) -> None: ...

    def parse(self, body: bytes, *, sender: str, received_at: Instant, call: Call = NO_CALL) -> Parsed:
        """Raises RefusedBodyError when nothing can be taken, UnknownCallError when the path means nothing.

        `call` is given only where `path` has parameters. The same four values give the same outcome at any time: what
        is in the journal is parsed again.
        """
        ...


class Notifier(Protocol):
    """Sends one message to one address, once; short retries only where nothing can have been taken yet.

    One instance serves the whole daemon, many messages at a time. `multiple` False: the table `[section]` holds one set
    of Options, the constructor takes it, and an address is the kind's own (`amina@example.test`). `multiple` True: each
    table `[section.NAME]` holds a set, the constructor takes a mapping of NAME to Options, and an address is a NAME.
    """

    Options: ClassVar[type[BaseModel]]  # one set of settings in config.toml
    multiple: ClassVar[bool]
    section: ClassVar[str]  # the table of config.toml: "smtp", "webhooks"

    def __init__(self, options: Any) -> None: ...

    @staticmethod
    def address_problem(address: str) -> str | None:
        """Why this cannot be an address of this kind, or None."""
        ...

    async def send(self, message: Message) -> str:
        """Hands the message over and returns the provider's reference ("" if it has none).

        Raises ConnectorError (not taken; permanent or not) or OutcomeUnknownError (perhaps taken), within the option
        `timeout_s`, 50 at most: the outbox counts an attempt as lost a minute after it began. Cancelled, it leaves no
        connection behind, and whether the message was taken is unknown.
        """
        ...

    async def close(self) -> None:
        """Releases what it holds."""
        ...


class Callback(Noun, frozen=True):
    """A request that a channel's provider makes of us: `POST /callbacks/{kind}/{name}`."""

    url: str  # as the provider called it, with the query: what some of them sign
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    received_at: Instant

    @property
    def query(self) -> dict[str, str]:
        """The URL's parameters; of a repeated one the last counts."""
        return dict(parse_qsl(self.url.partition("?")[2], keep_blank_values=True, max_num_fields=QUERY_MAX))


class Heard(Noun, frozen=True):
    """Somebody's answer to a message, in words of ours. Who that is and whether they may is judged by the daemon."""

    token: str  # of the message that is answered; the beginning of one will do where people type it; "": none came
    action: str = "comment"  # a word of `rules.tickets.lifecycle.ACTIONS`
    note: str = ""
    address: str = ""  # who speaks, written as in `reach`; "": whoever the message was sent to
    proven: bool = False  # whether the channel vouches for `address` (a From header proves nothing)
    automatic: bool = False  # a machine's reply, such as an absence note: it never answers anything


class Told(Noun, frozen=True):
    """What the provider says of a message that it had taken. `outcome`: delivered, failed (for good)."""

    token: str
    outcome: str
    reason: str = ""


class Reply(Noun, frozen=True):
    """What the provider gets as its answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


class NotGenuineError(Exception):
    """The callback is not signed as its provider signs, or too old: 403, and nothing is learnt from it."""

    def __init__(self, reason: str) -> None:
        """`reason` is one sentence for the log, without secrets."""
        super().__init__(reason)
        self.reason = reason


class Listener(Protocol):
    """What a notifier has beside `send` where its channel brings answers back. A class with `hear` is one."""

    def hear(self, name: str, call: Callback) -> Sequence[Heard | Told]:
        """What a genuine callback says; several at once, or nothing that concerns us.

        `name`: the last part of the path: NAME of `[section.NAME]`, or "main" for a kind with one section. Raises
        NotGenuineError, or RefusedBodyError for a genuine one that cannot be read.
        """
        ...

    async def answered(self, name: str, call: Callback, said: Sequence[str]) -> Reply:
        """The answer to the provider, who shows it to the person: a sentence for each of what was heard, in order."""
        ...


# ---------------------------------------------------------------- what is parsed, and parsed again
def options_of(kind: type[Source], limits: Mapping[str, object]) -> BaseModel:
    """A source's options where the limits are these; the others have their defaults."""
    return kind.Options(**{name: limits[name] for name in kind.Options.model_fields if name in limits})


def where(kind: type[Source], call: Call) -> str:
    """The path and the query by which a source is called so. Raises ValueError when no path of it has those parts."""
    for path in (kind.path, *kind.more_paths):
        parts = _PARAMETER.split(path)
        if len(parts) == len(call.path) + 1 and all(call.path):
            _, question, query = str(call).partition("?")
            filled = (f"{_quoted(value, '')}{after}" for value, after in zip(call.path, parts[1:], strict=True))
            return parts[0] + "".join(filled) + question + query
    raise ValueError(f"it is served at {' and '.join((kind.path, *kind.more_paths))}")


def journalled(name: str, call: Call) -> str:
    """What the journal calls the source of a body: its kind and, where it has one, its call."""
    return f"{name}:{call}" if call.path or call.query else name
