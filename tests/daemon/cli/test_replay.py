"""`ticketd rules replay | diff` over real files, a real store and a server that answers as it was told."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from daemon.cli import replaying
from daemon.store.store import Body, Store
from rules.instants import MINUTE, Instant, format_instant, parse_instant
from tests.daemon.cli.conftest import Double, Ticketd

NOON = parse_instant("2026-03-01T12:00:00Z")
RULES = """\
version: 1
contacts: [{id: amina, may: [acknowledge], reach: [{email: amina@example.test}]}]
escalations: [{id: main, steps: [{notify: [contact:amina], wait: 10m}]}]
default_escalation: main
rules:
  - id: errors
    match: ['alertname="ErrorRate"']
    for: FOR
    dedup: [service]
    impact: service
    urgency: high
"""


def alert(service: str, since: int, over: int | None = None) -> dict[str, Any]:
    """Times in minutes after noon."""
    return {
        "status": "firing" if over is None else "resolved",
        "labels": {"alertname": "ErrorRate", "service": service},
        "annotations": {},
        "startsAt": at(since),
        "endsAt": "0001-01-01T00:00:00Z" if over is None else at(over),
    }


def at(minutes: int) -> str:
    return format_instant(NOON + minutes * MINUTE)


BODIES: list[tuple[int, dict[str, Any]]] = [
    (0, alert("cart", 0)),
    (2, alert("cart", 0, 2)),
    (60, alert("pay", 60)),
    (90, alert("pay", 60, 90)),
]


def body(one: dict[str, Any]) -> bytes:
    return json.dumps({"version": "4", "alerts": [one]}).encode()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return written(tmp_path, "rules.yaml", "0s")


@pytest.fixture
def slower(tmp_path: Path) -> Path:
    return written(tmp_path, "slower.yaml", "5m")


def written(folder: Path, name: str, span: str) -> Path:
    path = folder / name
    path.write_text(RULES.replace("FOR", span))
    return path


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "captured.jsonl"
    path.write_bytes(b"\n".join(body(one) for _, one in BODIES))
    return path


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store whose journal holds the same."""
    url = f"sqlite:///{tmp_path}/ticketd.db"
    store = Store.open(url, durable=False)
    for minute, one in BODIES:
        moment = NOON + minute * MINUTE
        store.commit([], [Body("alertmanager", "am-1", moment, body(one), 1)], moment)
    store.close()
    return url


QUERY = "/api/v1/query_range"
RANGE = ("--since", at(-60), "--until", at(120))


def test_a_capture_is_told_rule_by_rule_and_episode_by_episode(cli: Ticketd, rules: Path, capture: Path) -> None:
    done = cli("rules", "replay", capture, "--rules", rules)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines() if line][1:] == [
        ["RULE", "TICKETS", "REOPENED", "PAGES", "OPEN", "WOULD", "OPEN", "SUPPRESSED", "HELD"],
        ["errors", "2", "0", "2", "32m", "0", "0", "0"],
        ["all", "2", "0", "2", "32m", "0", "0", "0"],
        ["TICKET", "RULE", "PRIORITY", "OPENED", "RESOLVED", "OPEN", "PAGES", "LABELS"],
        ["T-1", "errors", "P1", at(0), at(2), "2m", "1", "service=cart"],
        ["T-2", "errors", "P1", at(60), at(90), "30m", "1", "service=pay"],
    ]
    assert done.stdout.startswith(f"From {at(0)} to {at(90)}: 4 events with 4 alerts and samples. Nobody answers")
    assert cli("rules", "replay", capture, "--rules", rules).stdout == done.stdout


def test_json_has_the_same(cli: Ticketd, rules: Path, capture: Path) -> None:
    found = json.loads(cli("rules", "replay", capture, "--rules", rules, "-o", "json").stdout)
    totals = {
        "tickets": 2, "reopened": 0, "pages": 2, "minutes_open": 32.0, "would_open": 0, "suppressed": 0, "held": 0,
    }  # fmt: skip
    assert found == {
        "from": at(0),
        "until": at(90),
        "events": 4,
        "signals": 4,
        "answered": False,
        "total": totals,
        "rules": [{"rule": "errors", **totals}],
        "episodes_left_out": 0,
        "episodes": [episode("T-1", "cart", 0, 2), episode("T-2", "pay", 60, 90)],
    }


def episode(ticket: str, service: str, opened: int, resolved: int) -> dict[str, Any]:
    return {
        "ticket": ticket, "rule": "errors", "labels": {"service": service}, "priority": "P1",
        "opened_at": at(opened), "resolved_at": at(resolved), "reopened": False, "pages": 1,
    }  # fmt: skip


def test_a_journal_a_capture_and_standard_input_say_the_same(
    cli: Ticketd, rules: Path, capture: Path, url: str
) -> None:
    ways = [
        cli("rules", "replay", capture, "--rules", rules, *RANGE),
        cli("rules", "replay", "-", "--rules", rules, *RANGE, stdin=capture.read_bytes()),
        cli("rules", "replay", "--store", url, "--rules", rules, *RANGE),
    ]
    assert [(one.exit_code, one.stderr) for one in ways] == [(0, "")] * 3
    assert ways[0].stdout == ways[1].stdout == ways[2].stdout
    assert f"From {at(-60)} to {at(120)}: 4 events" in ways[0].stdout


def test_only_what_lies_in_the_range_is_replayed(cli: Ticketd, rules: Path, capture: Path, url: str) -> None:
    range_ = ("--since", at(1), "--until", at(60), "--rules", rules, "-o", "json")
    for way in (["--store", url], [capture]):
        found = json.loads(cli("rules", "replay", *way, *range_).stdout)
        assert found["events"] == 2, "the resolve of what was not seen to fire, and what fires at the very end"
        assert [(one["labels"]["service"], one["resolved_at"]) for one in found["episodes"]] == [("pay", None)]


def test_a_changed_for_says_which_tickets_vanish(cli: Ticketd, rules: Path, slower: Path, capture: Path) -> None:
    done = cli("rules", "diff", rules, slower, capture)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines() if line]
    assert " ".join(lines[2]) == "errors 2 → 1 0 2 → 1 32m → 25m 0 0 0"
    assert lines[4] == ["vanishes", "T-1", "errors", "P1", at(0), at(2), "2m", "1", "service=cart"]
    assert done.stdout.endswith(
        "Tickets 2 → 1, pages 2 → 1, open 32m → 25m; episodes: 1 vanish, 0 appear, 0 change priority.\n"
    )

    found = json.loads(cli("rules", "diff", rules, slower, capture, "-o", "json").stdout)
    assert found["vanished"] == [episode("T-1", "cart", 0, 2)]
    assert (found["appeared"], found["changed"]) == ([], [])
    back = json.loads(cli("rules", "diff", slower, rules, capture, "-o", "json").stdout)
    assert back["appeared"] == found["vanished"]
    assert (
        back["summary"]
        == "Tickets 1 → 2, pages 1 → 2, open 25m → 32m; episodes: 0 vanish, 1 appear, 0 change priority."
    )


def test_another_priority_of_the_same_episode_is_a_change(
    cli: Ticketd, rules: Path, capture: Path, tmp_path: Path
) -> None:
    milder = tmp_path / "milder.yaml"
    milder.write_text(rules.read_text().replace("urgency: high", "urgency: low"))
    lines = [" ".join(line.split()) for line in cli("rules", "diff", rules, milder, capture).stdout.splitlines()]
    assert f"changes T-1 errors P1 → P3 {at(0)} {at(2)} 2m 1 service=cart" in lines
    assert lines[-1] == "Tickets 2 → 2, pages 2 → 2, open 32m → 32m; episodes: 0 vanish, 0 appear, 2 change priority."
    found = json.loads(cli("rules", "diff", rules, milder, capture, "-o", "json").stdout)
    assert [(one["old"]["priority"], one["new"]["priority"]) for one in found["changed"]] == [("P1", "P3")] * 2


def test_progress_is_told_where_somebody_looks_on(
    cli: Ticketd, rules: Path, capture: Path, double: Double, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(replaying, "TICK_EVENTS", 1)
    monkeypatch.setattr(replaying, "meter", lambda _: nullcontext(lambda left, whole: told.append((left, whole))))
    cli("rules", "replay", capture, "--rules", rules)
    size = capture.stat().st_size
    assert told[-1] == (0, size)
    assert [left for left, _ in told] == sorted((left for left, _ in told), reverse=True)
    told.clear()
    cli("rules", "replay", "--store", url, "--rules", rules, *RANGE)
    assert told == [((120 - minute) * MINUTE, 180 * MINUTE) for minute in (0, 2, 60, 90)]
    told.clear()
    double.on(QUERY, matrix())
    cli("rules", "replay", "--prometheus", double.url, "--rules", rules, *RANGE)
    assert told[-1] == (0, 180 * MINUTE), "also where no alert was ever firing"


def test_a_crowd_of_problems_is_replayed_on_disk_and_says_the_same(
    cli: Ticketd, rules: Path, slower: Path, capture: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with capture.open("ab") as file:
        file.write(b"\nnonsense\n")
    in_memory = cli("rules", "diff", rules, slower, capture)
    monkeypatch.setattr(replaying, "CROWD_MAX", 2)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    on_disk = cli("rules", "diff", rules, slower, capture)
    assert (on_disk.exit_code, on_disk.stdout) == (1, in_memory.stdout)
    said = "More problems at once than memory should hold: replaying on disk, which is slower."
    assert on_disk.stderr.splitlines() == [said, *in_memory.stderr.splitlines()]
    assert list(tmp_path.glob("ticketd-replay-*")) == [], "nothing is left behind"
    piped = cli("rules", "diff", rules, slower, "-", stdin=capture.read_bytes())
    assert (piped.exit_code, piped.stdout) == (3, "")
    assert piped.stderr.endswith("need a second reading: give a file, not standard input\n")


def test_no_change_is_no_difference(cli: Ticketd, rules: Path, capture: Path, tmp_path: Path) -> None:
    same = shutil.copy(rules, tmp_path / "same.yaml")
    done = cli("rules", "diff", rules, same, capture)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "No difference.")


def test_bad_lines_are_named_and_the_rest_is_told(cli: Ticketd, rules: Path, capture: Path) -> None:
    with capture.open("ab") as file:
        file.write(b"\n" + b"nonsense\n" * 30)
    done = cli("rules", "replay", capture, "--rules", rules)
    assert done.exit_code == 1
    assert "errors  2" in done.stdout
    said = done.stderr.splitlines()
    assert said[0].startswith(f"{capture}:5: is no JSON that can be taken")
    assert said[20:] == [
        "… and more, which are only counted",
        "30 parts of the history could not be read; the result is without",
    ]


def test_an_empty_history_is_no_answer_but_a_quiet_one_is(cli: Ticketd, rules: Path, tmp_path: Path, url: str) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    done = cli("rules", "replay", tmp_path / "empty.jsonl", "--rules", rules)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "The history holds no event.\n")
    quiet = cli("rules", "replay", "--store", url, "--since", at(500), "--until", at(600), "--rules", rules)
    assert (quiet.exit_code, quiet.stdout.splitlines()[-1]) == (0, "No rule did anything.")


def test_a_mistake_in_the_rules_is_named_before_anything_is_read(cli: Ticketd, capture: Path, tmp_path: Path) -> None:
    bad = written(tmp_path, "bad.yaml", "soon")
    done = cli("rules", "replay", capture, "--rules", bad)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{bad}:8:10: ")


# ---------------------------------------------------------------- Prometheus
def matrix(*series: dict[str, Any]) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": list(series)}}).encode()


def row(name: str, first: int, last: int, value: str, **labels: str) -> dict[str, Any]:
    """A sample each minute."""
    values = [[(NOON + minute * MINUTE) / 1e6, value] for minute in range(first, last + 1)]
    return {"metric": {"__name__": name, "alertname": "ErrorRate", **labels}, "values": values}


def seconds(instant: Instant) -> str:
    return str(instant // 1_000_000)


def test_a_prometheus_server_is_read_as_if_it_had_sent(
    cli: Ticketd, rules: Path, double: Double, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    double.on(QUERY, matrix(row("ALERTS", 0, 9, "1", service="cart", alertstate="firing")))
    double.on(QUERY, matrix(row("ALERTS_FOR_STATE", 0, 9, seconds(NOON), service="cart")))
    done = cli(
        "rules", "replay", "--prometheus", double.url, "--step", "1m", *RANGE, "--rules", rules, "--token-file", token,
        "--label", "cluster=eu", "-o", "json",
    )  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["episodes"] == [episode("T-1", "cart", 0, 10)]
    assert {one.headers["Authorization"] for one in double.asked} == {"Bearer s3cret"}
    assert [one.target.partition("&")[0] for one in double.asked] == [
        f"{QUERY}?query=ALERTS%7Balertstate%3D%22firing%22%7D",
        f"{QUERY}?query=ALERTS_FOR_STATE",
    ]


def test_what_cannot_be_reached_ends_with_three(cli: Ticketd, rules: Path, tmp_path: Path, double: Double) -> None:
    gone = cli("rules", "replay", "--store", f"sqlite:///{tmp_path}/none.db", "--rules", rules)
    assert (gone.exit_code, gone.stdout) == (3, "")
    assert gone.stderr.endswith("none.db does not exist\n")
    double.on(QUERY, b"no", 403)
    refused = cli("rules", "replay", "--prometheus", double.url, "--rules", rules)
    assert refused.exit_code == 3
    assert f"{double.url} answered 403; --token-file names a file with a bearer token" in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which history: a FILE"),
        (["x.jsonl", "--store", "sqlite:///x.db"], "are three histories"),
        (["x.jsonl"], "cannot read x.jsonl: No such file"),
        (["--prometheus", "127.0.0.1:9090"], "--prometheus"),
        (["--prometheus", "http://127.0.0.1:9", "--step", "soon"], "--step"),
        (["--prometheus", "http://127.0.0.1:9", "--step", "1ms"], "--step"),
        (["--prometheus", "http://127.0.0.1:9", "--as", "alertmanger"], 'did you mean "alertmanager"?'),
        (["--prometheus", "http://127.0.0.1:9", "--as", "probe"], "no source of alerts"),
        (["--prometheus", "http://127.0.0.1:9", "--label", "cluster"], "--label"),
        (["--prometheus", "http://127.0.0.1:9", "--token-file", "none"], "--token-file"),
        (["--prometheus", "http://127.0.0.1:9", "--since", "yesterday"], "nor a span such as 30d"),
        (["--prometheus", "http://127.0.0.1:9", "--since", "1h", "--until", "2h"], "--since must lie before --until"),
    ],
)
def test_wrong_usage_is_said(
    cli: Ticketd, rules: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("rules", "replay", "--rules", rules, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())
