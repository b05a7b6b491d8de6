"""Jobs and their slots: who looks at what, and when, follows from names and the wall clock alone."""

from collections import Counter
from dataclasses import replace

import pytest

from rules.instants import DAY, HOUR, MINUTE, SECOND
from rules.policy import EVERYWHERE, Policy, Probe, ProbeTarget
from rules.probing import TARGETS_MAX, Job, jobs, next_slot, phase

CHECKOUT = Probe(
    "checkout",
    "http",
    None,
    interval=30 * SECOND,
    targets=(ProbeTarget("https://a.test/"), ProbeTarget("https://b.test/", {"region": "us"})),
    labels={"region": "eu", "team": "shop"},
)


def of(*probes: Probe, location: str = "main", keeper: bool = True, **found: list[ProbeTarget]) -> tuple[Job, ...]:
    return jobs(Policy(probes={one.id: one for one in probes}), location, keeper=keeper, found=found)


def test_each_target_is_a_job_with_the_labels_of_its_samples() -> None:
    one, two = of(CHECKOUT)
    assert one.labels == {
        "probe": "checkout", "kind": "http", "location": "main", "target": "https://a.test/", "region": "eu",
        "team": "shop",
    }  # fmt: skip
    assert two.labels["region"] == "us"
    assert one.key.startswith("checkout\0https://a.test/\0")
    assert one.fingerprint != two.fingerprint


def test_what_is_found_comes_beside_what_is_listed_and_counts_once() -> None:
    found = [ProbeTarget("https://b.test/", {"region": "us"}), ProbeTarget("https://c.test/")]
    assert [one.target for one in of(CHECKOUT, checkout=found)] == [
        "https://a.test/",
        "https://b.test/",
        "https://c.test/",
    ]
    assert [one.target for one in of(CHECKOUT, other=found)] == ["https://a.test/", "https://b.test/"]


def test_one_target_with_two_label_sets_is_two_jobs() -> None:
    twice = [ProbeTarget("https://a.test/", {"shard": str(number)}) for number in (1, 2)]
    assert len({one.key for one in of(replace(CHECKOUT, targets=()), checkout=twice)}) == 2


def test_no_list_of_targets_can_speak_for_another_probe() -> None:
    liar = ProbeTarget(
        "https://c.test/", {"probe": "payments", "kind": "tcp", "location": "fra", "target": "https://d.test/"}
    )
    labels = of(replace(CHECKOUT, targets=()), checkout=[liar])[0].labels
    ours = tuple([labels[name] for name in ("probe", "kind", "location", "target")])
    assert ours == ("checkout", "http", "main", "https://c.test/")


def test_targets_are_put_into_the_template() -> None:
    probe = replace(CHECKOUT, template="https://{target}/health", targets=())
    (job,) = of(probe, checkout=[ProbeTarget("10.0.0.1:8443")])
    assert job.target == job.labels["target"] == "https://10.0.0.1:8443/health"


@pytest.mark.parametrize(
    ("locations", "location", "keeper", "runs"),
    [
        ((), "main", True, True),
        ((), "fra", False, False),
        (("fra", "ams"), "fra", False, True),
        (("fra", "ams"), "main", True, False),
        ((EVERYWHERE,), "main", True, True),
        ((EVERYWHERE,), "fra", False, True),
    ],
)
def test_a_probe_runs_where_it_says(locations: tuple[str, ...], location: str, keeper: bool, runs: bool) -> None:
    assert bool(of(replace(CHECKOUT, locations=locations), location=location, keeper=keeper)) is runs


def test_there_is_an_end_to_how_many() -> None:
    many = tuple([ProbeTarget(str(number)) for number in range(TARGETS_MAX + 5)])
    there = of(replace(CHECKOUT, targets=many))
    assert len(there) == TARGETS_MAX
    assert there[-1].target == str(TARGETS_MAX - 1)


def test_jobs_of_one_interval_spread_over_it_evenly() -> None:
    there = of(replace(CHECKOUT, targets=tuple([ProbeTarget(f"https://{n}.test/") for n in range(3_000)])))
    each = Counter(one.phase // SECOND for one in there)
    assert sorted(each) == list(range(30))
    assert min(each.values()) > 65
    assert max(each.values()) < 140


def test_a_phase_is_the_same_everywhere_and_for_ever() -> None:
    assert phase("checkout\0https://a.test/\0", 30 * SECOND) == 6_261_701
    assert phase("checkout\0https://a.test/\0", HOUR) == 3_426_261_701


@pytest.mark.parametrize("interval", [SECOND, 30 * SECOND, MINUTE, 7 * HOUR + 1])
def test_slots_are_an_interval_apart_on_the_wall_clock(interval: int) -> None:
    here = phase("x", interval)
    after = 1_800_000_000 * SECOND + 123_456
    slot = next_slot(after, here, interval)
    assert after < slot <= after + interval
    assert slot % interval == here
    assert next_slot(slot, here, interval) == slot + interval
    assert next_slot(slot - 1, here, interval) == slot
    assert next_slot(-DAY, here, interval) % interval == here
