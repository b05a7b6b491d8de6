"""The Twilio account: its options, and the signature of its callbacks."""

import hashlib
from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import ValidationError

from connectors import twilio
from connectors.base import Callback, NotGenuineError
from tests.connectors.fakes.twilio import ACCOUNT, AUTH_TOKEN, Twilio

# Published by Twilio's own libraries as examples: the URL, the fields, the Auth Token and what comes of them.
VECTOR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
VECTOR_FIELDS = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}
VECTOR_SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
FORM = "application/x-www-form-urlencoded"


async def no_sleep(_: float) -> None:
    """Waits for nothing."""


def account(**fields: Any) -> twilio.Account:
    return twilio.Account(twilio.Options.model_validate(Twilio().options(**fields)), no_sleep)


def call(url: str, body: bytes, proof: str, kind: str = FORM) -> Callback:
    return Callback(url, {"x-twilio-signature": proof, "content-type": kind}, body, 0)


def test_the_signature_is_the_published_one() -> None:
    assert twilio.signature("12345", VECTOR_URL, list(VECTOR_FIELDS.items())) == VECTOR_SIGNATURE
    genuine = call(VECTOR_URL, urlencode(VECTOR_FIELDS).encode(), VECTOR_SIGNATURE)
    assert account(auth_token="12345").form(genuine) == VECTOR_FIELDS


def test_fields_are_signed_sorted_whole_and_once() -> None:
    url, pairs = "https://a.example.test/", [("b", "2"), ("a", "é &="), ("a", ""), ("b", "2"), ("A", "1")]
    signed = Twilio().signed(url + "A1aaé &=b2", {})["x-twilio-signature"]
    body = urlencode(pairs).encode()
    assert account().form(call(url, body, signed))["b"] == "2"


@pytest.mark.parametrize(
    ("called", "signed"),
    [
        ("https://t.example.test/x?y=1", "https://t.example.test:443/x?y=1"),
        ("https://t.example.test:443/x", "https://t.example.test/x"),
        ("http://t.example.test/x", "http://t.example.test:80/x"),
        ("https://t.example.test:8443/x", "https://t.example.test:8443/x"),
    ],
)
def test_the_schemes_own_port_may_be_named_or_not(called: str, signed: str) -> None:
    proof = Twilio().signed(signed, {})["x-twilio-signature"]
    assert account().form(call(called, b"", proof)) == {}


def test_another_port_is_another_url() -> None:
    proof = Twilio().signed("https://t.example.test/x", {})["x-twilio-signature"]
    with pytest.raises(NotGenuineError):
        account().form(call("https://t.example.test:8443/x", b"", proof))


@pytest.mark.parametrize("proof", ["", "x", "RSOYDt4T1cUTdK1PDd93/VVr8B9=", "é", VECTOR_SIGNATURE + "="])
def test_any_other_signature_is_refused(proof: str) -> None:
    with pytest.raises(NotGenuineError):
        account(auth_token="12345").form(call(VECTOR_URL, urlencode(VECTOR_FIELDS).encode(), proof))


def test_a_changed_body_url_or_token_is_refused() -> None:
    body = urlencode(VECTOR_FIELDS).encode()
    for token, changed in (
        ("12345", call(VECTOR_URL, body + b"&More=1", VECTOR_SIGNATURE)),
        ("12345", call(VECTOR_URL, body.replace(b"1234", b"4321"), VECTOR_SIGNATURE)),
        ("12345", call(VECTOR_URL + "&x", body, VECTOR_SIGNATURE)),
        ("12346", call(VECTOR_URL, body, VECTOR_SIGNATURE)),
    ):
        with pytest.raises(NotGenuineError):
            account(auth_token=token).form(changed)


@pytest.mark.parametrize("body", [b"\xff=1", b"&".join(b"a=1" for _ in range(300))])
def test_a_body_that_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(NotGenuineError, match="no form"):
        account().form(call("https://a.example.test/", body, "x"))


def test_a_body_that_is_no_form_is_signed_by_its_hash() -> None:
    body = b'{"a": 1}'
    url = f"https://a.example.test/?bodySHA256={hashlib.sha256(body).hexdigest()}"
    proof = Twilio().signed(url, {})["x-twilio-signature"]
    assert account().form(call(url, body, proof, "application/json")) == {}
    with pytest.raises(NotGenuineError, match="hash"):
        account().form(call(url, body + b" ", proof, "application/json"))
    with pytest.raises(NotGenuineError):  # nor can a hash in the URL stand for a form's fields
        account().form(call(url, b"Digits=1", proof))


def test_while_the_auth_token_is_changed_both_are_taken() -> None:
    fields = {"Digits": "1"}
    for token in ("new-token", AUTH_TOKEN):
        genuine = Twilio().callback("https://a.example.test/", fields, token=token)
        assert account(auth_token=f"new-token\n{AUTH_TOKEN}\n").form(genuine) == fields


@pytest.mark.parametrize(
    "changed",
    [
        {"account_sid": "AC123"},
        {"account_sid": None},
        {"auth_token": " \n"},
        {"auth_token": None},
        {"from": "0910000000000"},
        {"from": None},
        {"messaging_service_sid": "SM" + "0" * 32},
        {"api_key": "SK-T0KEN"},
        {"api_secret": "T0KEN"},
        {"api_url": "api.twilio.com"},
        {"ring_s": 4},
        {"timeout_s": 51},
        {"unknown": 1},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused_without_being_shown(changed: dict[str, Any]) -> None:
    given = {name: value for name, value in (Twilio().options() | changed).items() if value is not None}
    with pytest.raises(ValidationError) as caught:
        twilio.Options.model_validate(given)
    assert "T0KEN" not in str(caught.value)


def test_options_show_no_secret() -> None:
    options = twilio.Options.model_validate(Twilio().options(api_key="SK-T0KEN", api_secret="T0KEN"))
    assert options.account_sid == ACCOUNT
    assert "T0KEN" not in repr(options)


@pytest.mark.parametrize(
    ("url", "is_so"),
    [
        ("https://tickets.example.org/callbacks/", True),
        ("http://203.0.113.7:8080/callbacks/", True),
        ("http://127.0.0.1:9876/callbacks/", False),
        ("http://[::1]:9876/callbacks/", False),
        ("http://localhost:9876/callbacks/", False),
        ("http://tickets/callbacks/", False),
        ("", False),
    ],
)
def test_a_callback_on_the_machine_itself_is_not_given_to_twilio(url: str, is_so: bool) -> None:
    assert twilio.reachable(url) is is_so
