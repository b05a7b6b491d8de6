"""`GET /api/v1/oncall`: who is on call now, by schedule, and who would be told."""

from rules.instants import DAY, MINUTE, format_instant
from rules.policy import Contact, Escalation, Method, Policy, Rotation, Schedule, Step, Target
from tests.daemon.web.fakes import NOW, FakeDaemon, Serve


async def test_who_is_on_call_now_and_whom_the_next_step_tells(serve: Serve) -> None:
    handoff = NOW // MINUTE * MINUTE + 5 * MINUTE
    step = Step((Target("schedule", "day"),), 10 * MINUTE)
    daemon = FakeDaemon()
    daemon.policies.current = Policy(
        contacts={name: Contact(name, reach=(Method("email", f"{name}@example.test"),)) for name in ("amina", "omar")},
        schedules={"day": Schedule("day", "UTC", (Rotation(("amina", "omar"), DAY, handoff - DAY),))},
        escalations={"main": Escalation("main", (step, step))},
    )
    response = await (await serve(daemon)).get("/api/v1/oncall")
    found = await response.json()
    (day,) = found["schedules"]
    assert found["at"] == format_instant(NOW)
    assert (day["schedule"], day["who"], day["next"], day["gaps"]) == ("day", ["amina"], ["omar"], [])
    assert day["until"] == format_instant(handoff)
    assert [[one["contact"] for one in turn["contacts"]] for turn in found["oncall"]] == [["amina"], ["omar"]]
    assert "example.test" not in await response.text()
