"""Handoff notices: who leaves and who comes is told once, in the words of a person, and never late as news."""

from dataclasses import replace

import pytest

from rules.case import Case
from rules.commands import Cancel, Deliver
from rules.commands import Schedule as SetTimer
from rules.decide import decide
from rules.events import PolicyLoaded, TimerFired
from rules.instants import DAY, HOUR, MINUTE, WEEK, Instant, format_instant, parse_instant
from rules.model import Delivery, Purpose, Timer
from rules.policy import Contact, Method, Policy, Rotation, Schedule, ScheduleOverride
from rules.response import handoffs
from rules.state import State


def utc(text: str) -> Instant:
    return parse_instant(f"{text}:00Z")


BASE = Schedule("payments", "Africa/Tripoli", (Rotation(("amina", "omar"), WEEK, utc("2026-01-04T09:00")),))
HANDOFF = utc("2026-03-01T07:00")  # 09:00 in Tripoli: from omar to amina


def mail(name: str, after: int = 0, **more: object) -> Method:
    return Method("email", f"{name}@example.test", after, **more)  # type: ignore[arg-type]


PEOPLE = {
    "amina": Contact("amina", "Amina Salem", timezone="Africa/Cairo", reach=(mail("amina"),)),
    "omar": Contact("omar", "Omar Ali", timezone="Africa/Tripoli", reach=(mail("omar"),)),
    "lena": Contact("lena", timezone="UTC", reach=(mail("lena"),)),
}


def policy(*schedules: Schedule, **contacts: Contact) -> Policy:
    return Policy(contacts={**PEOPLE, **contacts}, schedules={one.id: one for one in schedules or (BASE,)})


def override(since: str, until: str, who: str = "lena", why: str = "") -> Schedule:
    return replace(BASE, overrides=(ScheduleOverride(who, utc(since), utc(until), why),))


class Night:
    """Timers and notices of one policy after another, as time goes on."""

    def __init__(self, policy: Policy, now: Instant) -> None:
        self.policy = policy
        self.now = now
        self.timers: dict[str, Timer] = {}
        self.told: list[Delivery] = []
        self.load()

    def load(self, policy: Policy | None = None) -> None:
        self.policy = policy or self.policy
        self._decided(PolicyLoaded(self.policy.version))

    def _decided(self, event: PolicyLoaded | TimerFired) -> None:
        decision = decide(State(), event, self.now, self.policy)
        for command in decision.commands:
            match command:
                case SetTimer(timer) if timer.subject.startswith(handoffs.PREFIX):
                    assert timer.kind == handoffs.HANDOFF
                    self.timers[timer.subject] = timer
                case Cancel(subject):
                    self.timers.pop(subject, None)
                case Deliver(delivery):
                    assert delivery.key not in {one.key for one in self.told}  # the outbox takes a key once
                    self.told.append(delivery)
                case _:
                    pass

    def until(self, now: Instant, *, down: bool = False) -> list[str]:
        """Go on; what was told meanwhile. `down`: nothing is done before the end."""
        before = len(self.told)
        for _ in range(1_000):
            due = min(
                (one for one in self.timers.values() if one.due_at <= now), key=lambda one: one.due_at, default=None
            )
            if due is None:
                break
            self.now = max(self.now, now if down else due.due_at)
            self._decided(TimerFired(due.subject, due.kind, due.generation, due.due_at))
        self.now = now
        return [f"{one.contact}: {one.note}" for one in self.told[before:]]


# ---- who is told what
def test_both_sides_are_told_in_their_own_time() -> None:
    night = Night(policy(), HANDOFF - DAY)
    assert night.until(HANDOFF - 1) == []
    assert night.until(HANDOFF) == [
        "amina: You are on call for payments until Sun 2026-03-08 09:00 (Africa/Cairo); before you: Omar Ali.",
        "omar: Your turn on call for payments has ended; Amina Salem has taken over.",
    ]
    assert night.until(HANDOFF + WEEK) == [
        "omar: You are on call for payments until Sun 2026-03-15 09:00 (Africa/Tripoli); before you: Amina Salem.",
        "amina: Your turn on call for payments has ended; Omar Ali has taken over.",
    ]


def test_a_notice_is_about_no_ticket_and_has_a_key_of_its_own() -> None:
    night = Night(policy(), HANDOFF - DAY)
    night.until(HANDOFF)
    first = night.told[0]
    assert first.key == f"H-payments/{HANDOFF}/amina/email:amina@example.test"
    assert (first.ticket, first.purpose, first.gravity, first.due_at) == (0, Purpose.HANDOFF, 4, HANDOFF)


@pytest.mark.parametrize(
    ("reach", "kinds"),
    [
        ((mail("a"), Method("sms", "+1", 5 * MINUTE)), ["email"]),
        ((mail("a"), Method("sms", "+1")), ["email", "sms"]),
        ((mail("a"), mail("a")), ["email"]),
        ((Method("sms", "+1", 5 * MINUTE), mail("a", 10 * MINUTE)), ["sms"]),
        ((Method("sms", "+1", priorities=frozenset({"P1"})), mail("a", MINUTE)), ["email"]),
        ((Method("sms", "+1", priorities=frozenset({"P1"})),), ["sms"]),
        ((), []),
    ],
)
def test_a_notice_comes_by_the_ways_that_tell_at_once(reach: tuple[Method, ...], kinds: list[str]) -> None:
    night = Night(policy(amina=replace(PEOPLE["amina"], reach=reach)), HANDOFF - DAY)
    night.until(HANDOFF)
    assert [one.kind for one in night.told if one.contact == "amina"] == kinds


def test_who_stays_is_not_told() -> None:
    both = replace(BASE, rotations=(*BASE.rotations, Rotation(("lena",), DAY, utc("2026-01-01T00:00"))))
    night = Night(policy(both), HANDOFF - DAY)
    until = "until Sun 2026-03-08 09:00 (Africa/Cairo)"
    assert night.until(HANDOFF) == [
        f"amina: You are on call for payments with lena {until}; before you: Omar Ali.",
        "omar: Your turn on call for payments has ended; Amina Salem and lena have taken over.",
    ]


def test_an_override_says_why_and_its_end_is_a_change_too() -> None:
    night = Night(policy(override("2026-03-03T12:00", "2026-03-04T12:00", why="Amina on leave")), HANDOFF)
    begins = "lena: You are on call for payments until Wed 2026-03-04 12:00 (UTC); before you: Amina Salem."
    assert night.until(HANDOFF + 4 * DAY) == [
        f"{begins} Why: Amina on leave.",
        "amina: Your turn on call for payments has ended; lena has taken over. Why: Amina on leave.",
        "amina: You are on call for payments until Sun 2026-03-08 09:00 (Africa/Cairo); before you: lena.",
        "lena: Your turn on call for payments has ended; Amina Salem has taken over.",
    ]


def test_an_override_by_whoever_is_on_call_anyway_is_no_change() -> None:
    night = Night(policy(override("2026-03-03T12:00", "2026-03-04T12:00", "amina")), HANDOFF)
    assert night.until(HANDOFF + 6 * DAY) == []


def test_into_a_gap_and_out_of_it() -> None:
    begins = replace(BASE, rotations=(Rotation(("amina", "omar"), WEEK, utc("2026-03-01T09:00")),))
    gone = replace(BASE, rotations=(), overrides=(
        ScheduleOverride("amina", HANDOFF, HANDOFF + DAY), ScheduleOverride("omar", HANDOFF + WEEK, HANDOFF + 2 * WEEK),
    ))  # fmt: skip
    assert Night(policy(begins), HANDOFF - DAY).until(HANDOFF) == [
        "amina: You are on call for payments until Sun 2026-03-08 09:00 (Africa/Cairo); before you: nobody."
    ]
    assert Night(policy(gone), HANDOFF).until(HANDOFF + DAY) == [
        "amina: Your turn on call for payments has ended; nobody is on call now."
    ]


def test_a_turn_whose_end_is_not_in_sight() -> None:
    for_good = replace(BASE, rotations=(), overrides=(
        ScheduleOverride("omar", HANDOFF - DAY, HANDOFF), ScheduleOverride("lena", HANDOFF, utc("2399-01-01T00:00")),
    ))  # fmt: skip
    assert Night(policy(for_good), HANDOFF - HOUR).until(HANDOFF)[0] == (
        "lena: You are on call for payments until further notice; before you: Omar Ali."
    )


def test_whoever_is_not_active_is_told_nothing() -> None:
    night = Night(policy(omar=replace(PEOPLE["omar"], active=False)), HANDOFF - DAY)
    assert [one.split(":")[0] for one in night.until(HANDOFF)] == ["amina"]


# ---- no notice
@pytest.mark.parametrize(
    "schedule",
    [
        replace(BASE, handoff_notice=False),
        replace(BASE, rotations=(Rotation(("amina",), WEEK, utc("2026-01-04T09:00")),)),
        Schedule("payments"),
    ],
)
def test_schedules_that_give_no_notice_wait_for_nothing(schedule: Schedule) -> None:
    assert Night(policy(schedule), HANDOFF - DAY).timers == {}


# ---- policies that change, and outages
def test_a_change_is_told_though_the_policy_is_loaded_between_its_time_and_its_timer() -> None:
    night = Night(policy(), HANDOFF - DAY)
    night.now = HANDOFF + 5
    night.load()
    assert len(night.until(HANDOFF + MINUTE, down=True)) == 2
    night.load()
    assert night.until(HANDOFF + HOUR) == []


def test_a_schedule_removed_or_silenced_meanwhile_tells_nothing() -> None:
    for after in (Policy(contacts=PEOPLE), policy(replace(BASE, handoff_notice=False))):
        night = Night(policy(), HANDOFF - DAY)
        night.load(after)
        assert night.until(HANDOFF + WEEK) == []
        assert night.timers == {}


def test_a_schedule_changed_meanwhile_tells_what_is_so_now() -> None:
    night = Night(policy(), HANDOFF - DAY)
    later = replace(BASE, rotations=(Rotation(("amina", "omar"), WEEK, utc("2026-01-04T12:00")),))
    night.load(policy(later))
    assert night.until(HANDOFF + HOUR) == []  # the change that the timer stood for is not there any more
    assert [format_instant(one.created_at) for one in night.told] == []
    assert len(night.until(HANDOFF + 3 * HOUR)) == 2
    assert {format_instant(one.created_at) for one in night.told} == {"2026-03-01T10:00:00Z"}


def test_after_an_outage_over_several_changes_the_latest_alone_is_told_and_once() -> None:
    daily = replace(
        BASE, timezone="UTC", rotations=(Rotation(("amina", "omar", "lena"), DAY, utc("2026-03-01T07:00")),)
    )
    night = Night(policy(daily), HANDOFF + HOUR)
    back = HANDOFF + 4 * DAY + 30 * MINUTE  # omar's turn, after lena's and amina's
    night.now = back
    night.load()
    assert [one.split(";")[0] for one in night.until(back, down=True)] == [
        "omar: You are on call for payments until Fri 2026-03-06 09:00 (Africa/Tripoli)",
        "amina: Your turn on call for payments has ended",
    ]
    assert night.until(back + 23 * HOUR) == []


def test_two_timers_that_an_outage_left_tell_the_latest_change_once() -> None:
    turns = replace(BASE, timezone="UTC", rotations=(Rotation(("amina", "omar", "lena"), HOUR, HANDOFF),))
    night = Night(policy(turns), HANDOFF - MINUTE)
    night.now = HANDOFF + MINUTE
    night.load()  # before the first timer was seen to
    assert [one.due_at for one in night.timers.values()] == [HANDOFF, HANDOFF + HOUR]
    told = night.until(HANDOFF + HOUR + MINUTE, down=True)
    assert [one.split(":")[0] for one in told] == ["omar", "amina"]


@pytest.mark.parametrize(("late", "told"), [(HOUR, 2), (HOUR + 1, 0)])
def test_what_is_more_than_an_hour_late_is_not_told_as_news(late: int, told: int) -> None:
    night = Night(policy(), HANDOFF - DAY)
    assert len(night.until(HANDOFF + late, down=True)) == told
    assert [one.due_at for one in night.timers.values()] == [HANDOFF + WEEK]


def test_away_and_back_again_during_an_outage_is_no_change() -> None:
    night = Night(policy(override("2026-03-03T12:00", "2026-03-03T12:20")), HANDOFF)
    assert night.until(utc("2026-03-03T12:30"), down=True) == []
    assert [one.due_at for one in night.timers.values()] == [HANDOFF + WEEK]


def test_a_timer_that_names_nothing_does_nothing() -> None:
    for name in ("payments", "payments/soon", "nobody/5", ""):
        case = Case(State(), HANDOFF, policy())
        assert "no " in handoffs.fired(case, name)
        assert case.commands() == ()


def test_people_who_never_change_are_looked_at_again_later() -> None:
    alone = replace(BASE, timezone="UTC", rotations=(Rotation(("amina",), HOUR, utc("2026-01-04T09:00")),), overrides=(
        ScheduleOverride("omar", utc("2026-12-01T00:00"), utc("2026-12-02T00:00")),
    ))  # fmt: skip
    night = Night(policy(alone), HANDOFF)
    (timer,) = night.timers.values()
    assert HANDOFF < timer.due_at < utc("2026-12-01T00:00")
    assert len(night.until(utc("2026-12-03T00:00"))) == 4
