"""A shell in a page, by terminado, unmodified, behind sessmux: the page reloads, the shell stays."""

import os
import re

import pytest

from conftest import HERE, python, sessmux
from page import Browser, Closed
from processes import Server, wait_until

SHELL = ["/bin/bash", "--norc", "--noprofile", "--noediting"]

LOG_BYTES = 256 * 1024
"""What the profile says."""


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Terminals on loopback."""
    # a prompt of its own, and no history file
    environment = {"PS1": "$ ", "HISTFILE": "", "HOME": str(tmp_path_factory.mktemp("home"))}
    server = Server([python("terminal"), HERE / "terminal_host.py", *SHELL], env=environment)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mux(host, tmp_path_factory):
    """sessmux in front of them, told the profile alone."""
    config = tmp_path_factory.mktemp("config") / "sessmux.toml"
    config.write_text('profile = "terminal"\n')
    server = sessmux(host.port, config)
    yield server
    server.stop()


class Terminal:
    """One load of the page with the terminal: its own size said, and what was printed so far."""

    def __init__(self, browser: Browser, path: str, rows: int = 24, columns: int = 80):
        browser.load()
        self.page, self.screen = browser.open(path), ""
        assert self.take() == ["setup", {}]
        self.page.send(f'["set_size", {rows}, {columns}]')

    def take(self) -> list:
        """The next message; what it prints is on the screen."""
        message = self.page.json()
        self.screen += message[1] if message[0] == "stdout" else ""
        return message

    def type(self, line: str) -> None:
        """What a person types, with the return key."""
        self.page.send(f'["stdin", "{line}\\r"]')

    def until(self, pattern: str) -> re.Match:
        """Waits until the screen has this."""
        while not (found := re.search(pattern, self.screen)):
            try:
                self.take()
            except AssertionError as failed:
                raise AssertionError(f"{failed}: {pattern!r} in {self.screen[-2000:]!r}") from None
        return found

    def shell(self) -> int:
        """The process id of its shell."""
        self.type("echo shell-$$")
        return int(self.until(r"shell-(\d+)\r\n\$ $")[1])

    def end(self) -> tuple[list, Closed]:
        """The last message, and the close that follows."""
        last: list = []
        try:
            while True:
                last = self.take()
        except Closed as closed:
            return last, closed


def runs(process: int) -> bool:
    """Whether there is this process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


LEAVES = {
    "reload": lambda terminal: terminal.page.close(1001),
    "reload, old socket slower than the new": lambda terminal: terminal.page.begin_close(1001),
    "reset": lambda terminal: terminal.page.reset(),
}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
@pytest.mark.parametrize("path", ["/websocket?tab=1", "/named/shell"], ids=["unique", "named"])
def test_the_shell_and_its_screen_survive(browser, path, leave, tag):
    """What was printed is there again, once; it is the same shell, and knows the new page's size."""
    terminal = Terminal(browser, f"{path}{tag}")
    shell = terminal.shell()
    terminal.type(f"kept={tag}")
    terminal.until(r"kept=\w+\r\n\$ $")
    for rows, columns in ((30, 100), (50, 160)):
        before = terminal.screen
        leave(terminal)
        terminal = Terminal(browser, f"{path}{tag}", rows, columns)
        while len(terminal.screen) < len(before):
            terminal.take()
        assert terminal.screen == before
        terminal.type("stty size; echo $kept-$$")
        terminal.until(rf"\n{rows} {columns}\r\n{tag}-{shell}\r\n\$ $")


def test_a_command_runs_on_while_the_page_is_away(browser, tag, tmp_path):
    """What it prints meanwhile is there after the reload."""
    gate, path = tmp_path / "gate", f"/websocket?tab={tag}"
    terminal = Terminal(browser, path)
    terminal.type(f"echo begun; until [ -e {gate} ]; do sleep 0.01; done; echo over; touch {gate}.seen")
    terminal.until("\nbegun\r\n")
    terminal.page.close(1001)
    gate.touch()
    wait_until("the command is over", (tmp_path / "gate.seen").exists)
    terminal = Terminal(browser, path)
    terminal.until("\nbegun\r\nover\r\n")


def test_the_end_of_a_long_output_is_kept(browser, tag):
    """A page gets as much as the profile's bound, up to the end."""
    path = f"/websocket?tab={tag}"
    terminal = Terminal(browser, path)
    terminal.type("seq 1 100000")
    terminal.until("\n100000\r\n")
    assert len(terminal.screen) > 2 * LOG_BYTES
    terminal.page.close(1001)
    browser.load()
    terminal.page, terminal.screen = browser.open(path), ""
    terminal.until("\n99999\r\n100000\r\n")
    assert LOG_BYTES / 4 < len(terminal.screen) <= LOG_BYTES
    assert terminal.shell()


def test_exit_ends_the_session(browser, tag):
    """The page is told as by terminado; the load after that has a fresh shell."""
    path = f"/websocket?tab={tag}"
    terminal = Terminal(browser, path)
    shell = terminal.shell()
    terminal.page.close(1001)
    terminal = Terminal(browser, path)
    terminal.type("exit")
    last, closed = terminal.end()
    assert (last, closed.code) == (["disconnect", 1], 1005)
    assert not runs(shell)
    fresh = Terminal(browser, path)
    assert fresh.shell() != shell
    assert f"shell-{shell}" not in fresh.screen


def test_exit_while_the_page_is_away(browser, tag, tmp_path):
    """The page that comes back is told; the load after that has a fresh shell."""
    gate, path = tmp_path / "gate", f"/websocket?tab={tag}"
    terminal = Terminal(browser, path)
    shell = terminal.shell()
    terminal.type(f"until [ -e {gate} ]; do sleep 0.01; done; exit")
    terminal.until("; exit\r\n")
    terminal.page.close(1001)
    gate.touch()
    wait_until("the shell has ended", lambda: not runs(shell))
    terminal = Terminal(browser, path)
    last, _ = terminal.end()
    assert f"shell-{shell}" in terminal.screen and last == ["disconnect", 1]
    assert Terminal(browser, path).shell() != shell


def test_straight_a_reload_ends_the_shell(host):
    """terminado ends the shell with its socket; the next page has an empty one."""
    browser = Browser(host.port)
    terminal = Terminal(browser, "/websocket")
    shell = terminal.shell()
    terminal.page.close(1001)
    wait_until("the shell has ended", lambda: not runs(shell))
    terminal = Terminal(browser, "/websocket")
    assert terminal.shell() != shell
    assert f"shell-{shell}" not in terminal.screen
    browser.quit()
