"""Servers as child processes, and waiting for what they do."""

import contextlib
import http.client
import json
import os
import random
import re
import socket
import subprocess
import threading
import time
from collections import deque
from pathlib import Path

from page import TIMEOUT

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


class Server:
    """A child process that says its address on its output, in a line with `says`; the output is kept for reports.

    One that is told its `port` is ready once it accepts connections there.
    """

    def __init__(self, command, *, cwd=None, env=None, says="listening", port=0):
        self.lines: deque[str] = deque(maxlen=2000)
        self.port = port
        self._says = says
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=cwd,
            env={**os.environ, "SESSMUX_ADMIN": "off", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not (self._accepts() if port else self._ready.wait(TIMEOUT * 2) and self.port):
            self.stop()
            raise AssertionError(f"{command[0]} did not say where it listens:\n{self.output()}")

    def _accepts(self) -> bool:
        deadline = time.monotonic() + TIMEOUT * 2
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return True
            except OSError:
                time.sleep(0.05)
        return False

    def _read(self) -> None:
        for line in self._process.stdout:
            self.lines.append(line)
            if not self.port and self._says in line and (found := ADDRESS.search(line)):
                self.port = int(found[1])
                self._ready.set()
        # The end of the output without an address: nothing more will come.
        self._ready.set()

    def output(self) -> str:
        """The last lines that it wrote."""
        return "".join(self.lines)

    def ended(self) -> int:
        """Waits until it ends by itself, and gives its exit code."""
        return self._process.wait(TIMEOUT)

    def stop(self) -> None:
        """Ends it, and waits until it has ended."""
        self._process.terminate()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(TIMEOUT)
        self._process.stdout.close()


def binary() -> Path:
    """The sessmux under test."""
    return Path(os.environ.get("SESSMUX_BIN") or ROOT / "target" / "debug" / "sessmux")


def free_port() -> int:
    """A port that is free now, for servers that cannot choose one: below those that the system hands out (Linux,
    ip_local_port_range), or somebody else may have it by the time that it is used."""
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", random.randrange(20_000, 32_000))) as listener:
            return listener.getsockname()[1]


def get(port: int, path: str, method: str = "GET", body=None) -> dict:
    """A JSON answer over HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        text = response.read()
        assert response.status == 200, (method, path, response.status, text[:500])
        return json.loads(text)
    finally:
        connection.close()


def wait_until(what: str, condition, timeout: float = TIMEOUT):
    """Asks until the condition gives something true, which is returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain until {what}; last: {value!r}")
        time.sleep(0.01)
