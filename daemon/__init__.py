"""The running process: wires, serves, stores, times and delivers.

The version has one home, `pyproject.toml`; here it is only read back from what was installed. And structlog is imported
here first, without rich: it would load all of that, 3 MB for good, to draw tracebacks in a way that ticketd never asks
for. The command line's own tables import rich where they need it.
"""

import sys
from importlib.metadata import version

if "rich" not in sys.modules and "structlog" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's own way to say that a module is not there
    try:
        import structlog  # noqa: F401 - so that whoever imports it later finds it as it is
    finally:
        del sys.modules["rich"]

__version__ = version("ticketd")
