"""Every thing that a kind is said to look at can be asked for in a policy file, and what it tells has a name.

Law: one policy file for each kind, read as the daemon reads it; nothing is connected to.
"""

import pytest

from connectors.kinds import load
from daemon.config import Settings
from daemon.wiring import language_kinds
from rules.instants import SECOND
from rules.language import load as loaded
from tests.connectors.aiming import KINDS, NAMES

# For each kind: its options, as text of a policy file; then phases and fields by which the rest of it is told.
WORDS: dict[str, tuple[str, str]] = {
    "http": (
        (
            "{method: POST, headers: {X-A: b}, send: '{}', redirects: 3, versions: [1.1, 2], status: [200, 3xx],"
            " body: {matches: ok, not_matches: no, fields: {n: '(a)'}, json: [{path: $.a, equals: up}]},"
            " header_checks: [{name: Server, matches: nginx}], size: 1MiB, larger: down, tls: {days_left: 14}}"
        ),
        "dns connect tls request first_byte transfer | status http_version redirects body_bytes cert_days_left",
    ),
    "tls": (
        "{days_left: 14, verify: on, server_name: shop.example.test, min_version: '1.3', starttls: ldap}",
        "connect starttls tls | cert_days_left cert_valid chain_length protocol key_bits",
    ),
    "tcp": ("{dialogue: [{send: hello, expect: welcome}, {starttls: on}]}", "dns connect dialogue tls |"),
    "dns": (
        (
            "{type: CAA, server: '192.0.2.1:53', rcode: NOERROR, dnssec: on, authoritative: on,"
            " answers: {at_least: 2, match: ['^192']}}"
        ),
        "query | answers ttl_s rcode",
    ),
    "icmp": (
        "{packets: 5, max_loss: 20%, max_rtt: 50ms}",
        "dns echo | packet_loss_pct rtt_min_ms rtt_avg_ms rtt_max_ms",
    ),
    "grpc": ("{service: shop.Cart, metadata: {x-tenant: eu}}", "connect tls call | health grpc_status"),
    "ssh": (
        "{banner: OpenSSH, fingerprints: ['SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU'], key_type: ed25519}",
        "banner key_exchange | key_bits",
    ),
    "websocket": (
        "{headers: {Origin: 'https://a.test'}, subprotocols: [chat], send: hi, expect: hello, ping: on}",
        "handshake message ping tls | status",
    ),
    "udp": ("{send_hex: '00 ff', expect: pong, wait: 2s}", "dns answer |"),
    "smtp": (
        "{tls: starttls, helo: a.test, extensions: [SIZE], from: a@a.test, to: b@a.test}",
        "greeting ehlo tls login recipient |",
    ),
    "imap": ("{tls: implicit, folder: INBOX}", "greeting tls login folder | messages unseen"),
    "postgres": (
        "{database: shop, query: 'SELECT a, b FROM c', labels: [a], sslmode: verify-full, standby: on}",
        "connect tls login query | rows",
    ),
    "mysql": (
        "{database: shop, query: 'SELECT a, b FROM c', labels: [a], ssl_mode: required}",
        "connect tls login query | rows",
    ),
    "redis": ("{command: [LLEN, jobs], database: 2, tls: on}", "connect tls login command | value"),
    "command": ("{argv: [/bin/true, '{target}'], up: [0, 1], series: on}", "run | state exit_code"),
    "prometheus": (
        "{query: 'sum by (job) (up)', field: up_count, empty: ok, keep_name: on}",
        "first_byte | series value",
    ),
    "blackbox": (
        "{exporter: 'http://192.0.2.1:9115', module: http_2xx}",
        "exporter dns connect tls | probe_duration_seconds cert_days_left",
    ),
    "scrape": (
        "{metrics: {load: node_load1}, by: [device], combine: sum, missing: ok, size: 2MiB}",
        "transfer | page_bytes",
    ),
}


def test_each_kind_is_here() -> None:
    assert sorted(WORDS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_file_asks_for_it(name: str) -> None:
    options, told = WORDS[name]
    kind = KINDS[name]
    text = f"version: 1\nprobes:\n  - id: one\n    kind: {name}\n    targets: ['{kind.example}']\n"
    text += (
        f"    interval: 30s\n    timeout: 5s\n    labels: {{team: shop}}\n    location: main\n    {name}: {options}\n"
    )
    settings = Settings.model_validate({"probing": {"commands": True}})
    found = loaded({"policy.yaml": text}, language_kinds(settings, load()))
    assert found.errors == ()
    assert found.policy is not None
    probe = found.policy.probes["one"]
    assert (probe.kind, probe.interval, probe.labels) == (name, 30 * SECOND, {"team": "shop"})
    assert isinstance(probe.options, kind.Options)
    assert probe.options.model_fields_set, "what is left out would be as written only by chance"
    phases, _, fields = told.partition("|")
    assert set(phases.split()) <= kind.phases.keys()
    assert set(fields.split()) <= kind.fields.keys()
