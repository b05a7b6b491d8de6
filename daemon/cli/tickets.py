"""`ticketd tickets …`: read and answer tickets through the HTTP API of a running daemon.

The one law: nothing here decides. Each command is one request (or one for each ticket named), and the daemon's answer,
its refusals included, is what is printed.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from daemon.cli.client import DEFAULT_URL as URL
from daemon.cli.client import Client, TokenOption, UrlOption, refusal, refusal_code, segment
from daemon.cli.output import Code, Output, OutputOption, as_json, examples, fail, note, printable, progress, say, table
from daemon.cli.shown import Zone, ZoneOption, breaches, facts, next_due, pairs, promises

PAGE: Final = 200
LISTED_MAX: Final = 1_000_000
_ID: Final = re.compile(r"[Tt]-?(\d{1,18})|(\d{1,18})", re.ASCII)
_LABEL: Final = re.compile(r"[^=]+=.*", re.DOTALL)

app = typer.Typer(no_args_is_help=True, help="List, read and answer tickets of a running daemon.")


def _ticket_id(text: str) -> str:
    found = _ID.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text[:40]!r} is not a ticket such as T-1042")
    return f"T-{int(found[1] or found[2])}"


def _label(text: str) -> str:
    if _LABEL.fullmatch(text) is None:
        raise typer.BadParameter(f"{text[:40]!r} is not a label such as team=payments")
    return text


Id = Annotated[str, typer.Argument(metavar="TICKET", parser=_ticket_id, help="Such as T-1042; 1042 will do.")]
Ids = Annotated[list[str], typer.Argument(metavar="TICKET…", parser=_ticket_id, help="One ticket or several.")]
Some = Annotated[
    list[str] | None, typer.Argument(metavar="[TICKET]…", parser=_ticket_id, help="Default: every ticket.")
]
By = Annotated[
    str | None,
    typer.Option("--by", envvar="TICKETD_BY", metavar="CONTACT", help="Who answers: a contact of the rule files."),
]
Note = Annotated[str, typer.Option("--note", metavar="TEXT", help="Goes onto the timeline.")]
Generation = Annotated[
    int | None,
    typer.Option("--generation", min=1, metavar="N", help="Refuse (409) when the ticket has moved on since."),
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", parser=_label, metavar="NAME=VALUE", help="Repeat it for more.")
]


@app.command(
    "list", epilog=examples("ticketd tickets list --status open --priority P1", "ticketd tickets list -o json")
)
def list_(
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="open, acknowledged, on_hold, resolved or closed.")
    ] = None,
    priority: Annotated[list[str] | None, typer.Option(metavar="P", help="P1 to P4.")] = None,
    rule: Annotated[str | None, typer.Option(metavar="ID", help="The id of a rule.")] = None,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Such as incident.")] = None,
    label: Labels = None,
    text: Annotated[str | None, typer.Option("--query", "-q", metavar="TEXT", help="Looked for in titles.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LISTED_MAX, metavar="N", help="At most so many.")] = 100,
    cursor: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where an earlier listing ended (`next` in its JSON).")
    ] = None,
    zone: ZoneOption = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists tickets, newest first."""
    query = [("status", one) for one in status or ()] + [("priority", one) for one in priority or ()]
    query += [("label", one) for one in label or ()]
    query += [(name, value) for name, value in (("rule", rule), ("kind", kind), ("q", text)) if value is not None]
    clock = Zone(zone)
    found, after = _listed(Client(url, token_file), "tickets", query, limit, cursor)
    if output is Output.JSON:
        as_json({"tickets": found, "next": after})
        return
    if not found:
        note("No tickets.")
        return
    table(
        ("ID", "PRIORITY", "STATUS", "OPENED", "ANSWERED BY", f"NEXT DUE ({clock.name})", "RULE", "TITLE"),
        (
            [
                *[one.get(name) for name in ("id", "priority", "status", "opened_at", "acknowledged_by")],
                next_due(one, clock),
                *[one.get(name) for name in ("rule", "title")],
            ]
            for one in found
        ),
    )
    _more(after, limit)


@app.command(
    "breaches",
    epilog=examples("ticketd tickets breaches --share 100", "ticketd tickets breaches T-1042 --clock respond"),
)
def breaches_(
    ticket: Annotated[
        str | None, typer.Argument(metavar="[TICKET]", parser=_ticket_id, help="Default: every ticket.")
    ] = None,
    clock: Annotated[str | None, typer.Option(metavar="CLOCK", help="respond or resolve.")] = None,
    share: Annotated[
        int | None, typer.Option(min=1, metavar="PERCENT", help="From so much of the time on; 100 leaves warnings out.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Seen then or later, RFC 3339.")] = None,
    current: Annotated[
        bool, typer.Option("--current", help="Without those that a later judgement has superseded.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=LISTED_MAX, metavar="N", help="At most so many.")] = 100,
    cursor: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where an earlier listing ended (`next` in its JSON).")
    ] = None,
    zone: ZoneOption = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Lists promised times that passed, and the warnings before, newest first."""
    reader = Zone(zone)
    asked = {
        "ticket": ticket,
        "clock": clock,
        "share": share,
        "since": since,
        "superseded": "false" if current else None,
    }
    query = [(name, str(value)) for name, value in asked.items() if value is not None]
    found, after = _listed(Client(url, token_file), "breaches", query, limit, cursor)
    if output is Output.JSON:
        as_json({"breaches": found, "next": after})
        return
    if not found:
        note("No breaches.")
        return
    breaches(found, reader)
    _more(after, limit)


@app.command(epilog=examples("ticketd tickets show T-1042"))
def show(
    ticket: Id,
    zone: ZoneOption = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Shows one ticket, what was promised for it, its alerts, and everything that happened to it."""
    client, clock = Client(url, token_file), Zone(zone)
    path = f"/api/v1/tickets/{segment(ticket)}"
    found = client.ask("GET", path)
    entries = client.ask("GET", f"{path}/timeline").get("timeline") or []
    if output is Output.JSON:
        as_json({**found, "timeline": entries})
        return
    say(f"{printable(found.get('id'))}  {printable(found.get('priority'))}  {printable(found.get('status'))}")
    say(printable(found.get("title", "")))
    for line in str(found.get("description") or "").splitlines():
        say(f"  {printable(line)}")
    say()
    table(("", ""), facts(found, clock))
    promises(found, clock)
    if found.get("alerts"):
        say()
        table(
            ("ALERT", "STATUS", "AT", "LABELS"),
            (
                [one.get("fingerprint"), one.get("status"), one.get("startsAt"), pairs(one.get("labels") or {})]
                for one in found["alerts"]
            ),
        )
    say()
    table(("AT", "WHAT", "WHO", "WHY"), ([one.get(name) for name in ("at", "what", "who", "why")] for one in entries))


@app.command(
    "open",
    epilog=examples('ticketd tickets open "Checkout is slow" --by amina --impact service --urgency high'),
)
def open_(
    title: Annotated[str, typer.Argument(help="One line.")],
    impact: Annotated[
        str, typer.Option(metavar="TEXT", help="A row of the priority matrix, such as site, service or user.")
    ],
    urgency: Annotated[str, typer.Option(metavar="TEXT", help="A column of it, such as high, medium or low.")],
    by: By = None,
    category: Annotated[str, typer.Option(metavar="TEXT", help="Free, such as network.")] = "",
    description: Annotated[str, typer.Option(metavar="TEXT", help="As long as you like.")] = "",
    label: Labels = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Opens a ticket by hand."""
    value = {
        "by": by,
        "title": title,
        "impact": impact,
        "urgency": urgency,
        "category": category,
        "description": description,
        "labels": dict(one.split("=", 1) for one in label or ()),
    }
    found = Client(url, token_file).ask("POST", "/api/v1/tickets", value=_given(value))
    _answered([found], output)


@app.command(epilog=examples("ticketd tickets acknowledge T-1042 --by amina", "ticketd tickets acknowledge 7 8 9"))
def acknowledge(
    tickets: Ids,
    by: By = None,
    note: Note = "",
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Says that somebody is on it; the escalation stops."""
    _answer(Client(url, token_file), "acknowledge", tickets, _said(by, note, generation), output)


@app.command(epilog=examples('ticketd tickets hold T-1042 --until 2h --note "waits for the vendor" --by amina'))
def hold(
    tickets: Ids,
    until: Annotated[str, typer.Option(metavar="TIME", help="RFC 3339, or a span from now such as 90m or 2d.")],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; goes onto the timeline.")],
    by: By = None,
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Waits until a time; nobody is told meanwhile."""
    said = {**_said(by, note, generation), "until": _moment(until)}
    _answer(Client(url, token_file), "hold", tickets, said, output)


@app.command(epilog=examples("ticketd tickets release T-1042 --by amina"))
def release(
    tickets: Ids,
    by: By = None,
    note: Note = "",
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ends a hold before its time."""
    _answer(Client(url, token_file), "release", tickets, _said(by, note, generation), output)


@app.command(epilog=examples('ticketd tickets resolve T-1042 --by amina --note "restarted"'))
def resolve(
    tickets: Ids,
    by: By = None,
    note: Note = "",
    force: Annotated[bool, typer.Option("--force", help="Although alerts still fire.")] = False,
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Says that it is over. Refused while alerts still fire, unless forced."""
    said = {**_said(by, note, generation), **({"force": True} if force else {})}
    _answer(Client(url, token_file), "resolve", tickets, said, output)


@app.command(epilog=examples("ticketd tickets close T-1042 --by duty-manager"))
def close(
    tickets: Ids,
    by: By = None,
    note: Note = "",
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Closes a resolved ticket for good."""
    _answer(Client(url, token_file), "close", tickets, _said(by, note, generation), output)


@app.command(epilog=examples('ticketd tickets reopen T-1042 --by amina --note "it is back"'))
def reopen(
    tickets: Ids,
    by: By = None,
    note: Note = "",
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Opens a resolved or closed ticket again."""
    _answer(Client(url, token_file), "reopen", tickets, _said(by, note, generation), output)


@app.command(epilog=examples('ticketd tickets comment T-1042 --by amina --note "the disk is on its way"'))
def comment(
    tickets: Ids,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="The comment.")],
    by: By = None,
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Puts a comment onto the timeline; that is no answer, so the escalation goes on."""
    _answer(Client(url, token_file), "comment", tickets, _said(by, note, generation), output)


@app.command(epilog=examples("ticketd tickets escalate T-1042 --by amina --generation 3"))
def escalate(
    tickets: Ids,
    by: By = None,
    note: Note = "",
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tells the next step now."""
    _answer(Client(url, token_file), "escalate", tickets, _said(by, note, generation), output)


@app.command(epilog=examples("ticketd tickets priority T-1042 --impact site --urgency high --by amina"))
def priority(
    tickets: Ids,
    impact: Annotated[str | None, typer.Option(metavar="TEXT", help="A row of the priority matrix.")] = None,
    urgency: Annotated[str | None, typer.Option(metavar="TEXT", help="A column of it.")] = None,
    by: By = None,
    note: Note = "",
    generation: Generation = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Changes impact and urgency, and by them the priority."""
    if impact is None and urgency is None:
        raise typer.BadParameter("give --impact, --urgency or both")
    said = {**_said(by, note, generation), **_given({"impact": impact, "urgency": urgency})}
    _answer(Client(url, token_file), "priority", tickets, said, output)


@app.command(epilog=examples("ticketd tickets verify", "ticketd tickets verify T-1042"))
def verify(
    tickets: Some = None, url: UrlOption = URL, token_file: TokenOption = None, output: OutputOption = Output.TABLE
) -> None:
    """Checks the hash chain of timelines. Ends with 1, naming the ticket and the entry, when one was tampered with."""
    from daemon.cli.chain import flaw

    client = Client(url, token_file)
    ids = tickets or [str(one.get("id")) for one in _listed(client, "tickets", [], LISTED_MAX, None)[0]]
    flaws: dict[str, str] = {}
    entries = 0
    for ticket in progress(ids, "Checking timelines"):
        answer = client.ask("GET", f"/api/v1/tickets/{segment(ticket)}/timeline")
        entries += len(answer.get("timeline") or ())
        if (why := flaw(ticket, answer)) is not None:
            flaws[ticket] = why
    if output is Output.JSON:
        as_json({"tickets": len(ids), "entries": entries, "flaws": flaws})
    for one, why in flaws.items():
        note(f"{one}: {printable(why)}")
    if flaws:
        fail(Code.NO, f"{len(flaws)} of {len(ids)} timelines are not as they were written")
    if output is Output.TABLE:
        say(f"{entries} entries of {len(ids)} tickets: every chain holds")


def _more(after: str | None, limit: int) -> None:
    if after is not None:
        note(f"More than {limit}: raise --limit, or go on with --cursor {printable(after)}")


def _listed(
    client: Client, what: str, query: list[tuple[str, str]], limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """At most `limit` tickets or breaches, page by page, and where to go on (None: that was all)."""
    found: list[dict[str, Any]] = []
    while len(found) < limit:
        page = [("limit", str(min(PAGE, limit - len(found)))), *([("cursor", cursor)] if cursor else [])]
        answer = client.ask("GET", f"/api/v1/{what}", query=[*query, *page])
        listed, after = answer.get(what) or [], answer.get("next")
        found += listed
        if after is None or after == cursor or not listed:
            return found, None
        cursor = after
    return found, cursor


def _given(value: Mapping[str, object]) -> dict[str, object]:
    """Without what was not given, so that the daemon names what it misses."""
    return {name: one for name, one in value.items() if one not in (None, "", {})}


def _said(by: str | None, note: str, generation: int | None) -> dict[str, object]:
    return _given({"by": by, "note": note, "generation": generation})


def _moment(text: str) -> str:
    """RFC 3339 in UTC, of an RFC 3339 time or a span from now."""
    from daemon.clock import SystemClock
    from rules.instants import format_instant, parse_instant, parse_span

    try:
        return format_instant(SystemClock().now() + parse_span(text))
    except ValueError:
        try:
            return format_instant(parse_instant(text))
        except ValueError as error:
            raise typer.BadParameter(f"{error}, nor a span such as 90m", param_hint="--until") from None


def _answer(client: Client, action: str, tickets: list[str], said: Mapping[str, object], output: Output) -> None:
    """The same answer to each ticket; those that can be answered are, and the first refusal's code is the command's."""
    import json

    if said.get("generation") is not None and len(tickets) > 1:
        raise typer.BadParameter("a generation belongs to one ticket", param_hint="--generation")
    body = json.dumps(said).encode("utf-8", "surrogatepass")
    answered, refused = [], Code.DONE
    for ticket in tickets:
        reply = client.call("POST", f"/api/v1/tickets/{segment(ticket)}/{action}", body=body)
        value = reply.value()
        if reply.ok and isinstance(value, dict):
            answered.append(value)
            continue
        refused = max(refused, refusal_code(reply))
        for line in refusal(reply, f"{action} {ticket}"):
            note(line)
    _answered(answered, output)
    if refused:
        raise typer.Exit(refused)


def _answered(tickets: list[dict[str, Any]], output: Output) -> None:
    if output is Output.JSON:
        as_json(tickets[0] if len(tickets) == 1 else tickets)
        return
    for one in tickets:
        said = f" ({one['note']})" if one.get("note") else ""
        say(printable(" ".join(str(one.get(name) or "") for name in ("id", "priority", "status", "title")) + said))
