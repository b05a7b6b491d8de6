"""The fixtures of this folder."""

from tests.peers.fixtures import hook_settings, hooks, make_daemon, make_mail, make_monitoring

__all__ = ["hook_settings", "hooks", "make_daemon", "make_mail", "make_monitoring"]
