"""`postgres`: a PostgreSQL server that lets us in and answers a query, whose numbers become fields.

The one law: the query runs as one statement of a transaction that cannot write and that the server itself ends in time;
no more than 1 MiB of what it gives is read.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Link, Reach
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing import dialogue, rows
from connectors.probing.base import Probe
from connectors.probing.pgwire import TLS_REQUEST, Answer, ServerError, Session
from rules.typed import OnOff, Shape, TextOf, one_of

PORT: Final = 5432
SSL_MODES: Final = ("disable", "prefer", "require", "verify-full")
# What the server's codes (SQLSTATE) mean, the longer beginnings first; of others it depends on when they come.
_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "25006": ("forbidden", "the query writes"),
    "3D000": ("value", "there is no such database"),
    "42501": ("login", "we have no right to this"),
    "53300": ("status", "the server takes no more connections"),
    "57014": ("timeout", "the server broke the query off"),
    "28": ("login", "the server refused the login"),
    "57P": ("status", "the server does not work now"),
}


def _name(text: str) -> str:
    if not text or "\0" in text or len(text) > 63:  # noqa: PLR2004 - what PostgreSQL takes
        raise ValueError("must be the name of a database")
    return text


class Connector(Probe):
    """The probe `postgres`."""

    class Options(Shape):
        """What is asked."""

        database: Annotated[str, TextOf(_name)] = Field("postgres", description="the database")
        query: rows.Query = Field(
            "SELECT 1 AS value",
            description="one statement, run in a transaction that cannot write. The columns of its first row become"
            " fields: numbers as they are, true and false as 1 and 0, NULL as none at all",
        )
        labels: tuple[str, ...] = Field(
            (), max_length=10, description="columns that become labels; then each row is a sample of its own"
        )
        sslmode: Annotated[str, one_of("sslmode", SSL_MODES)] = Field(
            "prefer",
            description="`prefer`: TLS where the server has it; `require`: only with TLS; `verify-full`: only where"
            " its certificate is trusted and bears its name",
        )
        standby: OnOff | None = Field(
            None, description="`on`: the server must be a standby; `off`: it must be none; left out: it may be either"
        )

    summary: ClassVar[str] = "a PostgreSQL server, and what a query gives"
    target: ClassVar[str] = "HOST or HOST:PORT; port 5432 when left out"
    example: ClassVar[str] = "db.example.test:5432"
    phases: ClassVar[Mapping[str, str]] = {
        "dns": "the name is resolved",
        "connect": "the connection comes about",
        "tls": "TLS is asked for and agreed on",
        "login": "the login, and the server's getting ready for us",
        "query": "the query",
    }
    fields: ClassVar[Mapping[str, str]] = {"rows": "rows that the query gave"}
    open_fields: ClassVar[bool] = True
    proof: ClassVar[str] = "username and password, or certificate and key"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential or Credential("")

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must have a host."""
        return host_port_problem(target, PORT)

    def host(self, target: str) -> str:
        """The target's."""
        return host_port(target, PORT)[0]

    async def look(self, trial: Trial) -> None:
        """Log in and ask."""
        host, port = host_port(trial.target, PORT)
        link = await self._reach.connect(trial, host, port)
        try:
            await self._secured(trial, link, host)
            session = Session(link)
            given, recovering = await self._asked(trial, session)
            await session.end()
        except ServerError as error:
            raise self._failure(error, trial) from None
        finally:
            link.close()
        if self._options.standby is not None:
            said = "a standby" if recovering else "no standby"
            trial.check("standby", recovering == (self._options.standby == "on"), f"the server is {said}", "value")
        if given.more:
            raise Failure("limit", f"the query gave more than {rows.ROWS_MAX} rows")
        if not given.columns:
            raise Failure("forbidden", "the query does something else than to give rows")
        rows.gather(trial, [one.name for one in given.columns], given.rows, self._options.labels)
        trial.check("query", True, f"the query gave {len(given.rows)} rows")  # noqa: FBT003 - the verdict

    async def _secured(self, trial: Trial, link: Link, host: str) -> None:
        mode = self._options.sslmode
        if mode == "disable":
            return
        with trial.phase("tls"):
            await link.send(TLS_REQUEST)
            answer = await link.exactly(1)
        if answer == b"S":
            verify = mode == "verify-full"
            await dialogue.begin_tls(self._reach, trial, link, self._credential, server_name=host, verify=verify)
        elif answer != b"N":
            raise Failure("answer", "this is no answer of a PostgreSQL server")
        elif mode != "prefer":
            raise Failure("tls", "the server does not offer TLS")

    async def _asked(self, trial: Trial, session: Session) -> tuple[Answer, bool]:
        """What the query gave, and whether the server is a standby."""
        own, options = self._credential, self._options
        with trial.phase("login"):
            user = own.username or "ticketd"
            await session.login(user, own.password, options.database, proved=options.sslmode == "verify-full")
        trial.values["server"] = plain(f"PostgreSQL {session.settings.get('server_version', '?')}")
        with trial.phase("query"):
            limit_ms = max(1, int(trial.left_s * 1_000))
            before = f"BEGIN READ ONLY; SET LOCAL statement_timeout = {limit_ms}"
            # Not every server that speaks this protocol can be a standby.
            found = await session.run(before + ("; SELECT pg_is_in_recovery()" if options.standby else ""))
            given = await session.ask(options.query, rows.ROWS_MAX + 1)
        given.more = given.more or len(given.rows) > rows.ROWS_MAX
        return given, bool(found.rows and found.rows[0] and found.rows[0][0])

    def _failure(self, error: ServerError, trial: Trial) -> Failure:
        asking = "query" in trial.phases
        word, said = "value" if asking else "status", "the query fails" if asking else "the server refuses us"
        for code, meant in _OUTCOMES.items():
            if error.code.startswith(code):
                word, said = meant
                break
        return Failure(word, f"{said} ({error.code}): {plain(self._credential.hidden(error.text))}")
