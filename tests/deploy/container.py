"""An image of `deploy/image`: built, unpacked, and run with as little as a cluster's strictest policy leaves it."""

import json
import os
import subprocess
from pathlib import Path

from conftest import ROOT, run, tool
from processes import Server

DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
ENV = {**os.environ, "STORAGE_DRIVER": "vfs"}  # for any file system; the layer is small


def build(contents: Path, work: Path) -> tuple[str, Path]:
    """Builds the image, of what `deploy/image/build` made in place of the first stage; digest and OCI layout."""
    storage = [tool("buildah"), "--root", work / "storage", "--runroot", work / "run"]
    run(
        *(*storage, "build", "--isolation", "chroot", "--timestamp", "0", "--build-context", f"build={contents}"),
        *("--file", DOCKERFILE, "--tag", "sessmux:test", ROOT),
        env=ENV,
    )
    digest, layout = work / "digest", work / "layout"
    run(*storage, "push", "--digestfile", digest, "sessmux:test", f"oci:{layout}:test", env=ENV)
    return digest.read_text(), layout


def unpack(layout: Path, bundle: Path) -> dict:
    """Unpacks an image into a bundle for runc, and gives its configuration as the image has it."""
    run(tool("umoci"), "unpack", "--image", f"{layout}:test", bundle)
    return json.loads((bundle / "config.json").read_text())


class Container:
    """The image's own process: a read-only root, no capabilities, the image's user, this machine's network."""

    def __init__(self, bundle: Path, arguments: list, files: dict[str, str]):
        file = bundle / "config.json"
        config = json.loads(file.read_text())
        process = config["process"]
        process["terminal"] = False
        process["args"] = [process["args"][0], *map(str, arguments)]
        process["capabilities"] = {}
        process["noNewPrivileges"] = True
        config["root"]["readonly"] = True
        namespaces = config["linux"]["namespaces"]
        config["linux"]["namespaces"] = [space for space in namespaces if space["type"] != "network"]
        user = f"uid={process['user']['uid']}"
        options = ["nosuid", "nodev", "noexec", user, "mode=0700"]
        config["mounts"].append(_mount("/run/sessmux", "tmpfs", "tmpfs", *options))
        # as container runtimes do it
        for path, text in files.items():
            source = bundle / path.replace("/", "_")
            source.write_text(text)
            config["mounts"].append(_mount(path, "bind", str(source), "bind", "ro"))
        file.write_text(json.dumps(config))
        self._runc = [tool("runc"), "--root", bundle / "state"]
        self.server = Server([*self._runc, "run", "--bundle", bundle, "sessmux"])

    def pid(self) -> int:
        """Its process, as this machine numbers it."""
        return json.loads(run(*self._runc, "state", "sessmux"))["pid"]

    def command(self, *words) -> str:
        """Runs a command in it, found by name, as `kubectl exec` and hooks of its life do."""
        return run(*self._runc, "exec", "sessmux", *words)

    def stop(self) -> None:
        """Ends it, whatever it does."""
        self.server.stop()
        subprocess.run([*map(str, self._runc), "delete", "--force", "sessmux"], capture_output=True, check=False)


def _mount(destination: str, kind: str, source: str, *options: str) -> dict:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
