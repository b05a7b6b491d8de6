"""Who asks: bearer and basic, roles, rotation, and nothing learnt from a refusal."""

import hashlib
from base64 import b64encode

import pytest

from daemon.auth import ANONYMOUS, VERIFIED_MAX, Auth, Need, Principal, Role
from daemon.config import SenderSettings, Settings, TokenSettings


def sha(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


SETTINGS = Settings(
    senders={
        "cluster-a": SenderSettings(kind="alertmanager", bearer_hash=(sha("sa"),)),
        "cluster-b": SenderSettings(kind="prometheus", username="b", password_hash=(sha("old"), sha("new"))),
    },
    tokens={
        "scraper": TokenSettings(role="reader", hash=(sha("rd"),)),
        "amina": TokenSettings(role="responder", contact="amina", hash=(sha("am"), sha("am2"))),
        "root": TokenSettings(role="operator", hash=(sha("op"),)),
        "pusher": TokenSettings(role="sender", hash=(sha("ps"),)),
    },
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (bearer("sa"), Principal("cluster-a", Role.SENDER, kind="alertmanager")),
        (basic("b", "old"), Principal("cluster-b", Role.SENDER, kind="prometheus")),
        (basic("b", "new"), Principal("cluster-b", Role.SENDER, kind="prometheus")),
        (bearer("rd"), Principal("scraper", Role.READER)),
        (bearer("am2"), Principal("amina", Role.RESPONDER, contact="amina")),
        ({"Authorization": "bearer  op "}, Principal("root", Role.OPERATOR)),
        (bearer("ps"), Principal("pusher", Role.SENDER)),
    ],
)
def test_a_right_secret_is_known_at_first_and_again(headers: dict[str, str], expected: Principal) -> None:
    auth = Auth(SETTINGS)
    assert [auth.principal(headers), auth.principal(headers)] == [expected, expected]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        bearer("wrong"),
        bearer(sha("op")),
        basic("b", "wrong"),
        basic("a", "new"),
        basic("", ""),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + b64encode(b"\xff\xfe").decode()},
        {"Authorization": "Basic " + b64encode(b"bnew").decode()},
        {"Authorization": "Digest op"},
        {"Authorization": "op"},
        {"Authorization": "Bearer " + "x" * 100_000},
        {"Authorization": "Bearer \udcff\udcfe"},
        {"Authorization": "Basic é"},
    ],
)
def test_everything_else_is_nobody(headers: dict[str, str]) -> None:
    assert Auth(SETTINGS).principal(headers) is None


def test_only_right_headers_are_remembered_and_only_so_many() -> None:
    auth = Auth(SETTINGS)
    for number in range(VERIFIED_MAX + 50):
        auth.principal(bearer(f"wrong{number}"))
        auth.principal({"Authorization": "Bearer" + " " * (number % 2_000 + 1) + "op"})
    assert len(auth._verified) <= VERIFIED_MAX
    assert {one.name for one in auth._verified.values()} == {"root"}


def test_every_hash_is_compared_whatever_the_first_says(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(known: str | bytes, given: str | bytes) -> bool:
        compared.append(str(known))
        return known == given

    monkeypatch.setattr("daemon.auth.hmac.compare_digest", compare)
    assert Auth(SETTINGS).principal(bearer("sa")) is not None
    assert len(compared) == 6


@pytest.mark.parametrize(
    ("role", "may"),
    [
        (Role.SENDER, {Need.SIGNAL}),
        (Role.READER, {Need.READ}),
        (Role.RESPONDER, {Need.READ, Need.RESPOND}),
        (Role.OPERATOR, {Need.SIGNAL, Need.READ, Need.RESPOND, Need.OPERATE}),
    ],
)
def test_each_role_may_what_it_is_for(role: Role, may: set[Need]) -> None:
    assert {need for need in Need if Principal("x", role).may(need)} == may


def test_without_authentication_everybody_is_the_operator() -> None:
    auth = Auth(Settings())
    assert (auth.required, auth.principal({}), auth.principal(bearer("whatever"))) == (False, ANONYMOUS, ANONYMOUS)
