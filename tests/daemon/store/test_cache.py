"""The cache forgets the least recently used first, by number and by weight."""

from daemon.store.cache import Lru


def held(cache: Lru[str, int]) -> list[str]:
    return [name for name in "abcdef" if name in cache]


def test_the_least_recently_used_goes_first() -> None:
    cache: Lru[str, int] = Lru(3, 100)
    for number, name in enumerate("abc"):
        cache.put(name, number)
    assert cache.get("a") == 0
    cache.put("d", 3)
    assert len(cache) == 4, "nothing is forgotten within a batch"
    cache.trim()
    assert held(cache) == ["a", "c", "d"]


def test_weight_is_bounded_too() -> None:
    cache: Lru[str, int] = Lru(99, 100)
    for name in "abc":
        cache.put(name, 1, 40)
    cache.trim()
    assert (held(cache), cache.weight) == (["b", "c"], 80)
    cache.put("b", 2, 10)
    assert (cache.get("b"), cache.weight) == (2, 50)
    cache.put("d", 4, 1_000)
    cache.trim()
    assert (held(cache), cache.weight) == ([], 0)


def test_what_is_dropped_is_gone() -> None:
    cache: Lru[str, int] = Lru(9, 100)
    cache.put("a", 1, 7)
    cache.drop("a")
    cache.drop("a")
    assert (cache.get("a"), len(cache), cache.weight) == (None, 0, 0)
    cache.put("b", 1, 7)
    cache.clear()
    assert (held(cache), cache.weight) == ([], 0)
