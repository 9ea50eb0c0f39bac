"""What the checks of `deploy/` share: its files, and the programs that read them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "agents"))  # `processes`: servers that end with their test

import venvs  # noqa: E402


def tool(name: str) -> str:
    """The path of a program; its absence skips the test by name."""
    pythons = [Path(sys.executable), *filter(None, [venvs.python("checkov")])]
    beside = (str(python.parent / name) for python in pythons if (python.parent / name).exists())
    found = next(beside, None) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is absent (tests/run installs it)")
    return found


def run(*command, **options) -> str:
    """What a command printed; a command that fails fails the test with all that it said."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
