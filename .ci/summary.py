"""Adds up the JUnit reports of several pytest runs and says, in pytest's own words, what ran.

Never guesses: a report that is missing, broken or empty is a failure, and so is a skipped test.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def main(folder: Path, names: list[str]) -> int:
    """Prints one line a suite and the total; 0 only if each suite ran tests, all passed and none was skipped."""
    total = {"passed": 0, "failed": 0, "errors": 0, "skipped": 0}
    seconds = 0.0
    ok = True
    for name in names:
        path = folder / f"{name}.xml"
        try:
            suites = list(ET.parse(path).getroot().iter("testsuite"))  # noqa: S314 - written by our own pytest
        except (OSError, ET.ParseError) as error:
            print(f"{name:<12} no report: {error}")
            ok = False
            continue
        count = {
            key: sum(int(suite.get(key, "0")) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
        }
        passed = count["tests"] - count["failures"] - count["errors"] - count["skipped"]
        spent = sum(float(suite.get("time", "0")) for suite in suites)
        print(
            f"{name:<12} {passed:>5} passed {count['failures']:>3} failed {count['errors']:>3} errors"
            f" {count['skipped']:>3} skipped {spent:>8.1f}s"
        )
        ok = ok and passed > 0 and not (count["failures"] or count["errors"] or count["skipped"])
        total["passed"] += passed
        total["failed"] += count["failures"]
        total["errors"] += count["errors"]
        total["skipped"] += count["skipped"]
        seconds += spent
    said = ", ".join(f"{number} {word}" for word, number in total.items() if number or word == "passed")
    print(f" {said} in {seconds:.2f}s ".center(80, "="))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
