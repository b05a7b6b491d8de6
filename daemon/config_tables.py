"""What tables of config.toml are made of.

The one law: a duration and a size carry their unit, and no message shows what a table holds.
"""

import re
from ipaddress import ip_address
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict

from rules.instants import parse_span

_SIZE: Final = re.compile(r"(\d{1,18})(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?", re.ASCII)
_UNITS: Final = {
    "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}  # fmt: skip


def _span(value: object) -> int:
    if not isinstance(value, str):  # ValueError, as that is what pydantic turns into an error with a place
        raise ValueError(  # noqa: TRY004
            'must be a duration with its unit, such as "8s", "5m" or "35d"'
        )
    return parse_span(value)


def _size(value: object) -> int:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found[2] is None and found[1] != "0"):
        raise ValueError('must be a size with its unit, such as "16MiB" or "2GiB"')
    return int(found[1]) * _UNITS[found[2] or "B"]


def many(value: object) -> object:
    """A list of one may stand without brackets."""
    return (value,) if isinstance(value, str) else value


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant. A name other than localhost may be any machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


Duration = Annotated[int, BeforeValidator(_span)]  # µs
Size = Annotated[int, BeforeValidator(_size)]  # bytes


class Table(BaseModel):
    """A table of config.toml: unknown keys are errors, values never change, secrets stay out of messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
