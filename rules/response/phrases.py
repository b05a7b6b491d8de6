"""What messages say, in every language there is: one catalogue, typed, each language whole.

The one law: words only. No phrase decides anything; what stands in braces is filled in by `rules.response.message`, and
each language has the same phrases with the same names in braces.
"""

# ruff: noqa: RUF001 - what looks like Latin punctuation is how Chinese is written

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Phrases:
    """One language. Without a count in the grammar: numbers stand where no plural depends on them."""

    language: str
    rtl: bool  # whether it is written from right to left
    # ---- subjects
    tag_answered: str
    tag_resolved: str
    tag_joined: str
    tag_promise: str
    tag_handoff: str
    subject_pages: str
    subject_mixed: str
    subject_notices: str
    # ---- what has happened
    open_for: str
    you_are: str
    last_resort: str
    so_far: str
    repeat: str
    acknowledged: str
    held: str
    resolved: str
    resolved_by: str
    somebody: str
    nothing_asked: str
    joined: str
    promise: str
    # ---- turns on call
    turn_begins: str
    turn_begins_beside: str
    turn_ends: str
    turn_ends_several: str
    turn_ends_nobody: str
    turn_until: str
    turn_open: str
    turn_why: str
    nobody: str
    both: str
    weekdays: str  # from Monday on, a blank between them
    # ---- what was promised
    respond_passed: str
    resolve_passed: str
    respond_by: str
    respond_late: str
    resolve_by: str
    resolve_late: str
    resolve_paused: str
    # ---- how to answer
    to_acknowledge: str
    to_resolve: str
    to_escalate: str
    by_reply: str
    by_reply_comment: str
    reply_acknowledge: str
    reply_resolve: str
    reply_escalate: str
    acknowledge: str
    resolve: str
    escalate: str
    # ---- the ticket
    priority: str
    impact: str
    urgency: str
    rule: str
    opened: str
    more_labels: str
    # ---- how things are written
    colon: str
    comma: str
    brackets: str
    day: str
    hour: str
    minute: str
    second: str


ENGLISH: Final = Phrases(
    language="en",
    rtl=False,
    tag_answered="answered",
    tag_resolved="resolved",
    tag_joined="one more problem",
    tag_promise="time promised",
    tag_handoff="on call",
    subject_pages="{count} tickets need an answer",
    subject_mixed="{count} messages about tickets, {pages} of them need an answer",
    subject_notices="{count} notices about tickets",
    open_for="Open for {span}, and nobody has answered.",
    you_are="You are {tier}.",
    last_resort="the last resort",
    so_far="Acknowledged so far by {who}; more people are asked to.",
    repeat="This may be a repeat: whether you got it the first time is not known.",
    acknowledged="{who} has acknowledged it.",
    held="On hold until {time}.",
    resolved="Resolved.",
    resolved_by="Resolved by {who}.",
    somebody="somebody",
    nothing_asked="Nothing is asked of you.",
    joined="One more problem belongs to this ticket, which you have acknowledged.",
    promise="This is about the time that was promised for this ticket.",
    turn_begins="You are on call for {schedule} {until}; before you: {before}.",
    turn_begins_beside="You are on call for {schedule} with {who} {until}; before you: {before}.",
    turn_ends="Your turn on call for {schedule} has ended; {who} has taken over.",
    turn_ends_several="Your turn on call for {schedule} has ended; {who} have taken over.",
    turn_ends_nobody="Your turn on call for {schedule} has ended; nobody is on call now.",
    turn_until="until {time}",
    turn_open="until further notice",
    turn_why="Why: {why}.",
    nobody="nobody",
    both=" and ",
    weekdays="Mon Tue Wed Thu Fri Sat Sun",
    respond_passed="{share} % of the time to answer it has passed.",
    resolve_passed="{share} % of the time to resolve it has passed.",
    respond_by="To be answered by {time}, in {span}.",
    respond_late="Was to be answered by {time}, {span} ago.",
    resolve_by="To be resolved by {time}, in {span}.",
    resolve_late="Was to be resolved by {time}, {span} ago.",
    resolve_paused="The time to resolve it stands still.",
    to_acknowledge="To acknowledge it, open",
    to_resolve="To resolve it, open",
    to_escalate="To pass it on to the next step, open",
    by_reply="Or reply to this message with one of these words: {words}. Any other reply becomes a comment.",
    by_reply_comment="A reply to this message becomes a comment on the ticket.",
    reply_acknowledge="ack",
    reply_resolve="resolve",
    reply_escalate="escalate",
    acknowledge="Acknowledge",
    resolve="Resolve",
    escalate="Escalate",
    priority="Priority",
    impact="impact",
    urgency="urgency",
    rule="Rule",
    opened="Opened",
    more_labels="and {count} more labels",
    colon=": ",
    comma=", ",
    brackets=" ({text})",
    day="{n}d",
    hour="{n}h",
    minute="{n}m",
    second="{n}s",
)

ARABIC: Final = Phrases(
    language="ar",
    rtl=True,
    tag_answered="تم الرد",
    tag_resolved="تم الحل",
    tag_joined="مشكلة إضافية",
    tag_promise="المهلة المتفق عليها",
    tag_handoff="المناوبة",
    subject_pages="تذاكر بانتظار الرد: {count}",
    subject_mixed="رسائل عن تذاكر: {count}، منها بانتظار الرد: {pages}",
    subject_notices="إشعارات عن تذاكر: {count}",
    open_for="مفتوحة منذ {span} ولم يرد أحد.",
    you_are="أنت في المستوى {tier}.",
    last_resort="الملاذ الأخير",
    so_far="تم تأكيد الاستلام حتى الآن من قِبل {who}، والمطلوب تأكيد آخرين أيضًا.",
    repeat="قد تكون هذه الرسالة مكررة: لا يُعرف هل وصلتك في المرة الأولى.",
    acknowledged="تم تأكيد استلامها من قِبل {who}.",
    held="معلّقة حتى {time}.",
    resolved="تم حلها.",
    resolved_by="تم حلها من قِبل {who}.",
    somebody="شخص ما",
    nothing_asked="لا يُطلب منك شيء.",
    joined="أُضيفت مشكلة أخرى إلى هذه التذكرة التي أكّدت استلامها.",
    promise="هذا تنبيه بشأن المهلة المتفق عليها لهذه التذكرة.",
    turn_begins="أنت مناوب في {schedule} {until}. قبلك: {before}.",
    turn_begins_beside="أنت مناوب في {schedule} مع {who} {until}. قبلك: {before}.",
    turn_ends="انتهت مناوبتك في {schedule}، والمناوب الآن: {who}.",
    turn_ends_several="انتهت مناوبتك في {schedule}، والمناوبون الآن: {who}.",
    turn_ends_nobody="انتهت مناوبتك في {schedule}، ولا مناوب الآن.",
    turn_until="حتى {time}",
    turn_open="حتى إشعار آخر",
    turn_why="السبب: {why}.",
    nobody="لا أحد",
    both=" و ",
    weekdays="الاثنين الثلاثاء الأربعاء الخميس الجمعة السبت الأحد",
    respond_passed="انقضى {share}٪ من مهلة الرد.",
    resolve_passed="انقضى {share}٪ من مهلة الحل.",
    respond_by="مهلة الرد تنتهي في {time}، بعد {span}.",
    respond_late="مهلة الرد انتهت في {time}، قبل {span}.",
    resolve_by="مهلة الحل تنتهي في {time}، بعد {span}.",
    resolve_late="مهلة الحل انتهت في {time}، قبل {span}.",
    resolve_paused="مهلة الحل متوقفة مؤقتًا.",
    to_acknowledge="لتأكيد الاستلام افتح",
    to_resolve="لتسجيل الحل افتح",
    to_escalate="للتصعيد إلى الخطوة التالية افتح",
    by_reply="أو رُدّ على هذه الرسالة بإحدى هذه الكلمات: {words}. وأي رد آخر يُضاف تعليقًا.",
    by_reply_comment="الرد على هذه الرسالة يُضاف تعليقًا إلى التذكرة.",
    reply_acknowledge="استلمت",
    reply_resolve="تم الحل",
    reply_escalate="تصعيد",
    acknowledge="تأكيد الاستلام",
    resolve="تم الحل",
    escalate="تصعيد",
    priority="الأولوية",
    impact="الأثر",
    urgency="الاستعجال",
    rule="القاعدة",
    opened="وقت الفتح",
    more_labels="سمات أخرى: {count}",
    colon=": ",
    comma="، ",
    brackets=" ({text})",
    day="{n} ي",
    hour="{n} س",
    minute="{n} د",
    second="{n} ث",
)

CHINESE: Final = Phrases(
    language="zh",
    rtl=False,
    tag_answered="已响应",
    tag_resolved="已解决",
    tag_joined="新增问题",
    tag_promise="承诺时限",
    tag_handoff="值班",
    subject_pages="{count} 个工单等待响应",
    subject_mixed="{count} 条工单消息，其中 {pages} 条等待响应",
    subject_notices="{count} 条工单通知",
    open_for="已打开 {span}，尚无人响应。",
    you_are="您的级别：{tier}。",
    last_resort="最后联系人",
    so_far="目前已由 {who} 确认，还需要更多人确认。",
    repeat="这可能是重复消息：无法确定您第一次是否收到。",
    acknowledged="{who} 已确认。",
    held="已搁置至 {time}。",
    resolved="已解决。",
    resolved_by="已由 {who} 解决。",
    somebody="某人",
    nothing_asked="您无需处理。",
    joined="您确认过的这个工单又增加了一个问题。",
    promise="这是关于此工单承诺时限的提醒。",
    turn_begins="您开始值班：{schedule}，{until}。上一班：{before}。",
    turn_begins_beside="您与 {who} 开始值班：{schedule}，{until}。上一班：{before}。",
    turn_ends="您在 {schedule} 的值班已结束，由 {who} 接班。",
    turn_ends_several="您在 {schedule} 的值班已结束，由 {who} 接班。",
    turn_ends_nobody="您在 {schedule} 的值班已结束，目前无人值班。",
    turn_until="至 {time}",
    turn_open="直至另行通知",
    turn_why="原因：{why}。",
    nobody="无人",
    both="和",
    weekdays="周一 周二 周三 周四 周五 周六 周日",
    respond_passed="响应时限已过 {share}%。",
    resolve_passed="解决时限已过 {share}%。",
    respond_by="响应时限：{time}，还剩 {span}。",
    respond_late="响应时限：{time}，已超过 {span}。",
    resolve_by="解决时限：{time}，还剩 {span}。",
    resolve_late="解决时限：{time}，已超过 {span}。",
    resolve_paused="解决时限暂停计时。",
    to_acknowledge="要确认，请打开",
    to_resolve="要标记为已解决，请打开",
    to_escalate="要升级到下一步，请打开",
    by_reply="也可以用以下词语之一回复此消息：{words}。其他回复将成为备注。",
    by_reply_comment="回复此消息的内容将成为工单备注。",
    reply_acknowledge="收到",
    reply_resolve="已解决",
    reply_escalate="升级",
    acknowledge="确认",
    resolve="解决",
    escalate="升级",
    priority="优先级",
    impact="影响",
    urgency="紧急程度",
    rule="规则",
    opened="打开时间",
    more_labels="另有 {count} 个标签",
    colon="：",
    comma="，",
    brackets="（{text}）",
    day="{n}天",
    hour="{n}小时",
    minute="{n}分",
    second="{n}秒",
)

LANGUAGES: Final = (ENGLISH, ARABIC, CHINESE)
_BY_NAME: Final = {one.language: one for one in LANGUAGES}


def phrases(language: str) -> Phrases:
    """Those of a language tag (`ar`, `ar-LY`, `zh-Hans`); English for a language that is not here."""
    return _BY_NAME.get(language.partition("-")[0].partition("_")[0].lower(), ENGLISH)
