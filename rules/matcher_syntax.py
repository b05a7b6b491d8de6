"""Alertmanager's matcher syntax: `name="value"`, `=~`, `!=`, `!~`, with quoted names and unquoted values.

The one law: what is read here is written back alike by `str(matcher)`; what cannot be read is refused with the reason.
Names and values are any UTF-8; unquoted ones hold no blanks and none of `{}!=~,"'` or backslash and backtick.
"""

import re
from functools import lru_cache
from typing import Final

from rules.matching import Matcher, matcher
from rules.words import shown

CHARS_MAX: Final = 16_384
_BARE: Final = r"[^\s{}!=~,\\\"'`]+"
_QUOTED: Final = r'"(?:[^"\\\n]|\\.)*"'
_WHOLE: Final = re.compile(
    rf"\s*(?P<name>{_BARE}|{_QUOTED})\s*(?P<op>=~|!~|!=|=)\s*(?P<value>{_BARE}|{_QUOTED}|)\s*", re.DOTALL
)
_NAME: Final = re.compile(rf"\s*(?P<name>{_BARE}|{_QUOTED})\s*", re.DOTALL)
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|([0-3][0-7]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|([^\\]+)", re.DOTALL
)
_ESCAPES: Final = {
    "a": b"\a", "b": b"\b", "f": b"\f", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v", "\\": b"\\", '"': b'"',
}  # fmt: skip


@lru_cache(maxsize=4096)  # a policy writes the same few thousand matchers again and again, and so does each reload
def parse_matcher(text: str) -> Matcher:
    """One matcher. Raises ValueError saying what is wrong and how it is written."""
    if len(text) > CHARS_MAX:
        raise ValueError(f"a matcher holds at most {CHARS_MAX} characters, this one {len(text)}")
    found = _WHOLE.fullmatch(text)
    if found is None:
        raise ValueError(_why_not(text))
    name, op, value = found["name"], found["op"], found["value"]
    if name[0] == '"' and not (name := _unquote(name)):
        raise ValueError(f"{shown(text)} has an empty label name")
    return matcher(name, op, _unquote(value) if value[:1] == '"' else value)


def _unquote(quoted: str) -> str:
    """Go's escapes: they may spell bytes, but all of it must be UTF-8 in the end."""
    inner = quoted[1:-1]
    if "\\" not in inner:
        return inner
    out = bytearray()
    for found in _ESCAPE.finditer(inner):
        hexed, octal, short, long, single, plain = found.groups()
        if plain is not None:
            out += plain.encode("utf-8", "surrogatepass")
        elif single is not None:
            if single not in _ESCAPES:
                again = f"in expressions write the backslash twice: \\\\{single}"
                raise ValueError(f"\\{single} means nothing in {shown(quoted)}; {again}")
            out += _ESCAPES[single]
        elif (code := short or long) is not None:
            if int(code, 16) > 0x10FFFF:  # noqa: PLR2004 - the last character there is
                raise ValueError(f"\\U{code} in {shown(quoted)} is no character")
            out += chr(int(code, 16)).encode("utf-8", "surrogatepass")
        else:
            out.append(int(hexed, 16) if hexed else int(octal, 8))
    try:
        return out.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"the escapes of {shown(quoted)} do not spell UTF-8") from None


def _why_not(text: str) -> str:
    example = """write it name="value", with one of = != =~ !~"""
    if not text.strip():
        return f"this matcher is empty; {example}"
    if text.strip()[0] == "{":
        return f"{shown(text)} has braces; give each matcher as an item of its own, without them"
    name = _NAME.match(text)
    if name is None:
        return f"{shown(text)} does not begin with a label name; {example}"
    rest = text[name.end() :]
    if rest.startswith("=="):
        return f'{shown(text)}: "==" is no operator; write ='
    if not rest.startswith(("=", "!=", "!~")):
        return f"{shown(text)} has no operator after {shown(name['name'])}; {example}"
    return _why_not_value(text, name["name"], rest)


def _why_not_value(text: str, name: str, rest: str) -> str:
    value = rest.removeprefix("=~").removeprefix("!=").removeprefix("!~").removeprefix("=").strip()
    if value[:1] == '"':
        after = re.match(_QUOTED, value, re.DOTALL)
        if after is None:
            return f'{shown(text)}: the quote is never closed (a quote inside is written \\")'
        tail = value[after.end() :].strip()
        if tail[0] == ",":
            return f"{shown(text)} holds several matchers; give each as an item of its own"
        return f"{shown(text)}: nothing can follow the value, {shown(tail)} does"
    return f"""{shown(text)}: put the value in double quotes: {name}{rest[: len(rest) - len(value)].strip()}"…\""""
