"""Probers and jobs: what they measure goes out once, and is lost with the answer that does not come.

The one law: as in life, a prober does not repeat a result; the next one tells anew. In the last stretch the targets are
as `FINAL` says, so that it is known what must stand at the end.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Final

from rules.instants import Instant, format_instant

EVERY_S: Final = 120.0
JOB_EVERY_S: Final = 600.0
REGIONS: Final = ("eu", "us")
LOCATIONS: Final = ("ams", "fra", "lon")
JOBS: Final = ("hourly", "nightly")
FINAL: Final = {"slow": {"us"}, "silent": {"nightly"}}  # at the end: slow for good, and a job that no longer runs

RULES: Final = """\
  - {id: edge, source: probe, match: ['probe="edge"'], when: {field: up, op: "==", value: 0},
     dedup: [region], impact: site, urgency: high, reopen_within: 5m}
  - {id: latency, source: probe, match: ['probe="checkout"'],
     when: {field: ms, op: ">", value: 800}, clear: {op: "<", value: 600}, fire: {bad: 2, of: 3}, for: 2m,
     keep_firing_for: 3m, dedup: [region], quorum: {by: location, at_least: 2}, no_data: {after: 6m, then: hold},
     depends_on: [{rule: edge, on: [region], settle: 90s}], flap: {window: 20, high: 40, low: 25, then: hold_open},
     impact: service, urgency: medium}
  - {id: tight, mode: shadow, source: probe, match: ['probe="checkout"'], when: {field: ms, op: ">", value: 500},
     dedup: [region], impact: service, urgency: medium}
  - {id: job, source: heartbeat, match: ['job=~"hourly|nightly"'], when: {missed: {every: 12m, grace: 2m}},
     dedup: [job], impact: service, urgency: medium}
"""

Post = Callable[[str, bytes], Awaitable[int]]


class Probers:
    """All of them. `post` takes the source's name with what its path says, and answers an HTTP status."""

    def __init__(self, post: Post, now: Callable[[], Instant], healed: Callable[[], bool], seed: int) -> None:
        self._post = post
        self._now = now
        self._healed = healed
        self._random = random.Random(f"probers {seed}")
        self._down: set[str] = set()  # regions whose edge does not answer
        self._slow: set[str] = set()
        self._mute: set[str] = set()  # locations that send nothing
        self._ill: set[str] = set()  # jobs that do not run

    async def run(self) -> None:
        """Until cancelled."""
        jobs = [self._location(name) for name in LOCATIONS] + [self._job(name) for name in JOBS]
        async with asyncio.TaskGroup() as group:
            for job in (*jobs, self._weather()):
                group.create_task(job)

    async def _weather(self) -> None:
        """Regions fall and slow down, locations go mute, jobs stop; all of it comes back."""
        changing = ((self._down, REGIONS), (self._slow, REGIONS), (self._mute, LOCATIONS), (self._ill, JOBS))
        while True:
            await asyncio.sleep(self._random.expovariate(1 / 300))
            some, names = self._random.choice(changing)
            if self._healed():
                self._down.clear()
                self._mute.clear()
                self._slow, self._ill = set(FINAL["slow"]), set(FINAL["silent"])
                return
            some.symmetric_difference_update({self._random.choice(names)})

    async def _location(self, location: str) -> None:
        await asyncio.sleep(self._random.uniform(0, EVERY_S))
        while True:
            if location not in self._mute:
                for probe, field in (("edge", "up"), ("checkout", "ms")):
                    results = [
                        {"labels": {"region": region, "location": location}, "at": format_instant(self._now()),
                         "fields": {field: self._measured(probe, region)}}
                        for region in REGIONS
                    ]  # fmt: skip
                    await self._post(f"probe:{probe}", json.dumps(results).encode())
            await asyncio.sleep(EVERY_S * self._random.uniform(0.9, 1.1))

    def _measured(self, probe: str, region: str) -> float:
        if probe == "edge":
            return 0 if region in self._down else 1
        if region in self._down:
            return 5_000
        return self._random.choice((900, 1_200)) if region in self._slow else self._random.choice((200, 300, 400))

    async def _job(self, job: str) -> None:
        while True:
            if job not in self._ill:
                failed = not self._healed() and self._random.random() < 0.1
                await self._post(f"heartbeat:{job}/fail" if failed else f"heartbeat:{job}", b"")
            await asyncio.sleep(JOB_EVERY_S * self._random.uniform(0.9, 1.0))
