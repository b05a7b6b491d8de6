"""Calendars and slas in files: what they become, which sla holds for which rule, and what is refused."""

from collections.abc import Mapping
from datetime import date, timedelta

import pytest

from rules.instants import DAY, HOUR, parse_instant
from rules.language import LanguageKinds, Loaded, load
from rules.policy import Allowance, Allowed, Calendar, Holidays, Policy, Promise, Sla
from rules.response.calendar import is_open, opens

KINDS = LanguageKinds(notifiers={"email": lambda _: None}, targets={"email": None})
NOW = parse_instant("2026-03-01T12:00:00Z")
RULE = "{id: a, match: [], impact: user, urgency: low}"
STANDARD = "sla: [{id: standard, targets: {P1: {respond: 1h}}}]"
OFFICE = "calendars: [{id: office, open: {sun: '09:00-17:00'}}]"


def loaded(files: str | Mapping[str, str], now: int | None = None) -> Loaded:
    texts = {"f.yaml": files} if isinstance(files, str) else files
    return load({name: f"version: 1\n{text}" for name, text in texts.items()}, KINDS, now=now)


def policy(files: str | Mapping[str, str]) -> Policy:
    found = loaded(files)
    assert [str(one) for one in found.errors] == []
    assert found.policy is not None
    return found.policy


def day(text: str) -> int:
    """The number of a day since 1970-01-01."""
    return parse_instant(f"{text}T00:00:00Z") // DAY


# ---- calendars
def test_a_whole_calendar() -> None:
    found = policy("""
calendars:
  - id: office
    timezone: Africa/Tripoli
    open: {sat: "09:00-17:00", sun: ["13:00-17:00", "09:00-12:00"], thu: ["22:00-06:00"], fri: "12:00-24:00"}
    holidays: {country: DE, subdivision: BY}
    closed: [{on: 2026-03-20, why: Eid}, {on: 2026-03-22}]
    opened:
      - {on: 2026-03-21, hours: "09:00-12:00", why: stocktaking}
      - {on: 2026-03-20, hours: ["20:00-02:00", "09:00-10:00"]}
""")
    assert found.calendars == {
        "office": Calendar(
            id="office",
            timezone="Africa/Tripoli",
            week=(
                (), (), (), ((22 * HOUR, 30 * HOUR),), ((12 * HOUR, DAY),), ((9 * HOUR, 17 * HOUR),),
                ((9 * HOUR, 12 * HOUR), (13 * HOUR, 17 * HOUR)),
            ),
            holidays=Holidays("DE", "BY"),
            closed={day("2026-03-20"): "Eid", day("2026-03-22"): ""},
            opened={
                day("2026-03-21"): ((9 * HOUR, 12 * HOUR),),
                day("2026-03-20"): ((9 * HOUR, 10 * HOUR), (20 * HOUR, 26 * HOUR)),
            },
        )
    }  # fmt: skip


def test_a_night_may_end_where_the_next_days_hours_begin() -> None:
    found = policy("calendars: [{id: c, open: {mon: '22:00-06:00', tue: ['06:00-09:00', '09:00-10:00']}}]")
    assert found.calendars["c"].week[:2] == (
        ((22 * HOUR, 30 * HOUR),),
        ((6 * HOUR, 9 * HOUR), (9 * HOUR, 10 * HOUR)),
    )


def test_calendars_may_stand_in_another_file_than_who_names_them() -> None:
    files = {"a.yaml": "sla: [{id: s, calendar: office, targets: {P1: {respond: 1h working}}}]", "b.yaml": OFFICE}
    assert policy(files).slas["s"].calendar == "office"
    found = loaded({**files, "b.yaml": "calendars: [{id: office"})
    assert [one.file for one in found.errors] == ["b.yaml"], "it may stand in the file that cannot be read"


def sundays(but: date | None = None) -> str:
    """Every Sunday of three years, closed."""
    first = date(2026, 1, 4)
    days = [first + timedelta(weeks=number) for number in range(157)]
    return ", ".join(f"{{on: {one}}}" for one in days if one != but)


@pytest.mark.parametrize("now", [None, NOW])
def test_a_calendar_that_never_opens_is_refused_also_where_closures_take_its_hours(now: int | None) -> None:
    office = "calendars:\n  - {{id: office, open: {{sun: '09:00-17:00'}}, closed: [{}]{}}}"
    found = loaded(office.format(sundays(), ""), now)
    assert [str(one) for one in found.errors] == [
        'f.yaml:3:24: open: "office" never opens: holidays and closures take all of its hours'
    ]
    opened = loaded(office.format(sundays(), ", opened: [{on: 2026-12-25, hours: '09:00-10:00'}]"), now).policy
    assert opened is not None
    assert opens(opened.calendars["office"], NOW) == parse_instant("2026-12-25T09:00:00Z")


def test_a_calendar_whose_last_hours_a_holiday_takes_is_refused() -> None:
    christmas = date(2027, 12, 26)  # a Sunday, and a holiday in Germany
    office = f"calendars: [{{id: office, open: {{sun: '09:00-17:00'}}, closed: [{sundays(christmas)}]%s}}]"
    found = loaded(office % "", NOW).policy
    assert found is not None
    assert is_open(found.calendars["office"], parse_instant("2027-12-26T09:00:00Z"))
    said = loaded(office % ", holidays: {country: DE}", NOW).errors
    assert [one.message for one in said] == ['open: "office" never opens: holidays and closures take all of its hours']


def test_one_mistake_of_a_calendar_does_not_hide_another() -> None:
    said = loaded("""
calendars:
  - id: office
    open: {sat: ["09:00-12:00", "10:00-13:00", "11:00-12:00"]}
    holidays: {country: XX}
    closed: [{on: 2026-03-20}, {on: 2026-03-20}]
sla: [{id: s, calendar: offise, targets: {P1: {respond: 1h}}, warn_at: [50%, 50%]}]
""").errors
    assert [(one.line, one.message.split(":")[0]) for one in said] == [
        (5, "sat"), (5, "sat"), (6, "country"), (7, "closed"), (8, "calendar"), (8, "warn_at"),
    ]  # fmt: skip


# ---- slas
def test_a_whole_sla() -> None:
    found = policy(f"""
{OFFICE}
sla:
  - id: standard
    calendar: office
    targets:
      P1: {{respond: {{in: 1h, out: 4h}}, resolve: 24h}}
      P3: {{respond: {{in: 8h working, out: 24h}}}}
      P4: {{resolve: 40h working}}
    warn_at: [100%, 50%, 75%, 200%]
""")
    day_long, week = Allowed(24 * HOUR), Allowed(40 * HOUR, working=True)
    assert found.slas == {
        "standard": Sla(
            "standard",
            "office",
            {
                "P1": Promise(Allowance(Allowed(HOUR), Allowed(4 * HOUR)), Allowance(day_long, day_long)),
                "P3": Promise(Allowance(Allowed(8 * HOUR, working=True), day_long)),
                "P4": Promise(None, Allowance(week, week)),
            },
            (50, 75, 100, 200),
        )
    }


def test_an_sla_may_name_no_calendar_and_warn_of_nothing_before_its_end() -> None:
    assert policy(STANDARD).slas["standard"] == Sla(
        "standard", None, {"P1": Promise(Allowance(Allowed(HOUR), Allowed(HOUR)))}
    )


def test_working_time_without_a_calendar_is_refused_wherever_it_stands() -> None:
    said = loaded("""
sla:
  - id: s
    targets:
      P1: {respond: {in: 1h, out: 4h working}, resolve: 8h working}
""").errors
    assert [(one.line, one.col, one.message) for one in said] == [
        (6, 35, "respond: working time is counted by a calendar, and this sla names none"),
        (6, 57, "resolve: working time is counted by a calendar, and this sla names none"),
    ]


# ---- which sla holds
TWO = "sla: [{id: gold, targets: {P1: {respond: 1h}}}, {id: iron, targets: {P1: {respond: 9h}}}]"


def test_one_sla_is_the_default_and_a_rule_can_name_its_own() -> None:
    found = policy(f"{STANDARD}\nrules: [{RULE}]")
    assert found.default_sla == "standard"
    assert found.sla_for(found.rules["a"]) is found.slas["standard"]
    assert policy("catch_all: on").default_sla is None
    two = policy(f"{TWO}\ndefault_sla: iron\nrules: [{RULE}, {RULE.replace('id: a', 'id: b, sla: gold')}]")
    names = {name: sla.id for name, rule in two.rules.items() if (sla := two.sla_for(rule)) is not None}
    assert names == {"a": "iron", "b": "gold"}


def test_an_sla_is_inherited_as_an_escalation_is() -> None:
    found = policy(f"""
{TWO}
default_sla: iron
defaults: {{sla: gold}}
templates: {{slack: {{sla: iron}}}}
rules: [{RULE}, {RULE.replace("id: a", "id: b, extends: slack")}, {RULE.replace("id: a", "id: c, sla: iron")}]
""")
    assert {name: rule.sla for name, rule in found.rules.items()} == {"a": "gold", "b": "iron", "c": "iron"}


@pytest.mark.parametrize(
    ("text", "silent"),
    [
        (f"{TWO}\nrules: [{RULE}]", "a, catch-all"),
        (f"{TWO}\nrules: [{RULE}]\ncatch_all: off", "a"),
        (f"{TWO}\nrules: [{RULE.replace('}', ', sla: gold}')}]", "catch-all"),
        (f"{TWO}\nrules: [{RULE.replace('}', ', sla: gold}')}]\ncatch_all: off", None),
        (f"{TWO}\nrules: [{RULE}]\ndefault_sla: gold", None),
        (f"{STANDARD}\nrules: [{RULE}]", None),
    ],
)
def test_rules_that_none_of_several_slas_holds_for_are_warned_of(text: str, silent: str | None) -> None:
    said = "several slas but no default_sla: nothing is promised for tickets of rules without sla: "
    expected = [] if silent is None else [f"f.yaml:2:1: {said}{silent}"]
    assert [str(one) for one in loaded(text).warnings] == expected


def test_a_default_sla_is_said_once_for_all_files() -> None:
    found = loaded({"a.yaml": f"{STANDARD}\ndefault_sla: standard", "b.yaml": "default_sla: standard"})
    assert [str(one) for one in found.errors] == [
        'b.yaml:2:1: "default_sla" holds for all files and is said once; the first is at a.yaml:3:1'
    ]


def test_a_mistake_elsewhere_does_not_hide_a_default_sla_that_there_is_not() -> None:
    said = loaded(f"{STANDARD}\ndefault_sla: standart\nfoo: bar").errors
    assert [str(one) for one in said] == [
        'f.yaml:3:14: default_sla: there is no sla "standart"; did you mean "standard"?',
        'f.yaml:4:1: unknown key "foo"',
    ]
