"""The running process: wires, serves, stores, times and delivers.

The version has one home, `pyproject.toml`; here it is only read back from what was installed.
"""

from importlib.metadata import version

__version__ = version("ticketd")
