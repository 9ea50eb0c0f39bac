"""README's table of servers says what these tests run: its versions are the pinned ones, its profiles are built in."""

import re

import pytest

from conftest import HERE
from processes import ROOT

BUILT_IN = ROOT / "src" / "profile" / "builtin"


def rows() -> list[list[str]]:
    """The rows of the table, as cells."""
    readme = (ROOT / "README.md").read_text()
    section = readme.split("\n## Works with\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def pinned() -> set[str]:
    """Every version that some environment has."""
    files = HERE.glob("requirements-*.txt")
    return {version for file in files for version in re.findall(r"^[^#\n]+==(\S+)", file.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_is_what_is_tested(row):
    """Versions, profile, tests."""
    _, versions, profile, what, tests = row
    assert what
    assert set(versions.split(", ")) <= pinned()
    linked = re.findall(r"\]\((\S+)\)", tests)
    assert linked and all((ROOT / file).exists() for file in linked)
    for name in re.findall(r"`(\S+)`", profile):
        head = (BUILT_IN / f"{name}.toml").read_text().splitlines()[0]
        assert all(version in head for version in versions.split(", ")), head


def test_no_profile_is_left_out():
    """Each that is built in is in the table, but for one that says itself that it is not."""
    named = {name for row in rows() for name in re.findall(r"`(\S+)`", row[2])}
    tested = {file.stem for file in BUILT_IN.glob("*.toml") if "tried by hand" not in file.read_text()}
    assert named == tested
