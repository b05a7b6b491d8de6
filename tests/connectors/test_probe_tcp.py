"""`tcp`: each failure by its word, each phase by its time, against servers that say what they were told to."""

import asyncio
import ssl
from pathlib import Path

import pytest

from connectors.network.trial import UP, Credential
from connectors.probes.tcp import ANSWER_BYTES_MAX, Connector
from tests.connectors.certs import Authority
from tests.connectors.looks import Talk, look, mistake, saying, serving
from tests.connectors.servers import free_port


async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A line to begin with, and an answer of two lines to each."""
    writer.write(b"220 mx ready\r\n")
    while line := await reader.readline():
        writer.write(b"250-" + line.rstrip() + b"\r\n250 done\r\n")


async def test_a_connection_that_comes_about_is_up() -> None:
    async with serving(saying()) as target:
        trial = await look(Connector, target)
    assert (trial.outcome, trial.note) == (UP, "")
    assert list(trial.phases) == ["dns", "connect"]


async def test_nobody_listens() -> None:
    trial = await look(Connector, f"127.0.0.1:{free_port()}")
    assert trial.outcome == "refused"
    assert "connection refused" in trial.note


async def test_a_name_that_is_none() -> None:
    trial = await look(Connector, "nowhere.test:80")
    assert (trial.outcome, trial.note) == ("name", "nowhere.test cannot be resolved: Name or service not known")


async def test_a_metadata_address_is_forbidden() -> None:
    trial = await look(Connector, "169.254.169.254:80")
    assert trial.outcome == "forbidden"
    assert "metadata" in trial.note
    assert "connect" not in trial.phases


async def test_a_dialogue_goes_step_by_step() -> None:
    dialogue = [
        {"expect": "^220 "},
        {"send": "EHLO a\r\n", "expect": "^250-EHLO (a)$|^250-EHLO a\r$"},
        {"expect": "^250 done"},
        {"send": "NOOP\r\n", "expect": "NOOP"},
    ]
    async with serving(greets) as target:
        trial = await look(Connector, target, {"dialogue": dialogue})
    assert trial.outcome == UP, trial.note
    assert [one.name for one in trial.checks] == ["step 1", "step 2", "step 3", "step 4"]
    assert trial.phases["dialogue"] > 0


async def test_what_was_expected_once_is_not_there_a_second_time() -> None:
    async with serving(greets) as target:
        trial = await look(Connector, target, {"dialogue": [{"expect": "220"}, {"expect": "220"}]}, timeout_s=0.3)
    assert (trial.outcome, trial.note) == ("timeout", "step 2: nothing came; /220/ was expected")


async def test_another_answer_is_told_by_what_came() -> None:
    async with serving(saying(b"554 go away\r\n")) as target:
        trial = await look(Connector, target, {"dialogue": [{"expect": "^220 "}]}, timeout_s=0.3)
    assert (trial.outcome, trial.note) == ("body", "step 1: /^220 / is not in '554 go away'")


async def test_a_server_that_ends_needs_no_timeout() -> None:
    async with serving(saying(b"bye\r\n", then="end")) as target:
        trial = await look(Connector, target, {"dialogue": [{"expect": "^220 "}]})
    assert (trial.outcome, trial.note) == ("body", "step 1: /^220 / is not in 'bye'")


async def test_a_server_that_cuts_the_connection() -> None:
    async with serving(saying(then="reset")) as target:
        trial = await look(Connector, target, {"dialogue": [{"expect": "^220 "}]})
    assert trial.outcome == "reset"


async def test_no_more_is_read_than_is_kept() -> None:
    async with serving(saying(b"x" * (ANSWER_BYTES_MAX + 1))) as target:
        trial = await look(Connector, target, {"dialogue": [{"expect": "^220 "}]})
    assert trial.outcome == "limit"


@pytest.fixture
def root() -> Authority:
    return Authority()


def trusting(root: Authority, folder: Path) -> Credential:
    return Credential("tests", ca=root.write(folder / "ca.pem"))


async def test_within_tls(root: Authority, tmp_path: Path) -> None:
    async with serving(greets, ssl=root.leaf().server(tmp_path)) as target:
        options = {"tls": "on", "dialogue": [{"expect": "^220 "}]}
        trial = await look(Connector, target, options, credential=trusting(root, tmp_path))
    assert trial.outcome == UP, trial.note
    assert list(trial.phases) == ["dns", "connect", "tls", "dialogue"]


async def test_tls_of_nobody_trusted(root: Authority, tmp_path: Path) -> None:
    async with serving(greets, ssl=root.leaf().server(tmp_path)) as target:
        trial = await look(Connector, target, {"tls": "on"})
        assert trial.outcome == "certificate"
        assert (await look(Connector, target, {"tls": "on", "verify": "off"})).outcome == UP


async def test_tls_where_there_is_none() -> None:
    async with serving(saying(b"220 plain text\r\n")) as target:
        trial = await look(Connector, target, {"tls": "on"})
    assert trial.outcome == "tls"


async def test_tls_that_begins_within_the_dialogue(root: Authority, tmp_path: Path) -> None:
    async with serving(_starts_tls(root.leaf("mx.example.test").server(tmp_path))) as target:
        dialogue = [{"send": "STARTTLS\r\n", "expect": "^220", "starttls": "on"}, {"send": "who\n", "expect": "secret"}]
        options = {"dialogue": dialogue, "server_name": "mx.example.test"}
        trial = await look(Connector, target, options, credential=trusting(root, tmp_path))
    assert trial.outcome == UP, trial.note
    assert set(trial.phases) == {"dns", "connect", "tls", "dialogue"}


async def test_what_comes_with_the_answer_to_starttls_is_not_taken_for_tls() -> None:
    async with serving(saying(b"220 ready\r\n250 injected\r\n")) as target:
        trial = await look(Connector, target, {"dialogue": [{"expect": "^220", "starttls": "on"}]})
    assert trial.outcome == "answer"
    assert "injected" in trial.note


def _starts_tls(context: ssl.SSLContext) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 go on\r\n")
        await writer.start_tls(context)
        await reader.readline()
        writer.write(b"secret\n")
        await reader.read(-1)

    return talk


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dialogue": [{}]}, "dialogue.0: this step neither sends nor expects anything"),
        ({"tls": "on", "dialogue": [{"starttls": "on"}]}, "dialogue.0.starttls: TLS has begun before"),
        ({"dialogue": [{"starttls": "on"}, {"starttls": "on"}]}, "dialogue.1.starttls: TLS has begun before"),
        ({"verify": "off"}, "verify: verify is of no use without tls: on, or starttls: on in the dialogue"),
        ({"server_name": "a.test"}, "server_name: server_name is of no use without tls: on, or starttls: on in the"),
        ({"server_name": "a.test", "tls": "on"}, ""),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, object], said: str) -> None:
    assert mistake(Connector, options).startswith(said)
    assert bool(mistake(Connector, options)) == bool(said)


def test_an_expression_that_re2_refuses() -> None:
    with pytest.raises(ValueError, match="RE2 refuses"):
        Connector.Options.model_validate({"dialogue": [{"expect": "(?<=a)b"}]})


@pytest.mark.parametrize("target", ["db.test", "db.test:0", "db.test:99999", "http://db.test:80", ""])
def test_what_is_no_target(target: str) -> None:
    assert Connector.target_problem(target)
