"""What a database's answer becomes: fields, series, or a refusal that names the column."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from connectors.network.trial import Failure, Found, Trial
from connectors.probing import rows


def gathered(columns: Sequence[str], given: Sequence[Sequence[object]], *labels: str) -> Trial:
    trial = Trial("db:5432", labels={}, timeout_s=1, now=0, monotonic=lambda: 0.0)
    rows.gather(trial, columns, given, labels)
    return trial


def test_the_first_rows_columns_are_fields() -> None:
    trial = gathered(["lag", "ready", "none", "share", "text"], [[Decimal("1.50"), True, None, 0.25, " 7e2 "], [9] * 5])
    assert trial.fields == {"rows": 2.0, "lag": 1.5, "ready": 1.0, "share": 0.25, "text": 700.0}
    assert trial.values == {"lag": "1.50", "ready": "1", "none": "NULL", "share": "0.25", "text": "7e2"}


@pytest.mark.parametrize("name", ["?column?", "COUNT(*)", "1", "1 + 1", "42"])
def test_a_single_column_without_a_name_is_the_value(name: str) -> None:
    assert gathered([name], [[42]]).fields == {"rows": 1.0, "value": 42.0}


def test_with_labels_each_row_is_a_series() -> None:
    trial = gathered(["host", "lag", "db"], [["a", 1, "x"], ["b", 2, None], ["c", None, "x"]], "host", "db")
    assert trial.fields == {"rows": 3.0}
    assert trial.series == [Found({"host": "a", "db": "x"}, {"lag": 1.0}), Found({"host": "b"}, {"lag": 2.0})]


def test_no_row_is_a_failure_only_where_one_is_wanted() -> None:
    assert gathered(["host", "lag"], [], "host").series == []
    with pytest.raises(Failure, match="the query gave no row"):
        gathered(["lag"], [])


@pytest.mark.parametrize(
    ("columns", "given", "labels", "outcome", "reason"),
    [
        (["state"], [["ok"]], [], "value", "the column state holds 'ok', which is no number; a text can be named"),
        (["lag"], [["nan"]], [], "value", "holds 'nan', which is no number"),
        (["lag"], [["8\x1f"]], [], "value", "which is no number"),
        (["lag"], [["٣"]], [], "value", "which is no number"),
        (["lag"], [[float("inf")]], [], "value", "the column lag holds inf, which is no number"),
        (["a b", "c"], [[1, 2]], [], "value", "a field cannot be called a b"),
        (["up"], [[1]], [], "value", "a field cannot be called up"),
        (["a", "a"], [[1, 2]], [], "value", "two columns have the same name"),
        (["a"], [[1]], ["host"], "value", "the query gave no column host for that label"),
        (["host", "a"], [["x", 1], ["x", 2]], ["host"], "value", "two rows have the same labels: host=x"),
        ([f"c{n}" for n in range(50)], [[1] * 50], [], "limit", "50 columns, where 40 can be fields"),
    ],
)
def test_what_cannot_be_a_field_is_refused_by_name(
    columns: list[str], given: list[list[object]], labels: list[str], outcome: str, reason: str
) -> None:
    with pytest.raises(Failure) as caught:
        gathered(columns, given, *labels)
    assert caught.value.outcome == outcome
    assert reason in caught.value.reason
