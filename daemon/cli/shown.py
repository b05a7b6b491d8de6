"""Tickets for people's eyes: facts, clocks and breaches as rows, times on the reader's clock.

The one law: it shows what the daemon answered and judges nothing; what is not there has no row.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from daemon.cli.output import printable, say, table

LOCALTIME: Final = Path("/etc/localtime")
_FACTS: Final = (
    "kind", "category", "rule", "impact", "urgency", "generation", "opened_at", "opened_by", "acknowledged_at",
    "acknowledged_by", "held_until", "resolved_at", "resolved_by", "closed_at", "reopened",
)  # fmt: skip

ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--zone", envvar="TICKETD_ZONE", metavar="ZONE", help="Whose clock times are shown on; default: this machine's."
    ),
]


class Zone:
    """The reader's clock."""

    def __init__(self, asked: str | None) -> None:
        """`asked` is an IANA name; None: this machine's. Ends the command as wrong usage for one that is none."""
        from rules.response.phrases import ENGLISH
        from rules.response.wording import Writer

        self.name = asked or _here()
        try:
            self._writer = Writer(ENGLISH, self.name)
        except (ValueError, OSError, LookupError):
            if asked is not None:
                raise typer.BadParameter(
                    f"{asked[:60]!r} is not a time zone such as Africa/Tripoli", param_hint="--zone"
                ) from None
            self.name = "UTC"
            self._writer = Writer(ENGLISH, self.name)

    def time(self, text: object) -> str:
        """An RFC 3339 time on this clock and in UTC; "" for none, and the text itself where it cannot be read."""
        from rules.instants import parse_instant

        if not text:
            return ""
        try:
            return self._writer.time(parse_instant(str(text)))
        except ValueError:
            return str(text)

    def brief(self, text: object) -> str:
        """The same on this clock alone, for a column whose head names the zone."""
        return self.time(text).partition(f" {self.name}")[0]


def _here() -> str:
    """The machine's zone, as far as it has a name."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if named:
        return named
    return str(LOCALTIME.resolve()).partition("/zoneinfo/")[2] or "UTC"


# ---- a listing
def next_due(ticket: Mapping[str, Any], zone: Zone) -> str:
    """The clock that ends first of those that run, or one that is late and goes on: `respond 2026-03-03 15:00`."""
    found = []
    for name, clock in _clocks(ticket):
        due = clock.get("due_at")
        if clock.get("state") == "running" and due:
            found.append((str(due), f"{name} {zone.brief(due)}"))
        elif clock.get("state") == "breached" and _goes_on(ticket, clock):
            found.append((str(due or ""), f"{name} late by {str(clock.get('left', '')).lstrip('-')}"))
    return min(found, default=("", ""))[1]


def _clocks(ticket: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    promised = ticket.get("sla") or {}
    for name in ("respond", "resolve"):
        if promised.get(name):
            yield name, promised[name]


def _goes_on(ticket: Mapping[str, Any], clock: Mapping[str, Any]) -> bool:
    stretches = clock.get("stretches") or [{}]
    return ticket.get("status") in {"open", "acknowledged", "on_hold"} and stretches[-1].get("until") is None


# ---- one ticket
def facts(ticket: Mapping[str, Any], zone: Zone) -> list[tuple[str, object]]:
    """What is known of a ticket, as rows."""
    rows: list[tuple[str, object]] = [
        (name.replace("_", " "), zone.time(ticket[name]) if name.endswith(("_at", "_until")) else ticket[name])
        for name in _FACTS
        if ticket.get(name) not in (None, "", 0)
    ]
    if ticket.get("labels"):
        rows.append(("labels", pairs(ticket["labels"])))
    if escalation := ticket.get("escalation"):
        rows += _escalation(escalation, zone)
    return rows


def _escalation(escalation: Mapping[str, Any], zone: Zone) -> Iterator[tuple[str, object]]:
    place = {name: escalation.get(name) for name in ("policy", "run", "round", "step")}
    states = [
        text
        for name, text in (
            ("paused", "paused until what it depends on recovers"),
            ("waiting", "waits for opening hours"),
            ("pinned", "goes by an earlier text of the policy"),
        )
        if escalation.get(name)
    ]
    yield "escalation", ", ".join([pairs({name: one for name, one in place.items() if one is not None}), *states])
    for name, text in (("since", "step told"), ("next_at", "next step")):
        if escalation.get(name):
            yield text, zone.time(escalation[name])
    if escalation.get("acknowledgers"):
        yield "acknowledged so far", ", ".join(map(str, escalation["acknowledgers"]))
    told = [f"{one.get('contact')} by {one.get('by')}" for one in escalation.get("notified") or ()]
    yield "told", ", ".join(told) or "nobody"


def promises(ticket: Mapping[str, Any], zone: Zone) -> None:
    """Print what was promised, by when, how each clock ran, and what is on record of it."""
    clocks = list(_clocks(ticket))
    if clocks:
        say()
        say(f"promised by {printable((ticket.get('sla') or {}).get('id'))}")
        table(
            ("CLOCK", "STATE", "DUE", "ALLOWED", "USED", "LEFT"),
            (
                [name, one.get("state"), zone.time(one.get("due_at")), _allowed(one), one.get("used"), one.get("left")]
                for name, one in clocks
            ),
        )
        say()
        table(
            ("CLOCK", "FROM", "TO", "IT", "WHY"),
            (
                [name, zone.time(one.get("since")), zone.time(one.get("until")), _ran(one), one.get("why")]
                for name, clock in clocks
                for one in clock.get("stretches") or ()
            ),
        )
    if ticket.get("breaches"):
        say()
        breaches(ticket["breaches"], zone, of_one=True)


def _allowed(clock: Mapping[str, Any]) -> str:
    return f"{clock.get('allowed', '')}{' working' if clock.get('working') else ''}"


def _ran(stretch: Mapping[str, Any]) -> str:
    return "ran" if stretch.get("running") else "stood still"


def breaches(found: Iterable[Mapping[str, Any]], zone: Zone, *, of_one: bool = False) -> None:
    """Print what is on record: what passed, when it was due, how late it was seen, and what the ticket waited for."""
    table(
        (*(() if of_one else ("TICKET",)), "CLOCK", "SHARE", "PRIORITY", "DUE", "SEEN LATER BY", "CAUSE", "SUPERSEDED"),
        (
            [
                *(() if of_one else (one.get("ticket"),)),
                one.get("clock"),
                f"{one.get('share')}%",
                one.get("priority"),
                zone.time(one.get("due_at")),
                one.get("overrun"),
                one.get("cause"),
                one.get("superseded_by"),
            ]
            for one in found
        ),
    )


def pairs(given: Mapping[str, object]) -> str:
    """`name=value name=value`."""
    return " ".join(f"{name}={value}" for name, value in given.items())
