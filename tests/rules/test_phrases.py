"""The catalogue of phrases: whole in every language, and the same blanks in each."""

import re
from dataclasses import fields
from string import Formatter

import pytest

from connectors.replytext import said
from rules.response.phrases import ARABIC, CHINESE, ENGLISH, LANGUAGES, Phrases, phrases

NAMES = [one.name for one in fields(Phrases) if one.name not in {"language", "rtl"}]
ALIKE = {"colon", "comma", "brackets", "day", "hour", "minute", "second"}  # signs and units may look the same


def blanks(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", LANGUAGES, ids=lambda one: one.language)
def test_every_phrase_is_there_with_the_same_blanks_as_in_english(words: Phrases, name: str) -> None:
    said = getattr(words, name)
    assert said.strip() or name in {"colon", "comma"}
    assert blanks(said) == blanks(getattr(ENGLISH, name))


@pytest.mark.parametrize("words", [ARABIC, CHINESE], ids=lambda one: one.language)
def test_nothing_is_left_in_english(words: Phrases) -> None:
    left = [one for one in NAMES if one not in ALIKE and getattr(words, one) == getattr(ENGLISH, one)]
    assert left == []
    latin = [
        one for one in NAMES if one not in ALIKE and re.search("[A-Za-z]", re.sub("{.*?}", "", getattr(words, one)))
    ]
    assert latin == []


@pytest.mark.parametrize("words", LANGUAGES, ids=lambda one: one.language)
def test_a_week_has_seven_days(words: Phrases) -> None:
    assert len(set(words.weekdays.split(" "))) == 7


def test_no_phrase_brings_marks_or_line_ends_of_its_own() -> None:
    assert [
        (words.language, one) for words in LANGUAGES for one in NAMES if not getattr(words, one).isprintable()
    ] == []


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("ar", "ar"), ("ar-LY", "ar"), ("AR_EG", "ar"), ("zh", "zh"), ("zh-Hans-CN", "zh"), ("zh-TW", "zh"),
        ("en", "en"), ("en-GB", "en"), ("fr", "en"), ("", "en"), ("arn", "en"),
    ],
)  # fmt: skip
def test_a_language_is_found_by_its_tag_and_english_stands_for_the_others(tag: str, language: str) -> None:
    assert phrases(tag).language == language


@pytest.mark.parametrize("action", ["acknowledge", "resolve", "escalate"])
@pytest.mark.parametrize("words", LANGUAGES, ids=lambda one: one.language)
def test_the_words_that_a_message_asks_for_are_understood_when_they_come_back(words: Phrases, action: str) -> None:
    heard = said(f"{getattr(words, f'reply_{action}')}\n\n> {words.open_for}\n")
    assert heard is not None
    assert heard.action == action
