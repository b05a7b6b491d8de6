"""What somebody wrote into a reply: without what it quotes, as an action and a note.

The one law: only the first word decides, and only one that stands alone; whatever is not understood is a comment, so
that no words are lost and nothing is done that nobody asked for.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

NOTE_CHARS_MAX: Final = 10_000
LINES_MAX: Final = 20_000  # of a text that is looked at
HEADER_LINES: Final = 6  # within so many lines the other headers of a forwarded mail stand
ATTRIBUTION_LINES: Final = 3  # over so many lines "On … wrote:" may be wrapped
ATTRIBUTION_CHARS_MAX: Final = 400

_SIGNATURE: Final = re.compile(r"-- ?")
_RULE: Final = re.compile(r"\s*_{20,}\s*")
_FORWARDED: Final = re.compile(
    r"\s*-{2,}\s*(?:original message|original appointment|forwarded message|reply message|ursprüngliche nachricht"
    r"|original-nachricht|weitergeleitete nachricht|message d['\u2019]origine|message original|message transféré"
    r"|mensaje original|mensaje reenviado|messaggio originale|messaggio inoltrato|mensagem original"
    r"|oorspronkelijk bericht|doorgestuurd bericht|ursprungligt meddelande|oprindelig meddelelse|alkuperäinen viesti"
    r"|исходное сообщение|пересылаемое сообщение|orijinal mesaj|الرسالة الأصلية|رسالة أصلية|الرسالة المعاد توجيهها"
    r"|原始邮件|原邮件|原始信息|回复的原邮件|转发邮件信息|原始郵件|元のメッセージ|원본 메시지)\s*-{2,}\s*",
    re.IGNORECASE,
)
_FROM: Final = re.compile(
    r"\s*\*?(?:from|von|de|da|van|från|fra|lähettäjä|от|kimden|من|发件人|寄件者|寄件人|差出人|보낸 사람)"
    r"\s*[:\uff1a]\s*\*?\s*\S",
    re.IGNORECASE,
)
_HEADERS: Final = re.compile(
    r"\s*\*?(?:sent|date|to|subject|gesendet|datum|an|betreff|envoyé|à|objet|enviado|fecha|para|asunto|inviato|data|a"
    r"|oggetto|assunto|verzonden|aan|onderwerp|skickat|till|ämne|sendt|til|emne|отправлено|дата|кому|тема|gönderildi"
    r"|tarih|kime|konu|تاريخ الإرسال|تم الإرسال|التاريخ|إلى|الموضوع|发送时间|日期|收件人|主题|寄件日期|收件者|主旨"
    r"|送信日時|宛先|件名)\s*[:\uff1a]",
    re.IGNORECASE,
)
_WROTE: Final = re.compile(
    r"wrote|schrieb|écrit|escribió|scritto|escreveu|schreef|skrev|kirjoitti|napisał|написал|пишет|yazd\u0131"
    r"|كتب|كتابة|写道|寫道|書きました|のメール|작성",
    re.IGNORECASE,
)
_OPENS: Final = re.compile(r"\s*(?:on|am|le|el|il|em|op|den|w dniu|в|في|بتاريخ|在|於)\s", re.IGNORECASE)
_QUOTED: Final = re.compile(r"\s{0,3}[>\uff1e]")
_DEVICE: Final = re.compile(
    r"\s*(?:sent from my |sent from mail for |sent from outlook|get outlook for |von meinem .{1,40} gesendet"
    r"|envoyé de mon |enviado desde mi |inviato da |enviado do meu |verzonden vanaf mijn |skickat från min "
    r"|отправлено \u0441 |أُ?رسلت? من |تم الإرسال من |发自我的|发送自|從我的|iPhoneから送信).{0,80}",
    re.IGNORECASE,
)

_ACTIONS: Final[Mapping[str, str]] = {
    "ack": "acknowledge",
    "acknowledge": "acknowledge",
    "acknowledged": "acknowledge",
    "ok": "acknowledge",
    "استلمت": "acknowledge",
    "收到": "acknowledge",
    "resolve": "resolve",
    "resolved": "resolve",
    "fixed": "resolve",
    "تم الحل": "resolve",
    "已解决": "resolve",
    "已解決": "resolve",
    "escalate": "escalate",
    "تصعيد": "escalate",
    "升级": "escalate",
    "升級": "escalate",
    "comment": "comment",
    "تعليق": "comment",
    "评论": "comment",
    "評論": "comment",
}
# A word, then its end or a mark; a question mark asks, and answers nothing.
_MARKS: Final = " \t.,:;!)-\u2013\u2014\u060c\u061b\u06d4\u3001\u3002\uff01\uff0c\uff1a\uff1b"
_FIRST: Final = re.compile(
    rf"({'|'.join(sorted(map(re.escape, _ACTIONS), key=len, reverse=True))})(?=$|[{re.escape(_MARKS)}])", re.IGNORECASE
)


class Said(NamedTuple):
    """An action (a word of `rules.tickets.lifecycle.ACTIONS`) and what was said with it."""

    action: str
    note: str


def said(text: str) -> Said | None:
    """What the reply says; None when it says nothing of its own."""
    lines = own_lines(text)
    whole = "\n".join(lines).strip()
    if not whole:
        return None
    first, _, rest = whole.partition("\n")
    found = _FIRST.match(first)
    if found is None:
        return Said("comment", _bounded(whole))
    action = _ACTIONS[found[1].lower()]
    note = _bounded(f"{first[found.end() :].lstrip(_MARKS)}\n{rest}".strip())
    if action == "comment" and not note:
        return None
    return Said(action, note)


def _bounded(text: str) -> str:
    text = re.sub(r"\n{3,}", "\n\n", text)
    return text if len(text) <= NOTE_CHARS_MAX else text[: NOTE_CHARS_MAX - 1] + "…"


def own_lines(text: str) -> list[str]:
    """The lines that its writer wrote: no quotes, no signature, nothing below another mail's headers."""
    lines = [line.rstrip() if not _SIGNATURE.fullmatch(line) else line for line in text.split("\n")[:LINES_MAX]]
    lines = lines[: _end(lines)]
    kept: list[str] = []
    for line in lines:
        if _DEVICE.fullmatch(line):
            continue
        if _QUOTED.match(line):
            if kept and kept[-1] != "\0":
                _drop_attribution(kept)
                kept.append("\0")
        else:
            kept.append(line)
    _drop_attribution(kept)
    return [line for line in kept if line != "\0"]


def _end(lines: list[str]) -> int:
    """Where another mail or the signature begins."""
    for number, line in enumerate(lines):
        if _SIGNATURE.fullmatch(line) or _RULE.fullmatch(line) or _FORWARDED.fullmatch(line[:200]):
            return number
        if _FROM.match(line) and any(map(_HEADERS.match, lines[number + 1 : number + HEADER_LINES])):
            return number
    return len(lines)


def _drop_attribution(lines: list[str]) -> None:
    """Take "On … wrote:" off the end, with the blank lines around it."""
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    if not end or lines[end - 1].rstrip()[-1] not in ":\uff1a":
        return
    start = 0
    for many in range(1, ATTRIBUTION_LINES + 1):
        first = end - many
        if first < 0 or not lines[first].strip() or lines[first] == "\0":
            break
        joined = " ".join(lines[first:end])
        if len(joined) > ATTRIBUTION_CHARS_MAX:
            break
        if not _WROTE.search(joined) or not re.search(r"\d", joined):
            continue
        opens = bool(_OPENS.match(lines[first]))
        if opens or not start:
            start = many
        if opens:
            break
    if start:
        del lines[end - start :]
