"""`http_sd`: targets from a URL, as Prometheus' http_sd asks for them.

The one law: an answer counts when it is 200, whole and wholly right. No redirect is followed: a credential goes to the
place that was named and nowhere else.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field

from connectors.network.reach import Reach
from connectors.network.targets import url_of
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Discovery
from connectors.probing.target_groups import BYTES_MAX, of_json
from rules.instants import MINUTE, SECOND
from rules.policy import ProbeTarget
from rules.typed import CredentialName, LongSpanText, OnOff, Shape

OK: Final = 200
THREAD_BYTES: Final = 256 << 10  # a larger answer is read on a thread, so that the loop goes on


def _url(text: str) -> str:
    url_of(text)
    return text


class Connector(Discovery):
    """The discovery `http_sd`."""

    class Options(Shape):
        """Who is asked."""

        url: Annotated[str, AfterValidator(_url)] = Field(
            description='answers 200 with JSON: `[{"targets": ["HOST:PORT"], "labels": {}}]`; [] is none'
        )
        refresh: LongSpanText = Field(MINUTE, description="how often it is asked")
        credentials: CredentialName | None = Field(
            None, description="what it asks for: a name of [credentials] in config.toml"
        )
        verify: OnOff = Field("on", description="whether its certificate must be one to be trusted")

    summary: ClassVar[str] = "a URL as Prometheus' http_sd asks for it"

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._credential = credential

    async def find(self, trial: Trial) -> Sequence[ProbeTarget]:
        """The targets that the answer names. Raises Failure for any other answer."""
        from connectors.network import exchange  # noqa: PLC0415 - only where somebody discovers by HTTP

        url = exchange.ascii_url(self._options.url)
        request = exchange.Request(
            headers=(
                ("Accept", "application/json"),
                ("Accept-Encoding", "gzip"),
                ("X-Prometheus-Refresh-Interval-Seconds", f"{self._options.refresh / SECOND:g}"),
            ),
            body_bytes_max=BYTES_MAX,
            verify=self._options.verify == "on",
        )
        come = await exchange.ask(self._reach, trial, url, request, self._credential)
        where = f"{url.scheme}://{url.authority}"
        if come.answer.status != OK:
            raise Failure("status", f"{where} answered {come.answer.status} where 200 is wanted")
        if come.packing:
            raise Failure("answer", f"{where} sends its answer as {come.packing}, which nobody asked for")
        if not come.whole:
            raise Failure("limit", f"{where} sends more than {BYTES_MAX >> 20} MiB")
        try:
            if len(come.body) <= THREAD_BYTES:
                return of_json(come.body)
            return await asyncio.to_thread(of_json, come.body)
        except Failure as failure:
            raise Failure(failure.outcome, f"the answer of {where} {failure.reason}") from None

    async def close(self) -> None:
        """Holds nothing."""
