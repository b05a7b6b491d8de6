"""`redis`: a Redis server, or what speaks like one, that lets us in and answers a command, whose number is a field.

The one law: only commands that read are sent, and no more than 1 MiB of an answer is read.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Link, Reach
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing import rows
from connectors.probing.base import Probe
from rules.typed import OnOff, Shape, TextOf, WholeText
from rules.words import listed, meant, shown

PORT: Final = 6379
ANSWER_BYTES_MAX: Final = 1 << 20
WORDS_MAX: Final = 20
# Those that only read and answer at once; of some, only with such a second word.
READING: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(
        (
            "PING", "INFO", "DBSIZE", "LASTSAVE", "EXISTS", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "GET",
            "STRLEN", "GETBIT", "BITCOUNT", "HGET", "HLEN", "HSTRLEN", "HEXISTS", "LLEN", "LINDEX", "SCARD",
            "SISMEMBER", "ZCARD", "ZCOUNT", "ZLEXCOUNT", "ZSCORE", "ZRANK", "ZREVRANK", "XLEN", "PFCOUNT",
        ),
        frozenset[str](),
    ),
    "CLIENT": frozenset({"ID"}),
    "CLUSTER": frozenset({"INFO", "COUNTKEYSINSLOT", "KEYSLOT"}),
    "COMMAND": frozenset({"COUNT"}),
    "MEMORY": frozenset({"USAGE"}),
    "OBJECT": frozenset({"FREQ", "IDLETIME", "REFCOUNT"}),
    "PUBSUB": frozenset({"NUMPAT", "SHARDNUMSUB"}),
    "SLOWLOG": frozenset({"LEN"}),
}  # fmt: skip
_STATES: Final = {"ok": 1.0, "up": 1.0, "err": 0.0, "down": 0.0}  # as INFO tells of saves and of a replica's link
_PAIR: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=([^,]*)")
_LISTS: Final = frozenset({b"*", b"%", b"~", b">", b"|"})
_IDS: Final = re.compile(r"_sha1$|_id$|replid")  # in hexadecimal, which now and then looks like a number
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_]+")


def _word(text: str) -> str:
    if not text or len(text) > 1_000:  # noqa: PLR2004 - a key is far shorter
        raise ValueError("must have 1 to 1000 characters")
    return text


Word = Annotated[str, TextOf(_word)]


class Connector(Probe):
    """The probe `redis`."""

    class Options(Shape):
        """What is asked."""

        command: tuple[Word, ...] = Field(
            ("PING",),
            min_length=1,
            max_length=WORDS_MAX,
            description="a command that reads, word by word, such as [GET, queue:length] or [INFO, memory]: a number"
            " becomes the field `value`, the lines of INFO fields of their own",
        )
        fields: tuple[Word, ...] = Field(
            (), max_length=rows.FIELDS_MAX, description="those of INFO that are wanted, where it has too many"
        )
        database: WholeText | None = Field(None, description="the database's number")
        tls: OnOff = Field("off", description="whether TLS begins at once")
        verify: OnOff = Field("on", description="whether the certificate must be trusted and bear the name")
        server_name: Word | None = Field(
            None, description="the name that the certificate must bear; the target's host when left out"
        )

    summary: ClassVar[str] = "a Redis server, and the number that a command gives"
    target: ClassVar[str] = "HOST or HOST:PORT; port 6379 when left out"
    example: ClassVar[str] = "cache.example.test:6379"
    phases: ClassVar[Mapping[str, str]] = {
        "dns": "the name is resolved",
        "connect": "the connection comes about",
        "tls": "the TLS handshake",
        "login": "AUTH with the credentials, and SELECT of the database",
        "command": "the command",
    }
    fields: ClassVar[Mapping[str, str]] = {"value": "the number that the command gave"}
    open_fields: ClassVar[bool] = True
    proof: ClassVar[str] = "password, with or without username"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must have a host."""
        return host_port_problem(target, PORT)

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """A command must be one of those that read; fields are of INFO."""
        first, *others = options.command
        name = first.upper()
        if name not in READING:
            said = f"{shown(first)} is no command that only reads{meant(name, READING)}"
            return ("command", 0), f"{said}; there are {', '.join(sorted(READING))}"
        if READING[name] and (others[0].upper() if others else "") not in READING[name]:
            said = f"of {name} there is only {listed(sorted(READING[name]))}"
            return ("command", 1) if others else ("command",), said
        if options.fields and name not in {"INFO", "CLUSTER"}:
            return ("fields",), "only INFO has fields; another command's number is the field `value`"
        return None

    def host(self, target: str) -> str:
        """The target's."""
        return host_port(target, PORT)[0]

    async def look(self, trial: Trial) -> None:
        """Log in and ask."""
        options = self._options
        host, port = host_port(trial.target, PORT)
        link = await self._reach.connect(trial, host, port)
        try:
            if options.tls == "on":
                context = self._reach.context(self._credential, verify=options.verify == "on")
                await self._reach.secure(trial, link, context, options.server_name or host)
            talk = _Talk(link)
            await self._let_in(trial, talk)
            with trial.phase("command"):
                answer = await talk.ask(options.command)
        finally:
            link.close()
        if isinstance(answer, Exception):
            raise self._refused(str(answer))
        self._read(trial, answer)
        trial.check("command", True, "the command was answered")  # noqa: FBT003 - the verdict

    async def _let_in(self, trial: Trial, talk: "_Talk") -> None:
        own, database = self._credential, self._options.database
        if own is not None and own.password:
            with trial.phase("login"):
                answer = await talk.ask(("AUTH", *((own.username,) if own.username else ()), own.password))
            if isinstance(answer, Exception):  # what it says may hold what we sent
                raise Failure("login", f"the server refused the login with {plain(str(answer).partition(' ')[0])}")
        if database is not None:
            with trial.phase("login"):
                answer = await talk.ask(("SELECT", str(database)))
            if isinstance(answer, Exception):
                raise self._refused(str(answer))

    def _refused(self, said: str) -> Failure:
        word = said.partition(" ")[0]
        said = plain(said if self._credential is None else self._credential.hidden(said))
        match word:
            case "NOAUTH" | "NOPERM" | "WRONGPASS" | "DENIED":
                return Failure("login", f"we may not ask this: {said}")
            case "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "BUSY" | "TRYAGAIN" | "MISCONF":
                return Failure("status", f"the server does not work now: {said}")
            case _:
                return Failure("value", f"the command was refused: {said}")

    def _read(self, trial: Trial, answer: object) -> None:
        name = self._options.command[0].upper()
        match answer:
            case _ if name == "PING":
                trial.values["answer"] = plain(_text(answer))
                wanted = self._options.command[1] if len(self._options.command) > 1 else "PONG"
                if _text(answer) != wanted:
                    raise Failure("answer", f"PING was answered with {plain(_text(answer)[:60])!r}")
            case bytes() if name in {"INFO", "CLUSTER"}:
                self._told(trial, _text(answer))
            case None:
                raise Failure("value", "there is no such key, or nothing in it")
            case bytes() | str() | int() | float():
                trial.values["answer"] = plain(_text(answer))
                found = rows.number(answer if isinstance(answer, int | float) else _text(answer))
                if found is None:
                    raise Failure("value", f"{plain(_text(answer)[:60])!r} is no number")
                trial.fields["value"] = found
            case _:
                raise Failure("answer", "the answer is of a kind that was not asked for")

    def _told(self, trial: Trial, text: str) -> None:
        """The numbers of INFO: `name:value` a line, and `db0:keys=1,expires=0`."""
        found: dict[str, float] = {}
        for line in text.splitlines():
            name, colon, value = line.partition(":")
            if not colon or line.startswith("#") or _IDS.search(name):
                continue
            pairs = _PAIR.findall(value) if "=" in value else []
            for key, one in [(name, value), *((f"{name}_{part}", one) for part, one in pairs)]:
                number = _STATES.get(one, rows.number(one))
                if number is not None:
                    found[_UNSAFE.sub("_", key)] = number
        wanted = self._options.fields or tuple(found)
        if missing := [name for name in wanted if name not in found]:
            raise Failure("value", f"there is no number {plain(missing[0])} in {self._options.command[0].upper()}")
        if len(wanted) > rows.FIELDS_MAX:
            said = f"name up to {rows.FIELDS_MAX} of them under `fields`, or a smaller section"
            raise Failure("limit", f"{len(wanted)} numbers: {said}")
        trial.fields.update({name: found[name] for name in wanted})


class _Talk:
    """Commands and their answers."""

    def __init__(self, link: Link) -> None:
        import hiredis  # noqa: PLC0415 - loaded only where a probe needs it

        self._link = link
        self._reader = hiredis.Reader(notEnoughData=self)
        self._broken = hiredis.ProtocolError
        self._pack: Any = hiredis.pack_command  # whose stub takes one word alone

    async def ask(self, words: Sequence[str]) -> object:
        """What came: bytes, int, a list, None, or an exception for the server's error. Raises Failure."""
        packed: bytes = self._pack(tuple(words))
        await self._link.send(packed)
        taken = 0
        while True:
            try:
                answer: object = self._reader.gets()
            except self._broken:
                raise Failure("answer", "this is no answer of a Redis server") from None
            if answer is not self:
                if self._reader.has_data():  # it could be a list, for which see below
                    raise Failure("answer", "the server says more than it was asked")
                return answer
            data = await self._link.read()
            if not data:
                raise Failure("reset" if not taken else "answer", "the connection ended before the answer")
            if not taken and data[:1] in _LISTS:  # for which the reader would take as much memory as the server says
                raise Failure("value", "the answer is a list, and no number")
            taken += len(data)
            if taken > ANSWER_BYTES_MAX:
                raise Failure("limit", f"the answer has more than {ANSWER_BYTES_MAX >> 20} MiB")
            self._reader.feed(data)


def _text(answer: object) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
