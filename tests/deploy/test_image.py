"""`deploy/image`: built twice, looked into, and run.

Not covered: the Dockerfile's first stage, which wants a registry; it runs `deploy/image/build`, as is done here. And
the binary is compiled once; that it has nothing of the place where that was is looked at.
"""

import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from conftest import ROOT, run, tool
from container import DOCKERFILE, Container, build, unpack
from names import ADDRESS, Names
from page import Browser
from story import Demo, reload_amid_a_turn

MANIFEST = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
USER = 65532
LARGEST = 10_000_000
"""Bytes that the image may have, unpacked."""
DOCUMENTS = "usr/share/doc/sessmux"
FILES = {"usr/bin/sessmux", *(f"{DOCUMENTS}/{name}" for name in ("LICENSE-APACHE", "LICENSE-MIT", "sessmux.cdx.json"))}


@pytest.fixture(scope="module")
def contents(tmp_path_factory) -> list[Path]:
    """What the image consists of, made twice. Where nothing is left of a former run the first compiles for minutes."""
    if os.geteuid() != 0:
        pytest.skip("images are built and run as root here")
    for name in ("buildah", "umoci", "runc", "cargo-cyclonedx"):
        tool(name)
    made = [tmp_path_factory.mktemp("contents") for _ in range(2)]
    for folder in made:
        run(ROOT / "deploy" / "image" / "build", folder / "out")
    return made


@pytest.fixture(scope="module")
def images(contents, tmp_path_factory) -> list[tuple[str, Path]]:
    """The image, built twice, each with storage of its own: digests and OCI layouts."""
    return [build(each, tmp_path_factory.mktemp("image")) for each in contents]


@pytest.fixture(scope="module")
def bundle(images, tmp_path_factory) -> Path:
    """The image, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked") / "bundle"
    unpack(images[0][1], folder)
    return folder


def test_the_dockerfile_is_clean():
    """By hadolint."""
    run(tool("hadolint"), DOCKERFILE)


def test_the_first_stage_has_what_cargo_wants(tmp_path):
    """It copies all files that the manifest names, and `.dockerignore` lets them through."""
    first, _ = DOCKERFILE.read_text().split("FROM scratch")
    copied = [path for line in re.findall(r"^COPY (.*) \S+$", first, re.MULTILINE) for path in line.split()]
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    through = [path for line in ignore if line.startswith("!") for path in ROOT.glob(line[1:])]
    assert {ROOT / path for path in copied} == set(through) and "*" in ignore
    for path in copied:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / path).is_dir() else shutil.copy)(ROOT / path, target)
    # a target of the manifest that is not there is an error; of other systems' crates none is wanted
    host = re.search(r"^host: (.*)$", run("rustc", "-vV"), re.MULTILINE)[1]
    run("cargo", "fetch", "--locked", "--target", host, cwd=tmp_path)


def test_two_builds_are_equal(images):
    """To the byte."""
    (first, _), (second, _) = images
    assert first.startswith("sha256:") and first == second


def test_it_says_what_it_is(images):
    """Its user, its command and its labels; the version is that of the crate."""
    layout = images[0][1]
    (manifest,) = json.loads((layout / "index.json").read_text())["manifests"]

    def blob(digest: str) -> dict:
        return json.loads((layout / "blobs" / digest.replace(":", "/")).read_text())

    config = blob(blob(manifest["digest"])["config"]["digest"])["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["/usr/bin/sessmux"] and "Cmd" not in config
    label = "org.opencontainers.image."
    said = {name: config["Labels"].get(label + name) for name in ("title", "version", "licenses", "description")}
    wanted = {"title": "name", "version": "version", "licenses": "license", "description": "description"}
    assert said == {name: MANIFEST[field] for name, field in wanted.items()}


def test_there_is_nothing_else(bundle):
    """No shell, no library, no place where it was built; and it is small."""
    root = bundle / "rootfs"
    there = {str(path.relative_to(root)): path for path in root.rglob("*") if not path.is_dir()}
    assert set(there) == FILES
    size = sum(path.stat().st_size for path in there.values())
    print(f"the image has {size / 1e6:.1f} MB")
    assert size <= LARGEST
    binary = there["usr/bin/sessmux"].read_bytes()
    home = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    assert str(ROOT).encode() not in binary and home.encode() not in binary


def test_the_bill_of_materials_is_whole(bundle):
    """It has the crates that cargo compiles into the binary, and no others."""
    bill = (bundle / "rootfs" / DOCUMENTS / "sessmux.cdx.json").read_text()
    assert str(ROOT) not in bill and "serialNumber" not in bill
    named = {f"{component['name']} {component['version']}" for component in json.loads(bill)["components"]}
    tree = run("cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", cwd=ROOT)
    crates = {" ".join(line.replace(" v", " ").split()[:2]) for line in tree.splitlines()}
    assert named == crates - {f"sessmux {MANIFEST['version']}"}


def test_a_reload_through_it(bundle):
    """Run with as little as can be, in front of an agent that only a name server knows; looked into and drained."""
    demo, names = Demo(), Names("agent.test")
    listen = ["--listen", "127.0.0.1:0", "--drain-timeout", "0"]
    container = Container(
        bundle,
        ["--upstream", f"http://agent.test:{demo.port}", *listen],
        {"/etc/resolv.conf": f"nameserver {ADDRESS}\n", "/etc/hosts": "127.0.0.1 localhost\n"},
    )
    try:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{container.pid()}/status").read_text().splitlines())
        assert set(status["Uid"].split() + status["Gid"].split()) == {str(USER)}
        assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        mounts = Path(f"/proc/{container.pid()}/mountinfo").read_text().splitlines()
        (root,) = (mount.split() for mount in mounts if mount.split()[4] == "/")
        assert "ro" in root[5].split(",")

        browser = Browser(container.server.port)
        reloaded = reload_amid_a_turn(browser, demo)
        assert names.asked, container.server.output()
        assert "Sessions 1, with a page 1." in container.command("sessmux", "sessions")
        # to wait would be in vain: what was started in the container is killed when its first process ends
        container.command("sessmux", "drain", "--no-wait")
        assert container.server.ended() == 0
        assert reloaded.closed().code == 1012
    finally:
        container.stop()
        names.stop()
        demo.stop()
