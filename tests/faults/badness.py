"""What a hostile or broken sender may write: bodies as bytes, each with a name.

Law: values only, the same each time. A case says where its fault lies when a refusal must name the field.
"""

from __future__ import annotations

import copy
import gzip
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.peers.bodies import alert, now_text, webhook

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON_TYPE = {"Content-Type": "application/json"}
DEEP = 100_000
LONG = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """A body. `refused`: it must be a 400. `path`: what the refusal must name. `accepted`: it must be a 200."""

    name: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON_TYPE))
    refused: bool = False
    path: str = ""
    accepted: bool = False


def good(**labels: str) -> dict[str, Any]:
    """A body that is as it should be."""
    return webhook(alert({"alertname": "Bad", "service": "bad", **labels}, starts=now_text()))


def syntax() -> Iterator[Case]:
    """Not JSON, not quite JSON, not UTF-8, or far too much of it."""
    whole = json.dumps(good()).encode()
    for cut in (0, 1, 2, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        yield Case(f"cut after {cut} bytes", whole[:cut], refused=True)
    for name, body in {
        "null": b"null", "true": b"true", "number": b"1", "text": b'"x"', "list": b"[[]]", "two values": whole + whole,
        "a word behind": whole + b" x", "single quotes": b"{'alerts': []}", "comment": b"/* x */" + whole,
        "trailing comma": whole[:-1] + b",}", "NaN": b'{"alerts": NaN}', "Infinity": b"-Infinity",
        "huge number": b'{"alerts": 1e999}', "long number": b'{"alerts": ' + b"9" * 5_000 + b"}",
        "deep lists": b"[" * DEEP, "deep objects": b'{"a":' * DEEP, "deep and closed": b"[" * DEEP + b"]" * DEEP,
        "deep in alerts": b'{"alerts":' + b"[" * DEEP + b"]" * DEEP + b"}",
        "invalid UTF-8": b'{"alerts": "\xff\xfe\xfa"}', "overlong UTF-8": b'{"alerts": "\xc0\xaf"}',
        "surrogate as UTF-8": b'{"alerts": "\xed\xa0\x80"}', "UTF-16": json.dumps(good()).encode("utf-16"),
        "UTF-16 without a mark": json.dumps(good()).encode("utf-16-le"), "UTF-32": json.dumps(good()).encode("utf-32"),
        "zeros": b"\x00" * 1_000, "spaces": b" " * 100_000, "form": b"alerts=1&status=firing", "XML": b"<alerts/>",
    }.items():  # fmt: skip
        yield Case(name, body, refused=True)
    yield Case("UTF-8 with a mark", b"\xef\xbb\xbf" + whole)
    twice = whole[:-1] + b', "alerts": [], "alerts": ' + json.dumps(good()["alerts"]).encode() + b"}"
    yield Case("a key twice", twice)
    yield Case(
        "unknown keys",
        whole[:-1] + b', "notification_reason": "x", "routeLabels": {"a": [1, {"b": null}]}}',
        accepted=True,
    )
    yield Case("deep in an unknown key", whole[:-1] + b', "zzz": ' + b"[" * 50_000 + b"]" * 50_000 + b"}")


def wrong_types() -> Iterator[Case]:
    """Each field in turn holds what it should not."""
    values: tuple[Any, ...] = (None, True, 0, -1, 1e300, 2**70, "x", "", [], [[]], {}, {"a": 1})
    for key in good():
        for value in values:
            body = good()
            body[key] = value
            yield Case(f"{key} is {value!r}", json.dumps(body).encode())
    for key in good()["alerts"][0]:
        for value in values:
            body = good()
            body["alerts"][0][key] = value
            yield Case(f"alerts[0].{key} is {value!r}", json.dumps(body).encode())
    for key, value, path in (
        ("labels", "x", "alerts[0].labels"), ("labels", [1], "alerts[0].labels"),
        ("startsAt", "yesterday", "alerts[0].startsAt"), ("startsAt", {}, "alerts[0].startsAt"),
        ("endsAt", [], "alerts[0].endsAt"), ("status", "burning", "alerts[0].status"),
        ("labels", {"a": 1}, "alerts[0].labels.a"),
    ):  # fmt: skip
        body = good()
        body["alerts"][0][key] = value
        yield Case(f"names {path}: {value!r}", json.dumps(body).encode(), refused=True, path=path)
    for value in ({}, "x", 3, None):
        body = good()
        body["alerts"] = value
        yield Case(f"names alerts: {value!r}", json.dumps(body).encode(), refused=True, path="alerts")
    body = good()
    body["alerts"].insert(0, {"status": "firing"})
    yield Case("one bad alert before a good one", json.dumps(body).encode(), accepted=True)


def times() -> Iterator[Case]:
    """From the first year to the last, and nonsense."""
    for text in (
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999Z",
        "9999-12-31T23:59:59-12:00", "10000-01-01T00:00:00Z", "0000-00-00T00:00:00Z", "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-06-30T23:59:60Z", "2026-01-01T00:00:00", "2026-01-01", "1700000000", "-1",
        "2026-01-01T00:00:00+25:00", "2026-01-01T00:00:00.123456789123456789Z", "２０２６-01-01T00:00:00Z", "T", " ",
        "now", "2026-01-01T00:00:00Z\x00", "x" * LONG,
    ):  # fmt: skip
        for key in ("startsAt", "endsAt"):
            for status in ("firing", "resolved"):
                body = good(time=text[:40])
                body["alerts"][0] |= {key: text, "status": status}
                yield Case(f"{status}, {key} {text[:40]!r}", json.dumps(body).encode())


OWN_NAUGHTY = (
    "", " ", "\x00", "a\x00b", "\x01\x02\x1b[31mred", "\x7f", "\u0085", "\u202eright to left", "\u2066\u2069", "\ufeff",
    "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ud800", "\udfff", "\ud83d", "e\u0301" * 50, "Z\u0351\u036b" * 200,
    "مرحبا", "日本語", "👩‍👩‍👧‍👦", "ﷺ" * 100, "\r\nBcc: everybody@example.test",
    "line\nline", "\t", "\u2028", "'", '"', "\\",
    "<script>alert(1)</script>", "javascript:alert(1)", "{{ labels.x }}", "{{ 7*7 }}", "{% raw %}", "${jndi:ldap://x}",
    "%s%s%n", "{0.__class__}", "'; DROP TABLE tickets;--", "../../etc/passwd", "NaN", "null", "undefined", "1e1000",
    "-0", "9" * 400, "x" * LONG, "é" * LONG, "a=b,c", "`id`", "$(id)", "__proto__", "constructor", "=cmd|' /C calc'!A0",
)  # fmt: skip
"""Texts that have broken something somewhere."""


def naughty(texts: tuple[str, ...]) -> Iterator[Case]:
    """Each text as a label's value, an annotation, a key's part and, where it may, a label's name."""
    for number, text in enumerate(texts):
        body = good(text=text)
        body["alerts"][0]["annotations"]["summary"] = text
        body["alerts"][0]["labels"]["service"] = text
        yield Case(f"text {number} {text[:20]!r}", json.dumps(body).encode())
        body = good()
        body["alerts"][0]["labels"][text] = "as a name"
        body["groupKey"] = body["receiver"] = body["externalURL"] = text
        yield Case(f"name {number} {text[:20]!r}", json.dumps(body).encode())


def encodings() -> Iterator[Case]:
    """Compressed, said to be compressed, and compressed far beyond reason."""
    whole = json.dumps(good(packed="yes")).encode()
    for coding, body in (
        ("gzip", gzip.compress(whole)), ("deflate", zlib.compress(whole)), ("gzip", whole), ("br", whole),
        ("zstd", whole),
        ("gzip", gzip.compress(whole)[:-9]), ("gzip", b""), ("gzip, gzip", gzip.compress(gzip.compress(whole))),
        ("x" * 500, whole),
        ("gzip", gzip.compress(b" " * (200 << 20), 9)), ("deflate", zlib.compress(b"[" * (50 << 20), 9)),
    ):  # fmt: skip
        yield Case(f"{coding[:10]}, {len(body)} bytes", body, {**JSON_TYPE, "Content-Encoding": coding})
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/json; charset=utf-16",
        ";;",
        "x" * 2_000,
    ):
        yield Case(f"sent as {kind[:40]}", whole, {"Content-Type": kind})


def sizes() -> Iterator[Case]:
    """Within the bounds, but only just."""
    many = webhook(
        *(alert({"alertname": "Bad", "service": "bad", "n": str(n)}, starts=now_text()) for n in range(2_000))
    )
    yield Case("two thousand alerts", json.dumps(many).encode(), accepted=True)
    yield Case("a thousand labels", json.dumps(good(**{f"l{n}": "x" for n in range(1_000)})).encode())
    yield Case("no alerts", json.dumps(webhook()).encode())
    yield Case("a megabyte of one label", json.dumps(good(big="x" * (1 << 20))).encode())


def as_prometheus(case: Case) -> Case:
    """The same alerts as a bare list, for `/api/v2/alerts`; a body that has none stays as it is."""
    try:
        value = json.loads(case.body)
        alerts = copy.deepcopy(value["alerts"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return Case(case.name, case.body, case.headers, refused=case.refused)
    return Case(case.name, json.dumps(alerts).encode(), case.headers)
