"""Kinds of probes, and ways to find targets, as the language sees them: options of every sort, and nothing behind."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from pydantic import Field

from connectors.kinds import load as load_kinds
from rules.instants import MINUTE
from rules.language import LanguageKinds
from rules.language.people import DiscoveryKind, ProbeKind
from rules.typed import CountText, CredentialName, GlobText, LongSpanText, PathText, RegexText, Shape, SpanText


class Body(Shape):
    """What the body is to hold."""

    matches: RegexText | None = Field(None, description="an expression found in it")
    max_wait: SpanText = Field(5 * MINUTE, description="how long it may take")


class Http:
    """A kind with options of every sort."""

    class Options(Shape):
        """What an answer is to be."""

        status: list[CountText] = Field(default_factory=lambda: [200], description="the statuses that are right")
        body: Body = Field(Body(), description="of the body")
        least: CountText = Field(1, description="bytes at least")
        most: CountText = Field(1_000, description="bytes at most")

    summary: ClassVar[str] = "a web page"
    target: ClassVar[str] = "a URL"
    example: ClassVar[str] = "https://shop.example.test/health"
    phases: ClassVar[Mapping[str, str]] = {"dns": "the name is resolved", "first_byte": "the server thinks"}
    fields: ClassVar[Mapping[str, str]] = {"status": "the answer's"}
    open_fields: ClassVar[bool] = False
    proof: ClassVar[str] = "username and password"
    runs_programs: ClassVar[bool] = False

    @staticmethod
    def target_problem(target: str) -> str | None:
        return None if target.startswith(("http://", "https://")) else f'"{target}" is no URL'

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        return (("most",), f"{options.most} is below least") if options.most < options.least else None


class Tcp:
    """A kind that knows no credentials and measures nothing of its own."""

    class Options(Shape):
        """What is said."""

        send: str | None = Field(None, description="what is said")

    summary: ClassVar[str] = "a TCP connection"
    target: ClassVar[str] = "HOST:PORT"
    example: ClassVar[str] = "db.example.test:5432"
    phases: ClassVar[Mapping[str, str]] = {"connect": "the connection comes about"}
    fields: ClassVar[Mapping[str, str]] = {}
    open_fields: ClassVar[bool] = False
    proof: ClassVar[str] = ""
    runs_programs: ClassVar[bool] = False

    @staticmethod
    def target_problem(target: str) -> str | None:
        host, _, port = target.rpartition(":")
        return None if host and port.isdecimal() else f'"{target}" is no HOST:PORT'

    @staticmethod
    def options_problem(options: Any) -> tuple[tuple[str | int, ...], str] | None:
        return None


class Prometheus(Tcp):
    """A kind that cannot do without a word, and whose samples have any fields."""

    class Options(Shape):
        """What is asked."""

        query: str = Field(min_length=1, description="what is asked")

    summary: ClassVar[str] = "a query"
    open_fields: ClassVar[bool] = True


class Command(Tcp):
    """A kind that runs programs."""

    class Options(Shape):
        """What is run."""

        program: PathText = Field(description="what is run")

    summary: ClassVar[str] = "a program"
    open_fields: ClassVar[bool] = True
    runs_programs: ClassVar[bool] = True


class File:
    """Targets of one file."""

    class Options(Shape):
        """Where it is."""

        path: PathText = Field(description="where it is")
        refresh: LongSpanText = Field(MINUTE, description="how often it is read")

    summary: ClassVar[str] = "a file"


class Files:
    """Targets of many files."""

    class Options(Shape):
        """Where they are."""

        files: list[GlobText] = Field(min_length=1, description="where they are")

    summary: ClassVar[str] = "files"


class Asked:
    """Targets that somebody knows."""

    class Options(Shape):
        """Who is asked."""

        url: str = Field(description="who is asked")
        credentials: CredentialName | None = Field(None, description="with what")

    summary: ClassVar[str] = "a URL"


PROBES: Mapping[str, Any] = {"http": Http, "tcp": Tcp, "prometheus": Prometheus, "command": Command}
DISCOVERIES: Mapping[str, Any] = {"file": File, "file_sd": Files, "http_sd": Asked}
KINDS = LanguageKinds(probes=PROBES, discoveries=DISCOVERIES, credentials=("shop", "wiki"))


def real() -> LanguageKinds:
    """With the kinds that there are."""
    found = load_kinds()
    probes = cast("Mapping[str, ProbeKind]", found.probes)
    return LanguageKinds(probes=probes, discoveries=cast("Mapping[str, DiscoveryKind]", found.discoveries))
