"""What was promised, judged: due times, shares that passed, and what a change of mind makes of the same history."""

from msgspec.structs import replace

from rules.instants import DAY, HOUR, MICROSECOND, MINUTE, SECOND, Instant, format_instant
from rules.model import Judged, Ticket
from rules.policy import Allowance, Allowed, Calendar, Policy, Promise, Sla
from rules.response.sla import Clock, judge, news, next_at, targets, view
from tests.rules.promised import closed_also, local, office, policy, standard, ticket

BOTH = Allowance(Allowed(4 * HOUR), Allowed(4 * HOUR))


def clock(promised: Policy, one: Ticket, now: str | Instant, name: str = "respond") -> Clock:
    at = local(now) if isinstance(now, str) else now
    return next(found for found in judge(promised, None, one, at) if found.clock == name)


def shares(one: Clock) -> list[tuple[int, Instant]]:
    return list(one.passed)


def told(judged: tuple[Judged, ...]) -> list[tuple[int, bool, bool]]:
    return [(one.share, one.told, one.superseded) for one in judged]


def recorded(promised: Policy, one: Ticket, now: str) -> Ticket:
    """The ticket after its clocks were judged and the news put on record."""
    return replace(one, judged=news(one.judged, judge(promised, None, one, local(now))).on_record(one.judged))


# ---- what is promised
def test_who_opens_exactly_at_open_is_inside_and_exactly_at_close_outside() -> None:
    edges = {"03-01 09:00": True, "03-01 17:00": False}
    for edge, at_it in edges.items():
        for off, inside in ((-SECOND, not at_it), (-MICROSECOND, not at_it), (0, at_it), (1, at_it), (SECOND, at_it)):
            one = replace(ticket(edge), opened_at=local(edge) + off)
            (respond, _) = targets(policy(), standard(), one)
            assert (respond.inside, respond.allowed) == (inside, HOUR if inside else 4 * HOUR)


def test_nothing_is_judged_where_nothing_is_promised() -> None:
    assert judge(Policy(), None, ticket("03-01 09:00"), local("03-01 10:00")) == []
    only = Sla("some", None, {"P2": Promise(resolve=BOTH)})
    assert judge(policy(only), None, ticket("03-01 09:00"), local("03-01 10:00")) == []
    found = judge(policy(only), None, ticket("03-01 09:00", priority="P2"), local("03-01 10:00"))
    assert [one.clock for one in found] == ["resolve"]
    assert next_at([]) is None


def test_an_sla_without_a_calendar_is_open_at_all_times() -> None:
    always = policy(Sla("s", None, {"P1": Promise(Allowance(Allowed(HOUR, working=True), Allowed(4 * HOUR)))}))
    assert clock(always, ticket("03-06 23:00"), "03-06 23:00").due_at == local("03-07 00:00")  # a Friday night


# ---- shares
def test_a_share_passes_at_the_very_instant_and_the_next_is_awaited() -> None:
    one, promised = ticket("03-01 10:00"), policy()
    quarter, due = local("03-01 10:45"), local("03-01 11:00")
    seen = [
        (at, len(found.passed), found.state, found.next_at)
        for at in (quarter - 1, quarter, due - 1, due, due + HOUR)
        for found in [clock(promised, one, at)]
    ]
    assert seen == [
        (quarter - 1, 0, "running", quarter), (quarter, 1, "running", due), (due - 1, 1, "running", due),
        (due, 2, "breached", None), (due + HOUR, 2, "breached", None),
    ]  # fmt: skip
    late = clock(promised, one, due + HOUR)
    assert (shares(late), late.due_at) == ([(75, quarter), (100, due)], due)
    assert (late.used, late.left) == (2 * HOUR, -HOUR)


def test_100_percent_is_always_judged_and_shares_beyond_it_may_be() -> None:
    quiet, loud = policy(standard(())), policy(standard((50, 150)))
    one = ticket("03-01 10:00")
    assert [share for share, _ in clock(quiet, one, "03-01 13:00").passed] == [100]
    assert shares(clock(loud, one, "03-01 13:00")) == [
        (50, local("03-01 10:30")), (100, local("03-01 11:00")), (150, local("03-01 11:30")),
    ]  # fmt: skip
    assert clock(loud, one, "03-01 11:10").next_at == local("03-01 11:30")


def test_working_time_is_warned_of_when_that_share_of_open_hours_is_used() -> None:
    one = ticket("03-05 14:00", priority="P3")  # a Thursday: three hours, then five on Saturday
    found = clock(policy(), one, "03-05 15:00")
    assert (found.next_at, found.due_at) == (local("03-07 12:00"), local("03-07 14:00"))
    friday = clock(policy(), one, "03-06 12:00")
    assert (friday.used, friday.left, friday.state) == (3 * HOUR, 5 * HOUR, "running")


def test_an_answer_before_the_due_instant_keeps_the_promise_and_one_at_it_is_late() -> None:
    for answered, state in (("03-01 10:59:59", "met"), ("03-01 11:00", "breached"), ("03-01 11:30", "breached")):
        one = clock(policy(), ticket("03-01 10:00", (answered, "answered")), "03-02 10:00")
        assert (one.state, one.next_at) == (state, None)
        assert one.due_at == local("03-01 11:00")
        assert one.used == local(answered) - local("03-01 10:00")


def test_a_ticket_that_resolves_unanswered_in_time_kept_both_promises() -> None:
    one = ticket("03-01 10:00", ("03-01 10:20", "stopped"))
    found = judge(policy(), None, one, local("03-05 10:00"))
    assert [(each.clock, each.state, each.next_at) for each in found] == [
        ("respond", "met", None), ("resolve", "met", None),
    ]  # fmt: skip
    assert [each.due_at for each in found] == [local("03-01 11:00"), local("03-02 10:00")]


def test_a_reopening_resumes_what_was_left() -> None:
    one = ticket("03-01 10:00", ("03-01 10:20", "stopped"), ("03-03 08:00", "running"))
    assert clock(policy(), one, "03-03 08:00").due_at == local("03-03 08:40")
    assert clock(policy(), one, "03-03 08:00", "resolve").due_at == local("03-04 07:40")


def test_what_is_reopened_after_its_breach_stays_breached_and_is_not_told_again() -> None:
    one = ticket("03-01 10:00", ("03-01 10:05", "answered"), ("03-02 12:00", "stopped"))
    promised = policy()
    one = recorded(promised, one, "03-02 12:00")
    assert told(one.judged) == [(75, True, False), (100, True, False)]
    again = ticket("03-01 10:00", ("03-01 10:05", "answered"), ("03-02 12:00", "stopped"), ("03-02 12:30", "running"))
    found = clock(promised, again, "03-09 10:00", "resolve")
    assert (found.state, found.due_at, found.next_at) == ("breached", local("03-02 10:00"), None)
    assert news(one.judged, judge(promised, None, again, local("03-09 10:00"))).passed == ()


# ---- pauses
def test_what_is_held_is_due_at_no_time_and_says_what_is_left() -> None:
    one = ticket("03-01 10:00", ("03-01 12:00", "answered"), ("03-01 12:00", "paused"))
    found = clock(policy(), one, "03-05 12:00", "resolve")
    assert (found.state, found.due_at, found.next_at) == ("paused", None, None)
    assert (found.used, found.left) == (2 * HOUR, 22 * HOUR)


def test_a_hold_past_the_slas_deadline_moves_the_deadline_and_breaks_no_promise() -> None:
    marks = [("03-01 12:00", "paused"), ("03-05 12:00", "running")]  # the deadline was 2 March, 10:00
    held = clock(policy(), ticket("03-01 10:00", marks[0]), "03-05 11:59", "resolve")
    released = clock(policy(), ticket("03-01 10:00", *marks), "03-05 12:00", "resolve")
    assert (held.state, held.passed) == ("paused", ())
    assert (released.state, released.due_at) == ("running", local("03-06 10:00"))


def test_a_hold_after_the_deadline_leaves_the_breach() -> None:
    one = ticket("03-01 10:00", ("03-02 11:00", "paused"))
    found = clock(policy(), one, "03-09 10:00", "resolve")
    assert (found.state, found.due_at, found.used) == ("breached", local("03-02 10:00"), 25 * HOUR)


def test_two_pauses_in_one_minute_move_the_deadline_by_their_sum() -> None:
    one = ticket(
        "03-01 10:00", ("03-01 12:00:00", "paused"), ("03-01 12:00:10", "running"),
        ("03-01 12:00:20", "paused"), ("03-01 12:00:50", "running"),
    )  # fmt: skip
    assert clock(policy(), one, "03-01 13:00", "resolve").due_at == local("03-02 10:00:40")


def test_a_share_that_passes_after_a_pause_passes_later_by_the_pause() -> None:
    one = ticket("03-01 10:00", ("03-01 12:00", "paused"), ("03-01 15:00", "running"))
    assert shares(clock(policy(), one, "03-03 10:00", "resolve")) == [
        (75, local("03-02 07:00")), (100, local("03-02 13:00")),
    ]  # fmt: skip


def test_working_time_is_not_used_while_it_is_held() -> None:
    promised = policy(standard(P3=Promise(resolve=Allowance(Allowed(8 * HOUR, working=True), Allowed(24 * HOUR)))))
    one = ticket("03-05 14:00", ("03-05 16:00", "paused"), ("03-07 16:00", "running"), priority="P3")
    found = clock(promised, one, "03-07 16:00", "resolve")
    assert (found.used, found.due_at) == (2 * HOUR, local("03-08 14:00"))  # an hour on Saturday, five on Sunday


# ---- the same history, judged again
def test_a_priority_raised_while_paused_judges_what_ran_before_the_pause() -> None:
    promised = policy(
        standard(P2=Promise(resolve=BOTH), P1=Promise(resolve=Allowance(Allowed(2 * HOUR), Allowed(HOUR))))
    )
    held = ticket("03-01 10:00", ("03-01 11:00", "paused"), priority="P2")
    raised = replace(held, priority="P1")
    before, after = (clock(promised, one, "03-01 15:00", "resolve") for one in (held, raised))
    assert (before.left, after.left, after.state) == (3 * HOUR, HOUR, "paused")
    assert before.version != after.version
    late = replace(raised, marks=ticket("03-01 10:00", ("03-01 13:00", "paused")).marks)
    found = clock(promised, late, "03-01 15:00", "resolve")
    assert (found.state, shares(found)) == (
        "breached", [(75, local("03-01 11:30")), (100, local("03-01 12:00"))],
    )  # fmt: skip


def test_a_version_holds_as_long_as_the_same_is_promised() -> None:
    one = ticket("03-01 10:00", priority="P1")
    version = clock(policy(), one, "03-01 10:00").version
    assert clock(policy(standard((50,))), one, "03-01 10:00").version == version  # other warnings, the same promise
    same = standard(P2=Promise(Allowance(Allowed(HOUR), Allowed(5 * HOUR))))
    assert clock(policy(same), replace(one, priority="P2"), "03-01 10:00").version == version
    assert clock(policy(), one, "03-01 10:00", "resolve").version != version
    longer = standard(P1=Promise(Allowance(Allowed(HOUR + MINUTE), Allowed(HOUR))))
    assert clock(policy(longer), one, "03-01 10:00").version != version


def test_a_calendar_matters_to_a_version_only_where_time_is_counted_along_it() -> None:
    before, after = policy(), closed_also(policy(), d0308="Painters")
    one = {name: ticket("03-07 10:00", priority=name) for name in ("P1", "P3")}
    versions = [
        clock(promised, one[name], "03-07 10:00").version for name in ("P1", "P3") for promised in (before, after)
    ]
    assert versions[0] == versions[1]
    assert versions[2] != versions[3]


def test_a_holiday_added_after_the_deadline_was_computed_moves_it_and_supersedes_the_breach() -> None:
    one = ticket("03-04 14:00", priority="P3")  # a Wednesday: due on Thursday at 14:00
    promised, later = policy(), closed_also(policy(), d0305="declared on the evening before")
    one = recorded(promised, one, "03-05 14:00")
    assert told(one.judged) == [(75, True, False), (100, True, False)]
    found = judge(later, None, one, local("03-05 15:00"))
    assert (found[0].due_at, found[0].state) == (local("03-07 14:00"), "running")
    changed = news(one.judged, found)
    assert (changed.passed, [each.share for each in changed.superseded]) == ((), [75, 100])
    one = recorded(later, one, "03-05 15:00")
    assert told(one.judged) == [(75, True, True), (100, True, True)]


def test_a_share_that_was_told_by_an_older_version_goes_on_record_and_is_told_to_nobody() -> None:
    promised = policy(standard((50, 75)))
    one = recorded(promised, ticket("03-01 10:00"), "03-01 10:45")
    assert told(one.judged) == [(50, True, False), (75, True, False)]
    milder = recorded(promised, replace(one, priority="P2"), "03-01 12:30")  # 50% of four hours have passed
    assert told(milder.judged) == [(50, True, True), (75, True, True), (50, False, False)]
    due = news(milder.judged, judge(promised, None, milder, local("03-01 14:00")))
    assert due.superseded == ()  # they are already
    assert [(each.share, each.told) for each in due.passed] == [(75, False), (100, True)]


def test_a_version_that_holds_again_restores_what_was_on_record() -> None:
    promised = policy()
    one = recorded(promised, ticket("03-01 10:00"), "03-01 11:00")
    milder = recorded(promised, replace(one, priority="P2"), "03-01 11:10")
    again = replace(milder, priority="P1")
    found = news(again.judged, judge(promised, None, again, local("03-01 11:20")))
    assert (found.passed, found.superseded, [each.share for each in found.restored]) == ((), (), [75, 100])
    assert told(recorded(promised, again, "03-01 11:20").judged) == [(75, True, False), (100, True, False)]


def test_what_is_promised_no_longer_is_superseded() -> None:
    one = recorded(policy(), ticket("03-01 10:00"), "03-01 11:00")
    assert [each.share for each in news(one.judged, judge(Policy(), None, one, local("03-01 11:00"))).superseded] == [
        75,
        100,
    ]


def test_judging_twice_is_no_news() -> None:
    one = recorded(policy(), ticket("03-01 10:00"), "03-01 11:00")
    found = news(one.judged, judge(policy(), None, one, local("03-01 11:00")))
    assert found == type(found)()
    assert found.on_record(one.judged) == one.judged


def test_three_days_down_find_every_share_with_the_instant_at_which_it_passed() -> None:
    found = judge(policy(), None, ticket("03-01 10:00"), local("03-04 10:00"))
    assert [(each.clock, each.passed) for each in found] == [
        ("respond", ((75, local("03-01 10:45")), (100, local("03-01 11:00")))),
        ("resolve", ((75, local("03-02 04:00")), (100, local("03-02 10:00")))),
    ]


def test_a_wall_clock_6_hours_ahead_or_behind_changes_no_due_time() -> None:
    one = ticket("03-01 10:00")
    right = local("03-01 10:30")
    for now in (right - 6 * HOUR, right):
        found = clock(policy(), one, now)
        assert (found.due_at, found.next_at, found.passed) == (local("03-01 11:00"), local("03-01 10:45"), ())
    assert clock(policy(), one, right - 6 * HOUR).used == 0
    assert clock(policy(), one, right + 6 * HOUR).due_at == local("03-01 11:00")


def test_a_calendar_that_does_not_open_again_makes_nothing_due() -> None:
    never = Calendar("office", "Africa/Tripoli", office().week, None, dict.fromkeys(range(20514, 21500), "moving"))
    one = clock(policy(calendar=never), replace(ticket("03-01 16:00", priority="P3")), "03-01 16:00")
    assert one.inside
    assert (one.due_at, one.next_at, one.state, one.left) == (None, None, "running", 8 * HOUR)


# ---- for the API
def test_the_view_says_due_state_allowed_used_left_and_stretches() -> None:
    one = ticket("03-01 10:00", ("03-01 12:00", "paused"), ("03-01 13:30", "running"))
    assert view(clock(policy(), one, local("03-01 14:00") + 1, "resolve")) == {
        "clock": "resolve",
        "sla": "standard",
        "calendar": "office",
        "state": "running",
        "due_at": "2026-03-02T09:30:00Z",
        "allowed": "1d",
        "working": False,
        "used": "2h30m",
        "left": "21h30m",
        "passed": [],
        "stretches": [
            {"since": "2026-03-01T08:00:00Z", "until": "2026-03-01T10:00:00Z", "running": True, "why": "opened"},
            {"since": "2026-03-01T10:00:00Z", "until": "2026-03-01T11:30:00Z", "running": False, "why": "on hold"},
            {"since": "2026-03-01T11:30:00Z", "until": None, "running": True, "why": "goes on"},
        ],
    }
    late = view(clock(policy(), ticket("03-01 10:00"), "03-01 11:30"))
    assert (late["state"], late["left"], late["due_at"]) == ("breached", "-30m", format_instant(local("03-01 11:00")))
    assert [each["share"] for each in late["passed"]] == [75, 100]
    held = view(
        clock(policy(), ticket("03-01 10:00", ("03-01 12:00", "paused")), local("03-01 12:00") + DAY, "resolve")
    )
    assert (held["due_at"], held["state"], held["left"]) == (None, "paused", "22h")
