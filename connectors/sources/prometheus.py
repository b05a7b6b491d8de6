"""`POST /api/v2/alerts`: alerts straight from Prometheus, vmalert, Loki and Thanos rulers, without an Alertmanager.

The one law: whether an alert fires is told by `endsAt` alone, and a firing one expires: its sender repeats it about
every minute, and silence past `expires_at` means resolved.
"""

from typing import ClassVar, Final

from msgspec import Raw, Struct
from pydantic import BaseModel, ConfigDict

from connectors import alerts
from connectors.base import NO_CALL, Call, ParsedAlerts, Source
from rules.events import AlertsReceived
from rules.instants import MINUTE, Instant, Span
from rules.model import Alert

EXPIRES_AFTER: Final[Span] = 5 * MINUTE  # without an `endsAt`; Alertmanager's own default resolve_timeout


class _Alert(
    Struct,
    frozen=True,
    gc=False,
    rename={"starts_at": "startsAt", "ends_at": "endsAt", "generator_url": "generatorURL"},
):
    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    generator_url: str | None = None


_FORM: Final = alerts.Form(list[_Alert], list[Raw], _Alert, lambda body: body)


class Connector(Source):
    """The source `prometheus`."""

    class Options(BaseModel):
        """Nothing about this source can be set."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    path: ClassVar[str] = "/api/v2/alerts"
    example: ClassVar[bytes] = (
        b'[{"labels":{"alertname":"ApiDown","instance":"api-1","severity":"critical"},'
        b'"annotations":{"summary":"api-1 does not answer"},"startsAt":"2026-01-31T09:58:12.345Z",'
        b'"endsAt":"2026-01-31T10:02:12.345Z","generatorURL":"http://prometheus.example.test:9090/graph?g0.expr=up"},'
        b'{"labels":{"alertname":"ApiSlow","instance":"api-2","severity":"warning"},"annotations":{},'
        b'"startsAt":"2026-01-31T09:40:00Z","generatorURL":"http://prometheus.example.test:9090/graph?g0.expr=slow"}]'
    )

    def __init__(self, options: Options | None = None) -> None:
        """Without options as with the defaults."""
        self.options = options or self.Options()

    def parse(self, body: bytes, *, sender: str, received_at: Instant, call: Call = NO_CALL) -> ParsedAlerts:  # noqa: ARG002 - its path says nothing
        """One event of all alerts that can be taken. Raises RefusedBodyError when none of those that came can."""
        refusals = alerts.Refusals("")
        _, items = _FORM.read(body, refusals)
        taken = alerts.build(items, _settled, received_at, refusals, alerts.fit if alerts.is_odd(body) else None)
        event = AlertsReceived(source="prometheus", sender=sender, received_at=received_at, alerts=taken)
        return ParsedAlerts(event, refusals.named())


def _settled(sent: _Alert, received_at: Instant) -> Alert:
    labels = sent.labels
    if "" in labels.values():  # a label without a value is no label
        labels = {name: value for name, value in labels.items() if value}
    if not labels:
        raise alerts.UnfitError("labels", "must have at least one label with a value")
    starts_at = alerts.starts_at(sent.starts_at)
    ends_at = alerts.ends_at(sent.ends_at)
    firing = ends_at is None or ends_at > received_at
    if starts_at is None:
        starts_at = received_at if ends_at is None else min(ends_at, received_at)
    return Alert(
        alerts.fingerprint(labels),
        firing,
        labels,
        sent.annotations or {},
        starts_at,
        None if firing else ends_at,
        (received_at + EXPIRES_AFTER if ends_at is None else ends_at) if firing else None,
        sent.generator_url or "",
    )
