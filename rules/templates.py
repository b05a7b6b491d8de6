"""Text templates of rule files: `{{ labels.x }}` and a short list of filters. Parsed once, rendered often.

The one law: a template substitutes and formats, nothing else. There are no loops, no conditions and no calls, and the
work and the output of a render are bounded whatever the labels hold, so a sender can never make one slow or large.

    {{ labels.service }} {{ annotations.summary }} {{ value }} {{ fields.latency_ms }}
    {{ labels["a name with blanks"] }} {{ "{{" }}
    {{ labels.env | default:"all" | upper }} {{ annotations.text | truncate:80 }} {{ labels.a | replace:"_"," " }}
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

OUTPUT_CHARS_MAX: Final = 65_536
TEXT_CHARS_MAX: Final = 65_536  # of a template as it is written
SLOTS_MAX: Final = 100  # `{{ }}` in one template
FILTERS_MAX: Final = 8  # in one slot
WORK_CHARS_MAX: Final = 131_072  # characters that the filters of one render may go through: some milliseconds

Value = str | int | float
_Filter = Callable[[str], str]
_NOTHING: Final[Mapping[str, str]] = {}


def _text(value: Value | None) -> str:
    """A value as people write it: no exponent before it is needed, no trailing zeros; nothing is ""."""
    if value is None:
        return ""
    return value if isinstance(value, str) else format(value, ".10g") if isinstance(value, float) else str(value)


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _default(instead: str) -> _Filter:
    return lambda text: text or instead


def _truncate(chars: int) -> _Filter:
    return lambda text: text if len(text) <= chars else text[: chars - 1] + "…"


def _round(digits: int) -> _Filter:
    """A number with so many digits behind the point; what is no number stays as it is."""

    def rounded(text: str) -> str:
        if len(text) > NUMBER_CHARS_MAX or _NUMBER.fullmatch(text) is None:
            return text
        shown = f"{float(text):.{digits}f}"
        return shown.removeprefix("-") if not float(shown) else shown  # no "-0"

    return rounded


def _replace(old: str, new: str) -> _Filter:
    def replaced(text: str) -> str:
        if len(new) > len(old):  # the only filter that can grow: no further than what may be put out
            growth = len(new) - len(old)
            return text.replace(old, new, max(0, OUTPUT_CHARS_MAX - len(text)) // growth)
        return text.replace(old, new)

    return replaced


def _cut(out: list[str]) -> tuple[str, str | None]:
    whole = "".join(out)
    if len(whole) > OUTPUT_CHARS_MAX:
        return whole[:OUTPUT_CHARS_MAX], f"a template's text was cut at {OUTPUT_CHARS_MAX} characters"
    return whole, None


NUMBER_CHARS_MAX: Final = 30
DIGITS_MAX: Final = 10
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_PLAIN_FILTERS: Final[Mapping[str, _Filter]] = {
    "lower": str.lower,
    "title": _title,
    "trim": str.strip,
    "upper": str.upper,
}
_FILTERS_WITH: Final = {"default": 1, "replace": 2, "round": 1, "truncate": 1}  # how many arguments
FILTERS: Final = tuple(sorted({*_PLAIN_FILTERS, *_FILTERS_WITH}))
ROOTS: Final = ("labels", "annotations", "value", "fields")


@dataclass(frozen=True, slots=True)
class _Slot:
    root: str
    name: str
    filters: tuple[_Filter, ...]


_Part = str | _Slot


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. Two are equal when they are written alike."""

    text: str
    parts: tuple[_Part, ...] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Reads a template. Raises ValueError saying what is wrong and at which character."""
        if len(text) > TEXT_CHARS_MAX:
            raise ValueError(f"a template holds at most {TEXT_CHARS_MAX} characters, this one {len(text)}")
        return cls(text, _parse(text))

    @property
    def roots(self) -> frozenset[str]:
        """What it shows something of: words of ROOTS."""
        return frozenset(part.root for part in self.parts if isinstance(part, _Slot))

    def render(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str] = _NOTHING,
        value: Value | None = None,
        fields: Mapping[str, Value] = _NOTHING,
    ) -> tuple[str, str | None]:
        """The text, and what went wrong with it, or None.

        What is missing is "" and no error (`default` gives it another text). What is too long is cut at
        OUTPUT_CHARS_MAX characters, and the second half of the answer says so. Never raises.
        """
        out: list[str] = []
        work = 0
        for part in self.parts:
            if type(part) is str:
                out.append(part)
                continue
            root, name = part.root, part.name  # type: ignore[union-attr]  # it is a slot
            have: Value | None
            if root == "labels":
                have = labels.get(name)
            elif root == "annotations":
                have = annotations.get(name)
            else:
                have = value if root == "value" else fields.get(name)
            text = have if type(have) is str else _text(have)
            for one in part.filters:  # type: ignore[union-attr]
                text = one(text[:OUTPUT_CHARS_MAX])
                work += len(text)
                if work > WORK_CHARS_MAX:
                    out.append(text)
                    return _cut(out)[0], f"a template's filters would go through more than {WORK_CHARS_MAX} characters"
            out.append(text if len(text) <= OUTPUT_CHARS_MAX else text[: OUTPUT_CHARS_MAX + 1])  # never joined whole
        return _cut(out)

    def __str__(self) -> str:
        """As it is written in a file."""
        return self.text


_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_TOKEN: Final = re.compile(
    rf"\s*(?:(?P<string>{_STRING})|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>\d+)|(?P<mark>[|:,.\[\]])|(?P<end>\}}\}}))",
    re.ASCII | re.DOTALL,
)
_SIMPLE: Final = re.compile(r"\{\{\s*(labels|annotations|fields)\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}", re.ASCII)
_FOREIGN: Final = re.compile(r"\s*([$.]([A-Za-z]+))", re.ASCII)  # as Prometheus and Alertmanager write it
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


def _unquote(quoted: str) -> str:
    def one(found: re.Match[str]) -> str:
        if (char := _ESCAPES.get(found[1])) is None:
            raise ValueError(f'\\{found[1]} means nothing in a text; only \\n, \\t, \\" and \\\\ do')
        return char

    return _ESCAPE.sub(one, quoted[1:-1])


def _parse(text: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    at = slots = 0
    while (opens := text.find("{{", at)) >= 0:
        if opens > at:
            parts.append(text[at:opens])
        slots += 1
        if slots > SLOTS_MAX:
            raise ValueError(f"a template holds at most {SLOTS_MAX} {{{{ }}}}")
        if (simple := _SIMPLE.match(text, opens)) is not None:  # nearly all are; a tenth of the reader's cost
            parts.append(_Slot(simple[1], simple[2], ()))
            at = simple.end()
            continue
        part, at = _Reader(text, opens).slot()
        parts.append(part)
    if at < len(text):
        parts.append(text[at:])
    return tuple(parts)


class _Reader:
    """Reads one `{{ … }}`. Bounded by the text, for each token moves it forward."""

    def __init__(self, text: str, opens: int) -> None:
        self.text, self.opens, self.at = text, opens, opens + 2

    def fail(self, what: str) -> ValueError:
        return ValueError(f"at character {self.opens + 1} of the template: {what}")

    def token(self) -> tuple[str, str]:
        found = _TOKEN.match(self.text, self.at)
        if found is None:
            rest = self.text[self.at :].strip()
            if not rest:
                raise self.fail("`{{` has no `}}`")
            raise self.fail(f"`{rest[0]}` means nothing here")
        self.at = found.end()
        kind = found.lastgroup or ""
        return kind, found[kind]

    def slot(self) -> tuple[_Part, int]:
        if (foreign := _FOREIGN.match(self.text, self.at)) is not None:
            ours = foreign[2].lower().removesuffix("value") and f"{foreign[2].lower()}.NAME"
            raise self.fail(f"`{foreign[1]}` is another system's way; write `{{{{ {ours or 'value'} }}}}`")
        kind, word = self.token()
        literal: str | None = None
        root = name = ""
        if kind == "string":
            literal = self.unquote(word)
            kind, word = self.token()
        elif kind == "name":
            root, name, (kind, word) = self.source(word)
        else:
            raise self.fail(f'one of {", ".join(ROOTS)} or a "text" is wanted, not `{word}`')
        filters: list[_Filter] = []
        while (kind, word) == ("mark", "|"):
            one, (kind, word) = self.filter()
            filters.append(one)
            if len(filters) > FILTERS_MAX:
                raise self.fail(f"at most {FILTERS_MAX} filters can follow one another")
        if kind != "end":
            raise self.fail(f"`}}}}` or `|` is wanted, not `{word}`")
        if literal is None:
            return _Slot(root, name, tuple(filters)), self.at
        for one in filters:
            literal = one(literal)
        return literal, self.at

    def source(self, root: str) -> tuple[str, str, tuple[str, str]]:
        if root not in ROOTS:
            near = get_close_matches(root.lower(), ROOTS, 1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; there are {', '.join(ROOTS)}"
            raise self.fail(f"`{root}` is nothing that a template can show{hint}")
        following = self.token()
        if root == "value":
            return root, "", following
        if following == ("mark", "."):
            kind, name = self.token()
            if kind != "name":
                raise self.fail(f'a name is wanted after `{root}.`, not `{name}`; write {root}["…"] for other names')
            return root, name, self.token()
        if following == ("mark", "["):
            kind, quoted = self.token()
            if kind != "string" or self.token() != ("mark", "]"):
                raise self.fail(f'{root}["…"] wants a name in double quotes')
            return root, self.unquote(quoted), self.token()
        raise self.fail(f"`{root}` wants a name: `{root}.NAME`")

    def filter(self) -> tuple[_Filter, tuple[str, str]]:
        kind, name = self.token()
        if kind != "name" or name not in FILTERS:
            near = get_close_matches(name.lower(), FILTERS, 1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; there are {', '.join(FILTERS)}"
            raise self.fail(f"`{name}` is no filter{hint}")
        following = self.token()
        args: list[str | int] = []
        if following == ("mark", ":"):
            while True:
                kind, word = self.token()
                if kind not in {"string", "number"}:
                    raise self.fail(f'`{name}:` wants a "text" or a number, not `{word}`')
                args.append(self.unquote(word) if kind == "string" else int(word[:9]))
                following = self.token()
                if following != ("mark", ",") or len(args) > 2:  # noqa: PLR2004 - no filter takes more
                    break
        return self.made(name, args), following

    def made(self, name: str, args: list[str | int]) -> _Filter:
        match name, args:
            case (("upper" | "lower" | "title" | "trim"), []):
                return _PLAIN_FILTERS[name]
            case "default", [str(instead)]:
                return _default(instead)
            case "truncate", [int(chars)] if chars > 0:
                return _truncate(chars)
            case "round", [int(digits)] if digits <= DIGITS_MAX:
                return _round(digits)
            case "replace", [str(old), str(new)] if old:
                return _replace(old, new)
            case _:
                wanted = {
                    "default": 'default:"text"',
                    "round": "round:1",
                    "truncate": "truncate:80",
                    "replace": 'replace:"old","new"',
                }.get(name, f"{name}, without arguments")
                raise self.fail(f"`{name}` is written {wanted}")

    def unquote(self, quoted: str) -> str:
        try:
            return _unquote(quoted)
        except ValueError as error:
            raise self.fail(str(error)) from None
