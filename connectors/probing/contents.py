"""What an answer's content says: expressions that match it, values out of JSON, and the options that ask for them.

The one law: expressions are RE2 and paths are RFC 9535 without functions that match, so no content makes them slow;
what is found is told to people as a short excerpt and never whole.
"""

import asyncio
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from math import isfinite
from typing import Annotated, Any, Final

import msgspec
import re2
from pydantic import Field

from connectors.net import plain
from connectors.network.trial import Failure, Trial
from rules.conditions.threshold import OPS, Op
from rules.typed import NumberText, OnOff, Shape, TextOf
from rules.words import shown

EXCERPT_CHARS_MAX: Final = 40
PATTERN_CHARS_MAX: Final = 2_000
PATTERN_BYTES_MAX: Final = 8 << 20  # of memory, compiled
PATH_CHARS_MAX: Final = 500
NODES_MAX: Final = 1_000  # that one path finds
CONTAINERS_MAX: Final = 100_000  # of one JSON: each takes some 100 bytes, and reading them holds up the whole process
INLINE_BYTES_MAX: Final = 16 << 10  # of JSON looked at in the loop; more is looked at in a thread
SIZE_MAX: Final = 64 << 20
_SIZE: Final = re.compile(r"([1-9][0-9]{0,9})(B|KiB|MiB)?")
_UNITS: Final = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SLOW: Final = re.compile(r"\.\.|\?|\$|\b(?:match|search)\s*\(")
_CHARSET: Final = re.compile(
    r"(?:iso-8859-[0-9]{1,2}|latin-?1|windows-125[0-8]|utf-16(?:le|be)?|koi8-[ru]|shift_jis|euc-(?:jp|kr)|gb18030|gbk|big5)"
)


# ---------------------------------------------------------------- options
def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(text)} is no size such as 512KiB or 2MiB")
    if (size := int(found[1]) * _UNITS[found[2]]) > SIZE_MAX:
        raise ValueError(f"at most {SIZE_MAX >> 20}MiB are read, not {shown(text)}")
    return size


def sized(size: int) -> str:
    """A size as people read it."""
    if size % (1 << 20) == 0:
        return f"{size >> 20} MiB"
    return f"{size >> 10} KiB" if size % 1024 == 0 else f"{size} bytes"


def _pattern(text: str) -> str:
    compiled(text)
    return text


def _capturing(text: str) -> str:
    if compiled(text).groups != 1:
        raise ValueError(f"{shown(text)} needs one group in parentheses: the number")
    return text


def _path(text: str) -> str:
    json_path(text)
    return text


def _field_name(text: str) -> str:
    if _FIELD.fullmatch(text) is None:
        raise ValueError(f"{shown(text)} cannot be a field: letters, digits and _ only, no digit first")
    return text


SizeText = Annotated[int, TextOf(_size, "size", pattern=f"^{_SIZE.pattern}$", type=["string", "integer"], minimum=1)]
PatternText = Annotated[str, TextOf(_pattern, "RE2 expression")]
CapturingText = Annotated[str, TextOf(_capturing, "RE2 expression with one group")]
PathText = Annotated[str, TextOf(_path, "JSON path", pattern=r"^\$")]
FieldName = Annotated[str, TextOf(_field_name, "name", pattern=f"^{_FIELD.pattern}$")]


class JsonCheck(Shape):
    """One thing that JSON must say, or a value that becomes a field. Without more than `path`: it must be there."""

    path: PathText = Field(description="JSONPath (RFC 9535); all that it finds is checked, and there must be something")
    equals: str | None = Field(None, description="the value as a text; numbers are compared as numbers")
    matches: PatternText | None = Field(None, description="RE2, anywhere in the value as a text")
    op: Op | None = Field(None, description="> >= < <= == !=, with `value`")
    value: NumberText | None = Field(None, description="the number that `op` compares with")
    absent: OnOff = Field("off", description="on: nothing may be found")
    field: FieldName | None = Field(None, description="the one value found becomes this field; true is 1, false 0")


def json_problem(checks: tuple[JsonCheck, ...]) -> tuple[tuple[str | int, ...], str] | None:
    """What is wrong between the parts of one of them: the path from the list, and why."""
    for index, one in enumerate(checks):
        if (one.op is None) != (one.value is None):
            return (index,), "op and value go together"
        wants = one.equals is not None or one.matches is not None or one.op is not None or one.field is not None
        if one.absent == "on" and wants:
            return (index, "absent"), "what may not be there has no value to check"
    return None


# ---------------------------------------------------------------- expressions
@lru_cache(maxsize=1_024)
def compiled(pattern: str) -> Any:
    """The RE2 expression over bytes, which looks anywhere. Raises ValueError saying why RE2 refuses it."""
    if len(pattern) > PATTERN_CHARS_MAX:
        raise ValueError(f"an expression may have {PATTERN_CHARS_MAX} characters, not {len(pattern)}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_BYTES_MAX
    try:
        return re2.compile(pattern.encode("utf-8", "surrogatepass"), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not an RE2 expression"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"RE2 refuses {shown(pattern)}: {plain(text)}") from None


def in_utf8(body: bytes, content_type: str | None) -> bytes:
    """A text as UTF-8, where its type names another encoding that is known; else as it is."""
    charset = (content_type or "").lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    if not charset or _CHARSET.fullmatch(charset) is None:
        return body
    try:
        return body.decode(charset, "replace").encode("utf-8", "replace")
    except LookupError:  # of some of these numbers there is none
        return body


def excerpt(content: bytes | str) -> str:
    """The beginning, for people: quoted, on one line, short."""
    if isinstance(content, bytes):
        content = content[: EXCERPT_CHARS_MAX * 4].decode("utf-8", "replace")
    line = plain(content[: EXCERPT_CHARS_MAX * 2])
    return shown(line if len(line) <= EXCERPT_CHARS_MAX else line[: EXCERPT_CHARS_MAX - 1] + "…")


def number_of(value: object) -> float | None:
    """The finite number that a value of JSON or a text stands for, or None."""
    if not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


# ---------------------------------------------------------------- JSON
@lru_cache(maxsize=1_024)
def json_path(text: str) -> Any:
    """The path, compiled. Raises ValueError for one that is wrong, or that some content could make slow."""
    from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError  # noqa: PLC0415 - only where a path is written

    if len(text) > PATH_CHARS_MAX:
        raise ValueError(f"a path may have {PATH_CHARS_MAX} characters, not {len(text)}")
    for word in set(found := _SLOW.findall(text[1:])):
        if word not in {"..", "?"}:
            raise ValueError(f"{shown(text)}: {word} is not taken within a path; a list of checks says the same")
        if found.count(word) > 1:
            raise ValueError(f"{shown(text)}: {word} is taken once, since some content would make it endless")
    try:
        return JSONPathEnvironment().compile(text)
    except (JSONPathError, RecursionError) as error:
        raise ValueError(f"{shown(text)} is no JSON path: {plain(str(error).partition(', line')[0])}") from None


async def check_json(trial: Trial, body: bytes, checks: tuple[JsonCheck, ...]) -> None:
    """Check the content and write the fields it gives."""
    if len(body) > INLINE_BYTES_MAX:
        found = await asyncio.to_thread(_found, body, checks)
    else:
        found = _found(body, checks)
    try:
        for check, values in zip(checks, found, strict=True):
            _judge(trial, check, values)
    except RecursionError:  # to write it takes more room than to read it
        raise _too_deep() from None


def _found(body: bytes, checks: tuple[JsonCheck, ...]) -> list[list[object]]:
    """What each path finds."""
    if body.count(b"[") + body.count(b"{") > CONTAINERS_MAX:
        raise Failure("limit", f"the body is JSON of more than {CONTAINERS_MAX} lists and maps")
    try:
        content = msgspec.json.decode(body)
        return [[node.value for node in islice(_nodes(one, content), NODES_MAX)] for one in checks]
    except msgspec.DecodeError as error:
        said = f"the body is not JSON: {plain(error)}; it begins with {excerpt(body)}"
        raise Failure("body", said) from None
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> Failure:
    return Failure("body", "the body is JSON within JSON, too deep to be looked at")


def _nodes(check: JsonCheck, content: object) -> Iterator[Any]:
    from jsonpath_rfc9535 import JSONPathRecursionError  # noqa: PLC0415 - as above

    try:
        yield from json_path(check.path).finditer(content)
    except JSONPathRecursionError:
        raise RecursionError from None


def _judge(trial: Trial, check: JsonCheck, values: list[object]) -> None:
    name = f"json {check.path}"
    if check.absent == "on":
        trial.check(name, not values, f"{check.path} is there" if values else "absent", "value")
        return
    if not values:
        trial.check(name, held=False, said=f"{check.path} finds nothing", outcome="value")
        return
    for value in values:
        if (problem := _problem(check, value)) is not None:
            trial.check(name, held=False, said=f"{check.path} is {excerpt(_text(value))}, {problem}", outcome="value")
            return
    if check.field is not None:
        number = number_of(values[0]) if len(values) == 1 else None
        if number is None:
            said = f"is {excerpt(_text(values[0]))}, no number" if len(values) == 1 else f"finds {len(values)} values"
            trial.check(name, held=False, said=f"{check.path} {said}", outcome="value")
            return
        trial.fields[check.field] = number
    trial.check(name, held=True, said=excerpt(_text(values[0])) if len(values) == 1 else f"{len(values)} values")


def _problem(check: JsonCheck, value: object) -> str | None:
    """Why a value is not as it should be."""
    text = _text(value)
    if check.equals is not None and not _equal(value, text, check.equals):
        return f"not {shown(check.equals)}"
    if check.matches is not None and compiled(check.matches).search(text.encode("utf-8", "replace")) is None:
        return f"which does not match {shown(check.matches)}"
    if check.op is not None and check.value is not None:
        number = number_of(value)
        if number is None:
            return "no number"
        if not OPS[check.op](number, check.value):
            return f"not {check.op} {check.value:g}"
    return None


def _equal(value: object, text: str, wanted: str) -> bool:
    if text == wanted:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return number_of(wanted) == number_of(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8", "replace")
