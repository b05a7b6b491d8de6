"""`ticketd backup | restore | migrate` on real stores: a copy of one in use, put back, and refusals that say why."""

from pathlib import Path

import pytest

from daemon.store.store import Store
from tests.daemon.cli.conftest import Ticketd


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store that holds one secret."""
    url = f"sqlite:///{tmp_path}/ticketd.db"
    store = Store.open(url)
    store.secret("links", lambda: "as it was")
    store.close()
    return url


def secret(url: str) -> str:
    store = Store.open(url)
    try:
        return store.secret("links", lambda: "made anew")
    finally:
        store.close()


def test_a_copy_of_a_store_in_use_is_put_back(cli: Ticketd, url: str, tmp_path: Path) -> None:
    store = Store.open(url)
    done = cli("backup", tmp_path / "copy.db", "--store", url)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path}/copy.db: a copy of {url}, ")
    store.close()
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    assert cli("restore", tmp_path / "copy.db", "--store", elsewhere).exit_code == 0
    assert secret(elsewhere) == "as it was"


def test_nothing_is_overwritten_unasked(cli: Ticketd, url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    cli("backup", copy, "--store", url)
    again = cli("backup", copy, "--store", url)
    assert (again.exit_code, again.stdout, "exists already" in again.stderr) == (3, "", True)
    put = cli("restore", copy, "--store", url)
    assert (put.exit_code, put.stdout, "--force" in put.stderr) == (3, "", True)
    assert cli("restore", copy, "--store", url, "--force").exit_code == 0
    assert secret(url) == "as it was"


def test_a_store_in_use_is_not_replaced(cli: Ticketd, url: str, tmp_path: Path) -> None:
    cli("backup", tmp_path / "copy.db", "--store", url)
    store = Store.open(url)
    done = cli("restore", tmp_path / "copy.db", "--store", url, "--force")
    store.close()
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("ticketd: restore: ")


def test_what_is_no_store_is_neither_copied_nor_put_back(cli: Ticketd, url: str, tmp_path: Path) -> None:
    none = cli("backup", tmp_path / "copy.db", "--store", f"sqlite:///{tmp_path}/none.db")
    assert (none.exit_code, "does not exist" in none.stderr) == (3, True)
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    junk = cli("restore", tmp_path / "junk.db", "--store", url, "--force")
    assert junk.exit_code == 3
    assert secret(url) == "as it was"


def test_tables_are_made_once(cli: Ticketd, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    assert cli("migrate", "--store", url).stdout == f"{url}: the tables are those of this version now\n"
    assert cli("migrate", "--store", url).stdout == f"{url}: there was nothing to do\n"


def test_a_store_url_that_is_none_is_named(cli: Ticketd, tmp_path: Path) -> None:
    done = cli("backup", tmp_path / "copy.db", "--store", "mysql://x")
    assert done.exit_code == 1
    assert done.stderr.startswith("--store: ")
