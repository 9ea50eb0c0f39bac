"""Virtual environments of the tests: one for each `requirements-NAME.txt` here (the agents') or in `tests/deploy`.

They live in the user's cache folder, named by the hash of their pins, so that a changed pin makes a new
one and an unchanged one is made once per machine. Run as a script it makes what is missing; imported it
tells where an environment's Python is. With names it makes those alone, and prints the Python of each; without
names those of the agents.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent


def pins_of(name: str) -> Path:
    """The environment's requirements file."""
    here = HERE / f"requirements-{name}.txt"
    return here if here.exists() else HERE.parent / "deploy" / here.name


def names() -> list[str]:
    """Every environment of the agent tests."""
    found = sorted(p.name.removeprefix("requirements-").removesuffix(".txt") for p in HERE.glob("requirements-*.txt"))
    assert found, f"no requirements-*.txt in {HERE}"
    return found


def folder(name: str) -> Path:
    """Where the environment is, or will be."""
    # The interpreter is part of what was installed: its wheels are built for it.
    pins = f"{sys.version_info[:2]}\n".encode() + pins_of(name).read_bytes()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "sessmux" / f"venv-{name}-{hashlib.sha256(pins).hexdigest()[:16]}"


def python(name: str) -> Path | None:
    """The environment's Python, or None where it is not complete."""
    home = folder(name)
    return home / "bin" / "python" if (home / "complete").exists() else None


def make(name: str) -> str | None:
    """Makes the environment unless it is complete; returns why it could not."""
    home = folder(name)
    if python(name):
        return None
    shutil.rmtree(home, ignore_errors=True)
    pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", home], [*pip, "-r", pins_of(name)]):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            return f"{name}: {done.stdout.decode(errors='replace').strip()[-2000:]}"
    (home / "complete").touch()
    return None


def main() -> int:
    """Makes what is missing, side by side; without names all, and prints the Python of the one that runs pytest."""
    wanted = sys.argv[1:]
    with ThreadPoolExecutor() as pool:
        failures = [why for why in pool.map(make, wanted or names()) if why]
    for why in failures:
        print(why, file=sys.stderr)
    pythons = [python(name) for name in wanted or ["runner"]]
    print(*filter(None, pythons), sep="\n")
    return 0 if all(pythons) else 1


if __name__ == "__main__":
    sys.exit(main())
