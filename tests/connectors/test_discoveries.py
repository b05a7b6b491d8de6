"""Where targets are found: files, Prometheus' lists of targets, HTTP and DNS, and how each can be wrong."""

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.discoveries import dns_srv, file, file_sd, http_sd
from connectors.kinds import load
from connectors.network.guard import Guard
from connectors.network.reach import Reach
from connectors.network.trial import Credential, Failure
from connectors.probing import target_groups
from rules.instants import SECOND
from rules.typed import Shape, Surroundings
from tests.connectors.finding import OPEN, found, lines, partly, why
from tests.connectors.servers import HOST, Hook, listening, nobody


# ---------------------------------------------------------------- what all have in common
@pytest.mark.parametrize("name", sorted(load().discoveries))
def test_each_kind_says_what_it_is_and_can_be_written_in_a_policy_file(name: str) -> None:
    kind = load().discoveries[name]
    assert issubclass(kind.Options, Shape)
    assert kind.summary
    assert "refresh" in kind.Options.model_fields
    for key, one in kind.Options.model_fields.items():
        assert one.description, key


def test_there_are_these() -> None:
    assert sorted(load().discoveries) == ["dns_srv", "file", "file_sd", "http_sd"]


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (file.Connector, {"path": "hosts.txt"}),
        (file_sd.Connector, {"files": ["sd/*.json"]}),
        (http_sd.Connector, {"url": "https://inventory.example.test/targets"}),
        (dns_srv.Connector, {"names": ["_web._tcp.example.test"]}),
    ],
)
def test_all_that_must_be_said_is_where(kind: Any, given: dict[str, Any]) -> None:
    assert kind.Options.model_validate({**given, "refresh": "5m"}).refresh == 300 * SECOND
    with pytest.raises(ValidationError):
        kind.Options.model_validate({})
    with pytest.raises(ValidationError):
        kind.Options.model_validate({**given, "refresh": "500ms"})
    with pytest.raises(ValidationError):
        kind.Options.model_validate({**given, "colour": "blue"})


# ---------------------------------------------------------------- file
def lined(path: Path) -> file.Connector:
    return file.Connector(file.Connector.Options.model_validate({"path": str(path)}), OPEN)


def test_a_path_is_relative_to_the_policy_file() -> None:
    options = file.Connector.Options.model_validate({"path": "hosts.txt"}, context=Surroundings("/etc/ticketd/rules/"))
    assert options.path == "/etc/ticketd/rules/hosts.txt"


async def test_a_file_has_one_target_a_line_and_comments(tmp_path: Path) -> None:
    text = "\ufeff# shops\nshop.example.test:443 # the first\r\n\n  \tdb:5432\t# tab\nhttps://a.example.test/#top\ndb:5432\n"
    assert await found(lined(lines(tmp_path / "hosts", text))) == [
        "shop.example.test:443", "db:5432", "https://a.example.test/#top",
    ]  # fmt: skip


async def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    finder = lined(lines(tmp_path / "hosts", "a:1\n"))
    assert await found(finder) == ["a:1"]
    lines(tmp_path / "hosts", "b:1\n", age_s=60)
    assert await found(finder) == ["b:1"]


async def test_one_that_has_not_changed_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = lined(lines(tmp_path / "hosts", "a:1\n"))
    assert await found(finder) == ["a:1"]
    monkeypatch.delattr(os, "open")
    assert await found(finder) == ["a:1"]


async def test_one_that_changed_only_just_now_is(tmp_path: Path) -> None:
    path = lines(tmp_path / "hosts", "a:1\n", age_s=0)
    finder = lined(path)
    assert await found(finder) == ["a:1"]
    lines(path, "b:1\n", age_s=0)  # as long as before, and at the same instant
    assert await found(finder) == ["b:1"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "body: PATH is empty; a comment in it (#) says that it is meant to name no target"),
        (b" \n\n", "body: PATH is empty; a comment in it (#) says that it is meant to name no target"),
        (b"a:1\n\xff\n", "body: PATH is not UTF-8"),
        (b"a:1\nb\0:1\n", "body: PATH is wrong at line 2: a target is a text of 1 to 1000 characters on one line"),
        (b"a" * 1_001, "body: PATH is wrong at line 1: a target is a text of 1 to 1000 characters on one line"),
    ],
)
async def test_what_is_wrong_with_a_file_is_said_with_its_place(tmp_path: Path, text: bytes, reason: str) -> None:
    path = lines(tmp_path / "hosts", text)
    assert (await why(lined(path))).startswith(reason.replace("PATH", str(path)))


async def test_a_file_of_comments_names_no_target(tmp_path: Path) -> None:
    assert await found(lined(lines(tmp_path / "hosts", "# none today\n"))) == []


async def test_what_is_no_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert await why(lined(tmp_path / "pipe")) == f"failed: {tmp_path / 'pipe'} cannot be read: it is no file"
    assert await why(lined(tmp_path)) == f"failed: {tmp_path} cannot be read: it is no file"
    absent = tmp_path / "absent"
    assert await why(lined(absent)) == f"failed: {absent} cannot be read: No such file or directory"


async def test_a_file_and_its_targets_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lines(tmp_path / "hosts", "a:1\nb:1\nc:1\n")
    monkeypatch.setattr(target_groups, "FOUND_MAX", 2)
    assert await why(lined(path)) == f"limit: {path} holds more than 2 targets"
    with path.open("r+b") as sparse:
        sparse.truncate(target_groups.BYTES_MAX + 1)
    assert await why(lined(path)) == f"limit: {path} has more than 16 MiB"


# ---------------------------------------------------------------- file_sd
def grouped(*files: str | Path) -> file_sd.Connector:
    options = file_sd.Connector.Options.model_validate({"files": [str(one) for one in files]})
    return file_sd.Connector(options, OPEN)


JSON = '[{"targets": ["a:1", "b:1"], "labels": {"env": "prod", "__meta_rack": "7", "__address__": "x", "none": ""}}]'
YAML = """---
- targets: [a:1, 'b:1']
  labels: {env: prod, port: 8080, __meta_rack: "7"}
- targets:
  - c:1
"""


async def test_groups_are_read_as_prometheus_writes_them(tmp_path: Path) -> None:
    lines(tmp_path / "a.json", JSON)
    lines(tmp_path / "b.yaml", YAML)
    assert await found(grouped(tmp_path / "a.json")) == ['a:1 {"env": "prod"}', 'b:1 {"env": "prod"}']
    assert await found(grouped(tmp_path / "b.yaml")) == [
        'a:1 {"env": "prod", "port": "8080"}', 'b:1 {"env": "prod", "port": "8080"}', "c:1",
    ]  # fmt: skip


async def test_wildcards_find_files_and_those_that_come_and_go(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", ".hidden.json", "c.txt", "d.yaml"):
        lines(tmp_path / name, f'[{{"targets": ["{name}:1"]}}]')
    finder = grouped(tmp_path / "*.json", tmp_path / "d*.yaml", tmp_path / "a.json")
    assert await found(finder) == ["a.json:1", "b.json:1", "d.yaml:1"]
    (tmp_path / "a.json").unlink()
    lines(tmp_path / "e.json", '[{"targets": ["e:1"]}]')
    assert await found(grouped(tmp_path / "*.json")) == ["b.json:1", "e:1"]


async def test_a_folder_s_own_characters_are_no_wildcards(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]*"
    folder.mkdir()
    lines(folder / "x.json", JSON)
    among = Surroundings(f"{folder}/")
    for name in ("x.json", "*.json"):
        options = file_sd.Connector.Options.model_validate({"files": [name]}, context=among)
        assert len(await found(file_sd.Connector(options, OPEN))) == 2


@pytest.mark.parametrize(
    ("path", "reason"),
    [("sd/hosts.txt", "does not end in .json, .yaml or .yml"), ("s*/hosts.json", "wildcards stand in the last part")],
)
def test_a_path_that_means_nothing_is_a_mistake_of_the_policy_file(path: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        file_sd.Connector.Options.model_validate({"files": [path]})


async def test_a_file_that_cannot_be_read_says_what_it_said_last_and_the_others_count(tmp_path: Path) -> None:
    lines(tmp_path / "a.json", '[{"targets": ["a:1"]}]')
    lines(tmp_path / "b.json", '[{"targets": ["b:1"]}]')
    finder = grouped(tmp_path / "a.json", tmp_path / "b.json")
    assert await found(finder) == ["a:1", "b:1"]
    lines(tmp_path / "a.json", '[{"targets": ["a:', age_s=60)  # half written
    lines(tmp_path / "b.json", '[{"targets": ["c:1"]}]', age_s=60)
    targets, reason = await partly(finder)
    assert targets == ["a:1", "c:1"]
    assert reason.startswith(f"body: {tmp_path / 'a.json'} is not JSON: ")
    (tmp_path / "a.json").unlink()
    targets, reason = await partly(finder)
    assert (targets, "No such file" in reason) == (["a:1", "c:1"], True)


async def test_a_folder_that_is_gone_takes_no_targets_along(tmp_path: Path) -> None:
    assert await why(grouped(tmp_path / "sd" / "*.json")) == (
        f"failed: {tmp_path / 'sd'} cannot be read: No such file or directory"
    )


async def test_a_pattern_that_finds_no_file_finds_no_target(tmp_path: Path) -> None:
    assert await found(grouped(tmp_path / "*.json")) == []


async def test_more_files_than_anybody_means_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_sd, "FILES_MAX", 1)
    for name in "ab":
        lines(tmp_path / f"{name}.json", "[]")
    assert await why(grouped(tmp_path / "*.json")) == "limit: these are more than 1 files"


WRONG = [
    ("{}", "is not a list of groups but a map; without any target it would be []"),
    ("null", "is not a list of groups but nothing"),
    ("[7]", "is wrong in group 1: it is not a map of targets and labels but a number"),
    ('[{"targets": []}, {"target": []}]', 'is wrong in group 2: unknown key "target"; did you mean "targets"?'),
    ('[{"labels": {}}]', "is wrong in group 1: targets are nothing, not a list"),
    ('[{"targets": "a:1"}]', "is wrong in group 1: targets are a text, not a list"),
    ('[{"targets": [80]}]', "is wrong in group 1: a target is a number, not a text"),
    ('[{"targets": [""]}]', "is wrong in group 1: a target is a text of 1 to 1000 characters on one line"),
    ('[{"targets": ["a\\nb"]}]', "is wrong in group 1: a target is a text of 1 to 1000 characters on one line"),
    ('[{"targets": [], "labels": []}]', "is wrong in group 1: labels are a list, not a map"),
    ('[{"targets": [], "labels": {"a": true}}]', 'is wrong in group 1: the label "a" is true or false, not a text'),
    (
        json.dumps([{"targets": [], "labels": {f"n{n}": "x" for n in range(101)}}]),
        "is wrong in group 1: a target may have 100 labels, not 101",
    ),
    (
        json.dumps([{"targets": [], "labels": {"a": "x" * 70_000}}]),
        "is wrong in group 1: names and values of all labels may have 65536 bytes",
    ),
    ("[" * 2_000 + "]" * 2_000, "is not JSON: "),
    ('[{"targets": ["a:1"]}] x', "is not JSON: "),
    ("", "is not JSON: "),
    ("\ufeff[]", "is not JSON: "),
]


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_what_is_wrong_with_groups_is_said_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(Failure) as failure:
        target_groups.of_json(text.encode())
    assert failure.value.reason.startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a list of groups but nothing"),
        ("- targets: [a:1]\n  labels: &a {b: c}\n", 'is wrong at line 2: anchors ("&a") are not used here'),
        ("- targets: &a [a:1]\n- targets: *a\n", 'is wrong at line 1: anchors ("&a") are not used here'),
        ("- targets: *a\n", 'is wrong at line 1: aliases ("*a") are not used here'),
        ("- targets: !!python/object:os.system [a]\n", "is wrong at line 1: tags"),
        ("- targets: [a:1]\n- targets: [a\n", "is wrong at line 3: this is not YAML"),
        ("a: [" * 40, "is wrong at line 1: nested deeper than 32 levels"),
        ("- targets: [a:1]\n---\n- targets: []\n", "is wrong at line 2: a second document"),
        ("- targets: [{a: 1}]\n", "is wrong in group 1: a target is a map, not a text"),
    ],
)
def test_yaml_is_read_as_strictly_as_policy_files(text: str, reason: str) -> None:
    with pytest.raises(Failure) as failure:
        target_groups.of_yaml(text.encode())
    assert failure.value.reason.startswith(reason)


# ---------------------------------------------------------------- http_sd
def asking(port: int, credential: Credential | None = None, reach: Reach = OPEN, **more: str) -> http_sd.Connector:
    given = {"url": f"http://{HOST}:{port}/targets?team=shop", **more}
    return http_sd.Connector(http_sd.Connector.Options.model_validate(given), reach, credential)


async def test_a_url_is_asked_as_prometheus_asks() -> None:
    hook = Hook(body=JSON.encode(), headers={"Content-Type": "application/json"})
    async with hook.serve() as port:
        assert await found(asking(port, refresh="90s")) == ['a:1 {"env": "prod"}', 'b:1 {"env": "prod"}']
    ((request, _),) = hook.kept
    assert (request.method, request.path_qs) == ("GET", "/targets?team=shop")
    assert request.headers["X-Prometheus-Refresh-Interval-Seconds"] == "90"
    assert request.headers["Accept"] == "application/json"
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    ("credential", "header"),
    [
        (Credential("inventory", token="T0KEN"), "Bearer T0KEN"),
        (Credential("inventory", username="shop", password="pass"), "Basic c2hvcDpwYXNz"),
    ],
)
async def test_it_proves_who_it_is(credential: Credential, header: str) -> None:
    hook = Hook(body=b"[]")
    async with hook.serve() as port:
        assert await found(asking(port, credential)) == []
    assert hook.kept[0][0].headers["Authorization"] == header


@pytest.mark.parametrize(
    ("status", "headers", "body", "reason"),
    [
        (503, {}, b"[]", "status: WHERE answered 503 where 200 is wanted"),
        (204, {}, b"", "status: WHERE answered 204 where 200 is wanted"),
        (302, {"Location": "/elsewhere"}, b"[]", "status: WHERE answered 302 where 200 is wanted"),
        (200, {}, b"<html>", "body: the answer of WHERE is not JSON: "),
        (200, {}, b"", "body: the answer of WHERE is not JSON: "),
        (200, {}, b'[{"targets": 7}]', "body: the answer of WHERE is wrong in group 1: targets are a number"),
        (200, {"Content-Encoding": "br"}, b"[]", "answer: WHERE sends its answer as br, which nobody asked for"),
    ],
)
async def test_any_other_answer_is_a_failure(status: int, headers: dict[str, str], body: bytes, reason: str) -> None:
    hook = Hook(status=status, headers=headers, body=body)
    async with hook.serve() as port:
        said = await why(asking(port))
    assert said.startswith(reason.replace("WHERE", f"http://{HOST}:{port}"))
    assert "team" not in said


async def test_an_answer_may_be_packed_and_is_bounded_unpacked() -> None:
    hook = Hook(body=gzip.compress(JSON.encode()), headers={"Content-Encoding": "gzip"})
    async with hook.serve() as port:
        assert len(await found(asking(port))) == 2
        hook.body = gzip.compress(b" " * (target_groups.BYTES_MAX + 1))
        assert await why(asking(port)) == f"limit: http://{HOST}:{port} sends more than 16 MiB"


async def test_a_large_answer_is_read_all_the_same() -> None:
    many = [{"targets": [f"host-{n}.example.test:9100" for n in range(20_000)]}]
    hook = Hook(body=json.dumps(many).encode())
    async with hook.serve() as port:
        assert len(await found(asking(port))) == 20_000
        hook.body = hook.body[:-1]
        assert (await why(asking(port))).startswith(f"body: the answer of http://{HOST}:{port} is not JSON")


async def test_an_address_that_may_not_be_reached_is_not_asked() -> None:
    hook = Hook(body=b"[]")
    async with hook.serve() as port:
        assert (await why(asking(port, reach=Reach(Guard())))).startswith("forbidden: 127.0.0.1 is forbidden")
    assert not hook.kept


@pytest.mark.parametrize("head", [b"Content-Length: 3", b"Transfer-Encoding: chunked", b"X-Other: 1"])
async def test_an_answer_that_breaks_off_takes_no_targets_along(head: bytes) -> None:
    class Half(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n[")
            transport.close()

    async with listening(Half) as port:
        assert (await why(asking(port))).partition(":")[0] in {"reset", "answer", "body"}


async def test_nobody_there_is_a_failure() -> None:
    assert (await why(asking(await nobody()))).startswith("refused: ")


def test_a_url_with_a_password_is_a_mistake_of_the_policy_file() -> None:
    with pytest.raises(ValidationError, match="must not hold a password"):
        http_sd.Connector.Options.model_validate({"url": "https://shop:secret@inventory.example.test/"})
