"""Results as JUnit XML, which every build server reads.

The one law: text in, text out, and equal results give equal bytes: no times, no hosts.
"""

from collections.abc import Iterable
from io import StringIO
from typing import Final
from xml.sax.saxutils import XMLGenerator
from xml.sax.xmlreader import AttributesImpl

from rules.instants import format_span
from rules.tuning.running import Failure, Result

_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(9), 11, 12, *range(14, 32), 127)}


def junit(results: Iterable[tuple[str, Iterable[Result], Iterable[object]]]) -> str:
    """A `testsuites` document of (test file, its results, what is wrong with the file itself)."""
    suites = [(file, list(found), [str(one) for one in wrong]) for file, found, wrong in results]
    out = StringIO()
    xml = XMLGenerator(out, "utf-8", short_empty_elements=True)
    xml.startDocument()
    tests = sum(len(found) for _, found, _ in suites)
    failures = sum(not one.passed for _, found, _ in suites for one in found)
    errors = sum(bool(wrong) for _, _, wrong in suites)
    _start(xml, "testsuites", name="ticketd rules", tests=tests + errors, failures=failures, errors=errors)
    for file, found, wrong in suites:
        failed, broken = sum(not one.passed for one in found), int(bool(wrong))
        _start(xml, "testsuite", name=file, tests=len(found) + broken, failures=failed, errors=broken, skipped=0)
        if wrong:
            _start(xml, "testcase", classname=file, name="the files can be read", file=file)
            _start(xml, "error", message=wrong[0], type="mistake")
            xml.characters(_plain("\n".join(wrong)))
            xml.endElement("error")
            xml.endElement("testcase")
        for one in found:
            _case(xml, file, one)
        xml.endElement("testsuite")
    xml.endElement("testsuites")
    xml.endDocument()
    return out.getvalue() + "\n"


def _case(xml: XMLGenerator, file: str, result: Result) -> None:
    _start(xml, "testcase", classname=file, name=result.name, file=file, line=result.place[1])
    if not result.passed:
        first = result.failures[0]
        _start(xml, "failure", message=first, type="unexpected")
        xml.characters(_plain("\n\n".join(_told(one) for one in result.failures)))
        xml.endElement("failure")
    xml.endElement("testcase")


def _start(xml: XMLGenerator, element: str, /, **attributes: object) -> None:
    xml.startElement(element, AttributesImpl({key: _plain(str(value)) for key, value in attributes.items()}))


def _told(failure: Failure) -> str:
    turns = [f"  {format_span(one.at)}  {one.before} -> {one.after}  {one.why}" for one in failure.turns]
    return "\n".join([str(failure), *turns])


def _plain(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return text.translate(_CONTROL).encode("utf-8", "replace").decode("utf-8")
