"""`deploy/systemd`: read by the programs that will run it, held against what sessmux does, run by a real systemd."""

import re
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, run, tool
from machine import Machine
from page import Browser
from processes import binary, free_port, wait_until
from story import Demo, reload_amid_a_turn

SYSTEMD = ROOT / "deploy" / "systemd"
UNIT = (SYSTEMD / "sessmux.service").read_text()
INSTALLED = "/usr/local/bin/sessmux"
EXPOSURE = 15
"""Tenths that `systemd-analyze security` may find, of 100."""


def unit(folder: Path, *changes: tuple[str, str]) -> Path:
    """The unit with the sessmux under test, and with these changes, in a file of its own."""
    text = UNIT
    for old, new in ((INSTALLED, str(binary())), *changes):
        assert old in text, old
        text = text.replace(old, new)
    file = folder / "sessmux.service"
    file.write_text(text)
    return file


def verify(file: Path) -> str:
    """What systemd has to say of a unit; settings that it does not know are no failure to it."""
    return run(tool("systemd-analyze"), "verify", "--man=no", file)


def exposure(file: Path) -> subprocess.CompletedProcess:
    """How much of the system the unit is left, held against the bound."""
    command = [tool("systemd-analyze"), "security", "--no-pager", "--offline=true", f"--threshold={EXPOSURE}", file]
    return subprocess.run(command, capture_output=True, text=True)


def settings(name: str) -> list[str]:
    """The values that the unit gives a setting."""
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def test_systemd_understands_it(tmp_path):
    """Every line of it; a line that it does not know is told."""
    assert verify(unit(tmp_path)) == ""
    assert "Unknown key" in verify(unit(tmp_path, ("WatchdogSec=", "WatchdogSeconds=")))


def test_it_is_hardened(tmp_path):
    """An exposure of 1.5 at most; a unit that is left more is refused."""
    held = exposure(unit(tmp_path))
    assert held.returncode == 0, held.stdout + held.stderr
    for lost in ("CapabilityBoundingSet=\n", "RestrictNamespaces=yes\n"):
        opened = exposure(unit(tmp_path, (lost, "")))
        assert opened.returncode != 0 and "Overall exposure level" in opened.stdout, (lost, opened.stdout)


def test_its_commands_are_ours():
    """What it runs are commands that sessmux has; the configuration is where README says."""
    started, *_ = settings("ExecStart")
    assert started == f"{INSTALLED} --config /etc/sessmux/sessmux.toml"
    (reload,) = settings("ExecReload")
    program, command = reload.split()
    assert program == INSTALLED
    run(binary(), command, "--help")
    with pytest.raises(AssertionError):
        run(binary(), "no-such-command", "--help")


def test_a_stop_leaves_time_to_drain(tmp_path):
    """systemd kills only what has not ended by itself: the drain and the 5 s of closing after it fit in."""
    plain = tmp_path / "sessmux.toml"
    plain.write_text('upstream = "http://127.0.0.1:8000"\n')
    shown = run(binary(), "check", "--config", plain)
    drain = int(re.search(r'^drain_timeout = "?(\d+)s"?$', shown, re.MULTILINE)[1])
    (stop,) = settings("TimeoutStopSec")
    assert int(stop) >= drain + 5 + 5


def test_its_user_is_made(tmp_path):
    """By systemd-sysusers, and it is the one that the unit runs as."""
    (tmp_path / "etc").mkdir()
    run(tool("systemd-sysusers"), f"--root={tmp_path}", SYSTEMD / "sysusers.conf")
    users = [line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()]
    assert settings("User") == users == ["sessmux"]


@pytest.fixture(scope="module")
def demo():
    """The agent that pages speak to."""
    demo = Demo()
    yield demo
    demo.stop()


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A systemd that has the unit as it is, and one whose watchdog bites soon."""
    folder = tmp_path_factory.mktemp("machine")
    machine = Machine(folder)
    run(tool("systemd-sysusers"), f"--root={folder}", SYSTEMD / "sysusers.conf")
    (machine.etc / "sessmux").mkdir()
    (machine.units / "sessmux.service").write_text(UNIT)
    soon = "WatchdogSec=1\nTimeoutAbortSec=1\n"
    (machine.units / "impatient.service").write_text(UNIT.replace("WatchdogSec=30\n", soon))
    machine.start()
    yield machine
    machine.stop()


def configure(machine: Machine, demo: Demo, more: str = "") -> int:
    """Writes a configuration; the port that sessmux listens on with it."""
    port = free_port()
    settings = f'listen = "127.0.0.1:{port}"\nupstream = "http://127.0.0.1:{demo.port}"\ndrain_timeout = "0"\n{more}'
    (machine.etc / "sessmux" / "sessmux.toml").write_text(settings)
    return port


def test_a_reload_of_the_page_and_of_the_settings(machine, demo):
    """It serves once it is started; a refused file fails the reload alone; a stop ends it in order."""
    port = configure(machine, demo)
    started = machine("systemctl", "start", "sessmux")
    assert started.returncode == 0, started.stderr
    browser = Browser(port)
    page = reload_amid_a_turn(browser, demo)
    assert "Sessions 1, with a page 1." in machine("/usr/local/bin/sessmux", "sessions").stdout

    file = machine.etc / "sessmux" / "sessmux.toml"
    good = file.read_text()
    file.write_text(good + 'grace = "soon"\n')
    assert machine("systemctl", "reload", "sessmux").returncode != 0
    file.write_text(good + 'grace = "2h"\n')
    reloaded = machine("systemctl", "reload", "sessmux")
    assert reloaded.returncode == 0, reloaded.stderr
    page.send({"type": "approve", "id": "no-such-call"})
    assert page.json()["type"] == "refused"

    assert machine("systemctl", "stop", "sessmux").returncode == 0
    assert page.closed().code == 1012
    told = machine.of("sessmux")
    assert (told["Result"], told["ExecMainStatus"], told["NRestarts"]) == ("success", "0", "0")
    browser.quit()


def test_a_bad_configuration_is_not_tried_again(machine, demo):
    """It would be refused each time."""
    configure(machine, demo, 'grace = "soon"\n')
    assert machine("systemctl", "start", "sessmux").returncode != 0
    told = machine.of("sessmux")
    assert (told["ActiveState"], told["ExecMainStatus"], told["NRestarts"]) == ("failed", "64", "0")


def test_the_watchdog_bites(machine, demo):
    """A sessmux that has stopped turning is started anew."""
    port = configure(machine, demo)
    assert machine("systemctl", "start", "impatient").returncode == 0
    machine("kill", "-STOP", machine.of("impatient")["MainPID"])

    def anew() -> bool:
        told = machine.of("impatient")
        return told["NRestarts"] != "0" and told["ActiveState"] == "active"

    wait_until("it is started anew", anew)
    Browser(port).load("/")
    assert machine("systemctl", "stop", "impatient").returncode == 0
