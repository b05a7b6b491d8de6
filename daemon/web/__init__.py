"""HTTP: webhooks in, the API, the pages behind links, health and metrics.

The one law: bytes become events here and answers become bytes; nothing is decided.
"""

from daemon.web.app import build
from daemon.web.server import ListenError, Server

__all__ = ["ListenError", "Server", "build"]
