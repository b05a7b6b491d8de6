"""What comes back by mail: whose message it answers, what it says, and what it must never do."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import mime, replies, replytext
from connectors.base import Heard, Told
from connectors.replies import Nothing
from rules.response.phrases import LANGUAGES, Phrases
from rules.tickets.lifecycle import ACTIONS
from tests.connectors.mails import ADDRESS, OTHER, TOKEN, bounce, mail, multipart, original, part
from tests.connectors.oddities import TEXTS

AMINA = "amina@example.test"


def heard(content: bytes, **how: Any) -> Heard:
    found = replies.read(content, **how)
    assert isinstance(found, Heard), found
    return found


def nothing(content: bytes, **how: Any) -> str:
    found = replies.read(content, **how)
    assert isinstance(found, Nothing), found
    return found.word


# ---------------------------------------------------------------- the words
@pytest.mark.parametrize(
    ("text", "action", "note"),
    [
        ("ack", "acknowledge", ""),
        ("ACK!", "acknowledge", ""),
        ("Ok, on it", "acknowledge", "on it"),
        ("acknowledge - looking\nwill report", "acknowledge", "looking\nwill report"),
        ("\n\n  ack\n\nsecond", "acknowledge", "second"),
        ("resolve: disk cleaned", "resolve", "disk cleaned"),
        ("Resolved.", "resolve", ""),
        ("fixed", "resolve", ""),
        ("escalate I cannot", "escalate", "I cannot"),
        ("comment ack is not what I mean", "comment", "ack is not what I mean"),
        ("I will look", "comment", "I will look"),
        ("Resolved?", "comment", "Resolved?"),
        ("okay then", "comment", "okay then"),
        ("acknowledging", "comment", "acknowledging"),
        ("not fixed", "comment", "not fixed"),
        ("استلمت", "acknowledge", ""),
        ("استلمت، سأنظر", "acknowledge", "سأنظر"),
        ("تم الحل", "resolve", ""),
        ("\u200fتم الحل\u200f شكرا", "resolve", "شكرا"),
        ("تصعيد", "escalate", ""),
        ("تم الحلم", "comment", "تم الحلم"),
        ("收到", "acknowledge", ""),
        ("收到，马上处理", "acknowledge", "马上处理"),
        ("已解决。", "resolve", ""),
        ("升级", "escalate", ""),
        ("收到很多投诉", "comment", "收到很多投诉"),
    ],
)
def test_the_first_word_decides_and_the_rest_is_the_note(text: str, action: str, note: str) -> None:
    assert heard(mail(text)) == Heard(TOKEN, action, note, AMINA)


@pytest.mark.parametrize("phrases", LANGUAGES, ids=lambda phrases: phrases.language)
def test_the_words_that_messages_ask_for_are_understood(phrases: Phrases) -> None:
    for word, action in (
        (phrases.reply_acknowledge, "acknowledge"),
        (phrases.reply_resolve, "resolve"),
        (phrases.reply_escalate, "escalate"),
    ):
        assert replytext.said(word) == replytext.Said(action, "")


@pytest.mark.parametrize(
    "quoted",
    [
        "> T-1042 is open.\n>> resolve\n",
        "On Sun, Nov 22, 2026 at 10:00 AM ticketd <ticketd@example.org> wrote:\n> resolve\n",
        "On Sun, Nov 22, 2026 at 10:00 AM Alarms of the house\n<ticketd@example.org> wrote:\n\n> resolve\n> now\n",
        "On 22 Nov 2026, at 10:00, ticketd <ticketd@example.org> wrote:\n",
        "Am So., 22. Nov. 2026 um 10:00 Uhr schrieb ticketd <t@example.org>:\n\n> resolve\n",
        "Le dim. 22 nov. 2026 à 10:00, ticketd <t@example.org> a écrit :\n> resolve\n",
        "El dom, 22 nov 2026 a las 10:00, ticketd (<t@example.org>) escribió:\n> resolve\n",
        "Il giorno dom 22 nov 2026 alle ore 10:00 ticketd ha scritto:\n> resolve\n",
        "Op zo 22 nov 2026 om 10:00 schreef ticketd <t@example.org>:\n> resolve\n",
        "22.11.2026 10:00, ticketd пишет:\n> resolve\n",
        "في الأحد، 22 نوفمبر 2026 في 10:00 ص تمت كتابة ما يلي بواسطة ticketd <t@example.org>:\n\n> resolve\n",
        "\u200fفي 22/11/2026 10:00، كتب ticketd:\n> resolve\n",
        "ticketd <t@example.org> 于2026年11月22日周日 10:00写道：\n\n> resolve\n",
        "在 2026年11月22日，10:00，ticketd 写道：\n＞ resolve\n",
        "-----Original Message-----\nFrom: ticketd\nresolve\n",
        "-------- Ursprüngliche Nachricht --------\nresolve\n",
        "-----الرسالة الأصلية-----\nresolve\n",
        "------------------ 原始邮件 ------------------\nresolve\n",
        "________________________________\nFrom: ticketd <t@example.org>\nresolve\n",
        "From: ticketd <t@example.org>\nSent: Sunday, November 22, 2026 10:00\nTo: Amina\nSubject: x\n\nresolve\n",
        "*From:* ticketd <t@example.org>\n*Sent:* Sunday\n\nresolve\n",
        "Von: ticketd <t@example.org>\nGesendet: Sonntag\nAn: Amina\n\nresolve\n",
        "من: ticketd <t@example.org>\nتاريخ الإرسال: الأحد\nإلى: Amina\n\nresolve\n",
        "发件人: ticketd <t@example.org>\n发送时间: 2026年11月22日\n收件人: Amina\n\nresolve\n",
        "发件人：ticketd\n日期：2026年11月22日\n\nresolve\n",
        "-- \nAmina Salem\nresolve\n",
        "--\nAmina Salem\n",
        "Sent from my telephone\n",
    ],
)
@pytest.mark.parametrize("between", ["\n", "\n\n"])
def test_what_is_quoted_or_signed_is_not_said(quoted: str, between: str) -> None:
    assert heard(mail(f"ack, I look{between}{quoted}")) == Heard(TOKEN, "acknowledge", "I look", AMINA)


def test_an_answer_below_or_between_the_quotes_is_heard() -> None:
    text = "On Sun, Nov 22, 2026 at 10:00 AM ticketd wrote:\n> T-1042 is open.\n\nack\n\n> Priority P1\n\nit is P3\n"
    assert heard(mail(text)) == Heard(TOKEN, "acknowledge", "it is P3", AMINA)


def test_a_sentence_that_only_looks_like_a_quote_stays() -> None:
    for text in ("At 3 the disk wrote:\nI/O error", "From: the disk\nI conclude that it is full", "a > b\nb -- c"):
        assert heard(mail(text)).note == text


@pytest.mark.parametrize("body", ["", "\n\n", "> ack\n", "-- \nack\n", "\x00\u200b\n", "comment", "comment:\n> x"])
def test_a_reply_that_says_nothing_of_its_own_is_nothing(body: str) -> None:
    assert nothing(mail(body)) == "empty"


def test_a_very_long_note_is_cut() -> None:
    note = heard(mail("ack\n" + "word " * 50_000)).note
    assert len(note) == replytext.NOTE_CHARS_MAX
    assert note.endswith("…")


# ---------------------------------------------------------------- the text among the parts
def test_plain_text_goes_before_html_and_attachments_do_not_count() -> None:
    attached = part("text/plain", "resolve", disposition='attachment; filename="log.txt"')
    plain, page = part("text/plain", "ack\n"), part("text/html", "<p>resolve</p>")
    assert heard(multipart("alternative", plain, page)).action == "acknowledge"
    assert heard(multipart("mixed", attached, page, plain)).action == "acknowledge"
    assert heard(multipart("mixed", attached, page)).action == "resolve"
    assert nothing(multipart("mixed", attached)) == "empty"
    assert nothing(multipart("mixed", part("message/rfc822", original().decode()))) == "empty"
    assert heard(multipart("alternative", part("text/plain", "\n\n"), page)).action == "resolve"


def test_html_is_read_as_it_looks_and_nothing_of_it_runs() -> None:
    page = (
        "<html><head><title>resolve</title><style>resolve{}</style></head><body><!-- resolve -->"
        "<script>resolve</script><div>ack&nbsp;I&#32;look&hellip;</div><br><div>On 22 Nov 2026 ticketd wrote:<br></div>"
        "<blockquote>escalate<blockquote>resolve</blockquote>escalate</blockquote><p>later</p></body></html>"
    )
    assert heard(mail(page, Content_Type="text/html; charset=utf-8")) == Heard(
        TOKEN, "acknowledge", "I look…\n\nlater", AMINA
    )


@pytest.mark.parametrize("cut", ["<p>ack", "<p>ack<", "ack<!-- never", "ack<script>resolve", "ack<p a='", "ack<//>"])
def test_html_that_is_cut_off_says_what_came(cut: str) -> None:
    assert heard(mail(cut, Content_Type="text/html")).action == "acknowledge"


@pytest.mark.parametrize(
    ("text", "charset", "coding"),
    [
        ("استلمت، شكرا", "utf-8", "base64"),
        ("استلمت، شكرا", "windows-1256", "8bit"),
        ("收到，谢谢", "gb2312", "base64"),
        ("收到，謝謝", "big5", "8bit"),
        ("ack, Grüße", "iso-8859-1", "8bit"),
        ("ack, 了解", "iso-2022-jp", "7bit"),
        ("ack, ok", "utf-16", "base64"),
    ],
)
def test_charsets_and_codings_are_read(text: str, charset: str, coding: str) -> None:
    found = heard(multipart("mixed", part("text/plain", text, charset=charset, coding=coding)))
    assert found.action == "acknowledge"
    assert found.note == text.partition("،" if "،" in text else "，" if "，" in text else ",")[2].strip()


@pytest.mark.parametrize("charset", ["rot13", "unicode_escape", "idna", "utf-7", "no-such", "\x00", "'; --"])
def test_a_charset_that_is_none_is_read_as_utf_8(charset: str) -> None:
    found = heard(mail("ack +AGE- \\u0061 ü", Content_Type=f'text/plain; charset="{charset}"'))
    assert found.note == "+AGE- \\u0061 ü"


def test_quoted_printable_is_unfolded() -> None:
    found = heard(mail("a=\nck =C3=BC =ZZ\n", Content_Transfer_Encoding="quoted-printable"))
    assert (found.action, found.note) == ("acknowledge", "ü =ZZ")


# ---------------------------------------------------------------- whose message
@pytest.mark.parametrize(
    "headers",
    [
        {"To": ADDRESS},
        {"To": f"undisclosed:;, {ADDRESS.upper()}"},
        {"To": f'"a, b" <x@example.org>, "ticketd" <{ADDRESS}>'},
        {"To": f"<{TOKEN}@replies.example.org>"},
        {"To": f"<ticketd-{TOKEN}@example.org>"},
        {"To": "ticketd@example.org", "Cc": ADDRESS},
        {"To": "ticketd@example.org", "Delivered_To": ADDRESS},
        {"To": "ticketd@example.org", "X_Original_To": ADDRESS},
        {"To": f"ticketd+{OTHER}@example.org", "Delivered_To": ADDRESS},
        {"To": "ticketd@example.org", "References": f"<a@b> <{TOKEN}@example.org> <c@d>"},
        {"To": "ticketd@example.org", "References": f"<{OTHER}@example.org>\r\n <{TOKEN}@example.org>"},
        {"To": "ticketd@example.org", "In_Reply_To": f"<{TOKEN}@example.org>"},
        {"To": f"ticketd+{TOKEN}x@example.org", "References": f"<{TOKEN}@example.org>"},
    ],
)
def test_the_token_is_found_where_mail_carries_it(headers: dict[str, str]) -> None:
    assert heard(mail(**headers)).token == TOKEN


def test_the_envelope_says_more_than_the_headers() -> None:
    assert heard(mail(), recipient=f"ticketd+{OTHER}@example.org").token == OTHER
    assert heard(mail(), recipient="ticketd@example.org").token == TOKEN


def test_without_a_token_or_with_several_nothing_is_answered() -> None:
    assert nothing(mail(To="ticketd@example.org", Subject=f"Re: {TOKEN}")) == "no_token"
    assert nothing(mail(To="ticketd+1042@example.org")) == "no_token"
    assert nothing(mail(f"ack {TOKEN} {ADDRESS}", To="ticketd@example.org")) == "no_token"
    assert nothing(mail(To=f"{ADDRESS}, ticketd+{OTHER}@example.org")) == "several_tokens"


# ---------------------------------------------------------------- who
@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("amina@example.test", AMINA),
        ("<amina@example.test>", AMINA),
        ('"Salem, Amina" <amina@Example.TEST>', AMINA),
        ("Amina (on call (today)) <amina@example.test>", AMINA),
        ('"omar@example.test" <amina@example.test>', AMINA),
        ("=?utf-8?q?omar=40example.test?= <amina@example.test>", AMINA),
        ("Salem, Amina <amina@example.test>", AMINA),
        ("أمينة <أمينة@bücher.example>", "أمينة@xn--bcher-kva.example"),
    ],
)
def test_one_from_address_is_told_as_contacts_write_it(line: str, address: str) -> None:
    assert heard(mail(From=line)).address == address


@pytest.mark.parametrize(
    "line",
    [
        None,
        "",
        "Amina",
        "amina@example.test, omar@example.test",
        "<amina@example.test> <omar@example.test>",
        "<amina@example.test>, Omar",
        "team: amina@example.test, omar@example.test;",
        '"amina"@example.test',
        "amina@example.test\x00",
        "amina @example.test",
        "amina@exam ple.test",
        "(amina@example.test)",
    ],
)
def test_a_from_that_is_not_one_address_can_match_nobody(line: str | None) -> None:
    address = heard(mail(From=line)).address
    assert address
    assert not address.isspace()
    if line not in {"<amina@example.test>, Omar", "amina@example.test\x00"}:
        assert address != AMINA


def test_two_from_headers_match_nobody() -> None:
    assert heard(mail("ack", ("From", "omar@example.test"))).address.startswith("(several From)")


# ---------------------------------------------------------------- machines
@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Auto_Submitted": "auto-generated; owner-email=x"},
        {"Auto_Submitted": "Auto-Replied (vacation)"},
        {"Auto_Submitted": ""},
        {"Precedence": "bulk"},
        {"Precedence": "junk"},
        {"Precedence": "List"},
        {"Precedence": "auto_reply"},
        {"X_Autoreply": "yes"},
        {"X_Autorespond": "Re: Hello"},
        {"X_Auto_Response_Suppress": "All"},
        {"X_Auto_Response_Suppress": "DR, OOF, AutoReply"},
        {"Return_Path": "<>"},
        {"List_Id": "<ops.example.test>"},
        {"From": "Mail Delivery <MAILER-DAEMON@example.test>"},
    ],
)
def test_a_machine_answers_nothing_even_when_it_quotes_the_token(headers: dict[str, str]) -> None:
    found = heard(mail(f"ack\nI am on leave. {TOKEN}", **headers))
    assert (found.automatic, found.action, found.proven) == (True, "comment", False)
    assert heard(mail("ack"), sender="").automatic


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "no"},
        {"Auto_Submitted": "No (a person)"},
        {"Precedence": "first-class"},
        {"X_Auto_Response_Suppress": "None"},
        {"Return_Path": "<amina@example.test>"},
        {"Subject": "Out of office: Automatic reply"},
    ],
)
def test_what_a_person_may_write_is_no_machine(headers: dict[str, str]) -> None:
    assert heard(mail("ack", **headers)) == Heard(TOKEN, "acknowledge", "", AMINA)
    assert not heard(mail("ack", **headers), sender=AMINA).automatic


def test_our_own_messages_are_never_answers() -> None:
    assert nothing(mail("ack", X_Ticketd_Delivery="T-1/1")) == "own"
    ours = replies.ours_of(["Ticketd@Example.org", "alarms@example.org"])
    for address in ("Ticketd@example.org", f"Ticketd+{TOKEN}@example.org", "alarms@EXAMPLE.org"):
        assert nothing(mail("ack", From=f"x <{address}>"), ours=ours) == "own"
    assert heard(mail("ack"), ours=ours).address == AMINA


# ---------------------------------------------------------------- bounces
def test_a_bounce_is_a_failure_with_the_servers_own_words() -> None:
    assert replies.read(bounce()) == Told(TOKEN, "failed", "it came back: 5.1.1 550 5.1.1 no such user")
    assert replies.read(bounce(), sender="", recipient=ADDRESS) == replies.read(bounce())


def test_a_bounce_that_shouts_is_shown_safely() -> None:
    told = replies.read(bounce(status="5.0.0 (\x1b[2J)", diagnostic="smtp; \x1b]0;x\x07 <script>" + "a" * 5_000))
    assert isinstance(told, Told)
    assert told.reason.isprintable()
    assert len(told.reason) <= replies.REASON_CHARS_MAX + 20


def test_delays_receipts_and_arrivals_are_no_failures() -> None:
    assert nothing(bounce("delayed", "4.4.1", "smtp; connection timed out")) == "report"
    assert nothing(bounce("relayed", "2.0.0")) == "report"
    assert replies.read(bounce("delivered", "2.0.0", "smtp; 250 ok")) == Told(TOKEN, "delivered", "2.0.0 250 ok")
    receipt = part("message/disposition-notification", "Disposition: manual-action/x; displayed\n")
    assert nothing(multipart("report; report-type=disposition-notification", receipt)) == "report"


def test_a_bounce_without_a_report_is_known_by_its_header() -> None:
    found = replies.read(mail("sorry", X_Failed_Recipients="gone@example.test", Return_Path="<>"))
    assert found == Told(TOKEN, "failed", "it came back, and nobody said why")


def test_a_bounce_without_our_token_concerns_nobody() -> None:
    assert nothing(bounce().replace(TOKEN.encode(), b"x")) == "no_token"


# ---------------------------------------------------------------- hostile bytes
NAMES = st.sampled_from(
    ["From", "To", "Cc", "Delivered-To", "References", "Content-Type", "Content-Transfer-Encoding", "Auto-Submitted",
     "Content-Disposition", "Precedence", "Return-Path", "X", "", "É", "From ", "to"]
)  # fmt: skip
VALUES = st.sampled_from(
    [ADDRESS, f"<{ADDRESS}>", AMINA, "multipart/mixed; boundary=cut", 'multipart/report; boundary="cut"', "text/html",
     "text/plain; charset=", "multipart/mixed; boundary=", "multipart/mixed", 'x; a="', "base64", "quoted-printable",
     "message/delivery-status", "=?utf-8?b?AA==?=", "a\r\n b", "attachment", *TEXTS]
) | st.text(max_size=40)  # fmt: skip
BODIES = (
    st.lists(
        st.sampled_from(
            ["--cut", "--cut--", "", "ack", "Action: failed", "Status: 5.0.0", "> x", "<p>", "<!--", "&#9;", "=",
             "===", "&#99999999999999999999;", "&#xD800;", "&#" + "9" * 5_000, "On 1 x wrote:", "From: x",
             "Sent: x", "Content-Type: multipart/mixed; boundary=cut", *TEXTS]
        ),
        max_size=12,
    ).map("\r\n".join)
    | st.text(max_size=60)
)  # fmt: skip


@given(headers=st.lists(st.tuples(NAMES, VALUES), max_size=8), body=BODIES, end=st.sampled_from(["\r\n", "\n", "\r"]))
@settings(max_examples=300)
def test_no_mail_makes_it_fail(headers: list[tuple[str, str]], body: str, end: str) -> None:
    text = "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n" + body
    check(text.replace("\r\n", end).encode("utf-8", "surrogatepass"))


@given(content=st.binary(max_size=200), head=st.booleans())
@settings(max_examples=300)
def test_no_bytes_make_it_fail(content: bytes, head: bool) -> None:
    check((f"To: {ADDRESS}\r\n\r\n".encode() if head else b"") + content)


def check(content: bytes) -> None:
    """Whatever it is, what comes of it is whole, bounded, and can be kept as text anywhere."""
    found = replies.read(content)
    if isinstance(found, Heard):
        assert found.action in ACTIONS
        assert found.address
        assert not found.proven
        assert len(found.note) <= replytext.NOTE_CHARS_MAX
        texts = [found.note, found.address]
    else:
        texts = [found.reason]
    for text in texts:
        assert "\0" not in text
        text.encode("utf-8")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        pytest.param(mail("x" * mime.BYTES_MAX), "unreadable", id="too large"),
        pytest.param(mail("x", *[("X", "y")] * mime.HEADERS_MAX), "unreadable", id="too many headers"),
        pytest.param(mail("ack", X="y\r\n " * 70_000), "unreadable", id="an endless header"),
        pytest.param(b"From: x", "no_token", id="a head alone"),
        pytest.param(b"", "no_token", id="no bytes"),
        pytest.param(b"\0" * 1_000, "no_token", id="NUL"),
        pytest.param(mail("ack\n", To=None, Cc=", ".join(["a@b.c"] * 500 + [ADDRESS])), "no_token", id="a crowd"),
    ],
)
def test_what_is_beyond_a_bound_is_left_alone_with_the_reason(content: bytes, word: str) -> None:
    assert nothing(content) == word


def test_nesting_and_numbers_of_parts_are_bounded() -> None:
    nested = part("text/plain", "ack")
    for n in range(mime.DEPTH_MAX + 1):
        nested = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) + nested
    assert nothing(mail().partition(b"\r\n\r\n")[0] + b"\r\n" + nested) == "empty"
    many = multipart("mixed", *[part("image/png", b"x")] * mime.PARTS_MAX, part("text/plain", "ack"))
    assert nothing(many) == "empty"
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(15_000))
    assert nothing(f"To: {ADDRESS}\n".encode() + deep) == "empty"
