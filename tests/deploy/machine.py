"""A systemd that runs units for a test: the first process of a small world of its own, with this machine's programs.

It knows no units but those that it is given, sees no files of this machine's but programs, and ends with the test.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from conftest import run, tool
from page import TIMEOUT
from processes import binary, wait_until

CGROUPS = "mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd"
"""What systemd counts processes by; without controllers, so that nothing is taken from anybody."""
SYSTEMD = "exec /lib/systemd/systemd --system --log-target=null --show-status=no"
TARGETS = ("default", "sysinit", "basic", "shutdown", "network-online", "multi-user")
"""What units depend on by themselves, with nothing behind it."""
USERS = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"


class Machine:
    """`etc` is its `/etc`, `units` are all units that it knows; files there may change while it runs."""

    def __init__(self, folder: Path):
        if os.geteuid() != 0 or Path("/run/systemd/system").exists():
            pytest.skip("a systemd of the test's own wants root, and a machine that another one does not run")
        self.etc, self.units = folder / "etc", folder / "units"
        for made in (self.etc, self.units):
            made.mkdir()
        (self.etc / "passwd").write_text(USERS)
        (self.etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\n")
        for target in TARGETS:
            (self.units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        self._process = None

    def start(self) -> None:
        """Boots it; what it cannot be had without skips the test."""
        probe = subprocess.run(self._world(CGROUPS), capture_output=True, text=True)
        if probe.returncode != 0:
            pytest.skip(f"no systemd of the test's own here: {probe.stderr.strip()}")
        told, tells = os.pipe()
        world = self._world(f"{CGROUPS} && {SYSTEMD}", "--info-fd", str(tells))
        self._process = subprocess.Popen(world, stdin=subprocess.DEVNULL, pass_fds=[tells])
        os.close(tells)
        with os.fdopen(told) as info:
            first = json.load(info)["child-pid"]
        self._enter = [tool("nsenter"), f"--target={first}", "--mount", "--pid", "--ipc", "--uts"]
        wait_until("systemd answers", lambda: self("systemctl", "is-active", "default.target").returncode == 0)

    def __call__(self, *command) -> subprocess.CompletedProcess:
        """Runs a command in it."""
        return subprocess.run([*self._enter, *command], capture_output=True, text=True, timeout=3 * TIMEOUT)

    def of(self, unit: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        shown = run(*self._enter, "systemctl", "show", unit)
        return dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)

    def stop(self) -> None:
        """Ends it, and all that runs in it."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def _world(self, script: str, *options: str) -> list[str]:
        links = [word for name in ("bin", "sbin", "lib", "lib64") for word in ("--symlink", f"usr/{name}", f"/{name}")]
        folders = ("/run", "/tmp", "/var", "/root", "/home", "/usr/local")
        empty = [word for path in folders for word in ("--tmpfs", path)]
        return [
            *(tool("bwrap"), "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--die-with-parent"),
            *("--cap-add", "ALL", "--proc", "/proc", "--dev", "/dev", "--ro-bind", "/sys", "/sys"),
            *("--tmpfs", "/sys/fs/cgroup", "--ro-bind", "/usr", "/usr", *links, *empty),
            *("--ro-bind", str(self.etc), "/etc", "--ro-bind", str(self.units), "/units"),
            # for a user who is not root, too
            *("--perms", "0755", "--dir", "/usr/local/bin", "--ro-bind", str(binary()), "/usr/local/bin/sessmux"),
            *("--clearenv", "--setenv", "SYSTEMD_UNIT_PATH", "/units", "--setenv", "PATH", "/usr/bin:/usr/sbin"),
            *(*options, "/bin/sh", "-c", script),
        ]
