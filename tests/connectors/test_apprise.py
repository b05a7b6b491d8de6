"""The long tail through apprise: every target is seen, nothing is sent twice to whom took it, and no secret is shown.

The library is the real one; what it speaks to is a server of ours on 127.0.0.1.
"""

import asyncio
import contextlib
import importlib
import json
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from connectors.base import ConnectorError, OutcomeUnknownError
from connectors.notifiers import apprise
from connectors.notifiers.apprise import Connector
from rules.model import Message, Purpose
from tests.connectors.oddities import TEXTS
from tests.connectors.servers import listening, nobody

MakeMessage = Callable[..., Message]
NAME = "ops"
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Target:
    """A server with many paths: each answers as it was told, and what arrived is kept by path."""

    port: int = 0
    status: dict[str, int] = field(default_factory=dict)  # by path, or by topic
    trouble: dict[str, str] = field(default_factory=dict)  # "silent", "dripping", "reset"
    kept: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator["Target"]:
        server = web.Server(self._handle)  # type: ignore[arg-type]
        try:
            async with listening(server) as self.port:
                yield self
        finally:
            self.over.set()
            await server.shutdown(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        place = body.get("topic", request.path.strip("/"))
        self.kept.setdefault(place, []).append(body)
        match self.trouble.get(place):
            case "silent":
                await self.over.wait()
            case "dripping":
                answer = web.StreamResponse(headers={"Content-Length": "1000"})
                await answer.prepare(request)
                await answer.write(b"x")
                await self.over.wait()
                assert request.transport is not None
                request.transport.abort()
                return answer
            case "reset":
                assert request.transport is not None
                request.transport.abort()
        return web.json_response({"id": "x"}, status=self.status.get(place, 200))

    def json(self, path: str, **query: str) -> str:
        return f"json://127.0.0.1:{self.port}/{path}" + "".join(f"?{name}={value}" for name, value in query.items())

    def arrived(self) -> dict[str, int]:
        return {place: len(bodies) for place, bodies in sorted(self.kept.items())}


def notifier(*urls: str, **fields: Any) -> Connector:
    return Connector({NAME: Connector.Options.model_validate({"urls": urls} | fields)})


async def ended() -> None:
    """Until no thread of ours is left."""
    async with asyncio.timeout(10):
        while any(one.name.startswith("apprise ") for one in threading.enumerate()):
            await asyncio.get_running_loop().run_in_executor(None, id, None)


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with Target().serve() as target:
        yield target
        target.over.set()
        await ended()


@pytest.fixture
def message(make_message: MakeMessage) -> Message:
    return make_message(NAME)


async def failure(sender: Connector, message: Message) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        await sender.send(message)
    return caught.value


async def test_every_url_is_told(target: Target, message: Message) -> None:
    assert await notifier(target.json("one"), target.json("two")).send(message) == ""
    assert target.arrived() == {"one": 1, "two": 1}
    (body,) = target.kept["one"]
    assert (body["title"], body["message"], body["type"]) == (message.subject, message.text.strip(), "failure")


@pytest.mark.parametrize(
    ("purpose", "priority", "gravity"),
    [
        (Purpose.PAGE, "P1", "failure"),
        (Purpose.PAGE, "P2", "warning"),
        (Purpose.PAGE, "P3", "info"),
        (Purpose.ANSWERED, "P1", "info"),
        (Purpose.RESOLVED, "P1", "success"),
    ],
)
async def test_how_grave_it_is_shows(
    target: Target, purpose: Purpose, priority: str, gravity: str, make_message: MakeMessage
) -> None:
    await notifier(target.json("one")).send(make_message(NAME, purpose=purpose, ticket={"priority": priority}))
    assert target.kept["one"][0]["type"] == gravity


async def test_one_that_fails_is_named_and_told_again_while_the_others_are_not(
    target: Target, message: Message
) -> None:
    target.status = {"two": 503}
    sender = notifier(target.json("one"), target.json("two"), target.json("three"))
    error = await failure(sender, message)
    assert not error.permanent
    assert error.reason.startswith("2 of 3 took it; number 2 (JSON): ")
    assert "error=503" in error.reason
    target.status = {}
    assert await sender.send(message) == ""
    assert target.arrived() == {"one": 1, "three": 1, "two": 2}


async def test_when_all_have_failed_all_are_named_and_told_again(target: Target, message: Message) -> None:
    target.status = {"one": 500, "two": 429}
    sender = notifier(target.json("one"), target.json("two"))
    error = await failure(sender, message)
    assert not error.permanent
    assert "0 of 2 took it; number 1 (JSON): " in error.reason
    assert "number 2 (JSON): " in error.reason
    await failure(sender, message)
    assert target.arrived() == {"one": 2, "two": 2}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
async def test_what_no_repeat_can_mend_is_for_good_even_where_others_took_it(
    target: Target, message: Message, status: int
) -> None:
    target.status = {"two": status}
    error = await failure(notifier(target.json("one"), target.json("two")), message)
    assert error.permanent
    assert error.reason.startswith("1 of 2 took it; number 2 (JSON): ")


async def test_where_one_may_still_take_it_the_delivery_goes_on(target: Target, message: Message) -> None:
    target.status = {"one": 404, "two": 500}
    assert not (await failure(notifier(target.json("one"), target.json("two")), message)).permanent


async def test_another_delivery_is_told_to_all(target: Target, message: Message, make_message: MakeMessage) -> None:
    target.status = {"two": 503}
    sender = notifier(target.json("one"), target.json("two"))
    await failure(sender, message)
    await failure(sender, make_message(NAME, key="1042/1/0/1/amina/apprise"))
    assert target.arrived() == {"one": 2, "two": 2}


async def test_after_a_restart_all_are_told_again(target: Target, message: Message) -> None:
    target.status = {"two": 503}
    urls = target.json("one"), target.json("two")
    await failure(notifier(*urls), message)
    await failure(notifier(*urls), message)
    assert target.arrived() == {"one": 2, "two": 2}


async def test_targets_within_one_url_are_each_told_once(
    target: Target, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    library: Any = importlib.import_module("apprise.plugins.ntfy")
    monkeypatch.setattr(library.NotifyNtfy, "request_rate_per_sec", 0)  # else it pauses between targets
    target.status = {"bad": 503}
    sender = notifier(f"ntfy://127.0.0.1:{target.port}/good/bad/fine")
    error = await failure(sender, message)
    assert not error.permanent
    assert error.reason.startswith("number 1 (ntfy): some of its targets took it; ")
    assert target.arrived() == {"bad": 1, "fine": 1, "good": 1}
    target.status = {}
    assert await sender.send(message) == ""
    assert target.arrived() == {"bad": 2, "fine": 1, "good": 1}


async def test_a_url_that_calls_itself_optional_is_seen_to_fail_all_the_same(target: Target, message: Message) -> None:
    target.status = {"one": 500}
    error = await failure(notifier(target.json("one", optional="yes")), message)
    assert error.reason.startswith("number 1 (JSON): ")


async def test_where_nobody_listens_it_is_told_again(message: Message) -> None:
    error = await failure(notifier(f"json://127.0.0.1:{await nobody()}/one"), message)
    assert not error.permanent
    await ended()


async def test_a_connection_that_breaks_is_a_failure(target: Target, message: Message) -> None:
    target.trouble = {"one": "reset"}
    assert not (await failure(notifier(target.json("one")), message)).permanent


@pytest.mark.parametrize("trouble", ["silent", "dripping"])
async def test_no_answer_in_time_is_unknown_and_what_came_late_counts(
    target: Target, message: Message, trouble: str
) -> None:
    target.trouble = {"two": trouble}
    sender = notifier(target.json("one"), target.json("two", rto="60"), timeout_s=1)
    with pytest.raises(OutcomeUnknownError, match=r"^1 of 2 took it; number 2 \(JSON\): no answer within 1 s$"):
        await sender.send(message)
    target.over.set()
    await ended()
    target.trouble = {}
    if trouble == "silent":  # which took it in the end
        assert await sender.send(message) == ""
        assert target.arrived() == {"one": 1, "two": 1}


async def test_a_repeat_where_the_outcome_was_unknown_says_so(target: Target, message: Message) -> None:
    target.trouble, target.status = {"two": "silent"}, {"one": 500}
    sender = notifier(target.json("one"), target.json("two", rto="60"), timeout_s=1)
    error = await failure(sender, message)  # one has surely failed, so another attempt comes
    assert not error.permanent
    assert "no answer within" in error.reason
    target.trouble, target.status = {}, {}
    assert await sender.send(message) == ""
    assert target.kept["two"][1]["message"].startswith("(2?) ")
    assert not target.kept["one"][1]["message"].startswith("(2?) ")


async def test_a_service_that_hangs_takes_threads_only_from_itself(target: Target, make_message: MakeMessage) -> None:
    target.trouble = {"one": "silent"}
    names = {"hung": target.json("one", rto="60"), "well": target.json("two")}
    sender = Connector(
        {name: Connector.Options.model_validate({"urls": [url], "timeout_s": 1}) for name, url in names.items()}
    )
    sent = [sender.send(make_message("hung", key=f"{n}")) for n in range(apprise.THREADS_MAX + 3)]
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    assert sum(isinstance(one, OutcomeUnknownError) for one in outcomes) == apprise.THREADS_MAX
    refused = [one for one in outcomes if isinstance(one, ConnectorError)]
    assert [(one.permanent, "threads all wait" in one.reason) for one in refused] == [(False, True)] * 3
    assert await sender.send(make_message("well")) == ""
    ours = [one for one in threading.enumerate() if one.name.startswith("apprise ")]
    assert len(ours) - apprise.THREADS_MAX in {0, 1}  # the last one may be just about to end
    assert all(one.daemon for one in ours)  # none of them holds up the end of the process


async def test_the_library_starts_no_threads_of_its_own(target: Target, message: Message) -> None:
    before = set(threading.enumerate())
    await notifier(target.json("one"), target.json("two")).send(message)
    await ended()
    assert {one.name for one in set(threading.enumerate()) - before if not one.name.startswith("asyncio")} == set()


async def test_cancelled_it_stays_usable(target: Target, message: Message) -> None:
    sender = notifier(target.json("one"))
    for steps in range(6):
        task = asyncio.create_task(sender.send(message))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await ended()
    assert await sender.send(message) == ""


async def test_odd_text_is_told(target: Target, make_message: MakeMessage) -> None:
    sender = notifier(target.json("one"))
    odd = [*TEXTS, "\ud800 half a pair"]
    for n, text in enumerate(odd):
        await sender.send(make_message(NAME, key=str(n), text=text, subject=text))
    assert target.arrived() == {"one": len(odd)}


async def test_what_is_remembered_is_bounded(
    target: Target, make_message: MakeMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprise, "REMEMBERED_MAX", 3)
    target.status = {"one": 500}
    sender = notifier(target.json("one"))
    for n in range(5):
        await failure(sender, make_message(NAME, key=f"{n}"))
    assert list(sender._known) == ["2", "3", "4"]
    target.status = {}
    await sender.send(make_message(NAME, key="4"))
    assert list(sender._known) == ["2", "3"]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What reaches the root logger at the level debug; pytest's own capture hangs itself onto every logger."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name} {record.getMessage()}")

    root, kept = logging.getLogger(), Keep()
    before = root.level
    root.addHandler(kept)
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(before)
    root.removeHandler(kept)


async def test_no_part_of_a_url_is_in_a_reason_or_in_the_log(
    target: Target, message: Message, logged: list[str]
) -> None:
    target.status = {"path-T0KEN": 500}
    url = f"json://user-T0KEN:p%40ss-T0KEN@127.0.0.1:{target.port}/path-T0KEN?+X-Key=header-T0KEN"
    sender = notifier(url, f"json://127.0.0.1:{await nobody()}/a")
    error = await failure(sender, message)
    told = [line for line in logged if not line.startswith("aiohttp.access")]  # which is the server's
    said = [error.reason, repr(sender._options), str(sender._options[NAME]), *told]
    assert not [one for one in said if "T0KEN" in one]
    assert "127.0.0.1" not in error.reason


async def test_a_name_that_is_not_configured_is_refused_for_good(make_message: MakeMessage) -> None:
    error = await failure(notifier("json://127.0.0.1:1/"), make_message("other"))
    assert (error.permanent, error.reason) == (True, "the configuration has no [apprise.other]")


def test_a_file_has_one_url_a_line() -> None:
    options = Connector.Options.model_validate({"urls": "# chat\njson://127.0.0.1/a?x=1,2\n\n json://127.0.0.1/b \n"})
    assert [one.get_secret_value() for one in options.urls] == ["json://127.0.0.1/a?x=1,2", "json://127.0.0.1/b"]


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        (["json://127.0.0.1/", "T0KEN"], "number 2 is no URL"),
        (["json://127.0.0.1/", "nosuch://T0KEN"], "number 2 is no URL"),
        (["tgram://T0KEN"], "number 1 is no URL"),
        ("\n# T0KEN\n", "at least 1 item"),
        (["json://127.0.0.1/T0KEN"] * 21, "at most 20 items"),
    ],
)
def test_urls_that_cannot_work_are_refused_at_load_without_being_shown(urls: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        Connector.Options.model_validate({"urls": urls})
    assert "T0KEN" not in str(caught.value)
    assert "T0KEN" not in "".join(one["msg"] for one in caught.value.errors())


async def python(script: str) -> tuple[int | None, str]:
    """The exit code of a process of its own, and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(30):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_the_library_is_loaded_only_where_it_is_configured() -> None:
    script = (
        "import sys; from connectors.kinds import load; load(); print(sorted({'apprise', 'requests'} & {*sys.modules}))"
    )
    assert await python(script) == (0, "[]\n")


async def test_a_thread_that_hangs_does_not_hold_up_the_end_of_the_process(target: Target) -> None:
    target.trouble = {"one": "silent"}
    script = f"""
import asyncio
from connectors.base import OutcomeUnknownError
from connectors.notifiers.apprise import Connector
from rules.model import Message, Purpose
options = Connector.Options.model_validate({{"urls": ["{target.json("one", rto="60")}"], "timeout_s": 1}})
message = Message("k", "{NAME}", "subject", "text", Purpose.PAGE, {{}}, "amina")
try:
    asyncio.run(Connector({{"{NAME}": options}}).send(message))
except OutcomeUnknownError as error:
    print(error.reason)
"""
    assert await python(script) == (0, "number 1 (JSON): no answer within 1 s\n")
    assert target.arrived() == {"one": 1}
