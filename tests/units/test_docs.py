"""The documents do not lie: links lead somewhere, commands and settings exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clary.cli import _COMMANDS
from tests.platform import ROOT

PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_variables_exist(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"`(?:\.venv/bin/)?clary ([a-z]+)[ `]", text):
        assert name in _COMMANDS, name
    known = (ROOT / "docs" / "reference" / "settings.md").read_text()
    for variable in re.findall(r"`(CLARY_[A-Z_]+)", text):
        assert variable in known, variable
    for target in re.findall(r"`make ([a-z]+)", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target


def test_paths_named_in_the_architecture_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    source = ROOT / "src" / "clary"
    for path in re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", text):
        places = (source / path, ROOT / path, source / "services" / "sagemaker" / path, ROOT / "tests" / path)
        assert any(p.exists() for p in places), path
