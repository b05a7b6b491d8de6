"""The world on disk leads where the world in memory leads, with alerts and samples, timers and pages."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.disk_world import DiskWorld
from rules.events import AlertsReceived, SamplesReceived
from rules.instants import HOUR, MINUTE, SECOND, Instant
from rules.model import Alert, Sample
from rules.policy import Policy
from rules.tickets.identity import fingerprint
from rules.tuning.replay import CrowdedError, Replay, Result, play
from tests.rules.tuning.stories import PEOPLE, START, policy_of

RULES = (
    PEOPLE
    + """
rules:
  - {id: errors, match: ['alertname="E"'], for: 97s, keep_firing_for: 61s, dedup: [service], reopen_within: 7m,
     impact: service, urgency: {from: severity, map: {critical: high}, else: low}, max_open: 3}
  - {id: group, match: ['alertname="G"'], group: {by: [zone], within: 5m}, impact: user, urgency: low}
  - id: slow
    source: probe
    match: ['probe="p"']
    when: {field: ms, op: ">", value: 800}
    clear: {op: "<", value: 600}
    fire: {bad: 2, of: 3}
    dedup: [region]
    impact: service
    urgency: medium
    no_data: {after: 3m, then: open}
    depends_on: [{rule: errors, on: [], settle: 30s}]
"""
)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return policy_of(RULES)


def history(seed: int) -> Iterator[AlertsReceived | SamplesReceived]:
    """Five hours of alerts that come, go and come again, and of two probes that fall silent now and then."""
    chance = random.Random(seed)  # noqa: S311 - draws a story, guards nothing
    firing: dict[tuple[str, str], Instant] = {}
    at = START
    while at < START + 5 * HOUR:
        at += chance.randint(7 * SECOND, 3 * MINUTE)
        if chance.random() < 0.5:
            labels = {"probe": "p", "region": chance.choice(["eu", "sa"])}
            value = chance.choice([300.0, 300.0, 700.0, 900.0])
            yield SamplesReceived("probe", "p", at, (Sample(fingerprint(labels), labels, at, {"ms": value}),))
            continue
        name = (chance.choice("EEG"), chance.choice("abcdef"))
        since = firing.pop(name, None)
        if since is None:
            firing[name] = at
        labels = {
            "alertname": name[0],
            "service": name[1],
            "zone": name[1],
            "severity": chance.choice(["critical", "x"]),
        }
        labels |= {} if name[0] == "E" else {"zone": "z"}
        known = {key: text for key, text in labels.items() if key != "severity"}
        alert = Alert(
            fingerprint(known), since is None, labels, {}, at if since is None else since, None if since is None else at
        )
        yield AlertsReceived("alertmanager", "am", at, (alert,))


def on_disk(policy: Policy, events: Iterator[AlertsReceived | SamplesReceived], folder: Path) -> Result:
    worlds: list[DiskWorld] = []

    def make(*words: object) -> DiskWorld:
        worlds.append(DiskWorld.at(folder)(*words))  # type: ignore[arg-type]
        return worlds[-1]

    replay = Replay(policy, START, make=make)
    try:
        for event in events:
            replay.feed(event)
        return replay.finish(START + 6 * HOUR)
    finally:
        worlds[0].close()


@pytest.mark.parametrize("seed", [1, 2])
def test_both_worlds_tell_the_same_story(policy: Policy, tmp_path: Path, seed: int) -> None:
    in_memory = play(policy, history(seed), START, START + 6 * HOUR)
    assert on_disk(policy, history(seed), tmp_path) == in_memory
    assert in_memory.total.tickets > 10
    assert {"errors", "group", "slow"} <= set(in_memory.rules)
    assert in_memory.total.pages > in_memory.total.tickets
    assert in_memory.rules["slow"].suppressed


def test_a_crowd_in_memory_is_refused_before_it_grows(policy: Policy) -> None:
    replay = Replay(policy, START, crowd_max=20)
    alerts = [(number, {"alertname": "E", "service": str(number)}) for number in range(40)]

    def feed() -> None:
        for number, labels in alerts:
            alert = Alert(fingerprint(labels), firing=True, labels=labels, annotations={}, starts_at=START)
            replay.feed(AlertsReceived("alertmanager", "am", START + number, (alert,)))

    with pytest.raises(CrowdedError):
        feed()
