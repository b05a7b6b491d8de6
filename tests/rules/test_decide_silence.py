"""Stories of Prometheus speaking straight to ticketd: resends, ends, and silence."""

from msgspec.structs import replace

from rules.instants import MINUTE, SECOND
from rules.model import Status
from tests.rules.world import START, World, an_alert


def _sends(world: World, *hosts: str) -> None:
    """What Prometheus posts about each minute: everything that fires, with an end a little ahead."""
    found = [replace(an_alert(at=START, host=host), expires_at=world.now + 4 * MINUTE) for host in hosts]
    world.alerts(*found, source="prometheus", sender="prom")


def _heard_for(world: World, minutes: int, *hosts: str) -> None:
    for _ in range(minutes):
        _sends(world, *hosts)
        world.forward(MINUTE)


def test_resends_keep_it_open_and_an_end_that_passed_resolves(world: World) -> None:
    _heard_for(world, 30, "a")
    assert world.ticket().status is Status.OPEN
    world.alerts(replace(an_alert(False, START, world.now, host="a")), source="prometheus", sender="prom")
    assert world.ticket().status is Status.RESOLVED


def test_an_alert_that_its_sender_no_longer_repeats_is_over(world: World) -> None:
    _heard_for(world, 10, "a", "b")
    _heard_for(world, 6, "a")
    assert world.ticket(2).status is Status.RESOLVED
    assert world.ticket(1).status is Status.OPEN
    assert next(one for one in world.state.series.values() if one.labels["host"] == "b").inferred


def test_after_a_silent_resolve_the_same_startsat_is_a_refire(world: World) -> None:
    _heard_for(world, 10, "a", "b")
    _heard_for(world, 6, "a")
    _sends(world, "a", "b")
    assert world.ticket(2).status is Status.OPEN
    assert world.ticket(2).reopened == 1


def test_a_sender_silent_altogether_is_no_data_and_one_ticket_says_so(world: World) -> None:
    _heard_for(world, 10, "a", "b")
    world.forward(60 * MINUTE)
    assert world.ticket(1).status is Status.OPEN
    assert world.ticket(2).status is Status.OPEN
    said = [one for one in world.state.tickets.values() if one.labels.get("alertname") == "TicketdSenderSilent"]
    assert len(said) == 1
    assert said[0].labels["sender"] == "prom"
    _sends(world, "a", "b")
    assert world.ticket(said[0].id).status is Status.RESOLVED, "heard again"
    assert world.ticket(1).status is Status.OPEN


def test_after_our_own_absence_silence_means_nothing_until_the_sender_had_its_time(world: World) -> None:
    _heard_for(world, 10, "a", "b")
    world.now += 60 * MINUTE  # we were down: nothing was heard, nothing fired
    world.state.started_at = world.now
    _sends(world, "a")
    world.forward(30 * SECOND)
    assert world.ticket(2).status is Status.OPEN, "b may come with the next resend"
    _sends(world, "a", "b")
    world.forward(MINUTE)
    assert world.ticket(2).status is Status.OPEN
    assert len(world.state.tickets) == 2
