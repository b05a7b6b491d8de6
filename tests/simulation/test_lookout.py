"""Three hours of a daemon that looks for itself, for each of some seeds: no false ticket, none missing, none doubled.

Targets go down and come back, the network is cut, the process is killed and started again. TICKETD_SEEDS says how many
seeds, a tenth of it; TICKETD_SEED_FIRST where they begin (1).
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.lookout import play

SEEDS = max(2, int(os.environ.get("TICKETD_SEEDS", "100")) // 10)
FIRST = int(os.environ.get("TICKETD_SEED_FIRST", "1"))
HAPPENED = (
    "killed", "looks", "looks into a cut network", "looks at what is down", "down opened", "down reopened",
    "down resolved", "ticketd.location-cut-off opened", "ticketd.location-cut-off resolved",
)  # fmt: skip


def test_what_the_daemon_says_of_its_targets_is_true_for_any_seed(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + SEEDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        account = play(folder, seed)
        assert account.broken == [], f"seed {seed}"
        seen += account.seen
    print({name: seen[name] for name in sorted(seen)})
    assert [name for name in HAPPENED if not seen[name]] == []


def test_without_references_a_cut_network_is_mistaken_for_the_targets_own(tmp_path: Path) -> None:
    """So the judge notices, and it is the references that make the difference."""
    found: list[str] = []
    for seed in range(FIRST, FIRST + 12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = play(folder, seed, deaf=True).broken
        if any("is up, and a ticket opened" in one for one in found):
            return
    pytest.fail(f"not noticed: {found}")
