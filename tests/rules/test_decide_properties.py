"""Random histories: whatever happens in whatever order, what must hold holds (`World.check` after every event)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.instants import HOUR, MINUTE, SECOND
from rules.model import LIVE, Sending, Status
from rules.tickets.lifecycle import ACTIONS, MOVES
from tests.rules.world import World, a_policy, an_alert

NAMES = st.sampled_from(["ErrorRate", "Down"])
HOSTS = st.sampled_from(["a", "b"])
SEVERITIES = st.sampled_from(["critical", "warning", "info"])
STEP = st.one_of(
    st.tuples(st.just("fires"), NAMES, HOSTS, SEVERITIES),
    st.tuples(st.just("clears"), NAMES, HOSTS, SEVERITIES),
    st.tuples(st.just("late copy"), NAMES, HOSTS, SEVERITIES),
    st.tuples(st.just("passes"), st.sampled_from([0, SECOND, 4 * MINUTE, 5 * MINUTE, 20 * MINUTE, HOUR, 5 * HOUR])),
    st.tuples(st.just("says"), st.sampled_from(["amina", "omar", "guest"]), st.sampled_from(ACTIONS), st.booleans()),
    st.tuples(st.just("channel"), st.sampled_from(["delivered", "again", "refused", "unknown"])),
)


def _play(world: World, step: tuple[object, ...]) -> None:
    match step:
        case ("fires", name, host, severity):
            world.fires(alertname=name, host=host, severity=severity)
        case ("clears", name, host, severity):
            world.alerts(an_alert(False, world.now, world.now, alertname=name, host=host, severity=severity))
        case ("late copy", name, host, severity):
            world.alerts(an_alert(alertname=name, host=host, severity=severity))
        case ("passes", int(span)):
            world.forward(span)
        case ("says", str(who), str(action), bool(force)):
            newest = max(world.state.tickets, default=1)
            world.says(who, action, newest, note="why", until=world.now + HOUR, force=force, impact="site")
        case ("channel", str(outcome)):
            world.outcome = outcome


@settings(max_examples=12)
@given(st.lists(STEP, max_size=25))
def test_whatever_happens_the_promises_hold(steps: list[tuple[object, ...]]) -> None:
    world = World(a_policy())
    for step in steps:
        _play(world, step)
    world.outcome = "delivered"
    world.forward(24 * HOUR)
    for ticket in world.state.tickets.values():
        firing = any(
            one.ticket == ticket.id and one.phase in {"open", "recovering"} for one in world.state.instances.values()
        )
        assert ticket.status in LIVE or not firing, "what still fires is open again after a day at most"
        assert ticket.status is not Status.RESOLVED, "what is resolved has closed by itself after a day"
    assert not [one for one in world.state.deliveries.values() if one.state is Sending.SENDING]


@settings(max_examples=10)
@given(st.lists(STEP, max_size=20))
def test_a_guest_changes_nothing_but_the_timeline(steps: list[tuple[object, ...]]) -> None:
    world = World(a_policy())
    for step in steps:
        before = {one.id: (one.status, one.priority, one.generation) for one in world.state.tickets.values()}
        _play(world, step)
        if step[:2] == ("says", "guest"):
            after = {one.id: (one.status, one.priority, one.generation) for one in world.state.tickets.values()}
            assert after == before


def test_the_lifecycle_table_answers_every_pair() -> None:
    actions = {*ACTIONS, "recovered", "refired", "expired", "lapsed"}
    assert set(MOVES) == {(status, action) for status in Status for action in actions}
