"""`ssh`: what an SSH server says it is, and the key by which it proves that.

The one law: nobody logs in. The connection ends when the keys are exchanged, and the server has then proven that it
holds the key whose fingerprint is judged here.
"""

import asyncio
import logging
import re
import socket
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field

from connectors.net import plain
from connectors.network.reach import Reach, failure
from connectors.network.targets import host_port, host_port_problem
from connectors.network.trial import Credential, Failure, Trial
from connectors.probing.base import Probe
from connectors.probing.patterns import excerpt, expression
from rules.typed import RegexText, Shape, TextOf, one_of
from rules.words import shown

if TYPE_CHECKING:
    from asyncssh import SSHClientConnectionOptions, SSHKey

PORT: Final = 22
BANNER_BYTES_MAX: Final = 8 << 10  # with the lines that may come before it
FINGERPRINTS_MAX: Final = 20
# Certificates are left out: a fingerprint is a key's.
TYPES: Final = {
    "ed25519": ("ssh-ed25519",),
    "ecdsa": ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    "rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
_ALL_TYPES: Final = tuple(one for names in TYPES.values() for one in names)
_ED25519_BITS: Final = 256  # which the library does not say
_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def _fingerprint(text: str) -> str:
    bare = text.rstrip("=")
    if _FINGERPRINT.fullmatch(bare) is None:
        raise ValueError(f"{shown(text)} is no fingerprint as `ssh-keygen -l` shows it: SHA256: and 43 characters")
    return bare


Fingerprint = Annotated[str, TextOf(_fingerprint, "fingerprint", pattern=f"^{_FINGERPRINT.pattern}=?$")]


class Connector(Probe):
    """The probe `ssh`."""

    class Options(Shape):
        """What the server must say and prove."""

        banner: RegexText | None = Field(
            None, description='RE2, looked for anywhere in the server\'s line, such as "SSH-2.0-OpenSSH_9"'
        )
        fingerprints: tuple[Fingerprint, ...] = Field(
            (), max_length=FINGERPRINTS_MAX, description="of the keys that the server may have, SHA256:…; default: any"
        )
        key_type: Annotated[str, one_of("type of key", TYPES)] | None = Field(
            None, description="the key that the server is asked to prove, where it has several; default: what it likes"
        )

    summary: ClassVar[str] = "an SSH server's banner and host key"
    target: ClassVar[str] = "HOST or HOST:PORT"
    example: ClassVar[str] = "bastion.example.test:22"
    phases: ClassVar[dict[str, str]] = {
        "dns": "the name is resolved",
        "connect": "TCP connects",
        "banner": "until the server has said what it is",
        "key_exchange": "until it has proven that it holds its key",
    }
    fields: ClassVar[dict[str, str]] = {"key_bits": "size of the server's host key, in bits"}

    def __init__(self, options: Options, reach: Reach, credential: Credential | None = None) -> None:  # noqa: ARG002 - nobody logs in
        """Opens nothing."""
        self._options = options
        self._reach = reach
        self._banner = None if options.banner is None else expression(options.banner)
        self._ours = _ours()
        wanted = () if options.key_type is None else TYPES[options.key_type]
        # The others are offered too: a server without such a key then shows the one that it has.
        self._algorithms = [*wanted, *(one for one in _ALL_TYPES if one not in wanted)]

    @staticmethod
    def target_problem(target: str) -> str | None:
        """It must have a host."""
        return host_port_problem(target, PORT)

    def host(self, target: str) -> str:
        """The target's."""
        return host_port(target, PORT)[0]

    async def look(self, trial: Trial) -> None:
        """Read the banner, and exchange keys."""
        host, port = host_port(trial.target, PORT)
        place, sock = await self._reach.connected(trial, host, port)
        try:
            with trial.phase("banner"):
                banner = await _banner(sock)
            trial.values["banner"] = plain(banner.decode("utf-8", "replace"))
            if self._banner is not None:
                held = self._banner.search(banner) is not None
                said = f"the server is {excerpt(banner)}"
                trial.check("banner", held, said if held else f"{said}; /{self._banner.text}/ is not in that", "body")
            with trial.phase("key_exchange"):
                key = await self._exchanged(place.address, sock)
        finally:
            sock.close()
        self._judge(trial, key)

    async def _exchanged(self, address: str, sock: socket.socket) -> "SSHKey":
        """The key that the server proved to hold."""
        import asyncssh  # noqa: PLC0415 - heavy, and only where SSH is looked at

        try:
            key = await asyncssh.get_server_host_key(
                address, sock=sock, server_host_key_algs=self._algorithms, config=None, options=self._ours
            )
        except asyncssh.ConnectionLost:
            raise Failure("reset", "in the key exchange: the connection was cut") from None
        except asyncssh.Error as error:
            raise Failure("answer", f"no key exchange came about: {plain(error.reason)}") from None
        except (ValueError, LookupError, OverflowError) as error:  # what the library trips over in a broken packet
            raise Failure("answer", f"no key exchange came about: {plain(error)}") from None
        except OSError as error:
            raise failure(error, "in the key exchange") from None
        if key is None:
            raise Failure("answer", "the server proved no key")
        return key

    def _judge(self, trial: Trial, key: "SSHKey") -> None:
        fingerprint, kind = key.get_fingerprint(), key.get_algorithm()
        trial.values |= {"fingerprint": fingerprint, "key type": kind}
        inner: Any = key.pyca_key
        trial.fields["key_bits"] = float(getattr(inner, "key_size", _ED25519_BITS))
        wanted = self._options.fingerprints
        held = not wanted or fingerprint in wanted
        said = f"the host key is {kind} {fingerprint}"
        expected = wanted[0] if len(wanted) == 1 else f"one of {len(wanted)} that may be"
        trial.check("host key", held, said if held else f"{said}, not {expected}", "certificate")
        if (of := self._options.key_type) is not None:
            # An RSA key bears one name, whatever it signs with.
            held = kind == "ssh-rsa" if of == "rsa" else kind in TYPES[of]
            trial.check("key type", held, said if held else f"{said}; the server has none of type {of}", "certificate")


def _ours() -> "SSHClientConnectionOptions":
    """What we are, without anything of whoever runs the daemon: no configuration, no keys, no agent."""
    import asyncssh  # noqa: PLC0415 - heavy, and only where SSH is looked at

    asyncssh.set_log_level(logging.CRITICAL)  # what fails, fails to us; it would tell of every connection, too
    return asyncssh.SSHClientConnectionOptions(
        config=None, client_keys=None, agent_path=None, known_hosts=None, username="ticketd", client_version="ticketd"
    )


async def _banner(sock: socket.socket) -> bytes:
    """The line in which the server says what it is; nothing is taken from the socket. Raises Failure."""
    seen = b""
    try:
        while True:
            # Woken only when there is more than was seen: what is looked at stays where it is.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, len(seen) + 1)
            await _readable(sock)
            data = sock.recv(BANNER_BYTES_MAX, socket.MSG_PEEK)
            for line in data.split(b"\n")[:-1]:
                if line.startswith(b"SSH-"):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
                    return line.rstrip(b"\r")
            if len(data) >= BANNER_BYTES_MAX:
                raise Failure("limit", f"no SSH banner within {BANNER_BYTES_MAX} bytes: {excerpt(data)}")
            if len(data) == len(seen):
                said = f"the connection ended after {excerpt(data)}"
                raise Failure("answer" if data else "reset", f"no SSH server: {said}")
            seen = data
    except OSError as error:
        raise failure(error, "while reading the banner") from None


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(sock, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sock)
