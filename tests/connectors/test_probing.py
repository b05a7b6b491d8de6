"""One look as it is written down: phases, checks and the one outcome."""

import asyncio
from collections.abc import Iterator

import pytest

from connectors.network.trial import NETWORK, OUTCOMES, UP, Check, Credential, Failure, Trial


def ticking(*steps: float) -> Trial:
    """A look that began at 0 and whose clock then says these, one after the other."""
    clock: Iterator[float] = iter((0.0, *steps))
    return Trial("a:1", labels={}, timeout_s=10, now=0, monotonic=lambda: next(clock))


def test_the_words_are_closed_and_those_of_the_network_are_among_them() -> None:
    assert UP in OUTCOMES
    assert set(OUTCOMES) > NETWORK
    assert UP not in NETWORK


def test_a_phase_takes_from_its_begin_to_its_end_and_those_of_one_name_add_up() -> None:
    trial = ticking(1, 3, 4, 5)
    with trial.phase("connect"):
        assert trial.current == "connect"
    assert trial.current == ""
    with trial.phase("connect"):
        pass
    assert trial.phases == {"connect": 3}


def test_phases_stand_in_the_order_in_which_they_ended_and_may_hold_others() -> None:
    trial = ticking(1, 2, 4, 8)
    with trial.phase("outer"):
        with trial.phase("inner"):
            assert trial.current == "inner"
        assert trial.current == "outer"
    assert trial.phases == {"inner": 2, "outer": 7}


async def test_a_phase_that_is_broken_off_is_measured_and_stays_named() -> None:
    """So that a timeout says where it came."""
    trial = ticking(1, 3)

    async def look() -> None:
        with trial.phase("tls"):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(look(), 0.001)
    assert (trial.current, trial.phases) == ("tls", {"tls": 2})


def test_the_first_check_that_fails_is_the_outcome_and_all_are_kept() -> None:
    trial = ticking()
    assert trial.check("status", True, "200")
    assert trial.outcome == UP
    assert not trial.check("body", False, "no ok in it", "body")
    assert not trial.check("header", False, "no such header", "header")
    trial.failed("timeout", "too late")
    assert (trial.outcome, trial.note) == ("body", "no ok in it")
    assert trial.checks == [
        Check("status", True, "200"), Check("body", False, "no ok in it"), Check("header", False, "no such header"),
    ]  # fmt: skip


def test_what_is_left_of_the_timeout_is_never_negative() -> None:
    trial = ticking(4, 10, 11)
    assert [trial.left_s for _ in range(3)] == [6, 0, 0]


def test_a_failure_is_a_word_and_a_sentence() -> None:
    failure = Failure("refused", "connection refused")
    assert (failure.outcome, failure.reason, str(failure)) == ("refused", "connection refused", "connection refused")


def test_a_credential_is_never_shown() -> None:
    assert "hunter2" not in repr(Credential("shop", username="amina", password="hunter2", token="hunter2"))
