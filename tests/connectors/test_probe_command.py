"""The probe `command`: what a program's end and words become, and that nothing of it stays or gets out."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.network.trial import Credential, Failure, Trial
from connectors.probes.command import arguments
from tests.connectors.services import looked, problem

Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """A program of these lines of shell."""

    def make(lines: str) -> str:
        path = tmp_path / f"check_{len(list(tmp_path.iterdir()))}"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        return str(path)

    return make


async def run(*argv: str, target: str = "db-1", credential: Credential | None = None, **more: Any) -> Trial:
    timeout_s = more.pop("timeout_s", 10.0)
    return await looked("command", target, {"argv": list(argv), **more}, credential, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("code", "outcome", "note", "state"),
    [
        (0, "up", "", 0),
        (1, "up", "", 1),
        (2, "exit", "CRITICAL (exit code 2): disk is full", 2),
        (3, "exit", "UNKNOWN (exit code 3): disk is full", 3),
        (77, "exit", "UNKNOWN (exit code 77): disk is full", 3),
    ],
)
async def test_an_exit_code_is_a_state(script: Script, code: int, outcome: str, note: str, state: int) -> None:
    trial = await run(script(f"echo 'disk is full'; exit {code}"))
    assert (trial.outcome, trial.note) == (outcome, note)
    assert trial.fields == {"exit_code": float(code), "state": float(state)}
    assert trial.values["output"] == "disk is full"
    assert list(trial.phases) == ["run"]


async def test_which_codes_count_as_up_is_a_matter_of_the_file(script: Script) -> None:
    assert (await run(script("exit 1"), up=["0"])).outcome == "exit"
    assert (await run(script("exit 2"), up=["0", "2"])).outcome == "up"


async def test_performance_data_is_fields(script: Script) -> None:
    trial = await run(script("echo \"OK | time=12ms;100;200 '/'=5KiB;;;0;10 users=3\""))
    assert trial.fields == {
        "exit_code": 0.0, "state": 0.0, "time_s": 0.012, "time_warn_s": 0.1, "time_crit_s": 0.2, "root_bytes": 5120.0,
        "root_min_bytes": 0.0, "root_max_bytes": 10240.0, "users": 3.0,
    }  # fmt: skip


async def test_performance_data_can_be_series(script: Script) -> None:
    trial = await run(script("echo \"OK | /=1B;5 '/var log'=2B junk\""), series="on")
    assert trial.fields == {"exit_code": 0.0, "state": 0.0}
    assert [(one.labels, one.fields) for one in trial.series] == [
        ({"perfdata": "/"}, {"value_bytes": 1.0, "warn_bytes": 5.0}),
        ({"perfdata": "/var log"}, {"value_bytes": 2.0}),
    ]
    assert trial.values["unread performance data"] == "junk"


async def test_more_values_than_a_sample_holds_are_refused(script: Script) -> None:
    many = " ".join(f"m{number}={number}" for number in range(60))
    trial = await run(script(f"echo 'OK | {many}'"))
    assert (trial.outcome, trial.note) == ("limit", "60 values, where 36 can be fields: write `series: on`")


async def test_what_it_says_on_standard_error_is_its_reason_when_it_says_nothing_else(script: Script) -> None:
    trial = await run(script("echo 'no such option' >&2; exit 3"))
    assert trial.note == "UNKNOWN (exit code 3): no such option"


# ---------------------------------------------------------------- arguments and environment
async def test_a_target_is_one_argument_and_no_shell_reads_it(script: Script) -> None:
    target = "a b; touch /tmp/x $(id) '\"*"
    trial = await run(
        script('printf "%s|" "$#"; printf "<%s>" "$@"'), "-H", "{target}", "--url=x/{target}/y", target=target
    )
    assert trial.values["output"] == "3"
    assert trial.values["unread performance data"].startswith("<-H><a b; touch /tmp/x $(id)")


def test_a_target_is_never_an_option() -> None:
    for argv in (("/bin/x", "{target}"), ("/bin/x", "-H", "{target}"), ("/bin/x", "{target}:80")):
        with pytest.raises(Failure, match="would be an option: put -- before") as caught:
            arguments(argv, "--config=/etc/passwd")
        assert caught.value.outcome == "forbidden"
    assert arguments(("/bin/x", "--", "{target}"), "-a") == ["/bin/x", "--", "-a"]
    assert arguments(("/bin/x", "--host={target}"), "-a") == ["/bin/x", "--host=-a"]
    assert arguments(("/bin/x", "{target}"), "a") == ["/bin/x", "a"]


async def test_its_environment_is_clean_and_holds_what_proves_who_we_are(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKETD_STORE", "sqlite:///secret.db")
    program = script('env | sort | grep -v "^_=\\|^PWD=\\|^SHLVL="; echo; pwd; cat')
    trial = await run(program, credential=Credential("shop", "amina", "", "t0ken"), environment={"MODE": "fast"})
    assert trial.outcome == "up"
    said = f"{trial.values['output']}\n{trial.values['long output']}".splitlines()
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert said == [
        "LC_ALL=C.UTF-8", "MODE=fast", f"PATH={path}", "TICKETD_PROBE_TOKEN=…", "TICKETD_PROBE_USERNAME=amina", "", "/",
    ]  # fmt: skip


async def test_what_it_says_does_not_hold_the_password(script: Script) -> None:
    program = script('echo "cannot log in as $TICKETD_PROBE_USERNAME with $TICKETD_PROBE_PASSWORD"; exit 2')
    trial = await run(program, credential=Credential("shop", "amina", "hunter2"))
    assert trial.note == "CRITICAL (exit code 2): cannot log in as amina with …"


def test_what_may_not_stand_in_a_file_is_refused_when_it_is_read() -> None:
    for program in ("check_disk", "./check_disk", "/usr/../bin/sh/", "/bin/../sh"):
        where, said = problem("command", {"argv": [program]}) or ((), "")
        assert where == ("argv", 0)
        assert "is not the whole path of a program" in said
    assert problem("command", {"argv": ["/bin/{target}"]}) == (("argv", 0), "a target cannot say which program is run")
    for name in ("LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "TICKETD_PROBE_TOKEN", "a b", "1A"):
        where, _ = problem("command", {"argv": ["/bin/true"], "environment": {name: "x"}}) or ((), "")
        assert where == ("environment", name)


# ---------------------------------------------------------------- programs that are not in order
@pytest.mark.parametrize(
    ("program", "why"), [("/nonexistent/check", "No such file"), ("/etc/passwd", "Permission denied")]
)
async def test_a_program_that_cannot_be_run_is_named(program: str, why: str) -> None:
    trial = await run(program)
    assert (trial.outcome, trial.note.startswith(f"{program} cannot be run: {why}")) == ("failed", True)


async def test_a_program_that_dies_of_a_signal_is_named(script: Script) -> None:
    trial = await run(script("kill -SEGV $$"))
    assert (trial.outcome, trial.note) == ("failed", f"the program was ended by signal {signal.SIGSEGV.value}")


async def test_endless_words_are_cut_off(script: Script) -> None:
    trial = await run(script("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done"))
    assert (trial.outcome, trial.note) == ("limit", "the program said more than 64 KiB")


async def gone(pid: int) -> bool:
    """Whether a process has ended, or does while others have their turn."""
    for _ in range(20_000):
        if not alive(pid):
            return True
        await asyncio.sleep(0)
    return False


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_program_that_hangs_is_killed_with_its_children(script: Script, tmp_path: Path) -> None:
    trial = await run(script(f"trap '' TERM; sleep 60 & echo $! $$ > {tmp_path}/pids; wait"), timeout_s=0.5)
    assert (trial.outcome, trial.note) == ("timeout", "timed out while in run")
    child, parent = map(int, (tmp_path / "pids").read_text().split())
    assert await gone(parent)
    assert await gone(child)


async def test_a_program_that_leaves_a_child_with_its_output_is_not_waited_for(script: Script, tmp_path: Path) -> None:
    trial = await run(script(f"sleep 60 & echo $! > {tmp_path}/pid; echo done"))
    assert (trial.outcome, trial.values["output"]) == ("up", "done")
    assert trial.phases["run"] < 5
    assert await gone(int((tmp_path / "pid").read_text()))


async def test_it_leads_a_session_of_its_own_and_leaves_no_core() -> None:
    code = (
        "import os, resource; print(os.getsid(0) == os.getpid(), resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 1024)"
    )
    # The limits are set right after the start, long before an interpreter has read its first line.
    trial = await run(sys.executable, "-c", code)
    assert trial.values["output"] == "True True"
