"""`/heartbeats/{job}`, and `/start`, `/fail` or an exit code behind it: a job says that it lives, with any method.

The one law: one request is one sample of the job, and nothing in its body changes that; a job that says something else
than those words is told what there is.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from connectors import alerts
from connectors.base import NO_CALL, Call, Parsed, Problem, RefusedBodyError, Source, UnknownCallError
from rules.events import SamplesReceived
from rules.instants import Instant
from rules.model import Sample
from rules.words import meant, shown

JOB_CHARS_MAX: Final = 200
LABELS_MAX: Final = 20
EXIT_CODE_MAX: Final = 255
START: Final = "start"
FAIL: Final = "fail"
LABEL: Final = "label"  # the only parameter of the query

_LABEL: Final = re.compile(r"([^=]{1,200})=(.{0,1000})", re.DOTALL)
_EXIT_CODE: Final = re.compile(r"\d{1,3}", re.ASCII)


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
    }
    example: ClassVar[bytes] = b""
    example_call: ClassVar[Call] = Call(("backup", "0"), (("label", "host=db1"),))

    def __init__(self, options: Options | None = None) -> None:
        """Without options as with the defaults."""
        self.options = options or self.Options()

    def parse(self, body: bytes, *, sender: str, received_at: Instant, call: Call = NO_CALL) -> Parsed:  # noqa: ARG002 - what a job prints is not judged
        """One event of one sample. Raises UnknownCallError for another word, RefusedBodyError for a bad query."""
        job, *words = call.path or ("",)
        fields = _fields(words)
        problems = [Problem("job", f"must have 1 to {JOB_CHARS_MAX} characters", "bad_call")]
        if 1 <= len(job) <= JOB_CHARS_MAX:
            problems.clear()
        job = alerts.fit_text(job)
        labels = {"job": job}
        if len(call.query) > LABELS_MAX:
            raise RefusedBodyError([Problem(LABEL, f"a heartbeat may have {LABELS_MAX} labels", "bad_label")])
        for name, value in call.query:
            if (said := _label(labels, name, value)) is not None:
                problems.append(Problem(alerts.fit_text(name, alerts.PATH_CHARS_MAX), said, "bad_label"))
        if problems:
            raise RefusedBodyError(problems)
        sample = Sample(alerts.fingerprint(labels), labels, received_at, fields)
        return Parsed(SamplesReceived("heartbeat", sender, received_at, (sample,)))


def _fields(words: list[str]) -> dict[str, float]:
    match words:
        case []:
            return {"ok": 1.0}
        case [word] if word == START:
            return {"start": 1.0}
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
        return f"unknown parameter; labels are given as {LABEL}=name=value"
    found = _LABEL.fullmatch(value)
    if found is None:
        return f"must be name=value, of 200 and 1000 characters at most, not {shown(value)}"
    label, text = alerts.fit_text(found[1]), alerts.fit_text(found[2])
    if not text:  # without a value it is no label
        return None
    if labels.setdefault(label, text) != text:
        return f"{shown(label)} is {shown(labels[label])} already"
    return None
