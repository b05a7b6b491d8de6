"""`/api/v1/rules`: the policy in force, and why an instance of a rule is in its state.

The one law: it says what is so and changes nothing; no address of anybody leaves here. What takes long with many rules
runs on a thread.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from daemon.auth import Need, Principal
from daemon.ingest import BusyError
from daemon.store.errors import StoreUnavailableError
from daemon.web.api import reply
from daemon.web.errors import ProblemError
from daemon.web.gate import Gate
from daemon.web.ports import Daemon
from daemon.web.requests import labels_of
from rules.instants import format_instant, format_span
from rules.model import Phase
from rules.policy import Choice, Contact, Escalation, Maintenance, Policy, Rule
from rules.tuning.explain import explain, wants
from rules.words import meant, shown

Counts = Mapping[tuple[str, str], int]  # instances by (rule, phase)
SHOWN_PHASES: Final = tuple(Phase)


class Rules:
    """The handlers."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def routes(self, gate: Gate) -> list[web.RouteDef]:
        """Two paths, for readers."""
        return [
            web.get("/api/v1/rules", gate.needing(Need.READ, self.rules), allow_head=False),
            web.get("/api/v1/rules/{rule}/explain", gate.needing(Need.READ, self.explain), allow_head=False),
        ]

    async def rules(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """The policy in force, without anybody's address; how many instances are in which state, where known now."""
        policies = self._daemon.policies
        counts: Counts | None
        try:
            counts = await self._daemon.read(lambda reader: reader.rules_in_use())
        except (BusyError, StoreUnavailableError):  # the policy stands all the same
            counts = None
        policy, loaded_at = policies.current, format_instant(policies.loaded_at)
        return await asyncio.to_thread(lambda: reply({**policy_json(policy, counts), "loaded_at": loaded_at}))

    async def explain(self, request: web.Request, principal: Principal) -> web.Response:  # noqa: ARG002 - the gate's shape
        """Every gate of one instance with its current value."""
        policy = self._daemon.policies.current
        rule = _rule_of(policy, request.match_info["rule"])
        labels = labels_of(request)
        wanted = wants(policy, rule, labels)
        state = await self._daemon.read(lambda reader: reader.state(wanted))
        return reply(explain(policy, rule, labels, state, self._daemon.clock.now()).json())


def _rule_of(policy: Policy, name: str) -> Rule:
    rule = policy.rule(name)
    if rule is None:
        raise ProblemError(404, f"there is no rule {shown(name)}{meant(name, policy.rules)}")
    return rule


# ---- as JSON
def policy_json(policy: Policy, counts: Counts | None = None) -> dict[str, Any]:
    """The policy: rules, matrix, maintenance, people (never their addresses) and escalations."""
    return {
        "version": policy.version,
        "rules": [rule_json(rule, counts) for rule in policy.rules.values()],
        "catch_all": rule_json(policy.catch_all, counts) if policy.catch_all else None,
        "maintenance": [_maintenance(one) for one in policy.maintenance],
        "priority": {
            "impact": list(policy.matrix.impacts),
            "urgency": list(policy.matrix.urgencies),
            "matrix": [list(row) for row in policy.matrix.cells],
        },
        "contacts": [_contact(contact) for contact in policy.contacts.values()],
        "escalations": [_escalation(one) for one in policy.escalations.values()],
        "default_escalation": policy.default_escalation,
    }


def rule_json(rule: Rule, counts: Counts | None = None) -> dict[str, Any]:
    """A rule with every default filled in, in the words of the rule file; `instances`: how many are in which state."""
    return {
        "id": rule.id,
        "moved_from": list(rule.moved_from),
        "source": rule.source,
        "mode": "shadow" if rule.shadow else "live",
        "match": [str(one) for one in rule.match],
        "condition": None if rule.condition is None else rule.condition.kind,
        **({} if rule.condition is None else rule.condition.said()),
        "quorum": (
            {
                "by": rule.quorum.by,
                "at_least": rule.quorum.at_least,
                "min_reporting": rule.quorum.min_reporting,
            }
            if rule.quorum
            else None
        ),
        "for": format_span(rule.pending_for),
        "keep_firing_for": format_span(rule.keep_firing_for),
        "no_data": {"after": format_span(rule.no_data.after), "then": rule.no_data.then} if rule.no_data else None,
        "flap": {"window": rule.flap.window, "high": rule.flap.high, "low": rule.flap.low} if rule.flap else None,
        "depends_on": [
            {"rule": one.rule, "on": list(one.on), "settle": format_span(one.settle)} for one in rule.depends_on
        ],
        "dedup": None if rule.dedup is None else list(rule.dedup),
        "group": {"by": list(rule.group.by), "within": format_span(rule.group.within)} if rule.group else None,
        "max_open": rule.max_open,
        "impact": _choice(rule.impact),
        "urgency": _choice(rule.urgency),
        "labels": dict(rule.labels),
        "escalation": rule.escalation,
        "reopen_within": format_span(rule.reopen_within),
        "instances": None if counts is None else _instances(rule, counts),
    }


def _instances(rule: Rule, counts: Counts) -> dict[str, int]:
    found = {phase: sum(counts.get((id_, phase), 0) for id_ in rule.ids) for phase in SHOWN_PHASES}
    return {str(phase): count for phase, count in found.items() if count}


def _choice(choice: Choice) -> str | dict[str, Any]:
    if choice.label is None:
        return choice.default
    return {"from": choice.label, "map": dict(choice.table), "else": choice.default}


def _maintenance(one: Maintenance) -> dict[str, Any]:
    return {
        "id": one.id,
        "match": [str(matcher) for matcher in one.match],
        "cron": one.cron.text,
        "tz": one.cron.timezone,
        "for": format_span(one.span),
        "effect": "hold",
    }


def _contact(contact: Contact) -> dict[str, Any]:
    return {
        "id": contact.id,
        "name": contact.name,
        "may": sorted(contact.may),
        "for": [str(one) for one in contact.scope],
        "reach": [method.kind for method in contact.reach],
        "active": contact.active,
    }


def _escalation(one: Escalation) -> dict[str, Any]:
    return {
        "id": one.id,
        "steps": [
            {
                "tier": step.tier,
                "notify": [f"{target.kind}:{target.id}" for target in step.notify],
                "wait": format_span(step.wait),
            }
            for step in one.steps
        ],
        "repeat": one.repeat,
        "last_resort": [f"{target.kind}:{target.id}" for target in one.last_resort],
    }
