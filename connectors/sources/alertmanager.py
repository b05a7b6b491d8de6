"""Alertmanager's webhook, version 4, as receivers get it from Alertmanager 0.16 to today.

The one law: `parse` judges nothing; it turns the bytes into one event, or refuses by name what cannot be an alert.
The facts: `endsAt` of year 1 means none. `receiver` is quoted for regular expressions and `groupKey` contains the
route, so both are attributes and never an identity; that is the fingerprint. Of alerts cut by `max_alerts` only their
number comes.
"""

from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Raw, Struct
from pydantic import BaseModel, ConfigDict

from connectors import alerts
from connectors.base import NO_CALL, Call, ParsedAlerts, Source
from rules.events import AlertsReceived
from rules.instants import Instant
from rules.model import Alert

TRUNCATED_MAX: Final = 1_000_000_000  # more is no number of alerts
HEX: Final = "0123456789abcdef"
HEX_DIGITS: Final = 16  # of a fingerprint


class _Alert(
    Struct,
    frozen=True,
    gc=False,
    rename={"starts_at": "startsAt", "ends_at": "endsAt", "generator_url": "generatorURL"},
):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    generator_url: str | None = None
    fingerprint: str | None = None


class _Envelope(
    Struct,
    frozen=True,
    gc=False,
    kw_only=True,
    rename={"truncated": "truncatedAlerts", "group_key": "groupKey", "external_url": "externalURL"},
):
    version: Literal["4"] | None = None
    truncated: Annotated[int, Meta(ge=0)] | None = None
    receiver: str | None = None
    group_key: str | None = None
    external_url: str | None = None


class _Body(_Envelope, frozen=True, gc=False, kw_only=True):
    alerts: list[_Alert]


class _LooseBody(_Envelope, frozen=True, gc=False, kw_only=True):
    alerts: list[Raw]


_FORM: Final = alerts.Form(_Body, _LooseBody, _Alert, lambda body: body.alerts)


class Connector(Source):
    """The source `alertmanager`."""

    class Options(BaseModel):
        """Nothing about this source can be set."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    path: ClassVar[str] = "/webhooks/alertmanager"
    example: ClassVar[bytes] = (
        b'{"version":"4","groupKey":"{}:{alertname=\\"DiskFull\\"}","truncatedAlerts":0,"status":"firing",'
        b'"receiver":"ticketd","groupLabels":{"alertname":"DiskFull"},"commonLabels":{"alertname":"DiskFull"},'
        b'"commonAnnotations":{},"externalURL":"http://alertmanager.example.test:9093","alerts":['
        b'{"status":"firing","labels":{"alertname":"DiskFull","instance":"db-1","severity":"critical"},'
        b'"annotations":{"summary":"/var on db-1 is 97 % full"},"startsAt":"2026-01-31T09:58:12.345Z",'
        b'"endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus.example.test:9090/graph?g0.expr=disk",'
        b'"fingerprint":"d3b07384d113edec"},'
        b'{"status":"resolved","labels":{"alertname":"DiskFull","instance":"db-2","severity":"warning"},'
        b'"annotations":{"summary":"/var on db-2 is 85 % full"},"startsAt":"2026-01-31T09:40:00Z",'
        b'"endsAt":"2026-01-31T10:01:00Z","generatorURL":"http://prometheus.example.test:9090/graph?g0.expr=disk",'
        b'"fingerprint":"c157a79031e1c40f"}]}'
    )

    def __init__(self, options: Options | None = None) -> None:
        """Without options as with the defaults."""
        self.options = options or self.Options()

    def parse(self, body: bytes, *, sender: str, received_at: Instant, call: Call = NO_CALL) -> ParsedAlerts:  # noqa: ARG002 - its path says nothing
        """One event of all alerts that can be taken. Raises RefusedBodyError when none of those that came can."""
        refusals = alerts.Refusals("alerts")
        sent, items = _FORM.read(body, refusals)
        odd = alerts.is_odd(body)
        taken = alerts.build(items, _settled, received_at, refusals, alerts.fit if odd else None)
        attributes: dict[str, str] = {}
        if sent.receiver:
            attributes["receiver"] = sent.receiver
        if sent.group_key:
            attributes["groupKey"] = sent.group_key
        if sent.external_url:
            attributes["externalURL"] = sent.external_url
        event = AlertsReceived(
            source="alertmanager",
            sender=sender,
            received_at=received_at,
            alerts=taken,
            truncated=min(sent.truncated or 0, TRUNCATED_MAX),
            attributes={name: alerts.fit_text(text) for name, text in attributes.items()} if odd else attributes,
        )
        return ParsedAlerts(event, refusals.named())


def _settled(sent: _Alert, received_at: Instant) -> Alert:
    firing = sent.status == "firing"
    starts_at = alerts.starts_at(sent.starts_at)
    ends_at = alerts.ends_at(sent.ends_at)
    fingerprint = sent.fingerprint
    if fingerprint is None or len(fingerprint) != HEX_DIGITS or fingerprint.strip(HEX):
        fingerprint = alerts.fingerprint(sent.labels)
    return Alert(
        fingerprint,
        firing,
        sent.labels,
        sent.annotations or {},
        received_at if starts_at is None else starts_at,
        None if firing else received_at if ends_at is None else ends_at,
        None,
        sent.generator_url or "",
    )
