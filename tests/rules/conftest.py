"""Fixtures for stories: a world under a policy, and the words to make alerts and check refusals."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rules.commands import Answer, Denied
from rules.policy import Policy
from tests.rules.world import World, a_policy

MakeWorld = Callable[..., World]
CheckDenied = Callable[[Answer, int], str]


@pytest.fixture
def policy() -> Policy:
    return a_policy()


@pytest.fixture
def world(policy: Policy) -> World:
    return World(policy)


@pytest.fixture
def make_world() -> MakeWorld:
    """A world under a policy with these things changed; `rule` changes the one rule."""

    def make(rule: dict[str, Any] | None = None, **changes: object) -> World:
        base = a_policy(**changes)
        if rule is not None:
            base = a_policy(**changes, rules={"errors": replace(base.rules["errors"], **rule)})
        return World(base)

    return make


@pytest.fixture
def denied() -> CheckDenied:
    """Asserts that an answer is a refusal of this status, and gives its reason."""

    def check(answer: Answer, status: int) -> str:
        assert isinstance(answer, Denied), answer
        assert answer.status == status
        return answer.reason

    return check
