"""Mails as people, machines and servers write them, made of a few values.

Law: values in, bytes out.
"""

import base64
import email.message
from typing import Final

TOKEN: Final = "1042-3f2a" + "kq7w5x" * 4 + "kq"
OTHER: Final = "1043-3f2a" + "a" * 26
ADDRESS: Final = f"ticketd+{TOKEN}@example.org"


def mail(body: str | bytes = "ack\n", /, *extra: tuple[str, str], **headers: str | None) -> bytes:
    """A mail from Amina to the address of the token; `headers` change, add or (None) take away, `_` stands for `-`."""
    given: dict[str, str | None] = {
        "From": "Amina Salem <amina@example.test>",
        "To": f"ticketd <{ADDRESS}>",
        "Subject": "Re: [P1] T-1042 /var is full",
        "Message-ID": "<m1@example.test>",
    }
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{name}: {value}\r\n" for name, value in [*given.items(), *extra] if value is not None]
    head = "".join(lines).encode("utf-8", "surrogateescape")
    return head + b"\r\n" + (body if isinstance(body, bytes) else body.replace("\n", "\r\n").encode())


def multipart(kind: str, *parts: bytes, **headers: str | None) -> bytes:
    """A mail of several parts, each with its own head."""
    body = b"".join(b"--cut\r\n" + part + b"\r\n" for part in parts) + b"--cut--\r\n"
    return mail(body, **({"MIME_Version": "1.0", "Content_Type": f'multipart/{kind}; boundary="cut"'} | headers))


def part(kind: str, text: str | bytes, *, charset: str = "utf-8", coding: str = "8bit", disposition: str = "") -> bytes:
    """A part; `coding` is carried out for base64."""
    data = text if isinstance(text, bytes) else text.encode(charset)
    if coding == "base64":
        data = base64.encodebytes(data)
    head = f"Content-Type: {kind}; charset={charset}\r\nContent-Transfer-Encoding: {coding}\r\n"
    head += f"Content-Disposition: {disposition}\r\n" if disposition else ""
    return head.encode() + b"\r\n" + data


def bounce(action: str = "failed", status: str = "5.1.1", diagnostic: str = "smtp; 550 5.1.1 no such user") -> bytes:
    """What a mail server writes about a message of ours (RFC 3464)."""
    report = (
        "Reporting-MTA: dns; mx.example.test\n\n"
        "Final-Recipient: rfc822; gone@example.test\n"
        f"Action: {action}\nStatus: {status}\nDiagnostic-Code: {diagnostic}\n"
    )
    return multipart(
        "report; report-type=delivery-status",
        part("text/plain", "This is the mail system. I'm sorry to have to inform you that ack\n"),
        part("message/delivery-status", report),
        part("message/rfc822", original().decode()),
        From="MAILER-DAEMON@mx.example.test (Mail Delivery System)",
        Return_Path="<>",
        Auto_Submitted="auto-replied",
    )


def original() -> bytes:
    """A message of ours, as a bounce or a forwarded mail holds it."""
    message = email.message.Message()
    message["From"] = "ticketd <ticketd@example.org>"
    message["Reply-To"] = f"<{ADDRESS}>"
    message["X-Ticketd-Delivery"] = "T-1042/1/0/0/amina/email"
    message.set_payload("T-1042 is open.\nack\n")
    return message.as_bytes()
