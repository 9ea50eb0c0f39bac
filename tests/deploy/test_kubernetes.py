"""`deploy/kubernetes`, rendered without a network, held against schemas, the restricted standard and our own checks."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

import manifests
from conftest import ROOT, run, tool
from pod_security import restricted
from processes import binary

KUBERNETES = ROOT / "deploy" / "kubernetes"
GOLDEN = Path(__file__).resolve().parent / "golden"
RENDERED = ("overlays/demo", "overlays/demo-classic", "overlays/connectonion", "gateway")
VERSIONS = ("1.29", "1.37")


def render(folder: str) -> str:
    """What `kubectl apply -k` would apply; nothing may be fetched for it."""
    without_network = ["unshare", "--user", "--map-root-user", "--net"]
    alone = subprocess.run([*without_network, "true"], capture_output=True, check=False).returncode == 0
    return run(*(without_network if alone else []), tool("kubectl"), "kustomize", KUBERNETES / folder)


@pytest.fixture(scope="module", params=RENDERED)
def rendered(request) -> tuple[str, str, list[dict]]:
    """A folder, what it renders to, and the objects in that."""
    text = render(request.param)
    return request.param, text, list(yaml.safe_load_all(text))


def test_every_kustomization_is_rendered():
    found = {path.parent.relative_to(KUBERNETES).as_posix() for path in KUBERNETES.rglob("kustomization.yaml")}
    components = {it for it in found if "kind: Component" in (KUBERNETES / it / "kustomization.yaml").read_text()}
    assert found - components == set(RENDERED)
    used = {
        (KUBERNETES / folder / part).resolve().relative_to(KUBERNETES).as_posix()
        for folder in RENDERED
        for part in yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text()).get("components", [])
    }
    assert used == components


def test_renders_are_the_golden_ones(rendered):
    folder, text, _ = rendered
    golden = GOLDEN / f"{folder.removeprefix('overlays/')}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text(), "if this is meant: UPDATE_GOLDEN=1, and read the diff"


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(rendered, version, tmp_path):
    path = tmp_path / "rendered.yaml"
    path.write_text(rendered[1])
    run(tool("kubernetes-validate"), "-k", version, "--strict", path)


def test_a_field_that_no_schema_has_is_refused(tmp_path):
    broken = list(yaml.safe_load_all(render("overlays/demo")))
    manifests.sessmux_of(manifests.workloads(broken)[0])["livenessprobe"] = {}
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump_all(broken))
    with pytest.raises(AssertionError, match="livenessprobe"):
        run(tool("kubernetes-validate"), "-k", VERSIONS[0], "--strict", path)


def test_pods_are_restricted(rendered):
    found = manifests.workloads(rendered[2])
    assert found
    assert [fault for it in found for fault in restricted(it)] == []


@pytest.mark.parametrize("check", manifests.CHECKS, ids=lambda check: check.__name__)
def test_what_no_schema_says(rendered, check):
    assert list(check(rendered[2])) == []


def test_checkov(rendered, tmp_path):
    path = tmp_path / "rendered.yaml"
    path.write_text(rendered[1])
    run(tool("checkov"), "-f", path, "--framework", "kubernetes", "--compact", "--quiet", "--skip-download")


# What `sessmux check` warns of: the demo is reached by port-forward, and agents that are apart are closed by a policy.
WARNINGS = {
    "overlays/demo": ["without public_origin under any name", "in clear: set tls_cert, or public_origin"],
    "overlays/demo-classic": ["without public_origin under any name", "in clear: set tls_cert, or public_origin"],
    "overlays/connectonion": [],
    "gateway": ['upstream = "http://agents.agents.svc:8000" is in clear on the network'],
}


def test_sessmux_takes_its_settings(rendered, tmp_path):
    folder, _, objects = rendered
    [workload] = filter(manifests.sessmux_of, manifests.workloads(objects))
    path = tmp_path / "sessmux.toml"
    path.write_text(manifests.named(objects, "ConfigMap")["sessmux"]["data"]["sessmux.toml"])
    variables = manifests.variables(manifests.sessmux_of(workload))
    assert variables["SESSMUX_CONFIG"] == "/etc/sessmux/sessmux.toml"
    said = run(binary(), "check", env={**without_settings(), **variables, "SESSMUX_CONFIG": str(path)})
    warnings = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == len(WARNINGS[folder]), said
    assert all(text in line for text, line in zip(WARNINGS[folder], warnings, strict=True)), said


def without_settings() -> dict[str, str]:
    """This environment without settings of sessmux."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SESSMUX_")}
