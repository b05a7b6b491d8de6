"""The probe `redis`: what each answer means, each refusal's name, and that only commands that read are sent."""

import asyncio
from pathlib import Path

import hiredis
import pytest

from connectors.network.trial import Credential
from connectors.probes.redis import READING
from tests.connectors.hostile import serving
from tests.connectors.services import HOST, Trust, looked, problem

INFO = (
    "# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:00000000\r\nrun_id:1e10\r\nuptime_in_seconds:81\r\n"
    "# Persistence\r\nrdb_last_bgsave_status:ok\r\nmaster_link_status:down\r\n"
    "# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=0\r\n"
)


def bulk(text: str) -> bytes:
    return f"${len(text)}\r\n{text}\r\n".encode()


class Redis:
    """A server that answers one command after the other, and keeps them."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = answers
        self.heard: list[list[bytes]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = hiredis.Reader()
        answers = iter(self._answers)
        while data := await reader.read(65_536):
            said.feed(data)
            while (command := said.gets()) is not False:
                self.heard.append(command)
                writer.write(next(answers, b""))


async def look(answer: bytes, *command: str, **options: object) -> tuple[str, str, dict[str, float]]:
    async with serving(Redis(answer)) as port:
        trial = await looked("redis", f"{HOST}:{port}", {"command": list(command), **options})
    return trial.outcome, trial.note, trial.fields


async def test_a_server_that_answers_is_up_and_each_step_has_its_time() -> None:
    one = Redis(b"+PONG\r\n")
    async with serving(one) as port:
        trial = await looked("redis", f"{HOST}:{port}")
    assert (trial.outcome, trial.note, trial.fields) == ("up", "", {})
    assert list(trial.phases) == ["dns", "connect", "command"]
    assert one.heard == [[b"PING"]]


@pytest.mark.parametrize(
    ("answer", "value"), [(b":42\r\n", 42.0), (bulk("-1.5"), -1.5), (b"$2\r\n07\r\n", 7.0), (b"+3\r\n", 3.0)]
)
async def test_a_number_is_the_value(answer: bytes, value: float) -> None:
    assert await look(answer, "GET", "queue:length") == ("up", "", {"value": value})


@pytest.mark.parametrize(
    ("answer", "outcome", "note"),
    [
        (b"$-1\r\n", "value", "there is no such key, or nothing in it"),
        (bulk("twelve"), "value", "'twelve' is no number"),
        (bulk("nan"), "value", "'nan' is no number"),
        (b"*2\r\n:1\r\n:2\r\n", "value", "the answer is a list, and no number"),
        (b"*4000000000\r\n", "value", "the answer is a list, and no number"),
        (b"-ERR wrong number\r\n", "value", "the command was refused: ERR wrong number"),
        (b"-NOAUTH Authentication required.\r\n", "login", "we may not ask this: NOAUTH Authentication required."),
        (b"-NOPERM no\r\n", "login", "we may not ask this: NOPERM no"),
        (b"-LOADING it\r\n", "status", "the server does not work now: LOADING it"),
        (b"-MASTERDOWN it\r\n", "status", "the server does not work now: MASTERDOWN it"),
        (b"HTTP/1.1 400 Bad Request\r\n", "answer", "this is no answer of a Redis server"),
        (b"$2000000\r\n" + b"x" * 2_000_000, "limit", "the answer has more than 1 MiB"),
    ],
)
async def test_every_other_answer_is_named(answer: bytes, outcome: str, note: str) -> None:
    assert await look(answer, "GET", "queue:length") == (outcome, note, {})


async def test_a_ping_must_be_answered_as_such() -> None:
    assert await look(b"+PANG\r\n", "PING") == ("answer", "PING was answered with 'PANG'", {})
    assert await look(bulk("hello"), "PING", "hello") == ("up", "", {})


async def test_the_numbers_of_info_are_fields() -> None:
    """States count as 1 and 0; ids, which are hexadecimal, are no numbers."""
    assert await look(bulk(INFO), "info") == (
        "up",
        "",
        {
            "uptime_in_seconds": 81.0, "rdb_last_bgsave_status": 1.0, "master_link_status": 0.0, "db0_keys": 12.0,
            "db0_expires": 3.0, "db0_avg_ttl": 0.0,
        },
    )  # fmt: skip


async def test_those_that_are_wanted_are_kept_and_one_that_is_missing_is_named() -> None:
    wanted = ["db0_keys", "uptime_in_seconds"]
    assert await look(bulk(INFO), "INFO", fields=wanted) == ("up", "", {"db0_keys": 12.0, "uptime_in_seconds": 81.0})
    outcome, note, _ = await look(bulk(INFO), "INFO", fields=["db1_keys"])
    assert (outcome, note) == ("value", "there is no number db1_keys in INFO")


async def test_more_numbers_than_a_sample_holds_are_refused() -> None:
    many = "".join(f"metric_{number}:{number}\r\n" for number in range(60))
    outcome, note, fields = await look(bulk(many), "INFO")
    assert (outcome, fields) == ("limit", {})
    assert note == "60 numbers: name up to 40 of them under `fields`, or a smaller section"


# ---------------------------------------------------------------- the login
async def test_it_logs_in_and_takes_the_database_before_it_asks() -> None:
    one = Redis(b"+OK\r\n", b"+OK\r\n", b":7\r\n")
    async with serving(one) as port:
        trial = await looked(
            "redis",
            f"{HOST}:{port}",
            {"command": ["DBSIZE"], "database": "3"},
            Credential("shop", "watcher", "hunter2"),
        )
    assert (trial.outcome, trial.fields) == ("up", {"value": 7.0})
    assert one.heard == [[b"AUTH", b"watcher", b"hunter2"], [b"SELECT", b"3"], [b"DBSIZE"]]
    assert list(trial.phases) == ["dns", "connect", "login", "command"]


async def test_a_refused_login_is_named_without_what_was_sent() -> None:
    one = Redis(b"-WRONGPASS hunter2 is wrong\r\n")
    async with serving(one) as port:
        trial = await looked("redis", f"{HOST}:{port}", credential=Credential("shop", "", "hunter2"))
    assert (trial.outcome, trial.note) == ("login", "the server refused the login with WRONGPASS")
    assert one.heard == [[b"AUTH", b"hunter2"]]


# ---------------------------------------------------------------- TLS
@pytest.mark.parametrize(
    ("leaf", "outcome"), [("leaf", "up"), ("expired", "certificate"), ("wrong_name", "certificate")]
)
async def test_tls_is_verified(tmp_path: Path, leaf: str, outcome: str) -> None:
    trust = Trust(tmp_path)
    context = trust.server(leaf)

    async def secured(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(context)
        await Redis(b"+PONG\r\n")(reader, writer)

    async with serving(secured) as port:
        trial = await looked("redis", f"{HOST}:{port}", {"tls": "on"}, trust.credential())
        unverified = await looked("redis", f"{HOST}:{port}", {"tls": "on", "verify": "off"})
    assert trial.outcome == outcome
    assert "tls" in trial.phases
    assert unverified.outcome == "up"


# ---------------------------------------------------------------- what is asked
def test_a_command_that_does_more_than_read_is_refused_when_the_file_is_read() -> None:
    for command in (
        ["FLUSHALL"],
        ["set", "a", "1"],
        ["EVAL", "return 1", "0"],
        ["CONFIG", "SET", "a", "b"],
        ["KEYS", "*"],
    ):
        where, said = problem("redis", {"command": command}) or ((), "")
        assert where == ("command", 0)
        assert "is no command that only reads" in said
    assert problem("redis", {"command": ["MEMORY", "PURGE"]}) == (("command", 1), "of MEMORY there is only USAGE")
    assert problem("redis", {"command": ["MEMORY"]}) == (("command",), "of MEMORY there is only USAGE")
    assert problem("redis", {"command": ["GET", "a"], "fields": ["b"]}) == (
        ("fields",),
        "only INFO has fields; another command's number is the field `value`",
    )
    assert not {"SET", "DEL", "EVAL", "SUBSCRIBE", "MONITOR", "SHUTDOWN", "BLPOP", "KEYS"} & READING.keys()
