"""Logs: one format for all, bounded, and never a secret."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage

from daemon import logs


class Log:
    """What was written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    written = Log()
    logs.configure("json", "info", lambda: "2026-03-02T12:00:00Z", written.stream)
    yield written
    logs.configure("json", "debug", lambda: "", io.StringIO())


def test_a_line_says_when_who_what_and_how_grave(log: Log) -> None:
    structlog.get_logger("daemon.test").warning("full", depth=3)
    assert log.lines == [
        {"time": "2026-03-02T12:00:00Z", "level": "warning", "logger": "daemon.test", "message": "full", "depth": 3}
    ]


def test_below_the_level_nothing_is_written(log: Log) -> None:
    structlog.get_logger("daemon.test").debug("small talk")
    logging.getLogger("some.library").info("small talk")
    logging.getLogger("some.library").debug("small talk")
    assert [line["message"] for line in log.lines] == ["small talk"]


def test_a_librarys_record_takes_the_same_form(log: Log) -> None:
    logging.getLogger("some.library").error("lost %s of %d", "part", 7)
    (line,) = log.lines
    assert (line["message"], line["level"], line["logger"]) == ("lost part of 7", "error", "some.library")


def test_a_librarys_broken_format_is_a_line_and_no_exception(log: Log) -> None:
    (bridge,) = [one for one in logging.getLogger().handlers if isinstance(one, logs._Bridge)]
    bridge.emit(logging.LogRecord("some.library", logging.ERROR, "", 1, "lost %d", ("part",), None))
    assert log.lines[0]["message"] == "lost %d"


def test_an_exception_comes_with_its_traceback_on_one_line(log: Log) -> None:
    try:
        raise KeyError("k")
    except KeyError:
        structlog.get_logger("daemon.test").exception("failed")
    (line,) = log.lines
    assert line["exception"].endswith("KeyError: 'k'\n")
    assert "test_logs.py" in line["exception"]


def test_an_exception_given_as_a_value_is_written_too(log: Log) -> None:
    structlog.get_logger("daemon.test").error("failed", exc_info=ValueError("x"))
    assert "ValueError: x" in log.lines[0]["exception"]


def test_a_malformed_requests_bytes_are_not_quoted(log: Log) -> None:
    try:
        raise BadHttpMessage("GET /evil\\x00bytes")
    except BadHttpMessage:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    assert "evil" not in log.text
    assert log.lines[0]["error"] == "BadHttpMessage"


SECRETS = [
    ({"password": "hunter22"}, "hunter22"),
    ({"smtp_password": "hunter22"}, "hunter22"),
    ({"token": "abcdef123"}, "abcdef123"),
    ({"Authorization": "Bearer abcdef123"}, "abcdef123"),
    ({"headers": {"Cookie": "session=abcdef123"}}, "abcdef123"),
    ({"deep": [{"api_key": "abcdef123"}]}, "abcdef123"),
    ({"url": "postgresql://ticketd:hunter22@db/x"}, "hunter22"),
    ({"error": "401 for 'Authorization: Bearer abcdef123'"}, "abcdef123"),
    ({"error": "Basic YWxhZGRpbjpvcGVu was refused"}, "YWxhZGRpbjpvcGVu"),
    ({"path": "/respond/1a2b3c4d.WzEsImFtaW5hIl0.sig"}, "WzEsImFtaW5hIl0"),
    ({"query": "a=b&token=abcdef123"}, "abcdef123"),
    ({"said": "password: hunter22"}, "hunter22"),
    ({"why": "the server said s3cr3t-of-smtp back"}, "s3cr3t-of-smtp"),
    ({"odd": frozenset({"s3cr3t-of-smtp"})}, "s3cr3t-of-smtp"),
]


@pytest.mark.parametrize(("fields", "secret"), SECRETS)
@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_written(log: Log, form: str, fields: dict[str, Any], secret: str) -> None:
    logs.configure(form, "info", lambda: "", log.stream)
    logs.redaction.hide(["s3cr3t-of-smtp", "ok"])
    structlog.get_logger("daemon.test").info("said", **fields)
    logging.getLogger("some.library").error("it says %s", fields)
    assert logs.HIDDEN in log.text
    assert secret not in log.text


def test_a_secret_in_a_traceback_is_hidden(log: Log) -> None:
    logs.redaction.hide(["s3cr3t-of-smtp"])
    try:
        raise OSError("login as ticketd with s3cr3t-of-smtp failed")
    except OSError:
        structlog.get_logger("daemon.test").exception("failed")
    assert "s3cr3t-of-smtp" not in log.text


@pytest.mark.parametrize(
    "fields",
    [
        {"token_file": "/etc/ticketd/token"},
        {"why": "nobody has answered: step 1 of payments tells amina by email"},
        {"passed": True},
        {"key": "T-1/1/0/0/amina/email:amina@example.test"},
        {"note": "ok"},
    ],
)
def test_what_is_no_secret_stays_readable(log: Log, fields: dict[str, Any]) -> None:
    logs.redaction.hide(["ok"])  # too short to be hidden: it would blank ordinary words
    structlog.get_logger("daemon.test").info("said", **fields)
    assert fields.items() <= log.lines[0].items()


def test_a_line_is_bounded(log: Log) -> None:
    huge = {
        "text": "x" * 1_000_000,
        "list": ["y" * 10_000] * 10_000,
        "deep": {},
        "many": {str(n): n for n in range(999)},
    }
    inner: dict[str, Any] = huge["deep"]  # type: ignore[assignment]
    for _ in range(1_000):
        inner["d"] = {}
        inner = inner["d"]
    structlog.get_logger("daemon.test").info("huge", **huge)
    assert len(log.text) < 150_000


def test_control_characters_cannot_forge_a_line(log: Log) -> None:
    structlog.get_logger("daemon.test").info("said", title='x"}\n{"message":"forged\x1b[31m"}')
    assert len(log.text.splitlines()) == 1
    assert "\x1b" not in log.text


def test_the_console_is_for_people(log: Log) -> None:
    logs.configure("console", "info", lambda: "12:00", log.stream)
    structlog.get_logger("daemon.test").info("listening", port=9876)
    assert "12:00" in log.text
    assert "listening" in log.text
    assert "port=9876" in log.text
