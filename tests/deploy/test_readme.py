"""`deploy/README.md` holds: its five lines render, its links lead somewhere, each alert is in its runbook."""

import re
import shutil

import yaml

import manifests
from conftest import ROOT, run, tool
from pod_security import pod_spec

DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text()
AGENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      initContainers: [{name: migrate, image: agent}]
      containers: [{name: agent, image: agent}]
---
apiVersion: v1
kind: Service
metadata: {name: agent}
spec: {selector: {app: agent}, ports: [{name: http, port: 80}]}
"""


def blocks() -> list[str]:
    """The YAML in it."""
    return re.findall(r"```yaml\n(.*?)```", README, re.S)


def with_five_lines(folder, *more: str) -> list[dict]:
    """An agent of somebody's, with the README's files beside it."""
    kustomization, sessmux = blocks()[:2]
    shutil.copytree(DEPLOY, folder / "sessmux" / "deploy")
    for component in more:
        kustomization = kustomization.replace("/sidecar]", f"/sidecar, sessmux/deploy/kubernetes/{component}]")
    for name, text in (("kustomization", kustomization), ("sessmux", sessmux), ("agent", AGENT)):
        (folder / f"{name}.yaml").write_text(text)
    return list(yaml.safe_load_all(run(tool("kubectl"), "kustomize", folder)))


def test_five_lines_are_five():
    assert len(blocks()[0].splitlines()) == 5


def test_five_lines_add_it_to_any_deployment(tmp_path):
    objects = with_five_lines(tmp_path)
    [workload] = manifests.workloads(objects)
    assert manifests.sessmux_of(workload)["image"] == "registry.example.com/sessmux:0.1.0"
    assert [it["name"] for it in pod_spec(workload)["containers"]] == ["agent"]
    assert {it["name"] for it in pod_spec(workload)["initContainers"]} == {"migrate", "sessmux"}
    assert manifests.settings(objects)["public_origin"] == ["https://agent.example.com"]
    assert [fault for check in manifests.CHECKS for fault in check(objects)] == []


def test_the_same_without_native_sidecars(tmp_path):
    objects = with_five_lines(tmp_path, "sidecar-classic")
    [workload] = manifests.workloads(objects)
    assert [it["name"] for it in pod_spec(workload)["containers"]] == ["agent", "sessmux"]
    assert [it["name"] for it in pod_spec(workload)["initContainers"]] == ["migrate"]
    assert [fault for check in manifests.CHECKS for fault in check(objects)] == []


def test_times_of_the_pods_end_are_those_of_the_manifest(tmp_path):
    [workload] = manifests.workloads(with_five_lines(tmp_path))
    drain = manifests.seconds(manifests.variables(manifests.sessmux_of(workload))["SESSMUX_DRAIN_TIMEOUT"])
    grace = pod_spec(workload)["terminationGracePeriodSeconds"]
    sleep = int(manifests.pre_stop(pod_spec(workload)["containers"][0])[1])
    for row in (
        f"| until {drain:g} s |",
        f"| up to {drain + manifests.CLOSING:g} s |",
        f"| {sleep} s | the agent gets SIGTERM, and {grace - sleep} s ",
        f"| {grace} s |",
    ):
        assert row in README, row


def anchors(text: str) -> set[str]:
    """What may stand behind `#` in a link to it, as forges make it of headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", README)
    assert len(links) > 10
    for path, anchor in links:
        target = DEPLOY / path if path else DEPLOY / "README.md"
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text()), (path, anchor)


def test_every_alert_has_its_place_in_the_runbook():
    groups = yaml.safe_load((DEPLOY / "monitoring" / "rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    _, runbook = README.split("\n## Runbook\n")
    assert re.findall(r"^### (\w+)$", runbook, re.M) == [rule["alert"] for rule in rules]
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"deploy/README.md#{rule['alert'].lower()}"


def test_the_adapters_rule_is_about_the_autoscalers_metric():
    [adapter] = [yaml.safe_load(it) for it in blocks() if "seriesQuery" in it]
    autoscaler = yaml.safe_load((DEPLOY / "kubernetes" / "gateway" / "autoscaler.yaml").read_text())
    [metric] = autoscaler["spec"]["metrics"]
    [rule] = adapter["rules"]
    assert rule["seriesQuery"].startswith(metric["pods"]["metric"]["name"] + "{")
