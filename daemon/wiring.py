"""What the settings mean in objects: notifiers, what the rule language may name, and which texts are secret.

The one law: functions from settings to objects; nothing is started here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, SecretBytes, SecretStr

from connectors.base import Notifier
from connectors.kinds import Kinds
from daemon import own
from daemon.config import Settings
from rules.language import LanguageKinds
from rules.language.people import DiscoveryKind, ProbeKind
from rules.policy import EVERYWHERE


def make_notifiers(settings: Settings, kinds: Kinds) -> dict[str, Notifier]:
    """The notifiers that config.toml sets up, by kind."""
    return {name: kinds.notifiers[name](options) for name, options in settings.notifiers(kinds).items()}


def language_kinds(settings: Settings, kinds: Kinds) -> LanguageKinds:
    """What rule files may name under these settings."""
    configured: Mapping[str, Any] = settings.notifiers(kinds)
    looks_only = settings.report_to is not None  # then it tells nobody, and the files may be those of the other daemon
    return LanguageKinds(
        sources=(*kinds.sources, own.SOURCE),  # its own troubles are alerts that rules can be about
        notifiers={name: kind.address_problem for name, kind in kinds.notifiers.items()},
        targets={
            name: tuple(configured.get(name, ())) if kind.multiple and not looks_only else None
            for name, kind in kinds.notifiers.items()
        },
        calendars=tuple(settings.calendars),
        unready=()
        if looks_only
        else tuple(name for name, kind in kinds.notifiers.items() if name not in configured and not kind.multiple),
        # A class whose Connector is a Probe is a ProbeKind, which mypy does not see through a protocol of classes.
        probes=cast("Mapping[str, ProbeKind]", kinds.probes),
        discoveries=cast("Mapping[str, DiscoveryKind]", kinds.discoveries),
        credentials=tuple(settings.credentials),
        commands=settings.probing.commands,
        here=(settings.probing.location, EVERYWHERE, *([] if looks_only else [""])),
    )


def snapshot_of(settings: Settings) -> Path | None:
    """Where the last good rule files are kept: beside the store's file; nowhere, where the store is no file."""
    path = settings.store.removeprefix("sqlite:///")
    return None if path in {settings.store, "", ":memory:"} else Path(f"{path}.rules.json")


def feeds_of(settings: Settings) -> Path | None:
    """Where copies of calendars kept elsewhere are: beside the store's file; where the store is a server, here."""
    path = settings.store.removeprefix("sqlite:///")
    if path == settings.store:
        return Path("ticketd.feeds")
    return None if path in {"", ":memory:"} else Path(f"{path}.feeds")


def secrets_of(value: object) -> Iterator[str]:
    """Every secret inside settings."""
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case SecretBytes():
            yield value.get_secret_value().decode("utf-8", "replace")
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_of(getattr(value, name))
        case Mapping():
            for one in value.values():
                yield from secrets_of(one)
        case list() | tuple():
            for one in value:
                yield from secrets_of(one)
        case _:
            return
