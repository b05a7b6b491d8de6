"""`mysql`: a MySQL or MariaDB server that lets us in and answers a query, whose numbers become fields.

The one law: the query runs in a transaction that cannot write, over a connection made here; the driver works in a
thread whose connection is cut when the look ends, so that no thread outlives it.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, BinaryIO, ClassVar, Final, TypeVar

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Reach, failure
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing import rows
from connectors.probing.base import Probe
from rules.typed import Shape, TextOf, one_of

T = TypeVar("T")
PORT: Final = 3306
END_S_MAX: Final = 1.0  # for a thread whose connection was cut
THREADS_MAX: Final = 64  # of one probe: so many of its targets are looked at at a time
TLS_WORDS: Final = ("disabled", "preferred", "required", "verify_identity")
_GREETING_BYTES_MAX: Final = 4_096
_HEADER_BYTES: Final = 4
_LOGIN: Final = frozenset({1044, 1045, 1130, 1142, 1143, 1227, 1251, 1524, 1698, 1862})  # denied, or not so
_STATUS: Final = frozenset({1040, 1053, 1077, 1129, 1203, 1226})  # too many of us, or going down
_WRITES: Final = frozenset({1290, 1792, 1836})
_LATE: Final = frozenset({1317, 1969, 3024})  # the server broke the query off
_CUT: Final = frozenset({2003, 2006, 2013, 2055})  # the driver's own words for a lost connection
_NO_TLS: Final = 2026
_CLEAR: Final = ("mysql_clear_password", "dialog")  # ways to log in that hand the password itself over
_KEY_REQUESTS: Final = (b"\1", b"\2")  # for a key to send it by, which could be anybody's
_UNKNOWN_VARIABLE: Final = 1193
# What the driver raises at bytes that it does not check; none of it can come of our own calls.
_UNREADABLE: Final = (
    struct.error, ArithmeticError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, AssertionError,
    EOFError,
)  # fmt: skip


def _name(text: str) -> str:
    if not text or "\0" in text or len(text) > 64:  # noqa: PLR2004 - what MySQL takes
        raise ValueError("must be the name of a database")
    return text


class Connector(Probe):
    """The probe `mysql`."""

    class Options(Shape):
        """What is asked."""

        database: Annotated[str, TextOf(_name)] | None = Field(None, description="the database; none when left out")
        query: rows.Query = Field(
            "SELECT 1 AS value",
            description="one statement, run in a transaction that cannot write. The columns of its first row become"
            " fields: numbers as they are, also where they are texts (as in SHOW STATUS), NULL as none at all",
        )
        labels: tuple[str, ...] = Field(
            (), max_length=10, description="columns that become labels; then each row is a sample of its own"
        )
        ssl_mode: Annotated[str, one_of("ssl_mode", TLS_WORDS)] = Field(
            "preferred",
            description="`preferred`: TLS where the server has it; `required`: only with TLS; `verify_identity`: only"
            " where its certificate is trusted and bears its name",
        )

    summary: ClassVar[str] = "a MySQL or MariaDB server, and what a query gives"
    target: ClassVar[str] = "HOST or HOST:PORT; port 3306 when left out"
    example: ClassVar[str] = "db.example.test:3306"
    phases: ClassVar[Mapping[str, str]] = {
        "dns": "the name is resolved",
        "connect": "the connection comes about",
        "tls": "the TLS handshake; a part of login, too",
        "login": "the greeting, TLS and the login",
        "query": "the query",
    }
    fields: ClassVar[Mapping[str, str]] = {"rows": "rows that the query gave"}
    open_fields: ClassVar[bool] = True
    proof: ClassVar[str] = "username and password"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        import pymysql  # type: ignore[import-untyped] # noqa: F401, PLC0415 - only where needed, and no look waits for it

        self._options = options
        self._reach = reach
        self._credential = credential or Credential("")
        self._pool: ThreadPoolExecutor | None = None

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must have a host."""
        return host_port_problem(target, PORT)

    def host(self, target: str) -> str:
        """The target's."""
        return host_port(target, PORT)[0]

    async def look(self, trial: Trial) -> None:
        """Log in and ask, in a thread; the connection is cut when this ends."""
        host, port = host_port(trial.target, PORT)
        context = self._context()
        _, sock = await self._reach.connected(trial, host, port)
        # The driver closes the one, maybe from within TLS; the other is ours to cut the connection with.
        with sock, sock.dup() as ours:
            columns, given = await self._in_thread(partial(self._talk, trial, host, _Wire(sock, trial, context)), ours)
        if len(given) > rows.ROWS_MAX:
            raise Failure("limit", f"the query gave more than {rows.ROWS_MAX} rows")
        rows.gather(trial, columns, given, self._options.labels)
        trial.check("query", True, f"the query gave {len(given)} rows")  # noqa: FBT003 - the verdict

    async def _in_thread(self, talk: Callable[[], T], ours: socket.socket) -> T:
        """What the talk gives. When this is broken off, its connection is cut, and its end awaited."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="mysql")
        talking = self._pool.submit(talk)
        answer = asyncio.wrap_future(talking)
        try:
            return await asyncio.shield(answer)
        finally:
            with suppress(OSError):  # the other side was faster
                ours.shutdown(socket.SHUT_RDWR)
            if not talking.cancel() and not answer.done():
                await asyncio.wait([answer], timeout=END_S_MAX)
            if answer.done() and not answer.cancelled():
                answer.exception()  # which has been raised, or does not matter any more

    def _context(self) -> ssl.SSLContext | None:
        mode = self._options.ssl_mode
        return None if mode == "disabled" else self._reach.context(self._credential, verify=mode == "verify_identity")

    def _talk(self, trial: Trial, host: str, wire: "_Wire") -> tuple[list[str], Sequence[Sequence[object]]]:
        """The columns and rows. In a thread of its own, and for no longer than the connection holds."""
        import pymysql  # noqa: PLC0415 - only where a probe needs it

        phase = "login"
        try:
            with trial.phase(phase):
                connection = self._logged_in(trial, host, wire)
            phase = "query"
            with trial.phase(phase):
                return self._asked(trial, connection)
        except pymysql.err.MySQLError as error:
            raise self._failure(error, phase) from None
        except OSError as error:
            raise failure(error, f"in the {phase}") from None
        except _UNREADABLE as error:
            raise Failure("answer", f"no answer of a MySQL server in the {phase}: {plain(error)}") from None
        finally:
            wire.close()

    def _logged_in(self, trial: Trial, host: str, wire: "_Wire") -> Any:
        from pymysql.connections import Connection  # type: ignore[import-untyped] # noqa: PLC0415 - as above

        mode, own = self._options.ssl_mode, self._credential
        proved = mode == "verify_identity"

        class Ours(Connection):  # type: ignore[misc] # the driver has no types
            """One that asks the wire for TLS; its own context would be read from the disk for every look."""

            def _create_ssl_ctx(self, _settings: object) -> _Wire:
                return wire

            def _request_authentication(self) -> None:
                if not proved and self._auth_plugin_name == "sha256_password":  # which begins with the password
                    raise _in_the_clear()
                super()._request_authentication()

            def write_packet(self, payload: bytes) -> None:
                if not proved and self.password and payload in {self.password + b"\0", *_KEY_REQUESTS}:
                    raise _in_the_clear()
                super().write_packet(payload)

        left_s = max(0.001, trial.left_s)
        connection = Ours(
            user=own.username or "ticketd",
            password=own.password.encode(),
            host=host,
            database=self._options.database,
            charset="utf8mb4",
            defer_connect=True,
            read_timeout=left_s,
            write_timeout=left_s,
            ssl=wire.context if mode in {"required", "verify_identity"} else None,
            ssl_disabled=mode == "disabled",
            # A server that asks for the password itself gets it only after it has proved its name.
            auth_plugin_map={} if proved else dict.fromkeys(_CLEAR, _NeverInTheClear),
            program_name="ticketd",
            autocommit=None,
        )
        connection.connect(wire)
        trial.values["server"] = plain(connection.get_server_info())
        trial.values["tls"] = "yes" if wire.secured else "no"
        return connection

    def _asked(self, trial: Trial, connection: Any) -> tuple[list[str], Sequence[Sequence[object]]]:
        left_s = max(0.001, trial.left_s)
        if "MariaDB" in connection.get_server_info():
            bound = f"SET SESSION max_statement_time = {left_s:.3f}"
        else:
            bound = f"SET SESSION max_execution_time = {int(left_s * 1_000)}"
        self._set(connection, bound)
        connection.query("SET SESSION TRANSACTION READ ONLY")
        connection.query("START TRANSACTION READ ONLY")
        cursor = connection.cursor()
        cursor.execute(self._options.query)
        if cursor.description is None:
            raise Failure("forbidden", "the query does something else than to give rows")
        return [column[0] for column in cursor.description], list(cursor.fetchall())

    @staticmethod
    def _set(connection: Any, statement: str) -> None:
        """A bound that old servers do not know; then the look's own timeout is the only one."""
        from pymysql.err import MySQLError  # type: ignore[import-untyped] # noqa: PLC0415 - as above

        try:
            connection.query(statement)
        except MySQLError as error:
            if error.args[:1] != (_UNKNOWN_VARIABLE,):
                raise

    def _failure(self, error: Exception, phase: str) -> Failure:
        origin = getattr(error, "original_exception", None)
        if isinstance(origin, OSError):
            return failure(origin, f"in the {phase}")
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = plain(self._credential.hidden(str(error.args[-1] if error.args else error)))
        match number:
            case 0:
                return Failure("answer", f"no answer of a MySQL server in the {phase}: {text}")
            case _ if number in _LOGIN:
                what = "the login" if phase == "login" else "the query, which we have no right to,"
                return Failure("login", f"the server refused {what} with {number}")
            case _ if number in _CUT:
                word = "timeout" if "timed out" in text else "reset"
                said = "timed out" if word == "timeout" else "the connection was cut"
                return Failure(word, f"in the {phase}: {said}")
            case _ if number in _LATE:
                return Failure("timeout", f"the server broke the query off: {text}")
            case _ if number in _WRITES:
                return Failure("forbidden", f"the query writes: {text}")
        if number == _NO_TLS:
            return Failure("tls", "the server does not offer TLS")
        word = "status" if number in _STATUS or phase == "login" else "value"
        return Failure(word, f"{phase} fails with {number}: {text}")

    async def close(self) -> None:
        """Ends the threads; none is at work once no look is."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


class _NeverInTheClear:
    """What the driver asks when a server wants the password itself."""

    def __init__(self, _connection: object) -> None:
        pass

    def authenticate(self, _packet: object) -> None:
        """Raises Failure."""
        raise _in_the_clear()


def _in_the_clear() -> Failure:
    return Failure("login", "the server asks for the password itself: that needs ssl_mode verify_identity")


class _Wire:
    """A connection as the driver takes one, and what it asks for TLS: no more than so many bytes come in."""

    def __init__(self, sock: socket.socket, trial: Trial, context: ssl.SSLContext | None) -> None:
        """The socket is the wire's from now on."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._trial = trial
        self.context = context
        self.secured = False
        self._left = rows.BYTES_MAX
        self._files: list[BinaryIO] = []
        self.settimeout: Callable[[float | None], None] = sock.settimeout
        self.sendall: Callable[[bytes], None] = sock.sendall

    def wrap_socket(self, _wire: object, server_hostname: str) -> "_Wire":
        """TLS from here on."""
        if self.context is None:
            raise Failure("failed", "TLS was asked for where the options forbid it")
        with self._trial.phase("tls"):
            sock = self.context.wrap_socket(self._sock, server_hostname=server_hostname)
        self._sock, self.secured = sock, True
        self.settimeout, self.sendall = sock.settimeout, sock.sendall
        return self

    def makefile(self, _mode: str) -> "_Bounded":
        """What it reads from."""
        file = self._sock.makefile("rb")
        self._files.append(file)
        return _Bounded(self, file)

    def take(self, size: int) -> None:
        """Before so many bytes are read. Raises Failure `answer` or `limit`."""
        first = self._left == rows.BYTES_MAX - _HEADER_BYTES
        if first and size > _GREETING_BYTES_MAX:
            raise Failure("answer", "no greeting of a MySQL server")
        if size > self._left:
            raise Failure("limit", f"the answer has more than {rows.BYTES_MAX >> 20} MiB")
        self._left -= size

    def close(self) -> None:
        """The end; the socket's files hold it open for as long as they are."""
        for file in self._files:
            file.close()
        self._sock.close()


class _Bounded:
    """A file of the driver's."""

    def __init__(self, wire: _Wire, file: BinaryIO) -> None:
        self._wire = wire
        self._file = file

    def read(self, size: int) -> bytes:
        """So many bytes, or fewer at the end."""
        self._wire.take(size)
        return self._file.read(size)

    def close(self) -> None:
        """The end."""
        self._file.close()
