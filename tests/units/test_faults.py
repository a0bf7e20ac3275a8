"""Faults of the machine at a bad moment: what was only begun is begun again, what had changed is still seen."""

from __future__ import annotations

import asyncio
import errno
import importlib
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from clary.faults import is_fault, whole_import
from clary.services.apis.lives import Lives
from clary.services.functions.provisioning import Provisioner
from clary.store.database import Database
from clary.store.rows import Row


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of two modules, the second of which needs a descriptor that is not there at first."""
    folder = tmp_path / "half_imported"
    folder.mkdir()
    (folder / "first.py").write_text("")
    (folder / "second.py").write_text(
        f"import pathlib\n"
        f"if not pathlib.Path({str(tmp_path / 'whole')!r}).exists():\n"
        f"    raise OSError({errno.EMFILE}, 'Too many open files')\n"
        f"import half_imported\n"
        f"half_imported.first\n"  # as Cython modules look at their siblings
    )
    (folder / "__init__.py").write_text("import half_imported.first\nimport half_imported.second\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "half_imported"
    for name in [n for n in sys.modules if n.startswith("half_imported")]:
        del sys.modules[name]


def test_an_import_that_failed_half_way_succeeds_later(package: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Too many") as failed, whole_import():
        importlib.import_module(package)
    assert is_fault(failed.value)
    (tmp_path / "whole").touch()
    with whole_import():
        assert importlib.import_module(package).first


def test_without_care_it_never_succeeds(package: str, tmp_path: Path) -> None:
    """What ``whole_import`` is for; when Python learns to do this itself, it can go."""
    with pytest.raises(OSError, match="Too many"):
        importlib.import_module(package)
    (tmp_path / "whole").touch()
    with pytest.raises(AttributeError):
        importlib.import_module(package)


def test_a_library_that_cannot_be_opened_is_a_fault_and_one_that_is_absent_is_none() -> None:
    assert is_fault(ImportError("libyaml.so: cannot open shared object file: Too many open files"))
    assert not is_fault(ModuleNotFoundError("No module named 'yaml'"))


def test_what_changed_while_the_database_was_away_is_read_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)
    platform: Any = SimpleNamespace(database=database)
    lives = Lives(platform, "RestApi", lambda row: row.spec["name"])
    provisioner, kept = Provisioner(platform), Kept()

    def add(kind: str, spec: dict[str, Any], private: dict[str, Any]) -> Row:
        with database.write() as tx:
            return tx.rows.add(Row(kind, "0", "r", "x", f"arn:{kind}", spec, private=private))

    api = add("RestApi", {"name": "before"}, {})
    function = add("Function", {"FunctionName": "x"}, {})
    assert asyncio.run(lives.find("x")) == "before"
    asyncio.run(provisioner.look(kept))  # type: ignore[arg-type]
    with database.write() as tx:
        tx.rows.save(api, spec={"name": "after"})
        tx.rows.save(function, private={"provisioned": {}})
    with monkeypatch.context() as away:
        away.setattr(database, "read", _away)
        for look in (lambda: lives.find("x"), lambda: provisioner.look(kept)):  # type: ignore[arg-type]
            with pytest.raises(OperationalError):
                asyncio.run(look())
    reads = _counted(database, monkeypatch)
    assert asyncio.run(lives.find("x")) == "after"
    asyncio.run(provisioner.look(kept))  # type: ignore[arg-type]
    assert len(reads) == 2
    database.close()


class Kept:
    """Environments that are told what to keep."""

    def keep(self, wanted: dict[str, Any]) -> None:
        """Nothing is kept."""


def _counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    reads: list[None] = []
    real: Callable[[], Any] = database.read

    def read() -> Any:
        reads.append(None)
        return real()

    monkeypatch.setattr(database, "read", read)
    return reads


@contextmanager
def _away() -> Any:
    raise OperationalError("select", {}, Exception("the server is away"))
    yield
