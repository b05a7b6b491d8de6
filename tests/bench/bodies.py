"""The bodies that are sent: Alertmanager's webhook as a monitored cluster fills it, 600 to 700 bytes an alert.

The one law: the same number gives the same alert, and another number an alert that differs in its labels, its
fingerprint and its start.
"""

import itertools
from collections.abc import Iterator

_ALERT = (
    b'{"status":"firing","labels":{"alertname":"KubePodCrashLooping","cluster":"eu-1","container":"api",'
    b'"env":"prod","instance":"10.8.%(b)d.%(a)d:8443","job":"kube-state-metrics","namespace":"shop-%(b)d",'
    b'"pod":"checkout-%(n)08x-x7k2p","service":"checkout","severity":"warning","team":"payments"},'
    b'"annotations":{"description":"Pod shop-%(b)d/checkout-%(n)08x-x7k2p (api) is in waiting state, '
    b'reason CrashLoopBackOff, for more than 15 minutes.","runbook_url":"https://runbooks.example.test/kubepodcrash",'
    b'"summary":"Pod checkout-%(n)08x is crash looping."},"startsAt":"2026-11-01T%(h)02d:%(m)02d:%(s)02d.%(ms)03dZ",'
    b'"endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://prometheus.example.test:9090/graph?g0.expr=crash'
    b'&g0.tab=1","fingerprint":"%(f)016x"}'
)
_HEAD = b'{"receiver":"ticketd","status":"firing","alerts":['
_TAIL = (
    b'],"groupLabels":{"alertname":"KubePodCrashLooping"},"commonLabels":{"alertname":"KubePodCrashLooping",'
    b'"cluster":"eu-1","env":"prod","severity":"warning"},"commonAnnotations":{"runbook_url":'
    b'"https://runbooks.example.test/kubepodcrash"},"externalURL":"http://alertmanager.example.test:9093",'
    b'"version":"4","groupKey":"{}:{alertname=\\"KubePodCrashLooping\\"}","truncatedAlerts":0}'
)
_SPREAD = 0x9E3779B97F4A7C15  # an odd number: no two fingerprints are alike, and neighbours lie far apart
FINGERPRINTS = 100  # of those that are repeated


def alert(number: int) -> bytes:
    """The alert of this number."""
    ms = number % 86_400_000
    return _ALERT % {
        b"n": number, b"a": number % 250, b"b": number // 250 % 250, b"ms": ms % 1_000, b"s": ms // 1_000 % 60,
        b"m": ms // 60_000 % 60, b"h": ms // 3_600_000, b"f": number * _SPREAD & 0xFFFFFFFFFFFFFFFF,
    }  # fmt: skip


def body(first: int, count: int) -> bytes:
    """A body of `count` alerts, numbered from `first`."""
    return _HEAD + b",".join([alert(number) for number in range(first, first + count)]) + _TAIL


def new(numbers: Iterator[int], each: int) -> Iterator[bytes]:
    """Bodies without end, every alert new; `numbers` counts the bodies' first alerts up in steps of at least `each`."""
    return (body(number, each) for number in numbers)


def repeated(each: int) -> list[bytes]:
    """The bodies that hold the hundred fingerprints, once each."""
    return [body(first, each) for first in range(0, FINGERPRINTS, each)]


def again(each: int) -> Iterator[bytes]:
    """The same, without end."""
    return itertools.cycle(repeated(each))
