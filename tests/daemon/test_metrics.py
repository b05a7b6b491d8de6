"""Metrics: the contract's names, no label from a sender, and numbers that agree with the store."""

import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.metrics import Metrics
from rules.events import Actor, Responded
from rules.instants import HOUR, SECOND
from rules.matching import matcher
from rules.policy import (
    Allowance,
    Allowed,
    Calendar,
    Choice,
    Dependency,
    Maintenance,
    Policy,
    Promise,
    Rule,
    Sla,
    Step,
    Target,
)
from rules.recurrence import Cron
from tests.daemon.conftest import MakeHouse
from tests.daemon.house import House, a_body, settle
from tests.rules.world import START, a_policy, an_alert

CONTRACT = {
    "build_info": "gauge",
    "signals": "counter",
    "signals_refused": "counter",
    "ingest_seconds": "histogram",
    "ingest_batch_size": "histogram",
    "inbox_depth": "gauge",
    "commit_seconds": "histogram",
    "rule_transitions": "counter",
    "rule_suppressed": "counter",
    "rule_would_open": "counter",
    "tickets": "gauge",
    "tickets_opened": "counter",
    "ticket_response_seconds": "histogram",
    "ticket_resolution_seconds": "histogram",
    "sla_breaches": "counter",
    "sla_warnings": "counter",
    "escalation_steps": "counter",
    "escalation_empty_rounds": "counter",
    "deliveries_delayed": "counter",
    "escalation_lag_seconds": "histogram",
    "deliveries": "counter",
    "delivery_seconds": "histogram",
    "outbox_oldest_seconds": "gauge",
    "timers_overdue_seconds": "gauge",
    "config_last_reload_successful": "gauge",
    "config_last_reload_success_timestamp_seconds": "gauge",
}
LABELS = {
    "signals": {"source", "outcome"},
    "rule_transitions": {"rule", "from", "to"},
    "rule_suppressed": {"rule", "reason"},
    "rule_would_open": {"rule"},
    "tickets": {"status", "priority"},
    "tickets_opened": {"rule", "priority"},
    "sla_breaches": {"clock", "priority"},
    "sla_warnings": {"clock", "priority"},
    "escalation_steps": {"policy", "step"},
    "deliveries": {"channel", "outcome"},
    "delivery_seconds": {"channel", "le"},
    "ticket_response_seconds": {"priority", "le"},
}


async def lived(house: House) -> House:
    """A house in which something of everything has happened."""
    house.keep("ingest", "sweep", "timers", "outbox")
    house.metrics.refused("alertmanager", "invalid_body")
    house.metrics.policy(ok=True, loaded_at=START)
    house.metrics.rule_suppressed.labels("errors", "dependency")
    house.metrics.rule_would_open.labels("errors")
    await house.ingest.submit(*a_body(an_alert(service="cart")))
    await house.clock.advance(90)
    await house.ingest.submit(Responded(1, "acknowledge", Actor("omar")))
    await house.clock.advance(30)
    now = house.clock.now()
    await house.ingest.submit(*a_body(an_alert(False, ends=now, service="cart"), at=now))
    await settle()
    return house


async def test_every_name_of_the_contract_with_its_type_and_labels(house: House) -> None:
    text = (await lived(house)).metrics.render().decode()
    families = {family.name.removeprefix("ticketd_"): family for family in text_string_to_metric_families(text)}
    assert {name: families[name].type for name in CONTRACT} == CONTRACT
    for name, labels in LABELS.items():
        assert {label for sample in families[name].samples for label in sample.labels} == labels, name
    assert not [name for name in families if name.endswith("_created")]


async def test_a_life_is_counted(house: House) -> None:
    value = (await lived(house)).value
    assert value("signals_total", source="alertmanager", outcome="opened") == 1
    assert value("signals_total", source="alertmanager", outcome="resolved") == 1
    assert value("signals_refused_total", source="alertmanager", reason="invalid_body") == 1
    assert value("rule_transitions_total", **{"rule": "errors", "from": "ok", "to": "open"}) == 1
    assert value("tickets_opened_total", rule="errors", priority="P3") == 1
    assert value("ticket_response_seconds_sum", priority="P3") == 90
    assert value("ticket_resolution_seconds_sum", priority="P3") == 120
    assert value("escalation_steps_total", policy="main", step="1") == 1
    assert value("deliveries_total", channel="email", outcome="delivered") == 3  # page, answered, resolved
    assert value("ingest_seconds_count") == 2
    assert value("commit_seconds_count") >= 3
    assert value("config_last_reload_successful") == 1
    assert value("config_last_reload_success_timestamp_seconds") == START / SECOND


# ---- what was promised
def promising(**changes: Any) -> Policy:
    """A P3 is to be answered within an hour, with a warning at three quarters of it."""
    hour = Allowance(Allowed(HOUR), Allowed(HOUR))
    sla = Sla("standard", None, {"P3": Promise(hour, hour)}, (75,))
    return a_policy(slas={"standard": sla}, default_sla="standard", **changes)


async def test_warnings_and_breaches_are_counted_once_by_clock_and_priority(make_house: MakeHouse) -> None:
    house = make_house(promising())
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body(an_alert(service="cart")))
    for minutes, warnings, breaches in ((44, 0, 0), (2, 1, 0), (15, 1, 1), (20, 1, 1)):
        await house.clock.advance(minutes * 60)
        for clock in ("respond", "resolve"):
            assert house.value("sla_warnings_total", clock=clock, priority="P3") == warnings
            assert house.value("sla_breaches_total", clock=clock, priority="P3") == breaches


async def test_what_has_not_happened_yet_is_counted_as_nothing_and_not_missing(house: House) -> None:
    text = house.metrics.render().decode()
    assert 'ticketd_sla_breaches_total{clock="respond",priority="P1"} 0.0' in text


@pytest.mark.parametrize(
    "first",
    [
        {"action": "acknowledge"},
        {"action": "hold", "until": START + HOUR, "note": "waits for the vendor"},
        {"action": "resolve", "force": True},
    ],
)
async def test_the_first_answer_of_a_person_is_timed_and_no_later_one(house: House, first: dict[str, Any]) -> None:
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body(an_alert(service="cart")))
    await house.clock.advance(90)
    await house.ingest.submit(Responded(1, "comment", Actor("amina"), note="a comment is no answer"))
    await house.clock.advance(30)
    await house.ingest.submit(Responded(1, actor=Actor("amina"), **first))
    await house.ingest.submit(Responded(1, "comment", Actor("amina"), note="more"))
    await house.clock.advance(30)
    await house.ingest.submit(Responded(1, "acknowledge", Actor("omar")))
    await house.ingest.submit(Responded(1, "resolve", Actor("omar"), force=True))
    await house.ingest.submit(Responded(1, "close", Actor("omar")))
    await house.ingest.submit(Responded(1, "reopen", Actor("omar")))
    await house.ingest.submit(Responded(1, "acknowledge", Actor("omar")))
    assert house.value("ticket_response_seconds_count", priority="P3") == 1
    assert house.value("ticket_response_seconds_sum", priority="P3") == 120


async def test_what_monitoring_resolves_unanswered_has_no_time_of_response(house: House) -> None:
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body(an_alert(service="cart")))
    await house.clock.advance(30)
    now = house.clock.now()
    await house.ingest.submit(*a_body(an_alert(False, ends=now, service="cart"), at=now))
    assert house.value("ticket_resolution_seconds_count", priority="P3") == 1
    assert house.value("ticket_response_seconds_count", priority="P3") == 0


async def test_a_whole_round_that_reaches_nobody_is_counted(make_house: MakeHouse) -> None:
    policy = a_policy()
    main = replace(policy.escalations["main"], steps=(Step((Target("contact", "nobody"),)),))
    house = make_house(replace(policy, escalations={"main": main}))
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body(an_alert(service="cart")))
    assert house.value("escalation_empty_rounds_total", policy="main") == 1
    assert house.value("escalation_steps_total", policy="main", step="last_resort") == 1


async def test_a_telling_that_waits_for_opening_hours_is_counted(make_house: MakeHouse) -> None:
    policy = a_policy(calendars={"office": Calendar("office", week=(((0, HOUR),), *[((0, HOUR),)] * 6))})
    main = replace(policy.escalations["main"], hold_until_open={"P3": "office"})
    house = make_house(replace(policy, escalations={"main": main}))
    house.keep("ingest", "timers")
    await house.ingest.submit(*a_body(an_alert(service="cart")))
    assert house.value("deliveries_delayed_total", reason="hours") == 1


async def test_tickets_by_status_and_priority_agree_with_the_store(house: House) -> None:
    house.keep("ingest")
    for number in range(3):
        await house.ingest.submit(*a_body(an_alert(n=str(number))))
    await house.ingest.submit(Responded(1, "acknowledge", Actor("amina")))
    await house.ingest.submit(Responded(2, "priority", Actor("amina"), impact="site", urgency="high"))
    await house.ingest.submit(Responded(3, "resolve", Actor("amina"), force=True))
    await house.ingest.submit(*a_body(an_alert(n="0", severity="critical")))  # raises T-1
    counted = {
        (sample.labels["status"], sample.labels["priority"]): sample.value
        for family in house.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "ticketd_tickets" and sample.value
    }
    assert counted == house.store.counts()
    fresh = Metrics()
    fresh.counts(house.store.counts())
    assert {
        (sample.labels["status"], sample.labels["priority"]): sample.value
        for family in fresh.registry.collect()
        for sample in family.samples
        if sample.name == "ticketd_tickets" and sample.value
    } == counted


async def test_what_would_have_opened_a_ticket_is_counted_once_with_its_reason(make_house: MakeHouse) -> None:
    parent = Rule("edge", (matcher("alertname", "=", "EdgeDown"),), Choice("site"), Choice("high"), dedup=("region",))
    child = Rule(
        "cart", (matcher("alertname", "=", "CartDown"),), Choice("user"), Choice("low"), dedup=("region",),
        depends_on=(Dependency("edge", ("region",)),),
    )  # fmt: skip
    shadow = Rule("cart.tight", child.match, Choice("user"), Choice("low"), dedup=("region",), shadow=True)
    patch = Maintenance("patch", (matcher("region", "=", "us"),), Cron("0 * * * *"), HOUR)
    rules = {one.id: one for one in (parent, child, shadow)}
    house = make_house(a_policy(rules=rules, maintenance=(patch,)))
    house.keep("ingest", "timers")

    async def sends(alertname: str, region: str, firing: bool = True) -> None:
        await house.clock.advance(1)
        now = house.clock.now()
        ends = None if firing else now
        await house.ingest.submit(*a_body(an_alert(firing, now, ends, alertname=alertname, region=region), at=now))
        await house.clock.advance(1)

    await sends("EdgeDown", "eu")
    for _ in range(3):  # a sender repeats itself
        await sends("CartDown", "eu")
        await sends("EdgeDown", "us")
    value = house.value
    assert value("rule_suppressed_total", rule="cart", reason="dependency") == 1
    assert value("rule_suppressed_total", rule="edge", reason="maintenance") == 1
    assert value("rule_would_open_total", rule="cart.tight") == 1
    assert value("tickets_opened_total", rule="edge", priority="P1") == 1
    await sends("CartDown", "eu", firing=False)
    await sends("CartDown", "eu")
    assert value("rule_would_open_total", rule="cart.tight") == 2


async def test_no_label_takes_a_value_from_a_sender(house: House) -> None:
    house.keep("ingest", "outbox")
    mark = "from-the-sender"
    await house.ingest.submit(*a_body(an_alert(alertname=mark, service=mark, severity=mark, rule=mark)))
    await settle()
    assert mark not in house.metrics.render().decode()


async def test_series_do_not_grow_with_what_senders_say(house: House) -> None:
    house.keep("ingest")
    await house.ingest.submit(*a_body(an_alert(n="x")))
    before = house.metrics.render().count(b"\n")
    for number in range(50):
        await house.ingest.submit(*a_body(an_alert(n=str(number))))
    assert house.metrics.render().count(b"\n") == before


async def test_two_registries_live_side_by_side() -> None:
    one, other = Metrics(), Metrics()
    one.refused("x", "y")
    assert other.registry.get_sample_value("ticketd_signals_refused_total", {"source": "x", "reason": "y"}) is None


@pytest.mark.peer("promtool")
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
async def test_promtool_finds_nothing_to_say(house: House) -> None:
    text = (await lived(house)).metrics.render()
    said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
    assert (said.returncode, said.stdout + said.stderr) == (0, b"")
