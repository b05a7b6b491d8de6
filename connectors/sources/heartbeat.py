"""`/heartbeats/{job}`, and `/start`, `/fail` or an exit code behind it: a job says that it lives, with any method.

The one law: one request is one sample of the job. Its body is a note for people: whatever it holds, it is taken, and
nothing is judged by it. A job that says something else than those words is told what there is.
"""

import codecs
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from connectors import alerts
from connectors.base import NO_CALL, Call, Parsed, Problem, RefusedBodyError, Source, UnknownCallError
from rules.conditions.run import RUN_FIELD, START_FIELD, run_number
from rules.events import SamplesReceived
from rules.instants import Instant
from rules.model import NOTE_CHARS_MAX, Labels, Sample
from rules.words import listed, meant, shown

JOB_CHARS_MAX: Final = 200
LABELS_MAX: Final = 20
EXIT_CODE_MAX: Final = 255
START: Final = "start"
FAIL: Final = "fail"
LABEL: Final = "label"  # the parameters of the query
RUN: Final = "run"
RUN_CHARS_MAX: Final = 100
REMEMBERED_MAX: Final = 16_384  # label sets; these and their texts stay below some 25 MB
REMEMBERED_CHARS_MAX: Final = 200

Pairs = tuple[tuple[str, str], ...]
_LABEL: Final = re.compile(r"([^=]{1,200})=(.{0,1000})", re.DOTALL)
_EXIT_CODE: Final = re.compile(r"\d{1,3}", re.ASCII)
_NOTE_BYTES: Final = (
    4 * NOTE_CHARS_MAX
)  # of a body: what its first characters have at most, and some for what is left out
_COLOURS: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])"
)  # as terminals take them
_UNSEEN: Final = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_CUT: Final = " …"
_ODD_MAX: Final = 0.1  # share of characters that are none, beyond which a body is no text


class Connector(Source):
    """The source `heartbeat`."""

    class Options(BaseModel):
        """Nothing about this source can be set."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    path: ClassVar[str] = "/heartbeats/{job}"
    more_paths: ClassVar[tuple[str, ...]] = ("/heartbeats/{job}/{signal}",)
    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST")
    keyed: ClassVar[bool] = True
    summary: ClassVar[str] = "A heartbeat of a job"
    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "job": {"type": "string", "minLength": 1, "maxLength": JOB_CHARS_MAX},
        "signal": {"type": "string", "pattern": rf"^({START}|{FAIL}|[01]?[0-9]{{1,2}}|2[0-4][0-9]|25[0-5])$"},
        LABEL: {"type": "array", "maxItems": LABELS_MAX, "items": {"type": "string", "pattern": r"^[^=]{1,200}="}},
        RUN: {"type": "string", "maxLength": RUN_CHARS_MAX},
    }
    example: ClassVar[bytes] = b""
    example_call: ClassVar[Call] = Call(("backup", "0"), (("label", "host=db1"), ("run", "2026-03-02")))

    def __init__(self, options: Options | None = None) -> None:
        """Without options as with the defaults."""
        self.options = options or self.Options()

    def parse(self, body: bytes, *, sender: str, received_at: Instant, call: Call = NO_CALL) -> Parsed:
        """One event of one sample. Raises UnknownCallError for another word, RefusedBodyError for a bad query."""
        job, *words = call.path or ("",)
        fields = _fields(words)
        pairs = call.query
        if len(pairs) > 1 or (pairs and pairs[0][0] != LABEL):
            pairs = _without_run(pairs, fields)
        size = len(job) + sum([len(value) for _, value in pairs])
        labels, fingerprint = (_remembered if size <= REMEMBERED_CHARS_MAX else _identity)(job, pairs)
        sample = Sample(fingerprint, labels, received_at, fields, note(body) if body else "")
        return Parsed(SamplesReceived("heartbeat", sender, received_at, (sample,)))


def note(body: bytes) -> str:
    """The first NOTE_CHARS_MAX characters of what a job prints, as people can read them; the rest is left out.

    What is no UTF-8 is U+FFFD, what cannot be seen a sign for it, and what moves or colours a terminal is left out. Of
    a body that is no text only its size is told.
    """
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(body[:_NOTE_BYTES], final=len(body) <= _NOTE_BYTES)
    odd = text.count("\ufffd")
    if not text.isprintable():  # it has several lines, or worse
        text = _COLOURS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        text, signs = _UNSEEN.subn(_sign, text)
        odd += signs
    if odd > _ODD_MAX * len(text):
        return f"[{len(body)} bytes that are no text]"
    text = text.strip()
    if len(text) <= NOTE_CHARS_MAX and len(body) <= _NOTE_BYTES:
        return text
    return (text[: NOTE_CHARS_MAX - len(_CUT)].rstrip() + _CUT).strip()


def _sign(found: re.Match[str]) -> str:
    """The picture of a control character; U+FFFD for what has none."""
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"  # noqa: PLR2004 - as Unicode has them


def _without_run(query: Pairs, fields: dict[str, float]) -> Pairs:
    """The query's other parameters; the run that it names is put among the fields. Raises RefusedBodyError."""
    names = {value for name, value in query if name == RUN and value}  # without a value it names none
    if any(len(name) > RUN_CHARS_MAX for name in names):
        raise RefusedBodyError([Problem(RUN, f"must have {RUN_CHARS_MAX} characters at most", "bad_run")])
    if len(names) > 1:
        said = f"must be one, not {listed(sorted(names))}"
        raise RefusedBodyError([Problem(RUN, said, "bad_run")])
    fields.update((RUN_FIELD, run_number(name)) for name in names)
    return tuple([one for one in query if one[0] != RUN])


def _identity(job: str, pairs: Pairs) -> tuple[Labels, str]:
    """The labels and their fingerprint. Raises RefusedBodyError with every mistake."""
    problems: list[Problem] = []
    if not 1 <= len(job) <= JOB_CHARS_MAX:
        problems.append(Problem("job", f"must have 1 to {JOB_CHARS_MAX} characters", "bad_call"))
    if len(pairs) > LABELS_MAX:
        raise RefusedBodyError([Problem(LABEL, f"a heartbeat may have {LABELS_MAX} labels", "bad_label")])
    labels = {"job": alerts.fit_text(job)}
    for name, value in pairs:
        if (said := _label(labels, name, value)) is not None:
            problems.append(Problem(alerts.fit_text(name, alerts.PATH_CHARS_MAX), said, "bad_label"))
    if problems:
        raise RefusedBodyError(problems)
    return labels, alerts.fingerprint(labels)


_remembered: Final = lru_cache(maxsize=REMEMBERED_MAX)(_identity)  # each job says the same of itself every time


def _fields(words: list[str]) -> dict[str, float]:
    match words:
        case []:
            return {"ok": 1.0}
        case [word] if word == START:
            return {START_FIELD: 1.0}
        case [word] if word == FAIL:
            return {"ok": 0.0}
        case [code] if _EXIT_CODE.fullmatch(code) and int(code) <= EXIT_CODE_MAX:
            return {"ok": float(int(code) == 0), "exit_code": float(code)}
        case _:
            near = meant(words[0], (START, FAIL))
            raise UnknownCallError(
                f"behind the job may stand {START}, {FAIL} or an exit code from 0 to {EXIT_CODE_MAX}, not "
                f"{shown('/'.join(words))}{near}"
            )


def _label(labels: dict[str, str], name: str, value: str) -> str | None:
    """Put the label that one parameter of the query gives among the others. Why it cannot be, or None."""
    if name != LABEL:
        return f"unknown parameter; there are {LABEL}=name=value and {RUN}=ID"
    found = _LABEL.fullmatch(value)
    if found is None:
        return f"must be name=value, of 200 and 1000 characters at most, not {shown(value)}"
    label, text = alerts.fit_text(found[1]), alerts.fit_text(found[2])
    if not text:  # without a value it is no label
        return None
    if labels.setdefault(label, text) != text:
        return f"{shown(label)} is {shown(labels[label])} already"
    return None
