"""What holds for every notifier that has a peer here: the outcome it tells is the outcome that was.

A kind without an entry in PEERS is held to what `test_kinds.py` asks of all.
"""

import asyncio
import contextlib
import json
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from connectors.base import ConnectorError, Notifier, OutcomeUnknownError
from connectors.kinds import load
from rules.model import Message
from tests.connectors.oddities import TEXTS
from tests.connectors.servers import Hook, Mailbox, ScriptedSmtp, listening, nobody

MakeMessage = Callable[..., Message]
SECRETS = ("correct horse", "T0KEN")


class Pauses(list[float]):
    """What a notifier would have slept."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@dataclass
class Rig:
    """A notifier, what it speaks to, and how many messages arrived there."""

    notifier: Notifier
    address: str
    arrived: Callable[[], int]
    identity: Callable[[int], str]
    pauses: Pauses


def email(port: int, pauses: Pauses, **options: Any) -> Notifier:
    kind: Any = load().notifiers["email"]
    given = {"host": "127.0.0.1", "port": port, "from": "ticketd@example.test", "starttls": False, "timeout_s": 20}
    return kind(kind.Options.model_validate(given | options), sleep=pauses)  # type: ignore[no-any-return]


def webhook(port: int, pauses: Pauses, **options: Any) -> Notifier:
    kind: Any = load().notifiers["webhook"]
    given = {"url": f"http://127.0.0.1:{port}/hook/T0KEN?key=T0KEN", "secret": "correct horse", "timeout_s": 20}
    return kind({"hook": kind.Options.model_validate(given | options)}, sleep=pauses)  # type: ignore[no-any-return]


def ntfy(port: int, pauses: Pauses, **options: Any) -> Notifier:
    kind: Any = load().notifiers["ntfy"]
    given = {"url": f"http://127.0.0.1:{port}/T0KEN", "token": "tk_T0KEN", "timeout_s": 20}
    return kind({"hook": kind.Options.model_validate(given | options)}, sleep=pauses)  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def mail_rig(outcome: str) -> AsyncIterator[Rig]:
    """An SMTP peer from which this outcome comes."""
    pauses, box = Pauses(), Mailbox()

    def rig(port: int, **options: Any) -> Rig:
        return Rig(
            email(port, pauses, **options),
            "amina@example.test",
            lambda: len(box.kept),
            lambda n: str(box.kept[n].content).partition("Message-ID: ")[2].partition("\\r\\n")[0],
            pauses,
        )

    match outcome:
        case "nobody listens":
            yield rig(await nobody())
        case "broken off":
            async with listening(lambda: ScriptedSmtp({".": None}, asyncio.Event())) as port:
                yield rig(port)
        case "silent":
            async with listening(lambda: ScriptedSmtp({".": ...}, asyncio.Event())) as port:
                yield rig(port, timeout_s=0.3)
        case _:
            login = {"username": "ticketd", "password": "correct horse"}
            box.rcpt = {"refused": "550 5.1.1 nobody here", "again": "451 4.3.2 later"}.get(outcome, "")
            async with box.serve(authenticator=box.authenticate, auth_require_tls=False) as port:
                yield rig(port, **login)


def _webhook_id(request: Any, _: bytes) -> str:
    return str(request.headers["webhook-id"])


@contextlib.asynccontextmanager
async def hook_rig(
    outcome: str, make: Callable[..., Notifier] = webhook, identity: Callable[[Any, bytes], str] = _webhook_id
) -> AsyncIterator[Rig]:
    """A receiver of web requests from which this outcome comes."""
    pauses, hook = Pauses(), Hook()
    held = asyncio.Event()

    async def break_off(request: Any) -> None:
        request.transport.abort()
        await held.wait()

    async def stay_silent(_: Any) -> None:
        await held.wait()

    hook.status = {"refused": 410, "again": 503}.get(outcome, 200)
    hook.before_answer = {"broken off": break_off, "silent": stay_silent}.get(outcome)
    async with hook.serve() as port:
        yield Rig(
            make(
                await nobody() if outcome == "nobody listens" else port,
                pauses,
                timeout_s=0.3 if outcome == "silent" else 20,
            ),
            "hook",
            lambda: len(hook.kept),
            lambda n: identity(*hook.kept[n]),
            pauses,
        )
        held.set()


PEERS: dict[str, Callable[[str], contextlib.AbstractAsyncContextManager[Rig]]] = {
    "email": mail_rig,
    "ntfy": lambda outcome: hook_rig(outcome, ntfy, lambda _, body: str(json.loads(body)["sequence_id"])),
    "webhook": hook_rig,
}


@contextlib.asynccontextmanager
async def peer(kind: str, outcome: str) -> AsyncIterator[Rig]:
    """A rig of this kind; its notifier is closed at the end."""
    async with PEERS[kind](outcome) as rig:
        try:
            yield rig
        finally:
            await rig.notifier.close()


every_kind = pytest.mark.parametrize("kind", sorted(PEERS))


@every_kind
async def test_a_message_is_delivered_once(kind: str, make_message: MakeMessage) -> None:
    async with peer(kind, "delivered") as rig:
        reference = await rig.notifier.send(make_message(rig.address))
        assert isinstance(reference, str)
        assert rig.arrived() == 1


@every_kind
async def test_a_repeat_is_known_by_its_identity_and_another_delivery_is_not(
    kind: str, make_message: MakeMessage
) -> None:
    async with peer(kind, "delivered") as rig:
        await rig.notifier.send(make_message(rig.address))
        await rig.notifier.send(make_message(rig.address, possible_repeat=True))
        await rig.notifier.send(make_message(rig.address, key="1042/1/0/1/amina/email"))
        first, again, other = map(rig.identity, range(3))
        assert first
        assert first == again != other


@every_kind
async def test_a_refusal_for_good_is_permanent(kind: str, make_message: MakeMessage) -> None:
    async with peer(kind, "refused") as rig:
        with pytest.raises(ConnectorError) as caught:
            await rig.notifier.send(make_message(rig.address))
        assert caught.value.permanent
        assert rig.pauses == []


@every_kind
async def test_a_refusal_for_now_is_not_permanent_and_not_tried_again_at_once(
    kind: str, make_message: MakeMessage
) -> None:
    async with peer(kind, "again") as rig:
        with pytest.raises(ConnectorError) as caught:
            await rig.notifier.send(make_message(rig.address))
        assert not caught.value.permanent
        assert rig.pauses == []


@every_kind
@pytest.mark.parametrize("outcome", ["broken off", "silent"])
async def test_an_answer_lost_after_the_message_was_handed_over_is_unknown(
    kind: str, outcome: str, make_message: MakeMessage
) -> None:
    async with peer(kind, outcome) as rig:
        with pytest.raises(OutcomeUnknownError):
            await rig.notifier.send(make_message(rig.address))
        assert rig.pauses == []


@every_kind
async def test_where_nobody_listens_it_is_tried_three_times_and_then_later(
    kind: str, make_message: MakeMessage
) -> None:
    async with peer(kind, "nobody listens") as rig:
        with pytest.raises(ConnectorError) as caught:
            await rig.notifier.send(make_message(rig.address))
        assert not caught.value.permanent
        assert len(rig.pauses) == 2
        assert 0 < sum(rig.pauses) < 5


@every_kind
@pytest.mark.parametrize("outcome", ["delivered", "refused", "again", "broken off", "silent", "nobody listens"])
async def test_no_secret_is_in_what_it_says_or_shows(kind: str, outcome: str, make_message: MakeMessage) -> None:
    said = []
    async with peer(kind, outcome) as rig:
        try:
            said.append(await rig.notifier.send(make_message(rig.address)))
        except (ConnectorError, OutcomeUnknownError) as error:
            said += [repr(error), error.reason, *traceback.format_exception(error)]
        notifier: Any = rig.notifier
        said += [repr(notifier), repr(notifier._options), str(notifier._options)]
    assert not [(secret, text) for secret in SECRETS for text in said if secret in text]


@every_kind
async def test_odd_text_in_every_field_is_delivered_and_starts_no_field_of_its_own(
    kind: str, make_message: MakeMessage
) -> None:
    odd = [text for text in TEXTS if text]
    async with peer(kind, "delivered") as rig:
        for text in [*odd, "\ud800 half a pair"]:
            ticket = {"id": text, "opened_at": text, "labels": {text: text}}
            message = make_message(
                rig.address, subject=text, text=text, key=f"1/{text}", contact=text, contact_name=text, ticket=ticket
            )
            await rig.notifier.send(message)
        assert rig.arrived() == len(odd) + 1


@every_kind
async def test_many_at_once_all_arrive(kind: str, make_message: MakeMessage) -> None:
    async with peer(kind, "delivered") as rig:
        messages = [make_message(rig.address, key=f"1042/1/0/{n}/amina/email") for n in range(30)]
        await asyncio.gather(*(rig.notifier.send(message) for message in messages))
        assert len({rig.identity(n) for n in range(rig.arrived())}) == 30


@every_kind
async def test_after_a_close_it_can_be_closed_and_used_again(kind: str, make_message: MakeMessage) -> None:
    async with peer(kind, "delivered") as rig:
        await rig.notifier.close()
        await rig.notifier.send(make_message(rig.address))
        await rig.notifier.close()
        await rig.notifier.close()
        assert rig.arrived() == 1


@every_kind
async def test_cancelled_in_the_middle_it_stays_usable(kind: str, make_message: MakeMessage) -> None:
    async with peer(kind, "delivered") as rig:
        for steps in range(12):
            task = asyncio.create_task(rig.notifier.send(make_message(rig.address)))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        before = rig.arrived()
        await rig.notifier.send(make_message(rig.address))
        assert rig.arrived() == before + 1
