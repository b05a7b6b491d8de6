"""Rule files on disk: which are read, that all or none come into force, and what remains when they are bad."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from daemon import policies
from daemon.clock import SystemClock
from daemon.config import load_settings
from daemon.policies import Policies, PolicyError, load_files, load_paths
from rules.instants import SECOND, Instant, parse_instant
from rules.language import BYTES_MAX, Document, LanguageKinds, Problem, read

ROOT = Path(__file__).resolve().parents[2]
KINDS = LanguageKinds(sources=("alertmanager",), notifiers={"email": lambda _: None}, targets={"email": None})


def rule(name: str, more: str = "") -> str:
    return f"version: 1\nrules:\n  - {{id: {name}, match: [], impact: user, urgency: low{more}}}\n"


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


class Clock(SystemClock):
    """Stands still at `at`."""

    def __init__(self, at: Instant = 0) -> None:
        self.at = at

    def now(self) -> Instant:
        return self.at


def said(found: Iterable[Problem], folder: Path) -> list[str]:
    return [str(one).replace(f"{folder}/", "") for one in found]


# ---- which files
def test_a_folder_is_its_yaml_files_but_those_set_apart(tmp_path: Path) -> None:
    write(tmp_path, a=rule("a"), b=rule("b"), _c="not: [read", d_test="version: 1\n")
    (tmp_path / "e.test.yaml").write_text("not: [read")
    (tmp_path / ".f.yaml").write_text("not: [read")
    (tmp_path / "README.md").write_text("not: [read")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "g.yaml").write_text("not: [read")
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert list(found.policy.rules) == ["a", "b"]


def test_a_path_is_a_file_too_and_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, a=rule("a"), _b=rule("b"))
    found = load_paths([tmp_path / "_b.yaml", tmp_path, tmp_path / "a.yaml"], KINDS)
    assert found.policy is not None
    assert list(found.policy.rules) == ["b", "a"]


def test_what_a_file_uses_is_read_from_beside_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="version: 1\nuse: [_b.yaml]\nrules: [{id: a, extends: t, match: []}]\n",
        _b="version: 1\nuse: [_c.yaml]\n",
        _c="version: 1\ntemplates: {t: {impact: site, urgency: low}}\n",
    )
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert found.policy.rules["a"].impact.default == "site"


def test_a_mounted_folder_of_links_is_read(tmp_path: Path) -> None:
    """As a container's orchestrator mounts configuration: names are links into a hidden folder."""
    hidden = tmp_path / "..2026"
    hidden.mkdir()
    write(hidden, a=rule("a"))
    (tmp_path / "..data").symlink_to(hidden.name)
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert list(found.policy.rules) == ["a"]


# ---- files that change
def swap(link: Path, target: str) -> None:
    """As a mounted configuration is renewed: the link is another one, at once."""
    beside = link.with_name(f"{link.name}_tmp")
    beside.symlink_to(target)
    beside.replace(link)


def while_read(monkeypatch: pytest.MonkeyPatch, *changes: Callable[[], object]) -> None:
    """Makes each change once, behind the next file that is read."""
    waiting = list(changes)

    def reading(name: str, text: bytes) -> Document:
        if waiting:
            waiting.pop(0)()
        return read(name, text)

    monkeypatch.setattr(policies, "read", reading)


def test_files_swapped_while_they_are_read_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the old files with half of the new ones would be a policy that nobody wrote."""
    for folder in ("..1", "..2"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, a=rule(f"a{folder}"), b=rule(f"b{folder}"))
    (tmp_path / "..data").symlink_to("..1")
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    while_read(monkeypatch, lambda: swap(tmp_path / "..data", "..2"))
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert list(found.policy.rules) == ["a..2", "b..2"]


def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a=rule("a")[:30], b=rule("b"))
    while_read(monkeypatch, lambda: write(tmp_path, a=rule("a")))
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert list(found.policy.rules) == ["a", "b"]


def test_a_file_that_comes_meanwhile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a=rule("a"))
    while_read(monkeypatch, lambda: write(tmp_path, b=rule("b")))
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert list(found.policy.rules) == ["a", "b"]


def test_a_file_that_comes_or_goes_meanwhile_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a=rule("a").replace("version", "use: [_u.yaml]\nversion"), b=rule("b"))
    while_read(
        monkeypatch,
        lambda: write(tmp_path, c=rule("c"), _u="version: 1\n"),
        (tmp_path / "b.yaml").unlink,
    )
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert list(found.policy.rules) == ["a", "c"]


def test_a_file_that_never_rests_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a=rule("a"))
    more = [lambda number=number: write(tmp_path, a=rule("a" * number)) for number in range(2, 9)]
    while_read(monkeypatch, *more)
    assert said(load_paths([tmp_path], KINDS).errors, tmp_path) == [
        "a.yaml:1:1: this changes again and again while it is read; reload when it is written"
    ]


def test_a_half_written_file_keeps_the_old_policy(tmp_path: Path) -> None:
    whole = rule("a") + "  - {id: b, match: [], impact: user, urgency: low}\n"
    write(tmp_path, a=whole)
    now = Policies([tmp_path], KINDS, Clock())
    assert now.load_first() == ()
    kept = now.current
    inside = [cut for cut in range(1, len(whole)) if whole[:cut].count("{") > whole[:cut].count("}")]
    assert len(inside) > 80
    for cut in inside:
        write(tmp_path, a=whole[:cut])
        assert now.reload() != (), whole[:cut]
        assert now.current is kept


def test_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + rule("a").replace("\n", "\r\n").encode())
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert list(found.policy.rules) == ["a"]


# ---- packs
@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packs instead of the one in the wheel."""
    folder = tmp_path / "shipped" / "packs"
    folder.mkdir(parents=True)
    monkeypatch.setattr(policies, "resources", lambda _: folder.parent)
    policies.packs.cache_clear()
    yield folder
    policies.packs.cache_clear()


def test_a_pack_is_used_by_its_name(tmp_path: Path, shipped: Path) -> None:
    write(shipped, node=rule("node.down").replace("version", "use: ['pack:base']\nversion"), base=rule("base"))
    write(shipped, _hidden=rule("hidden"))
    (shipped / "node.test.yaml").write_text("version: 1\n")
    write(tmp_path, a=rule("a").replace("version", "use: ['pack:node']\nversion"))
    assert list(policies.packs()) == ["base", "node"]
    now = Policies([tmp_path / "a.yaml"], KINDS, Clock(), snapshot=tmp_path / "good.json")
    assert now.load_first() == ()
    assert set(now.current.rules) == {"a", "node.down", "base"}
    version = now.current.version

    # The snapshot has the packs in it: another version of the product brings others.
    write(shipped, node="version: 9\n")
    (tmp_path / "a.yaml").write_text("nonsense")
    policies.packs.cache_clear()
    after = Policies([tmp_path / "a.yaml"], KINDS, Clock(), snapshot=tmp_path / "good.json")
    assert len(after.load_first()) == 1
    assert after.current.version == version


def test_an_unknown_pack_is_named_with_those_there_are(tmp_path: Path, shipped: Path) -> None:
    write(shipped, node=rule("n"), postgresql=rule("p"))
    for name, near in (("nod", '; did you mean "node"?'), ("xyz", "; there are node, postgresql")):
        write(tmp_path, a=f"version: 1\nuse: ['pack:{name}']\n")
        found = load_paths([tmp_path / "a.yaml"], KINDS)
        assert said(found.errors, tmp_path) == [f'a.yaml:2:7: use: there is no pack "{name}"{near}']


def test_what_is_wrong_in_a_pack_is_named_in_it(tmp_path: Path, shipped: Path) -> None:
    write(shipped, node=rule("n", ", fro: 1m"))
    write(tmp_path, a="version: 1\nuse: ['pack:node', 'pack:node']\n")
    found = load_paths([tmp_path / "a.yaml"], KINDS)
    assert [str(one) for one in found.errors] == ['pack:node:3:52: unknown key "fro"; did you mean "for"?']


@pytest.mark.parametrize("names", [*([name] for name in policies.packs()), list(policies.packs())], ids=" ".join)
def test_every_pack_that_ships_loads(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, a=f"version: 1\nuse: [{', '.join(f'pack:{name}' for name in names)}]\n")
    found = load_paths([tmp_path], KINDS, 0)
    assert (found.errors, found.warnings) == ((), ())
    assert found.policy is not None
    assert len(found.policy.rules) >= 5 * len(names)


def test_what_is_over_is_warned_of_by_the_clock(tmp_path: Path) -> None:
    over = "{match: [], value: 9, until: 2026-05-01, why: x}"
    more = f', source: probe, when: {{field: ms, op: ">", value: 8}}, overrides: [{over}]'
    write(tmp_path, a=rule("a", more))
    end = parse_instant("2026-05-01T00:00:00Z")
    assert [len(load_paths([tmp_path], KINDS, now).warnings) for now in (end - 1, end)] == [0, 1]
    assert load_paths([tmp_path], KINDS).warnings == ()


def test_the_daemon_looks_at_no_time_ahead_when_it_loads(tmp_path: Path) -> None:
    turns = "{who: [a], every: 1h, handoff: '09:00', from: 2099-01-01}"  # nobody is on call for many years
    write(tmp_path, a=f"version: 1\ncontacts: [{{id: a}}]\nschedules: [{{id: s, rotations: [{turns}]}}]\n")
    now = parse_instant("2026-05-01T00:00:00Z")
    at = Policies([tmp_path], KINDS, Clock(now))
    assert at.load_first() == ()
    ahead = set(load_paths([tmp_path], KINDS, now).warnings) - set(at.warnings)
    assert ["nobody" in one.message for one in ahead] == [True], "check says so"


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, a="version: 1\nuse: [b.yaml]\n")
    paths = [tmp_path / name for name in ("nowhere", "pipe", "loop.yaml", "a.yaml")]
    assert said(load_paths(paths, KINDS).errors, tmp_path) == [
        'a.yaml:2:7: use: "b.yaml" is not beside this file, or cannot be read',
        "loop.yaml:1:1: this file cannot be read: Too many levels of symbolic links",
        "nowhere:1:1: there is no such file or folder; look at `rules`",
        "pipe:1:1: this is no file",
    ]


def test_a_folder_without_rule_files_and_a_wrong_ending_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("version: 1\n")
    found = load_paths([tmp_path], KINDS)
    assert found.policy is not None
    assert [one.message for one in found.warnings] == [
        "no rule file (*.yaml) in this folder",
        "not read: rule files end in .yaml; rename it",
    ]


def test_reading_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "huge.yaml").open("wb") as huge:
        huge.truncate(100 * BYTES_MAX)
    assert "more than the 8388608 that are read" in load_paths([tmp_path], KINDS).errors[0].message
    (tmp_path / "huge.yaml").unlink()
    monkeypatch.setattr(policies, "FILES_MAX", 3)
    write(tmp_path, **{f"f{number}": rule(f"r{number}") for number in range(6)})
    assert said(load_paths([tmp_path], KINDS).errors, tmp_path) == [
        "f3.yaml:1:1: more than 3 rule files, or than 64 MiB of them: the rest is not read"
    ]


def test_the_example_is_a_policy_under_the_example_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = load_files(load_settings(Path("config.example.toml"), {}))
    assert found.errors == ()
    assert found.policy is not None
    assert found.policy.catch_all is not None
    assert found.policy.escalation_for(None) is not None
    unready = "email is not set up in config.toml: nobody can be told this way"
    assert [one.message for one in found.warnings] == [unready]


# ---- in force
def test_before_anything_is_loaded_the_catch_all_holds() -> None:
    now = Policies([], KINDS, Clock(5))
    assert now.current.catch_all is not None
    assert (now.last_ok, now.loaded_at) == (False, 5)


def test_a_reload_takes_all_files_or_none(tmp_path: Path) -> None:
    clock = Clock(1 * SECOND)
    write(tmp_path, a=rule("a"))
    now = Policies([tmp_path], KINDS, clock)
    assert now.load_first() == ()
    first = now.current
    assert (list(first.rules), now.last_ok, now.loaded_at) == (["a"], True, 1 * SECOND)

    clock.at = 2 * SECOND
    write(tmp_path, a=rule("a2"), b=rule("b", ", fro: 1m"))
    assert said(now.reload(), tmp_path) == ['b.yaml:3:52: unknown key "fro"; did you mean "for"?']
    assert now.current is first
    assert (now.last_ok, now.loaded_at) == (False, 1 * SECOND)

    write(tmp_path, b=rule("b", ", for: 1m"))
    assert now.reload() == ()
    assert list(now.current.rules) == ["a2", "b"]
    assert now.current.version != first.version
    assert (now.last_ok, now.loaded_at) == (True, 2 * SECOND)


def test_a_path_that_went_away_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, a=rule("a"))
    now = Policies([tmp_path / "a.yaml"], KINDS, Clock())
    assert now.load_first() == ()
    (tmp_path / "a.yaml").unlink()
    assert said(now.reload(), tmp_path) == ["a.yaml:1:1: there is no such file or folder; look at `rules`"]
    assert list(now.current.rules) == ["a"]


def test_a_strict_start_refuses_bad_files(tmp_path: Path) -> None:
    write(tmp_path, a="version: 2\n")
    with pytest.raises(PolicyError, match=r"a\.yaml:1:10: version") as refused:
        Policies([tmp_path], KINDS, Clock()).load_first(strict=True)
    assert len(refused.value.problems) == 1


def test_a_start_on_bad_files_goes_on_with_the_catch_all(tmp_path: Path) -> None:
    write(tmp_path, a="version: 2\n")
    now = Policies([tmp_path], KINDS, Clock(), snapshot=tmp_path / "good.json")
    assert [one.line for one in now.load_first()] == [1]
    assert now.current.catch_all is not None
    assert not now.last_ok


def test_a_start_on_bad_files_goes_on_with_the_last_good_ones(tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    rules = tmp_path / "rules.d"
    rules.mkdir()
    write(rules, a=rule("a").replace("version", "use: [_b.yaml]\nversion"), _b="version: 1\ndefaults: {for: 1m}\n")
    before = Policies([rules], KINDS, Clock(7), snapshot=good)
    assert before.load_first() == ()
    assert good.stat().st_mode & 0o777 == 0o600

    write(rules, a="nonsense\n")
    after = Policies([rules], KINDS, Clock(9), snapshot=good)
    assert len(after.load_first()) == 1
    assert after.current.version == before.current.version
    assert after.current.rules == before.current.rules
    assert (after.last_ok, after.loaded_at) == (False, 7)


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"files": 3}', json.dumps({"files": {"a": "b"}, "loaded_at": 1})])
def test_a_damaged_snapshot_is_said_and_the_catch_all_holds(tmp_path: Path, kept: str) -> None:
    (tmp_path / "good.json").write_text(kept)
    now = Policies([tmp_path / "nowhere"], KINDS, Clock(), snapshot=tmp_path / "good.json")
    assert len(now.load_first()) == 1
    assert now.current.rules == {}
    assert "the built-in catch-all is in force" in now.warnings[0].message


def test_a_snapshot_that_cannot_be_kept_is_said_and_changes_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, a=rule("a"))
    now = Policies([tmp_path / "a.yaml"], KINDS, Clock(), snapshot=tmp_path / "missing" / "good.json")
    assert now.load_first() == ()
    assert list(now.current.rules) == ["a"]
    assert "could not be kept" in now.warnings[0].message
