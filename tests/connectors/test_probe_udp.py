"""`udp`: an answer, another answer, no answer, and a refusal, which a connected socket is told."""

import socket

import pytest

from connectors.network.trial import UP
from connectors.probes.udp import DATAGRAMS_MAX, Connector
from tests.connectors.looks import answering, look, mistake
from tests.connectors.servers import free_port


def echo(data: bytes) -> list[bytes]:
    return [b"echo " + data]


async def test_the_answer_that_is_expected() -> None:
    async with answering(echo) as target:
        trial = await look(Connector, target, {"send": "hello", "expect": "^echo hello$"})
    assert (trial.outcome, trial.note) == (UP, "")
    assert list(trial.phases) == ["dns", "answer"]


async def test_bytes_that_are_no_text() -> None:
    async with answering(lambda data: [data[::-1]]) as target:
        trial = await look(Connector, target, {"send_hex": "ff 00 41", "expect": "^A"})
    assert trial.outcome == UP, trial.note


async def test_another_answer_does_not_end_the_wait() -> None:
    async with answering(lambda _: [b"noise", b"the answer"]) as target:
        trial = await look(Connector, target, {"expect": "answer"})
    assert trial.outcome == UP, trial.note


async def test_only_another_answer() -> None:
    async with answering(echo) as target:
        trial = await look(Connector, target, {"send": "a", "expect": "b"}, timeout_s=0.5)
    assert (trial.outcome, trial.note) == ("body", "/b/ is not in 'echo a'")


async def test_a_server_that_never_stops_is_not_listened_to_for_ever() -> None:
    async with answering(lambda _: [b"noise"] * (DATAGRAMS_MAX + 1)) as target:
        trial = await look(Connector, target, {"expect": "answer"}, timeout_s=2)
    assert (trial.outcome, trial.note) == ("body", "/answer/ is not in 'noise'")
    assert trial.phases["answer"] < 1.5


async def test_no_answer() -> None:
    async with answering(lambda _: []) as target:
        trial = await look(Connector, target, {"expect": "b"}, timeout_s=0.5)
    assert (trial.outcome, trial.note) == ("timeout", "nothing came back; /b/ was expected")


@pytest.mark.parametrize("options", [{}, {"send": "hello"}, {"expect": "x"}])
async def test_a_refusal_is_seen(options: dict[str, str]) -> None:
    trial = await look(Connector, f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}", options)
    assert trial.outcome == "refused"


async def test_no_refusal_is_enough_where_nothing_is_expected() -> None:
    async with answering(lambda _: []) as target:
        trial = await look(Connector, target, timeout_s=0.2)
    assert trial.outcome == UP, trial.note
    assert trial.checks[0].said == "nothing came back, and no refusal"


async def test_an_answer_tells_at_once_that_there_is_no_refusal() -> None:
    async with answering(echo) as target:
        trial = await look(Connector, target, {"send": "a", "wait": "4s"})
    assert trial.outcome == UP
    assert trial.phases["answer"] < 2


async def test_a_forbidden_address() -> None:
    assert (await look(Connector, "169.254.169.254:123")).outcome == "forbidden"


def test_options_that_do_not_fit_together() -> None:
    assert mistake(Connector, {"send": "a", "send_hex": "00"}) == "send_hex: give send or send_hex, not both"
    assert mistake(Connector, {"send_hex": "00"}) == ""
    with pytest.raises(ValueError, match="no bytes in hexadecimal"):
        Connector.Options.model_validate({"send_hex": "0g"})
