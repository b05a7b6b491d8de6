"""What the line protocols of mail have in common: when TLS begins, when one may log in, and how one leaves.

The one law: no password goes over a connection in the clear unless the policy file says `tls: off` in so many words,
and nothing that was said before TLS is believed after it.
"""

import asyncio
from contextlib import suppress
from typing import Final

from connectors.network.reach import Link, Reach
from connectors.network.trial import Credential, Failure, Trial

WORDS: Final = ("implicit", "starttls", "off")
FAREWELL_S_MAX: Final = 1.0
LINE_BYTES_MAX: Final = 4_096
LINES_MAX: Final = 200  # of one answer


def tls_of(written: str | None, port: int, implicit_port: int, credential: Credential | None) -> str:
    """When TLS begins: as written; else at once on the port that is for it, before a login on others, or never."""
    if written is not None:
        return written
    if port == implicit_port:
        return "implicit"
    return "starttls" if has_login(credential) else "off"


def has_login(credential: Credential | None) -> bool:
    """Whether there is something to log in with."""
    return credential is not None and bool(credential.username)


async def begin_tls(
    reach: Reach, trial: Trial, link: Link, credential: Credential | None, *, server_name: str, verify: bool
) -> None:
    """TLS from here on. Raises Failure `certificate` or `tls`, also where something came early. Phase `tls`."""
    if await _early(link):
        raise Failure("tls", "the server spoke in the clear after it had agreed to TLS")
    await reach.secure(trial, link, reach.context(credential, verify=verify), server_name)


async def _early(link: Link) -> bool:
    """Whether something lies in the buffer unread; it is taken out."""
    try:
        async with asyncio.timeout(0):  # what is there is handed over without waiting
            return bool(await link.reader.read(1))
    except TimeoutError:
        return False
    except OSError:
        return False  # a cut connection is told by whoever speaks next


async def farewell(trial: Trial, link: Link, words: bytes) -> None:
    """Says goodbye, and waits a moment for the answer, so that the server need not log a lost connection."""
    with suppress(Failure, TimeoutError):
        async with asyncio.timeout(min(FAREWELL_S_MAX, trial.left_s / 2)):
            await link.send(words)
            await link.read(LINE_BYTES_MAX)


def said(line: bytes) -> str:
    """What a server said, as text; whoever shows it bounds it."""
    return line.decode("utf-8", "replace")
