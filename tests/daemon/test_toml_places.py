"""Places in TOML: every path that tomllib reads has its line and column."""

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.toml_places import Path, Places

TEXT = '''\
# a comment with [brackets] and = signs
title = "a # no comment"   # a comment
"quoted.key" = 'literal'
long = """
[not.a.table]
x = 1 \\
"""
lit = \'\'\'
y = 2
\'\'\'
[ a . "b c" ]
d.e = [1, [2, 3], "x]",  # in an array
   {f = 1, "g" = [4]},
]
h = 2026-01-01T00:00:00Z
[[list]]
n = 1
[list.sub]
m = 2
[[list]]
n = 3
'''


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("title",), (2, 1), (2, 9)),
        (("quoted.key",), (3, 1), (3, 16)),
        (("long",), (4, 1), (4, 8)),
        (("lit",), (8, 1), (8, 7)),
        (("a",), (11, 1), (11, 1)),
        (("a", "b c"), (11, 1), (11, 1)),
        (("a", "b c", "d", "e"), (12, 1), (12, 7)),
        (("a", "b c", "d", "e", 1, 1), (12, 15), (12, 15)),
        (("a", "b c", "d", "e", 2), (12, 19), (12, 19)),
        (("a", "b c", "d", "e", 3, "f"), (13, 5), (13, 9)),
        (("a", "b c", "d", "e", 3, "g", 0), (13, 19), (13, 19)),
        (("a", "b c", "h"), (15, 1), (15, 5)),
        (("list", 0, "n"), (17, 1), (17, 5)),
        (("list", 0, "sub", "m"), (19, 1), (19, 5)),
        (("list", 1, "n"), (21, 1), (21, 5)),
    ],
)
def test_keys_and_values_have_their_places(path: Path, key: tuple[int, int], value: tuple[int, int]) -> None:
    places = Places(TEXT)
    assert (places.of_key(path), places.of_value(path)) == (key, value)


def test_what_the_text_lacks_is_placed_at_the_nearest_thing_around_it() -> None:
    places = Places(TEXT)
    assert places.of_key(("list", 1, "absent")) == (20, 1)
    assert places.of_key(("absent",)) == (1, 1)
    assert not places.holds(("list", 1, "absent"))


def paths(value: object, path: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from paths(inner, (*path, name))


names = st.text(st.sampled_from("ab-_1"), min_size=1, max_size=3)
keys = names | names.map(lambda name: f'"{name} .x"') | names.map(lambda name: f"'{name} ]'")
scalars = st.sampled_from(
    ["1", "true", '"s"', "'l'", '"""\nx = "1"\n"""', "'''[a]'''", "1979-05-27", '"\\""', "-1.5e3"]
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda some: "[" + ", # c ]\n ".join(some) + "\n]")
        | st.dictionaries(keys, inner, max_size=2).map(
            lambda some: "{" + ", ".join(f"{name} = {one}" for name, one in some.items() if "\n" not in one) + "}"
        )
    ),
    max_leaves=6,
)
lines = st.one_of(
    st.tuples(st.lists(keys, min_size=1, max_size=2), values).map(lambda one: f"{' . '.join(one[0])} = {one[1]}"),
    st.lists(keys, min_size=1, max_size=2).map(lambda some: f"[{'.'.join(some)}]"),
    st.lists(keys, min_size=1, max_size=2).map(lambda some: f"[[{'.'.join(some)}]]"),
    st.just("# comment = ["),
)


@given(st.lists(lines, max_size=6).map("\n".join))
def test_every_path_that_tomllib_reads_is_found(text: str) -> None:
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    places = Places(text)
    assert [path for path in paths(read) if not places.holds(path)] == []


@given(st.text(max_size=200))
def test_the_walk_always_ends(text: str) -> None:
    Places(text)
