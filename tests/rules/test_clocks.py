"""The two clocks of a ticket: when each ran, when it stood still, and why."""

import pytest

from rules.instants import HOUR, MINUTE, SECOND, parse_instant
from rules.model import Mark, Ticket
from rules.response.clocks import Stretch, course, elapsed, state, stretches

OPENED = parse_instant("2026-03-04T08:00:00Z")


def ticket(*marks: tuple[int, str] | tuple[int, str, str]) -> Ticket:
    """A ticket with marks at so many µs after it was opened."""
    return Ticket(
        id=1, key="k", rule="r", title="t", priority="P1", impact="site", urgency="high", opened_at=OPENED,
        marks=tuple(Mark(OPENED + at, what, *why) for at, what, *why in marks),
    )  # fmt: skip


def told(one: Ticket, clock: str) -> list[tuple[int, int | None, bool, str]]:
    return [
        (part.since - OPENED, None if part.until is None else part.until - OPENED, part.running, part.why)
        for part in stretches(one, clock)
    ]


def test_both_clocks_run_since_the_ticket_was_opened() -> None:
    for clock in ("respond", "resolve"):
        assert stretches(ticket(), clock) == (Stretch(OPENED, None, running=True, why="opened"),)
        assert (state(ticket(), clock), elapsed(ticket(), clock, OPENED + HOUR)) == ("running", HOUR)


def test_the_first_answer_ends_the_response_clock_for_good() -> None:
    one = ticket((HOUR, "answered", "acknowledged by amina"), (2 * HOUR, "answered"), (3 * HOUR, "running", "reopened"))
    assert told(one, "respond") == [(0, HOUR, True, "opened")]
    assert (state(one, "respond"), elapsed(one, "respond", OPENED + 9 * HOUR)) == ("ended", HOUR)
    assert told(one, "resolve") == [(0, None, True, "opened")]


def test_a_hold_pauses_the_resolution_clock_with_its_reason_and_not_the_response_clock() -> None:
    one = ticket((HOUR, "paused", "waits for the supplier"), (3 * HOUR, "running", "released"))
    assert told(one, "resolve") == [
        (0, HOUR, True, "opened"), (HOUR, 3 * HOUR, False, "waits for the supplier"),
        (3 * HOUR, None, True, "released"),
    ]  # fmt: skip
    assert elapsed(one, "resolve", OPENED + 4 * HOUR) == 2 * HOUR
    assert told(one, "respond") == [(0, None, True, "opened")]


def test_a_ticket_that_resolves_unanswered_stops_both_and_a_reopening_resumes_them() -> None:
    one = ticket((HOUR, "stopped"))
    assert [state(one, clock) for clock in ("respond", "resolve")] == ["stopped", "stopped"]
    again = ticket((HOUR, "stopped"), (2 * HOUR, "running", "it fires again"))
    for clock in ("respond", "resolve"):
        assert told(again, clock)[1:] == [
            (HOUR, 2 * HOUR, False, "resolved"), (2 * HOUR, None, True, "it fires again"),
        ]  # fmt: skip
        assert elapsed(again, clock, OPENED + 3 * HOUR) == 2 * HOUR


def test_who_closes_a_resolved_ticket_ends_the_response_clock_where_it_stood() -> None:
    one = ticket((HOUR, "stopped"), (5 * HOUR, "answered"))
    assert told(one, "respond") == [(0, HOUR, True, "opened"), (HOUR, 5 * HOUR, False, "resolved")]
    assert (state(one, "respond"), elapsed(one, "respond", OPENED + 9 * HOUR)) == ("ended", HOUR)


def test_two_pauses_in_one_minute_are_two_stretches() -> None:
    at = 10 * MINUTE
    one = ticket(
        (at, "paused", "first"), (at + 10 * SECOND, "running"),
        (at + 20 * SECOND, "paused", "second"), (at + 50 * SECOND, "running"),
    )  # fmt: skip
    assert [(until or 0) - since for since, until, running, _ in told(one, "resolve") if not running] == [
        10 * SECOND, 30 * SECOND,
    ]  # fmt: skip
    assert elapsed(one, "resolve", OPENED + 11 * MINUTE) == 11 * MINUTE - 40 * SECOND


def test_marks_at_equal_instants_leave_empty_stretches_and_count_nothing() -> None:
    one = ticket((HOUR, "paused", "by mistake"), (HOUR, "running"), (HOUR, "paused", "meant"), (2 * HOUR, "running"))
    assert told(one, "resolve") == [
        (0, HOUR, True, "opened"), (HOUR, HOUR, False, "by mistake"), (HOUR, HOUR, True, "goes on"),
        (HOUR, 2 * HOUR, False, "meant"), (2 * HOUR, None, True, "goes on"),
    ]  # fmt: skip
    assert elapsed(one, "resolve", OPENED + 2 * HOUR) == HOUR
    at_once = ticket((0, "answered"), (0, "stopped"))
    assert (elapsed(at_once, "respond", OPENED + HOUR), elapsed(at_once, "resolve", OPENED + HOUR)) == (0, 0)


def test_a_hold_that_is_given_another_reason_stays_a_hold() -> None:
    one = ticket((HOUR, "paused", "supplier"), (2 * HOUR, "paused", "customer"), (3 * HOUR, "running"))
    assert [why for _, _, running, why in told(one, "resolve") if not running] == ["supplier", "customer"]
    assert elapsed(one, "resolve", OPENED + 4 * HOUR) == 2 * HOUR


def test_what_is_resolved_while_it_was_held_is_stopped_and_a_hold_changes_that_no_more() -> None:
    one = ticket((HOUR, "paused"), (2 * HOUR, "stopped"), (3 * HOUR, "paused"), (4 * HOUR, "stopped"))
    assert told(one, "resolve") == [
        (0, HOUR, True, "opened"), (HOUR, 2 * HOUR, False, "on hold"), (2 * HOUR, None, False, "resolved"),
    ]  # fmt: skip
    assert state(one, "resolve") == "stopped"


def test_what_runs_already_is_not_started_twice() -> None:
    assert told(ticket((HOUR, "running"), (2 * HOUR, "running")), "resolve") == [(0, None, True, "opened")]


def test_a_wall_clock_that_was_set_back_6_hours_makes_no_stretch_negative() -> None:
    one = ticket((8 * HOUR, "paused"), (2 * HOUR, "running"), (3 * HOUR, "stopped"))
    assert told(one, "resolve") == [
        (0, 8 * HOUR, True, "opened"), (8 * HOUR, 8 * HOUR, False, "on hold"),
        (8 * HOUR, 8 * HOUR, True, "goes on"), (8 * HOUR, None, False, "resolved"),
    ]  # fmt: skip
    assert elapsed(one, "resolve", OPENED + HOUR) == 8 * HOUR
    assert elapsed(ticket(), "resolve", OPENED - 6 * HOUR) == 0


def test_stretches_have_no_holes() -> None:
    one = ticket((5, "paused"), (5, "stopped"), (9, "running"), (12, "answered"), (20, "paused"), (31, "stopped"))
    for clock in ("respond", "resolve"):
        parts = stretches(one, clock)
        assert parts[0].since == OPENED
        assert [part.until for part in parts[:-1]] == [part.since for part in parts[1:]]


def test_there_is_no_third_clock() -> None:
    with pytest.raises(ValueError, match="there is no clock 'close'; a ticket has respond and resolve"):
        course(ticket(), "close")
