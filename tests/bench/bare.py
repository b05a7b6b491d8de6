"""The bars that ticketd is measured against: two bare aiohttp handlers in one process, as lean as one can write them.

`/parse` reads and parses the body and answers. `/durable` also upserts each alert into SQLite and answers after COMMIT:
one writer thread, group commit, WAL, synchronous FULL, SQL by hand. The one law: nothing here does more than that; it
checks nothing, decides nothing and forgets everything but the last word of each fingerprint.

Run as `python -m tests.bench.bare PORT FILE`.
"""

import asyncio
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web
from msgspec import Struct
from msgspec.json import Decoder, Encoder

Row = tuple[str, str, str, bytes]

TABLE = "CREATE TABLE IF NOT EXISTS alerts (fingerprint TEXT PRIMARY KEY, status TEXT, starts_at TEXT, doc BLOB)"
UPSERT = (
    "INSERT INTO alerts VALUES (?, ?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET status = excluded.status, "
    "starts_at = excluded.starts_at, doc = excluded.doc"
)
CACHE_KIB = 24_576  # as much as ticketd gives its own
WAL_PAGES = 4_000


class Alert(Struct):
    """What an alert holds."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str  # noqa: N815 - as it is sent
    endsAt: str  # noqa: N815
    generatorURL: str  # noqa: N815
    fingerprint: str


class Body(Struct):
    """Alertmanager's body, as far as it is used."""

    alerts: list[Alert]


decode = Decoder(Body).decode
encode = Encoder().encode


class Durable:
    """One writer: what comes while a commit is under way goes into the next."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            f"cache_size = -{CACHE_KIB}",
            f"wal_autocheckpoint = {WAL_PAGES}",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute(TABLE)
        self._waiting: list[tuple[list[Row], asyncio.Future[None]]] = []
        self._writing = False

    def put(self, rows: list[Row]) -> asyncio.Future[None]:
        """Answers after the commit that holds these rows."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((rows, future))
        if not self._writing:
            self._writing = True
            self._task = loop.create_task(self._write())
        return future

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            await loop.run_in_executor(self._thread, self._commit, [row for rows, _ in group for row in rows])
            for _, future in group:
                future.set_result(None)
        self._writing = False

    def _commit(self, rows: list[Row]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(UPSERT, rows)
        self._connection.execute("COMMIT")


def application(path: Path) -> web.Application:
    """Both handlers."""
    store = Durable(path)

    async def parse(request: web.Request) -> web.Response:
        alerts = decode(await request.read()).alerts
        return web.Response(body=b'{"accepted":%d}' % len(alerts), content_type="application/json")

    async def durable(request: web.Request) -> web.Response:
        alerts = decode(await request.read()).alerts
        await store.put([(one.fingerprint, one.status, one.startsAt, encode(one)) for one in alerts])
        return web.Response(body=b'{"accepted":%d}' % len(alerts), content_type="application/json")

    app = web.Application()
    app.router.add_post("/parse", parse)
    app.router.add_post("/durable", durable)
    return app


def main() -> None:
    """Serves until it is ended."""
    web.run_app(
        application(Path(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=lambda _line: None,
    )


if __name__ == "__main__":
    main()
