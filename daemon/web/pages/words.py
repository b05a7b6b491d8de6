"""What the pages behind links say, in every language there is: one catalogue, typed, each language whole.

The one law: words only, and each language has the same ones with the same names in braces. Why something was refused is
the engine's own sentence, in English.
"""

# ruff: noqa: RUF001 - what looks like Latin punctuation is how Chinese is written

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PageWords:
    """One language."""

    language: str
    direction: str  # of HTML: ltr, rtl
    # ---- the form
    answer_as: str
    note: str
    acknowledge: str
    resolve: str
    escalate: str
    release: str
    close: str
    reopen: str
    # ---- what a ticket is
    open: str
    acknowledged: str
    acknowledged_by: str
    acknowledged_by_at: str
    on_hold: str
    on_hold_until: str
    resolved: str
    resolved_by: str
    closed: str
    closed_by: str
    somebody: str
    # ---- what came of it
    done: str
    done_so_far: str
    escalated: str
    unchanged: str
    not_done: str
    already: str
    stale: str
    pointless: str
    # ---- facts
    opened_at: str
    impact: str
    urgency: str
    rule: str
    respond: str
    resolve_by: str
    running: str
    paused: str
    met: str
    breached: str
    stands_still: str
    so_far_by: str
    by: str
    until: str
    resolved_at: str


ENGLISH: Final = PageWords(
    language="en",
    direction="ltr",
    answer_as="You answer as {who}.",
    note="Note (optional)",
    acknowledge="Acknowledge",
    resolve="Resolve",
    escalate="Escalate",
    release="Release",
    close="Close",
    reopen="Reopen",
    open="open",
    acknowledged="acknowledged",
    acknowledged_by="acknowledged by {who}",
    acknowledged_by_at="acknowledged by {who} at {time}",
    on_hold="on hold",
    on_hold_until="on hold until {time}",
    resolved="resolved",
    resolved_by="resolved by {who}",
    closed="closed",
    closed_by="closed by {who}",
    somebody="somebody",
    done="Done: {ticket} is {state}.",
    done_so_far="Done: {why}.",
    escalated="Done: {ticket} goes on to the next step now.",
    unchanged="Nothing changed: {why}.",
    not_done="Not done: {why}.",
    already="Already {state}. Nothing more to do.",
    stale="This link is from before the ticket last changed; now it is {state}. "
    "The link in the newest message still works.",
    pointless="It is {state}: there is nothing to do.",
    opened_at="Opened",
    impact="Impact",
    urgency="Urgency",
    rule="Rule",
    respond="To be answered by",
    resolve_by="To be resolved by",
    running="running",
    paused="paused",
    met="met",
    breached="breached",
    stands_still="stands still",
    so_far_by="Acknowledged so far by",
    by="Acknowledged by",
    until="On hold until",
    resolved_at="Resolved",
)

ARABIC: Final = PageWords(
    language="ar",
    direction="rtl",
    answer_as="أنت ترد باسم {who}.",
    note="ملاحظة (اختيارية)",
    acknowledge="تأكيد الاستلام",
    resolve="تم الحل",
    escalate="تصعيد",
    release="إنهاء التعليق",
    close="إغلاق",
    reopen="إعادة الفتح",
    open="مفتوحة",
    acknowledged="مؤكَّدة الاستلام",
    acknowledged_by="مؤكَّدة الاستلام من قِبل {who}",
    acknowledged_by_at="مؤكَّدة الاستلام من قِبل {who} في {time}",
    on_hold="معلّقة",
    on_hold_until="معلّقة حتى {time}",
    resolved="محلولة",
    resolved_by="محلولة من قِبل {who}",
    closed="مغلقة",
    closed_by="مغلقة من قِبل {who}",
    somebody="شخص ما",
    done="تم: {ticket} الآن {state}.",
    done_so_far="تم: {why}.",
    escalated="تم: {ticket} تنتقل الآن إلى الخطوة التالية.",
    unchanged="لم يتغير شيء: {why}.",
    not_done="لم يتم: {why}.",
    already="هي من قبل {state}. لا شيء آخر مطلوب.",
    stale="هذا الرابط سابق لآخر تغيير في التذكرة، وهي الآن {state}. الرابط في أحدث رسالة ما زال صالحًا.",
    pointless="هي {state}: لا شيء مطلوب.",
    opened_at="وقت الفتح",
    impact="الأثر",
    urgency="الاستعجال",
    rule="القاعدة",
    respond="مهلة الرد",
    resolve_by="مهلة الحل",
    running="جارية",
    paused="متوقفة مؤقتًا",
    met="تم الالتزام بها",
    breached="تم تجاوزها",
    stands_still="متوقفة",
    so_far_by="أكّد الاستلام حتى الآن",
    by="أكّد الاستلام",
    until="معلّقة حتى",
    resolved_at="وقت الحل",
)

CHINESE: Final = PageWords(
    language="zh",
    direction="ltr",
    answer_as="您以 {who} 的身份响应。",
    note="备注（可选）",
    acknowledge="确认",
    resolve="解决",
    escalate="升级",
    release="取消搁置",
    close="关闭",
    reopen="重新打开",
    open="打开",
    acknowledged="已确认",
    acknowledged_by="已由 {who} 确认",
    acknowledged_by_at="已由 {who} 于 {time} 确认",
    on_hold="已搁置",
    on_hold_until="已搁置至 {time}",
    resolved="已解决",
    resolved_by="已由 {who} 解决",
    closed="已关闭",
    closed_by="已关闭，由 {who} 解决",
    somebody="某人",
    done="完成：{ticket} 现在的状态是{state}。",
    done_so_far="完成：{why}。",
    escalated="完成：{ticket} 现在进入下一步。",
    unchanged="没有变化：{why}。",
    not_done="未执行：{why}。",
    already="状态已经是：{state}。无需再操作。",
    stale="此链接早于工单的最近一次变更；工单现在的状态是{state}。最新消息中的链接仍然有效。",
    pointless="工单状态是{state}：无需操作。",
    opened_at="打开时间",
    impact="影响",
    urgency="紧急程度",
    rule="规则",
    respond="响应时限",
    resolve_by="解决时限",
    running="计时中",
    paused="已暂停",
    met="已达成",
    breached="已超时",
    stands_still="停止计时",
    so_far_by="目前已确认",
    by="确认人",
    until="搁置至",
    resolved_at="解决时间",
)

LANGUAGES: Final = (ENGLISH, ARABIC, CHINESE)
_BY_NAME: Final = {one.language: one for one in LANGUAGES}


def page_words(language: str) -> PageWords:
    """Those of a language that `rules.response.phrases` has."""
    return _BY_NAME[language]
