"""`ticketd send FILE`: posts a captured body to a daemon, as a sender would.

The one law: the bytes go out as they are in the file; what is wrong with them is the daemon's to say.
"""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from daemon.cli.client import DEFAULT_URL, Client, Reply, TokenOption, UrlOption, refusal, refusal_code, told
from daemon.cli.output import Code, Output, OutputOption, as_json, examples, note, printable, progress, say

BODY_BYTES_MAX: Final = 256 << 20

EXAMPLES = examples(
    "ticketd send docs/examples/alertmanager-firing.json",
    "ticketd send --source prometheus alerts.json",
    "ticketd send --source probe:checkout results.json",
    "curl -s prod:8080/last-body | ticketd send -",
)


def send(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A captured body; - reads standard input.")],
    source: Annotated[
        str,
        typer.Option("--source", metavar="NAME", help="Whose body it is: alertmanager, prometheus, probe:checkout."),
    ] = "alertmanager",
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, max=1_000_000, metavar="N", help="Post it so many times.")
    ] = 1,
    url: UrlOption = DEFAULT_URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Posts a captured body, as a sender would, and prints the answer."""
    path = _path(source)
    body = _body(file)
    client = Client(url, token_file)
    worst = Code.DONE
    for _ in progress(range(repeat), "Posting"):
        reply = client.call("POST", path, body=body)
        _print(reply, path, output)
        if not reply.ok:
            worst = max(worst, refusal_code(reply))
    if worst:
        raise typer.Exit(worst)


def _path(source: str) -> str:
    """Where bodies of this source are posted; the sources themselves say so."""
    from connectors.base import Call, where
    from connectors.kinds import load
    from rules.words import meant_or_list, shown

    sources = load().sources
    name, _, call = source.partition(":")
    if name not in sources:
        said = f"{shown(name)} is not a source{meant_or_list(name, tuple(sources))}"
        raise typer.BadParameter(said, param_hint="--source")
    try:
        return where(sources[name], Call.of(call))
    except ValueError as error:
        example = f"; say it like {name}:{sources[name].example_call}" if sources[name].example_call.path else ""
        raise typer.BadParameter(f"{shown(source)} is not whole: {error}{example}", param_hint="--source") from None


def _body(file: Path) -> bytes:
    try:
        if str(file) == "-":
            body = sys.stdin.buffer.read(BODY_BYTES_MAX + 1)
        else:
            with file.open("rb") as opened:
                body = opened.read(BODY_BYTES_MAX + 1)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}", param_hint="FILE") from None
    if len(body) > BODY_BYTES_MAX:
        raise typer.BadParameter(f"{file} is larger than {BODY_BYTES_MAX >> 20} MiB", param_hint="FILE")
    return body


def _print(reply: Reply, path: str, output: Output) -> None:
    value = reply.value()
    if output is Output.JSON:
        as_json({"status": reply.status, "answer": value})
        return
    if not reply.ok:
        for line in refusal(reply, f"POST {path}"):
            note(line)
        return
    answer = value if isinstance(value, dict) else {}
    tickets = ", ".join(printable(one) for one in answer.get("tickets") or ()) or "none"
    accepted = answer.get("accepted", "?")
    say(f"{reply.status}: {printable(accepted)} accepted; tickets: {tickets}")
    refused = answer.get("refused")
    for line in told(refused) if isinstance(refused, list) else ():
        note(line)
