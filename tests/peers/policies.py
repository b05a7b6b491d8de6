"""The rule files that the tests on peers and on faults give the daemon, as an operator would write them.

Law: text only; a test that needs another wait or another person asks for it by argument.
"""

from __future__ import annotations

MATRIX = """\
version: 1
priority:
  impact:  [site, service, user]
  urgency: [high, medium, low]
  matrix:  [[P1, P1, P2], [P1, P2, P3], [P2, P3, P4]]
"""

NOBODY = (
    MATRIX
    + """\
rules:
  - id: any
    match: ['alertname!=""']
    dedup: [service]
    max_open: 1000000
    impact: service
    urgency: high
    title: "{{ labels.service }} is in trouble"
"""
)
"""One ticket for each `service`, and nobody to tell."""


def by_mail(wait: str = "4s") -> str:
    """Amina first, `wait` later Omar, then the manager, all by e-mail; priority from `tier` and `severity`."""
    return (
        MATRIX
        + f"""\
contacts:
  - id: amina
    name: Amina Salem
    may: [acknowledge, hold, resolve, comment]
    reach: [{{email: amina@example.test}}]
  - id: omar
    name: Omar Ali
    may: [acknowledge, resolve, comment]
    reach: [{{email: omar@example.test}}]
  - id: manager
    name: Duty manager
    may: [acknowledge, resolve, close]
    reach: [{{email: manager@example.test}}]
escalations:
  - id: oncall
    steps:
      - {{tier: L1, notify: [contact:amina], wait: {wait}}}
      - {{tier: L2, notify: [contact:omar], wait: {wait}}}
    last_resort: [contact:manager]
default_escalation: oncall
rules:
  - id: demo.fault
    match: ['alertname="DemoFault"']
    impact:  {{from: tier, map: {{"1": site, "2": service}}, else: user}}
    urgency: {{from: severity, map: {{critical: high, warning: medium}}, else: low}}
    dedup: [name]
    title: "{{{{ labels.name }}}} has a fault"
    description: "{{{{ annotations.description }}}}"
  - id: demo.second
    match: ['alertname="DemoSecond"']
    impact: user
    urgency: low
    dedup: [name]
"""
    )


def by_webhook(first: str, second: str, third: str, *, repeat: int = 1, last_every: str = "2s") -> str:
    """Three steps with these waits, `repeat` more rounds, then a last resort; a webhook for each contact's name."""
    people = "".join(
        f"  - {{id: {name}, name: {name}, may: [acknowledge, resolve], reach: [{{webhook: {name}}}]}}\n"
        for name in ("first", "second", "third", "last")
    )
    return (
        MATRIX
        + f"""\
contacts:
{people}escalations:
  - id: chain
    steps:
      - {{tier: L1, notify: [contact:first], wait: {first}}}
      - {{tier: L2, notify: [contact:second], wait: {second}}}
      - {{tier: L3, notify: [contact:third], wait: {third}}}
    repeat: {repeat}
    last_resort: [contact:last]
    last_resort_every: {{P1: {last_every}, P2: {last_every}}}
default_escalation: chain
rules:
  - id: grave
    match: ['alertname="Grave"']
    dedup: [service]
    impact: site
    urgency: high
    title: "{{{{ labels.service }}}} is down"
"""
    )
