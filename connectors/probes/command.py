"""`command`: a program of this machine that speaks as monitoring plugins do: by its exit code and performance data.

The one law: there is no shell; a target is one argument, or a part of one, and never an option; what proves who we are
goes to the program's environment and never to its arguments, which everybody on the machine can read.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Reach
from connectors.network.targets import TARGET_CHARS_MAX
from connectors.network.trial import SERIES_MAX, Credential, Failure, Found, Trial
from connectors.probing import perfdata, programs
from connectors.probing.base import Probe
from rules.model import NOTE_CHARS_MAX
from rules.typed import OnOff, Shape, TextOf, WholeText
from rules.words import shown

STATES: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
HOLE: Final = "{target}"
ARGUMENTS_MAX: Final = 100
FIELDS_MAX: Final = 36  # beside those of every sample
CODE_MAX: Final = 255
_PREFIX: Final = "TICKETD_PROBE_"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
# By these a program can be made to run another's code before its own.
_LOADERS: Final = re.compile(r"LD_.*|DYLD_.*|GCONV_PATH|BASH_ENV|ENV|IFS|PYTHON(PATH|HOME|STARTUP)|PERL5(LIB|OPT)")


def _argument(text: str) -> str:
    if "\0" in text or len(text) > 10_000:  # noqa: PLR2004 - longer ones belong into a file
        raise ValueError("must have at most 10000 characters and no NUL")
    return text


def _code(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > CODE_MAX:
        raise ValueError(f"{shown(text)} is no exit code from 0 to {CODE_MAX}")
    return int(text)


Argument = Annotated[str, TextOf(_argument)]
Code = Annotated[int, TextOf(_code, "exit code", type=["integer", "string"], minimum=0, maximum=CODE_MAX)]


class Connector(Probe):
    """The probe `command`."""

    class Options(Shape):
        """What is run, and what its exit code means."""

        argv: tuple[Argument, ...] = Field(
            min_length=1,
            max_length=ARGUMENTS_MAX,
            description="the program, by its whole path, and its arguments; no shell is in between. {target} in an"
            " argument stands for the target, which is never split",
        )
        environment: dict[str, Argument] = Field(
            {}, max_length=50, description="variables of the program, beside PATH and LC_ALL; it gets no others"
        )
        up: tuple[Code, ...] = Field(
            (0, 1),
            min_length=1,
            max_length=20,
            description="exit codes with which the target counts as up; by default OK (0) and WARNING (1), as the"
            " field `state` lets a rule tell them apart",
        )
        series: OnOff = Field(
            "off",
            description="`off`: each value of the performance data is a field, called by its label (letters, digits and"
            " _; / is root) and its base unit (_s, _bytes, _percent, _total): time=12ms;100 gives time_s 0.012 and"
            " time_warn_s 0.1. `on`: each is a sample of its own, with the label `perfdata` and fields such as value_s,"
            " warn_s, crit_s, min_s and max_s",
        )
        cpu_seconds: WholeText | None = Field(
            None, description="the processor's time that the program may take; what its timeout lets it when left out"
        )

    summary: ClassVar[str] = "a program that speaks as Nagios' plugins do"
    target: ClassVar[str] = "what stands for {target} in `argv`; any text"
    example: ClassVar[str] = "/var"
    phases: ClassVar[Mapping[str, str]] = {"run": "the program runs"}
    fields: ClassVar[Mapping[str, str]] = {
        "state": "what the plugin says: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, which any other exit code means, too",
        "exit_code": "the program's exit code",
    }
    open_fields: ClassVar[bool] = True
    proof: ClassVar[str] = (
        "username, password, token: as TICKETD_PROBE_USERNAME, _PASSWORD and _TOKEN in its environment"
    )
    runs_programs: ClassVar[bool] = True

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:  # noqa: ARG002 - a program connects by itself
        """Runs nothing."""
        self._options = options
        own = credential or Credential("")
        self._secrets = {"PASSWORD": own.password, "TOKEN": own.token}
        self._environment = dict(options.environment) | {
            f"{_PREFIX}{name}": value for name, value in ({"USERNAME": own.username} | self._secrets).items() if value
        }

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must be a text that an argument can hold."""
        if not target or len(target) > TARGET_CHARS_MAX:
            return f"a target must have 1 to {TARGET_CHARS_MAX} characters"
        if not target.isprintable() or target != target.strip():
            return "a target must have nothing that cannot be printed, and no blanks around it"
        return None

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        """The program must be fixed, and the environment harmless."""
        program = options.argv[0]
        if not program.startswith("/") or program.endswith("/") or "/../" in program:
            return (
                "argv",
                0,
            ), f"{shown(program)} is not the whole path of a program, such as /usr/lib/nagios/plugins/check_disk"
        if HOLE in program:
            return ("argv", 0), "a target cannot say which program is run"
        for name in options.environment:
            if _VARIABLE.fullmatch(name) is None:
                return ("environment", name), "a variable's name has only letters, digits and _"
            if name.startswith(_PREFIX):
                return ("environment", name), f"names that begin with {_PREFIX} come from `credentials`"
            if _LOADERS.fullmatch(name):
                return ("environment", name), "this variable can make a program run other code than its own"
        return None

    def host(self, target: str) -> str:  # noqa: ARG002 - a program bothers this machine alone
        """None: what a program connects to is not known here."""
        return ""

    async def look(self, trial: Trial) -> None:
        """Run it, and read what it says."""
        argv = arguments(self._options.argv, trial.target)
        seconds = trial.timeout_s if self._options.cpu_seconds is None else float(self._options.cpu_seconds)
        with trial.phase("run"):
            done = await programs.run(argv, self._environment, seconds=seconds)
        if done.code < 0:
            raise Failure("failed", f"the program was ended by signal {-done.code}")
        said = perfdata.parse(self._without_secrets(done.out))
        state = min(done.code, len(STATES) - 1)
        trial.fields["exit_code"], trial.fields["state"] = float(done.code), float(state)
        trial.values["state"] = STATES[state]
        trial.values["output"] = plain(said.text)
        if said.long:
            trial.values["long output"] = said.long[:NOTE_CHARS_MAX]
        if done.err.strip():
            trial.values["standard error"] = self._without_secrets(done.err).strip()[:NOTE_CHARS_MAX]
        if said.unread:
            trial.values["unread performance data"] = plain(" ".join(said.unread))
        self._measured(trial, said.metrics)
        text = said.text or self._without_secrets(done.err).strip().partition("\n")[0]
        reason = f"{STATES[state]} (exit code {done.code})" + (f": {plain(text)}" if text else "")
        trial.check("exit code", done.code in self._options.up, reason, "exit")

    def _measured(self, trial: Trial, metrics: tuple[perfdata.Metric, ...]) -> None:
        if self._options.series == "on":
            trial.series.extend(
                Found({"perfdata": metric.label}, dict(metric.fields())) for metric in metrics[:SERIES_MAX]
            )
            return
        fields = perfdata.fields(metrics, FIELDS_MAX)
        if fields is None:
            said = f"{len(metrics)} values, where {FIELDS_MAX} can be fields: write `series: on`"
            raise Failure("limit", said)
        trial.fields.update(fields)

    def _without_secrets(self, text: str) -> str:
        for secret in filter(None, self._secrets.values()):
            text = text.replace(secret, "…")
        return text


def arguments(argv: tuple[str, ...], target: str) -> list[str]:
    """The arguments with the target in them. Raises Failure `forbidden` where it would be taken for an option."""
    made: list[str] = []
    for argument in argv:
        if argument.startswith(HOLE) and target.startswith("-") and "--" not in made:
            raise Failure("forbidden", f"the target {shown(target)} would be an option: put -- before {HOLE}")
        made.append(argument.replace(HOLE, target))
    return made
