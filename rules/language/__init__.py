"""The rule language: `{name: text}` and what the daemon has to a `Policy`, or every error as `file:line:col: message`.

The one law: nothing is guessed. What a file says is kept as it was typed, what it may mean is declared in `shapes.py`,
and whatever is neither is an error at its place. Files are read elsewhere; here they are texts.
"""

from rules.language.build import Loaded, catch_all, load
from rules.language.files import used_files
from rules.language.nodes import BYTES_MAX, Document, read
from rules.language.people import LanguageKinds
from rules.language.report import Problem
from rules.language.schema import schema
from rules.matcher_syntax import parse_matcher

__all__ = [
    "BYTES_MAX",
    "Document",
    "LanguageKinds",
    "Loaded",
    "Problem",
    "catch_all",
    "load",
    "parse_matcher",
    "read",
    "schema",
    "used_files",
]
