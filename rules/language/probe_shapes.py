"""The shape of a probe: what may stand under `probes` in a rule file.

The one law: as in `shapes.py`, a key is declared here once, with its meaning; what stands under a kind's own name, the
kind declares.
"""

import re
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, field_validator, model_validator

from rules.instants import MINUTE, Span, parse_span
from rules.policy import EVERYWHERE
from rules.probing import OWN, PLACEHOLDER, TARGETS_MAX
from rules.typed import SPAN_PATTERN, Id, LongSpanText, OnOff, Shape, TextOf
from rules.words import shown

TARGET_CHARS_MAX: Final = 1_000
DISCOVERIES_MAX: Final = 100  # of one probe
LOCATIONS_MAX: Final = 1_000
LABELS_MAX: Final = 50
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
_LOCATION: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


def _label(text: str) -> str:
    if text in OWN:
        raise ValueError(f"{shown(text)} is given to each sample by ticketd itself; take another name")
    if re.fullmatch(_NAME, text) is None:
        raise ValueError(f"{shown(text)} is no name of a label: letters, digits and _ only, no digit first")
    return text


def _location(text: str) -> str:
    if text != EVERYWHERE and re.fullmatch(_LOCATION, text) is None:
        raise ValueError(
            f'{shown(text)} is no location: a name of letters, digits and _ . -, or "{EVERYWHERE}" for all'
        )
    return text


def _target(text: str) -> str:
    if not text.strip():
        raise ValueError("cannot be empty")
    if text != text.strip() or not text.isprintable():
        raise ValueError(f"{shown(text)} has a blank at an end, or a character that cannot be seen")
    if len(text) > TARGET_CHARS_MAX:
        raise ValueError(f"a target may have {TARGET_CHARS_MAX} characters, not {len(text)}")
    return text


def _template(text: str) -> str:
    if (count := _target(text).count(PLACEHOLDER)) != 1:
        said = "does not hold" if not count else f"holds {count} times"
        raise ValueError(f"{shown(text)} {said} {PLACEHOLDER}, where each target is put in; write it once")
    return text


def _timeout(text: str) -> Span:
    if (span := parse_span(text)) <= 0:
        raise ValueError("must be longer than nothing")
    return span


LabelKey = Annotated[str, TextOf(_label, "label", allOf=[{"pattern": f"^(?!({'|'.join(OWN)})$){_NAME}$"}])]
ProbeLabels = dict[LabelKey, Annotated[str, Field(min_length=1)]]
TargetText = Annotated[str, TextOf(_target, "target", minLength=1, maxLength=TARGET_CHARS_MAX)]
TargetTemplate = Annotated[str, TextOf(_template, "text", pattern=r"\{target\}")]
LocationText = Annotated[str, TextOf(_location, "location", pattern=rf"^(\*|{_LOCATION})$")]
TimeoutText = Annotated[Span, TextOf(_timeout, "duration", pattern=f"^{SPAN_PATTERN}$")]


class ProbeTargetShape(Shape):
    """One thing that is looked at; as a text, only its target."""

    target: TargetText = Field(description="what is looked at, as the kind writes it")
    labels: ProbeLabels = Field(
        default_factory=dict, max_length=LABELS_MAX, description="of its samples, over those of the probe"
    )

    @model_validator(mode="before")
    @classmethod
    def _one_text(cls, raw: object) -> object:
        return {"target": raw} if isinstance(raw, str) else raw


class ProbeShape(Shape):
    """What ticketd looks at by itself; beside these keys, one of the kind's name that holds its options."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any]

    id: Id = Field(description="the label `probe` of its samples")
    kind: str = Field(description="how it looks: a kind of probe")
    targets: list[ProbeTargetShape] = Field(
        default_factory=list, max_length=TARGETS_MAX, description="what it looks at: texts, or {target, labels}"
    )
    discover: list[dict[str, Any]] = Field(
        default_factory=list, max_length=DISCOVERIES_MAX, description="where further targets are found: [{KIND: {…}}]"
    )
    template: TargetTemplate | None = Field(
        None, alias="as", description="a text with {target} in it, where each target is put in"
    )
    interval: LongSpanText = Field(MINUTE, description="how often it looks at each target; at least 1s")
    timeout: TimeoutText | None = Field(
        None, description="how long one look may take; default: 10s, or the interval where that is less"
    )
    labels: ProbeLabels = Field(default_factory=dict, max_length=LABELS_MAX, description="of its samples")
    location: list[LocationText] | None = Field(
        None,
        min_length=1,
        max_length=LOCATIONS_MAX,
        description='where it runs: one, a list, or "*" for all; default: only where the tickets are kept',
    )
    credentials: str | None = Field(None, description="the NAME of [credentials.NAME] in config.toml")
    reference: OnOff = Field("off", description="on: when most of its targets fail, it is our own network that does")

    @field_validator("location", mode="before")
    @classmethod
    def _one_location(cls, raw: object) -> object:
        """One location may stand without brackets."""
        return [raw] if isinstance(raw, str) else raw
