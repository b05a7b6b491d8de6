"""How the command line speaks to a daemon: whom it trusts with the token, and what it says when it gets no answer."""

import socket
from pathlib import Path

import pytest

from daemon.cli.output import printable, progress, table
from tests.daemon.cli.conftest import Double, Ticketd


def test_a_daemon_that_is_not_there_is_named_with_what_to_do(cli: Ticketd) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        done = cli("tickets", "list", "--url", url)
    assert done.exit_code == 3
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"ticketd: no answer from {url}: Connection refused",
        "Is the daemon running there (`ticketd run`)? Point --url or TICKETD_URL at it.",
    ]


def test_somebody_who_does_not_speak_http_counts_as_no_answer(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets", b"not json")
    done = cli("tickets", "list", "--url", double.url)
    assert done.exit_code == 3
    assert "without a JSON object: is --url that of ticketd?" in done.stderr


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9876", "ftp://x", "http://", "http://h:99999", "http://h/?x=1", "http://a:b@h"]
)
def test_a_url_that_is_none_is_wrong_usage(cli: Ticketd, url: str) -> None:
    done = cli("tickets", "list", "--url", url)
    assert done.exit_code == 2
    assert "--url" in done.stderr


def test_the_token_travels_as_a_bearer_and_the_environment_can_name_it(
    cli: Ticketd, double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.setenv("TICKETD_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("TICKETD_URL", double.url + "/behind/a/proxy/")
    double.on("/behind/a/proxy/api/v1/tickets", {"tickets": [], "next": None})
    done = cli("tickets", "list")
    assert done.exit_code == 0, done.stderr
    assert double.asked[0].headers["Authorization"] == "Bearer s3cret"


def test_a_proxy_of_the_environment_is_not_asked(cli: Ticketd, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    double.on("/api/v1/tickets", {"tickets": [], "next": None})
    assert cli("tickets", "list", "--url", double.url).exit_code == 0


def test_a_redirect_is_not_followed_with_the_token(cli: Ticketd, double: Double, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    double.on("/api/v1/tickets", {}, 302, Location="http://elsewhere.example.test/")
    done = cli("tickets", "list", "--url", double.url, "--token-file", tmp_path / "token")
    assert done.exit_code == 3
    assert "is it at http://elsewhere.example.test/?" in done.stderr
    assert len(double.asked) == 1


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"x" * 5_000])
def test_a_token_file_without_a_token_is_wrong_usage(cli: Ticketd, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    done = cli("tickets", "list", "--token-file", tmp_path / "token")
    assert done.exit_code == 2
    assert "does not hold one token" in done.stderr


def test_a_missing_token_file_is_named(cli: Ticketd, tmp_path: Path) -> None:
    done = cli("tickets", "list", "--token-file", tmp_path / "none")
    assert done.exit_code == 2
    assert "No such file" in done.stderr


def test_who_is_not_let_in_is_told_how(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets", {"status": 401, "detail": "a token is needed"}, 401)
    done = cli("tickets", "list", "--url", double.url)
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "ticketd: GET /api/v1/tickets: 401 a token is needed",
        "Give a token with --token-file FILE (or TICKETD_TOKEN_FILE).",
    ]


def test_a_busy_daemon_could_not_and_says_when_to_come_again(cli: Ticketd, double: Double) -> None:
    double.on("/api/v1/tickets", {"detail": "the store takes no commits"}, 503, Retry_After="5")
    done = cli("tickets", "list", "--url", double.url)
    assert done.exit_code == 3
    assert done.stderr.endswith("Try again in 5 s.\n")


def test_what_a_sender_wrote_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\r\nc\u202ed\ue000") == "a\\x1b[2Jb\\r\\nc\\u202ed\\ue000"
    assert printable("خدمة الدفع 👩\u200d💻") == "خدمة الدفع 👩\u200d💻"
    assert printable("\ud800") == "\\ud800"


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_takes_nothing_away_and_shows_on_a_terminal_only(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert list(progress(range(3), "Counting")) == [0, 1, 2]
    seen = capsys.readouterr()
    assert seen.out == ""
    assert ("Counting" in seen.err) is terminal


def test_a_table_is_one_line_a_row_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    table(("ID", "TITLE"), [("T-1", "long " * 100), ("T-2", None), ("T-3", "two\nlines")])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["ID", "T-1", "T-2", "T-3"]
