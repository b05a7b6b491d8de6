"""The layers that settings come from (file, environment, command line), merged with where each value came from.

The one law: a value never loses its origin, so every error names the line of the file, the variable or the option it
is about. Secrets are read from files here, and are never put into a message.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from daemon.toml_places import Path as KeyPath
from daemon.toml_places import Places

PREFIX: Final = "TICKETD_"
CONFIG_BYTES_MAX: Final = 1 << 20
SECRET_BYTES_MAX: Final = 64 << 10
NOT_SETTINGS: Final = frozenset({"url", "token_file", "by", "config"})  # what the command line's client reads
_AT: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong with the settings. `line` 0: not from a file, and `where` names the variable or the option."""

    where: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """`FILE:LINE:COL: message`, or `ORIGIN: message`."""
        return (
            f"{self.where}:{self.line}:{self.column}: {self.message}" if self.line else f"{self.where}: {self.message}"
        )


class ConfigError(Exception):
    """The settings cannot be used. `problems` holds every reason at once, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """At least one problem."""
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Layers:
    """The merged values, who said each, and what was wrong on the way."""

    values: dict[str, Any] = field(default_factory=dict)
    file: str = ""
    places: Places | None = None
    origins: dict[KeyPath, str] = field(default_factory=dict)  # of values that are not the file's
    problems: list[Problem] = field(default_factory=list)
    unread: set[KeyPath] = field(
        default_factory=set
    )  # keys whose file could not be read: not missing, but told already

    def problem(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        """Note a problem of the value (or of the key) at `path`."""
        for length in range(len(path), 0, -1):
            origin = self.origins.get(path[:length])
            if origin is not None:
                self.problems.append(Problem(origin, 0, 0, message))
                return
        if self.places is None:
            self.problems.append(Problem(".".join(map(str, path)) or "settings", 0, 0, message))
            return
        place = self.places.of_key(path) if at_key else self.places.of_value(path)
        self.problems.append(Problem(self.file, place.line, place.column, message))

    def put(self, path: KeyPath, value: object, origin: str) -> None:
        """Set a value that an outer layer gives."""
        table = self.values
        for name in path[:-1]:
            inner = table.setdefault(str(name), {})
            if not isinstance(inner, dict):
                self.origins[path] = origin
                self.problem(path, f"{name} is no table, so {'.'.join(map(str, path))} cannot be set in it")
                return
            table = inner
        table[str(path[-1])] = value
        self.origins[path] = origin


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing where no known word is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else f"; known: {', '.join(names[:12])}" if names else ""


def read_file(layers: Layers, file: Path) -> None:
    """The innermost layer. Raises ConfigError when there is no text to go on with."""
    name = str(file)
    layers.file = name
    try:
        with file.open("rb") as opened:
            data = opened.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError([Problem(name, 0, 0, f"cannot be read: {error.strerror or error}")]) from None
    if len(data) > CONFIG_BYTES_MAX:
        raise ConfigError([Problem(name, 0, 0, f"is larger than {CONFIG_BYTES_MAX >> 20} MiB")])
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1
        raise ConfigError([Problem(name, line, column, "is not UTF-8 text")]) from None
    try:
        layers.values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _AT.search(str(error))
        lines = text.split("\n")
        line, column = (int(found[1]), int(found[2])) if found else (len(lines), len(lines[-1]) + 1)
        said = str(error).replace(" (at end of document)", " at the end of the file")
        raise ConfigError([Problem(name, line, column, _AT.sub("", said))]) from None
    except RecursionError:
        raise ConfigError([Problem(name, 1, 1, "is nested too deeply")]) from None
    layers.places = Places(text)


def resolve_paths(layers: Layers, model: type[BaseModel], folder: Path) -> None:
    """Paths that the config file names are relative to its folder. Those of `*_file` keys: see `read_secrets`."""
    if isinstance(rules := layers.values.get("rules"), str):
        layers.values["rules"] = [rules]
    for _, table, fields in _tables(layers.values, model, ()):
        for key, found in fields.items():
            if _is_path(found.annotation) and not key.endswith("_file"):
                match table.get(key):
                    case str() as path:
                        table[key] = str(folder / path)
                    case list() as paths:
                        table[key] = [str(folder / one) if isinstance(one, str) else one for one in paths]


def _is_path(annotation: object) -> bool:
    return annotation is Path or any(_is_path(one) for one in get_args(annotation))


def read_environment(layers: Layers, environ: Mapping[str, str], model: type[BaseModel]) -> None:
    """The middle layer: `TICKETD_SMTP__PORT`. Single names that look like no setting are not ours: left alone."""
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable == PREFIX:
            continue
        parts = variable[len(PREFIX) :].lower().split("__")
        known = set(model.model_fields)
        if parts[0] not in known and parts[0].removesuffix("_file") not in known:
            if len(parts) == 1 and parts[0] in NOT_SETTINGS:
                continue
            if near := difflib.get_close_matches(parts[0], sorted(known), n=1, cutoff=0.8):
                meant = PREFIX + "__".join([near[0], *parts[1:]]).upper()
                layers.problems.append(Problem(variable, 0, 0, f"is no setting; did you mean {meant}?"))
            continue
        path = _spelled(parts, layers.values)
        layers.put(path, _parsed(environ[variable], annotation_at(model, path)), variable)


def _spelled(parts: list[str], values: object) -> KeyPath:
    """The path with names as the file spells them, where it has them: a variable's name has neither case nor dashes."""
    path: list[str] = []
    for part in parts:
        known = values if isinstance(values, dict) else {}
        name = next((one for one in known if one.lower().replace("-", "_") == part), part)
        path.append(name)
        values = known.get(name)
    return tuple(path)


def _parsed(text: str, annotation: object) -> object:
    """Lists are JSON or separated by commas; everything else is text for the model to read."""
    if get_origin(annotation) not in {tuple, list, frozenset}:
        return text
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return [part.strip() for part in text.split(",") if part.strip()]


def annotation_at(model: type[BaseModel], path: KeyPath) -> object:
    """The annotation of the field that `path` leads to; None where there is none."""
    annotation: object = model
    for name in path:
        inner = model_of(annotation)
        if inner is not None:
            found = keys_of(inner).get(str(name))
            annotation = found.annotation if found else None
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            return None
    return annotation


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields by the names that a file calls them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def model_of(annotation: object) -> type[BaseModel] | None:
    """The model behind an annotation, `None` among its alternatives set aside."""
    if get_origin(annotation) in {Union, UnionType}:
        annotation = next((one for one in get_args(annotation) if one is not type(None)), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def read_secrets(layers: Layers, model: type[BaseModel], folder: Path) -> None:
    """Puts the content of the file that a `*_file` key names into the key it stands for, where the model has that."""
    for path, table, fields in list(_tables(layers.values, model, ())):
        for key in [one for one in table if one.endswith("_file")]:
            here = (*path, key)
            bare = key.removesuffix("_file")
            if (key not in fields and bare not in fields) or table[key] is None:
                continue
            if not isinstance(table[key], str):
                layers.problem(here, f"{key} must be the name of a file")
                table.pop(key)
                continue
            file = Path(table[key]) if _outer(layers, here) else folder / table[key]
            if key in fields:
                table[key] = str(file)
            secret = _secret(layers, here, file)
            if key in fields:
                continue
            table.pop(key)
            if secret is None:
                layers.unread.add((*path, bare))
            if bare in table and not (_outer(layers, here) and not _outer(layers, (*path, bare))):
                layers.problem(here, f"{bare} and {key} are both given: keep one", at_key=True)
            elif secret is not None:
                table[bare] = secret
                layers.origins[(*path, bare)] = _origin(layers, here)


def _outer(layers: Layers, path: KeyPath) -> bool:
    return path in layers.origins


def _origin(layers: Layers, path: KeyPath) -> str:
    if path in layers.origins:
        return layers.origins[path]
    place = layers.places.of_value(path) if layers.places else None
    return f"{layers.file}:{place.line}:{place.column}" if place else layers.file


def _tables(
    value: object, annotation: object, path: KeyPath
) -> Iterator[tuple[KeyPath, dict[str, Any], Mapping[str, FieldInfo]]]:
    """Every table of the values with the fields of the model that it must fit."""
    if not isinstance(value, dict):
        return
    model = model_of(annotation)
    if model is not None:
        keys = keys_of(model)
        for name, found in keys.items():
            yield from _tables(value.get(name), found.annotation, (*path, name))
        yield path, value, keys
    elif get_origin(annotation) is dict:
        for name, inner in value.items():
            yield from _tables(inner, get_args(annotation)[1], (*path, name))


def _secret(layers: Layers, path: KeyPath, file: Path) -> str | None:
    """The text of a secret file without its last line end; None after noting why there is none."""
    try:
        with file.open("rb") as opened:
            data = opened.read(SECRET_BYTES_MAX + 1)
        text = data.decode("utf-8")
    except OSError as error:
        layers.problem(path, f"the file {file} cannot be read: {error.strerror or error}")
        return None
    except UnicodeDecodeError:
        layers.problem(path, f"the file {file} is not UTF-8 text")
        return None
    if len(data) > SECRET_BYTES_MAX:
        layers.problem(path, f"the file {file} is larger than {SECRET_BYTES_MAX >> 10} KiB")
        return None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        layers.problem(path, f"the file {file} is empty")
        return None
    return text
