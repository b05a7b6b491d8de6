"""The Dockerfile, the unit file and the scripts, as far as they can be judged without a container engine."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
UNIT = ROOT / "deploy" / "ticketd.service"


def tool(name: str) -> str:
    """Where a program lies: in our environment or in the system; a test that needs an absent one is skipped by name."""
    found = shutil.which(name, path=f"{TOOLS}:/usr/bin:/bin:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} is absent (make packaging-tools)")
    return found


def said(*command: str | Path) -> tuple[int, str]:
    """Exit code and all output of a program."""
    done = subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, done.stdout + done.stderr


def copied() -> list[str]:
    """What the Dockerfile takes from the checkout."""
    lines = re.findall(r"^COPY (?!--from=)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return sorted({source for line in lines for source in line.split()})


def test_hadolint_finds_nothing_to_say_about_the_dockerfile() -> None:
    assert said(tool("hadolint"), "Dockerfile") == (0, "")


def test_shellcheck_finds_nothing_to_say_about_the_scripts() -> None:
    shellcheck = tool("shellcheck")
    scripts = [ROOT / ".ci" / "run", *sorted(ROOT.glob("deploy/*.sh")), *sorted(ROOT.glob("tests/**/*.sh"))]
    assert len(scripts) >= 3
    assert said(shellcheck, *scripts) == (0, "")


def test_the_build_sees_exactly_what_the_dockerfile_copies() -> None:
    """A file that .dockerignore hides would break the build; one that it lets through is a file too many."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert sorted(line[1:] for line in lines if line.startswith("!")) == copied()
    assert [name for name in copied() if not (ROOT / name).exists()] == []


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users
    assert all(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) for user in users)
    assert DOCKERFILE.rindex("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """With a program that exists: whether ticketd is installed on this machine is not the question."""
    copy = tmp_path / "ticketd.service"
    copy.write_text(
        re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE),
        encoding="utf-8",
    )
    assert said(tool("systemd-analyze"), "verify", "--man=no", copy) == (0, "")


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    """Of ten, where ten is a service that may do everything; most of the rest is that it has a network."""
    code, text = said(tool("systemd-analyze"), "security", "--offline=true", "--no-pager", UNIT)
    assert code == 0, text
    (level,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", text)
    assert float(level) <= 1.5


def test_the_unit_is_told_when_it_is_ready_and_watched_after() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE))
    assert settings["Type"] == "notify"
    assert settings["WatchdogSec"] == "30s"
    assert settings["Restart"] == "always"


@pytest.mark.timeout(600)
def test_the_image_s_steps_work_for_a_user_who_owns_nothing() -> None:
    code, text = said(ROOT / "tests" / "packaging" / "image_steps.sh")
    assert code == 0, text
    assert "ended by SIGTERM with 0" in text
