"""Texts that senders really send, or that somebody tries: for every field in turn.

Law: values only. Each is a lawful JSON string; what else it is does not matter to those who only carry it.
"""

from typing import Final

TEXTS: Final = (
    "",
    " ",
    "\t\r\n",
    "\0",
    "before\0after",
    "".join(map(chr, range(1, 32))),
    "\x7f\x80\x9f",
    "\ufeff",
    "\ufffd",
    "\ufffe\uffff",
    "\u2028\u2029",
    "مرحبا بالعالم",
    "\u202eback to front\u202c",
    "\u2066isolated\u2069 \u200b\u200d\u00ad",
    "שלום english שלום",
    "Ünïcödé ﬁ Å Å",
    "🔥🏳️‍🌈👩‍👩‍👧‍👦🇱🇾",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈",
    "z̸̡̛̺͍̱̏͆̊a̴̘̽l̷̰̓g̶̖͐o̵͈̓",
    "null",
    "true",
    "NaN",
    "-1e999",
    "0x7f",
    "9999999999999999999999999999",
    "' OR 1=1 --",
    "'; DROP TABLE tickets; --",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ .Labels.alertname }} {% raw %} ${HOME} $(id) `id` %s %n {0.__class__}",
    "\\ \\\\ \\u0000 \\ud800 \" ' `",
    "../../../../etc/passwd\x00.png",
    "a\r\nBcc: everybody@example.test\r\n\r\nbody",
    "=cmd|' /C calc'!A0",
    "(a+)+$",
    "x" * 10_000,
    "é" * 10_000,
    "🔥" * 10_000,
)
