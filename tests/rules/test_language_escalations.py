"""Escalations and ways to people in files: what the newer keys become, and what hardly can be meant."""

import pytest

from rules.instants import HOUR, MINUTE
from rules.language import LanguageKinds, Loaded, load
from rules.policy import Escalation, Method, Policy, Step, Target, Throttle

KINDS = LanguageKinds(
    notifiers={"email": lambda _: None, "webhook": lambda _: None}, targets={"email": None, "webhook": ("chat",)}
)
PEOPLE = """\
version: 1
contacts:
  - {id: amina, may: [acknowledge], reach: [{email: a@x}]}
  - {id: omar, may: [acknowledge], reach: [{email: o@x}]}
  - {id: sara, may: [comment], reach: [{email: s@x}]}
schedules:
  - id: week
    rotations: [{who: [amina, sara], every: 1w, handoff: "09:00", from: 2026-01-04}]
    overrides: [{who: omar, from: 2026-03-01T09:00, to: 2026-03-02T09:00, why: leave}]
escalations:
  - {id: main, steps: [{notify: [schedule:week]}]}
default_escalation: main
"""


def loaded(*changes: tuple[str, str]) -> Loaded:
    text = PEOPLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return load({"f.yaml": text}, KINDS)


def policy(*changes: tuple[str, str]) -> Policy:
    found = loaded(*changes)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None
    return found.policy


def warnings(*changes: tuple[str, str]) -> list[str]:
    found = loaded(*changes)
    assert [str(one) for one in found.errors] == []
    return [str(one).removeprefix("f.yaml:") for one in found.warnings]


def test_a_whole_escalation() -> None:
    found = policy(
        ("{id: main, steps: [{notify: [schedule:week]}]}", """\
id: main
    steps: [{tier: L1, notify: [schedule:week], wait: 5m, quorum: 2}, {notify: [contact:omar]}]
    hold_until_open: {P3: office, P4: office}
    acknowledge_expires: {P1: 1h}
    on_policy_change: migrate"""),
        ("default_escalation", "calendars: [{id: office, open: {sun: '09:00-17:00'}}]\ndefault_escalation"),
    )  # fmt: skip
    assert found.escalations["main"] == Escalation(
        id="main",
        steps=(
            Step((Target("schedule", "week"),), 5 * MINUTE, "L1", quorum=2),
            Step((Target("contact", "omar"),), 5 * MINUTE),
        ),
        acknowledge_expires={"P1": HOUR},
        hold_until_open={"P3": "office", "P4": "office"},
        on_policy_change="migrate",
    )


@pytest.mark.parametrize(
    ("said", "on_change"),
    [("", "pin"), (", on_policy_change: pin", "pin"), (", on_policy_change: restart", "restart")],
)
def test_what_runs_goes_by_the_text_it_began_with_unless_a_file_says_otherwise(said: str, on_change: str) -> None:
    found = policy(("schedule:week]}]}", f"schedule:week]}}]{said}}}"))
    assert found.escalations["main"].on_policy_change == on_change


def test_a_way_to_a_person_may_bundle_and_throttle() -> None:
    found = policy(("{email: a@x}", "{email: a@x, bundle: 2m, throttle: 10/1h}, {webhook: chat, after: 5m}"))
    assert found.contacts["amina"].reach == (
        Method("email", "a@x", bundle=2 * MINUTE, throttle=Throttle(10, HOUR)),
        Method("webhook", "chat", 5 * MINUTE),
    )


def test_nothing_to_warn_of() -> None:
    assert warnings() == []


# ---- quorum
def test_a_step_may_want_as_many_as_it_can_ever_tell() -> None:
    every = ("{id: sara, may: [comment]", "{id: sara, may: [acknowledge]")
    assert warnings(every, ("schedule:week]}", "schedule:week, contact:omar], quorum: 3}")) == []
    (said,) = loaded(every, ("schedule:week]}", "schedule:week], quorum: 4}")).errors
    assert (said.line, said.col) == (11, 58)
    assert said.message == (
        'quorum: step 1 of "main" never tells more than 3 people (amina, omar, sara); 4 can never acknowledge'
    )


@pytest.mark.parametrize(
    ("change", "able"),
    [
        (("omar", "omar"), None),
        (("{id: omar, may: [acknowledge]", "{id: omar, may: [hold]"), "only amina"),
        (("{id: omar,", "{id: omar, active: off,"), "only amina"),
        ((", reach: [{email: o@x}]", ""), "only amina"),
    ],
)
def test_a_step_whose_people_cannot_give_its_quorum_is_warned_of(change: tuple[str, str], able: str | None) -> None:
    said = [one for one in warnings(change, ("schedule:week]}", "schedule:week], quorum: 2}")) if "quorum" in one]
    expected = (
        f'11:58: quorum: 2 must acknowledge, and of those whom step 1 of "main" tells {able} can be reached and may'
    )
    assert said == ([] if able is None else [expected])


def test_a_quorum_is_not_judged_while_its_people_may_stand_in_a_file_that_cannot_be_read() -> None:
    step = PEOPLE.replace("schedule:week]}", "schedule:week, contact:elsewhere], quorum: 4}")
    found = load({"f.yaml": step, "g.yaml": "version: 1\n\tbroken"}, KINDS)
    assert [one.file for one in found.errors] == ["g.yaml"]
    assert found.warnings == ()


# ---- people who are not active
def test_a_contact_that_is_off_stays_in_the_files_and_is_told_nothing() -> None:
    found = policy(("{id: omar,", "{id: omar, active: off,"))
    assert [(one.id, one.active) for one in found.contacts.values()] == [
        ("amina", True), ("omar", False), ("sara", True),
    ]  # fmt: skip
    assert warnings(("{id: omar,", "{id: omar, active: on,")) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("{id: omar,", "{id: omar, active: off,"), ("steps: [{notify", "steps: [{notify: [contact:omar]}, {notify")],
         ['11:24: nobody is told by step 1 of "main": of omar nobody is active']),
        ([("{id: omar,", "{id: omar, active: off,"),
          ("schedule:week]}]", "schedule:week]}], last_resort: [contact:omar]")],
         ['11:65: nobody is told by the last resort of "main": of omar nobody is active']),
        ([("{id: amina,", "{id: amina, active: off,"), ("{id: omar,", "{id: omar, active: off,")],
         ['11:10: nobody whom "main" tells may acknowledge']),
        ([("who: omar", "who: sara")], ['4:10: no escalation tells contact "omar"']),
        ([("who: omar", "who: sara"), ("{id: omar,", "{id: omar, active: off,")], []),
    ],
)  # fmt: skip
def test_whoever_is_not_active_is_nobody_to_tell(changes: list[tuple[str, str]], said: list[str]) -> None:
    assert [one for one in warnings(*changes) if "turns of" not in one] == said


# ---- ways that are never taken
@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ("{email: a@x}, {email: b@x}", []),
        ("{email: a@x, priorities: [P1]}, {email: a@x, after: 5m, priorities: [P2]}", []),
        ("{email: a@x, priorities: [P1]}, {email: a@x, after: 5m}", []),
        ("{email: chat}, {webhook: chat}", []),
        ("{email: a@x}, {email: a@x, after: 5m}",
         ["3:67: email: an address counts once, and this one is at line 3: nobody is told this way"]),
        ("{email: a@x}, {email: a@x, priorities: [P1]}",
         ["3:67: email: an address counts once, and this one is at line 3: nobody is told this way"]),
        ("{email: a@x, priorities: [P1]}, {email: a@x, priorities: [P2]}, {email: a@x, priorities: [P1, P2]}",
         ["3:117: email: an address counts once, and this one is at line 3: nobody is told this way"]),
        ("{email: a@x}, {email: b@x, priorities: []}",
         ["3:84: priorities: it names none: nobody is told this way"]),
    ],
)  # fmt: skip
def test_a_way_that_is_never_taken_is_warned_of(ways: str, said: list[str]) -> None:
    assert warnings(("{email: a@x}", ways)) == said


def test_a_way_for_priorities_that_the_matrix_never_gives_is_warned_of() -> None:
    matrix = ("schedules:", "priority: {impact: [a], urgency: [b, c], matrix: [[P2, P3]]}\nschedules:")
    narrow = ("{email: a@x}", "{email: a@x, priorities: [P1, P4]}, {email: b@x, priorities: [P1, P2]}")
    assert warnings(narrow, matrix) == ["3:70: priorities: the matrix never gives P1, P4: nobody is told this way"]
    assert warnings(narrow) == []
