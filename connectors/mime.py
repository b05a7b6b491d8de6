"""A mail as it came, read far enough to know its headers and its text.

The one law: whatever the bytes are, reading them ends soon and raises nothing but `UnreadableMailError`. Sizes,
headers, parts and depth are bounded, each step looks at a byte a few times at most, and nothing in a mail is ever
executed, fetched or opened. Written by hand because the standard library's parser recurses as deep as a mail nests,
looks at each line once for each level, and reads headers in time that a hostile one chooses.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from html import unescape
from typing import Final, NamedTuple

BYTES_MAX: Final = 1 << 20  # of a mail
HEAD_BYTES_MAX: Final = 128 << 10  # of the headers of a mail or of a part
HEADERS_MAX: Final = 500
VALUE_CHARS_MAX: Final = 8_000  # of a header; the rest of it is not looked at
PARTS_MAX: Final = 50  # what comes after them is not looked at
DEPTH_MAX: Final = 8  # a part nested deeper is not looked into
TEXT_BYTES_MAX: Final = 256 << 10  # of a text, before it is decoded

_HEADER: Final = re.compile(rb"([!-9;-~]{1,100})[ \t]*:")
_PARAMETER: Final = re.compile(r';\s*([\w*-]{1,40})\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)')
_NOT_BASE64: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
# Controls, marks that turn the direction of what follows, and what is seen by nobody. Joiners stay: letters need them.
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_BLANK: Final = re.compile(r"[\u2028\u2029]")

# What a charset is decoded as. One that is not here is read as UTF-8: some of Python's codecs are slow or not text.
_CHARSETS: Final[Mapping[str, str]] = {
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    **{f"iso-8859-{n}": f"iso8859_{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
    "iso-8859-8-i": "iso8859_8",
    **{f"windows-{n}": f"cp{n}" for n in range(1250, 1259)},
    "windows-874": "cp874",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "iso-2022-jp": "iso2022_jp",
    "euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "utf-16": "utf_16",
    "utf-16le": "utf_16_le",
    "utf-16be": "utf_16_be",
}


class UnreadableMailError(Exception):
    """It is beyond a bound. `reason` is one sentence for people."""

    def __init__(self, reason: str) -> None:
        """The sentence names the bound."""
        super().__init__(reason)
        self.reason = reason


class Part(NamedTuple):
    """A mail, or a part of one."""

    headers: tuple[tuple[str, str], ...]  # names in lower case, values on one line, in their order
    kind: str  # "text/plain"
    parameters: Mapping[str, str]  # of Content-Type
    body: bytes
    parts: tuple["Part", ...] = ()

    def all(self, name: str) -> list[str]:
        """The values of a header, given in lower case."""
        return [value for one, value in self.headers if one == name]

    def first(self, name: str) -> str:
        """The first value of a header, "" where there is none."""
        return next((value for one, value in self.headers if one == name), "")

    def leaves(self) -> Iterator["Part"]:
        """The parts that hold no others, in their order."""
        if not self.parts:
            yield self
        for one in self.parts:
            yield from one.leaves()


def parse(content: bytes) -> Part:
    """The mail. Raises UnreadableMailError."""
    if len(content) > BYTES_MAX:
        raise UnreadableMailError(f"it is larger than {BYTES_MAX >> 20} MiB")
    return _part(content.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), 0, [PARTS_MAX], "text/plain")


def _part(content: bytes, depth: int, room: list[int], usual: str) -> Part:
    """`room`: how many more parts may come, in a box that all of them share. `usual`: the kind where none is said."""
    head, body = _split(content)
    headers = fields(head)
    kind, parameters = _kind(next((value for name, value in headers if name == "content-type"), ""), usual)
    if not kind.startswith("multipart/") or depth >= DEPTH_MAX or not parameters.get("boundary"):
        return Part(headers, kind, parameters, body)
    inner = "message/rfc822" if kind == "multipart/digest" else "text/plain"
    parts: list[Part] = []
    for piece in _pieces(body, parameters["boundary"]):
        if room[0] <= 0:
            break
        room[0] -= 1
        parts.append(_part(piece, depth + 1, room, inner))
    return Part(headers, kind, parameters, b"", tuple(parts))


def _split(content: bytes) -> tuple[bytes, bytes]:
    if content.startswith(b"\n"):
        return b"", content[1:]
    end = content.find(b"\n\n", 0, HEAD_BYTES_MAX + 2)
    if end >= 0:
        return content[:end], content[end + 2 :]
    if len(content) > HEAD_BYTES_MAX:
        raise UnreadableMailError(f"its headers are longer than {HEAD_BYTES_MAX >> 10} KiB")
    return content, b""


def fields(head: bytes) -> tuple[tuple[str, str], ...]:
    """The headers of a head whose lines end with LF. Raises UnreadableMailError for too many."""
    found: list[tuple[str, list[bytes]]] = []
    for line in head.split(b"\n"):
        if line[:1] in {b" ", b"\t"}:
            if found:
                found[-1][1].append(line.strip())
        elif name := _HEADER.match(line):
            if len(found) >= HEADERS_MAX:
                raise UnreadableMailError(f"it has more than {HEADERS_MAX} headers")
            found.append((name[1].decode("ascii").lower(), [line[name.end() :].strip()]))
    return tuple((name, _value(b" ".join(lines))) for name, lines in found)


def _value(data: bytes) -> str:
    text = data[: 4 * VALUE_CHARS_MAX].decode("utf-8", "replace")[:VALUE_CHARS_MAX]
    return _UNSEEN.sub("", _BLANK.sub(" ", text)).replace("\n", " ").strip()


def _kind(value: str, usual: str) -> tuple[str, dict[str, str]]:
    value = value[:2_000]
    kind = value.partition(";")[0].strip().lower()
    found: dict[str, str] = {}
    for name, given in _PARAMETER.findall(value):
        text = re.sub(r"\\(.)", r"\1", given[1:-1]) if given.startswith('"') and len(given) > 1 else given
        found.setdefault(name.lower(), text[:200])
    return kind if kind.count("/") == 1 else usual, found


def _pieces(body: bytes, boundary: str) -> Iterator[bytes]:
    """What stands between the delimiters; nothing before the first or after the last."""
    delimiter = re.compile(rb"^--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*$", re.MULTILINE)
    start = -1
    for found in delimiter.finditer(body):
        if start >= 0:
            yield body[start : max(start, found.start() - 1)]
        if found[1]:
            return
        start = found.end() + 1
    if 0 <= start < len(body):
        yield body[start:]  # cut off on the way


# ---------------------------------------------------------------- text
def text_of(mail: Part) -> str:
    """What a person wrote, quotes and all: the first plain text that says something, else the first HTML as text.

    Attachments and mails inside the mail do not count.
    """
    leaves = [one for one in mail.leaves() if not _is_attached(one)]
    for kind, read in (("text/plain", str), ("text/html", from_html)):
        for one in leaves:
            if one.kind == kind and (text := plain(read(decoded(one)))).strip():
                return text
    return ""


def plain(text: str) -> str:
    """A text without control characters and turns of direction, every line ended by LF."""
    text = _BLANK.sub("\n", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _UNSEEN.sub("", text).replace("\xa0", " ").encode("utf-8", "replace").decode()


def _is_attached(part: Part) -> bool:
    return part.first("content-disposition").lower().lstrip().startswith("attachment")


def decoded(part: Part) -> str:
    """The body of a part as its headers say, or as near as it comes."""
    data = part.body[: 2 * TEXT_BYTES_MAX]
    match part.first("content-transfer-encoding").strip().lower():
        case "base64":
            data = data.translate(None, _NOT_BASE64)
            data = data[: len(data) - len(data) % 4] if len(data) % 4 == 1 else data
            data = binascii.a2b_base64(data + b"=" * (-len(data) % 4))
        case "quoted-printable":
            data = binascii.a2b_qp(data)
        case "" | "7bit" | "8bit" | "binary":
            pass
        case _:
            return ""
    charset = _CHARSETS.get(part.parameters.get("charset", "").strip().lower(), "utf_8")
    return data[:TEXT_BYTES_MAX].decode(charset, "replace")


_BREAKS: Final = frozenset({"br", "p", "div", "tr", "li", "ul", "ol", "table", "hr", "h1", "h2", "h3", "h4", "pre"})
_SILENT: Final = frozenset({"head", "style", "script", "title", "template", "object", "noscript", "svg", "math"})
_LONG_REFERENCE: Final = re.compile(r"&#[xX]?[0-9A-Fa-f]{8,};?")  # no character has such a number
_TAG: Final = re.compile(r"(/?)\s*([A-Za-z][A-Za-z0-9]*)")


def from_html(html: str) -> str:
    """The text that a reader of the page would see; what it quotes is one line with a quotation mark, `>`."""
    out: list[str] = []
    at, quotes, silent = 0, 0, ""
    while at < len(html):
        start = html.find("<", at)
        if start < 0:
            start = len(html)
        if start > at and not quotes and not silent:
            out.append(re.sub(r"\s+", " ", unescape(_LONG_REFERENCE.sub("\ufffd", html[at:start]))))
        if start == len(html):
            break
        comment = html.startswith("<!--", start)
        end = html.find("-->" if comment else ">", start)
        if end < 0:
            break  # never closed: what follows is no text
        at = end + (3 if comment else 1)
        tag = None if comment else _TAG.match(html, start + 1, end)
        if tag is None:
            continue
        closing, name = bool(tag[1]), tag[2].lower()
        if silent:
            silent = "" if closing and name == silent else silent
        elif name in _SILENT and not closing and html[end - 1] != "/":
            silent = name
        elif name == "blockquote":
            out.append("\n" if closing or quotes else "\n>\n")
            quotes = max(0, quotes - 1) if closing else quotes + 1
        elif name in _BREAKS and not quotes:
            out.append("\n")
    return "\n".join(line.strip() for line in "".join(out).split("\n"))
