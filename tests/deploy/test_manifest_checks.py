"""The checks of `manifests` and `pod_security` find what they are for: manifests broken in one place are refused."""

import copy
from collections.abc import Callable

import pytest
import yaml

import manifests
from pod_security import pod_spec, restricted
from test_kubernetes import render


class Broken:
    """The objects of an overlay, and the places in them that are broken here."""

    def __init__(self, objects: list[dict]):
        self.objects = copy.deepcopy(objects)
        [self.workload] = filter(manifests.sessmux_of, manifests.workloads(self.objects))
        self.pod = pod_spec(self.workload)
        self.sessmux = manifests.sessmux_of(self.workload)
        self.agent = self.pod["containers"][0]

    def one(self, kind: str, name: str) -> dict:
        """An object's spec."""
        return manifests.named(self.objects, kind)[name]["spec"]

    def tell(self, name: str, value: str) -> None:
        """Changes a setting."""
        [told] = [it for it in self.sessmux["env"] if it["name"] == name]
        told["value"] = value


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[dict]]:
    """What is broken here, whole."""
    return {folder: list(yaml.safe_load_all(render(folder))) for folder in ("overlays/demo", "gateway")}


def refused(objects: list[dict], check: Callable, breaking: Callable[[Broken], object], fault: str) -> None:
    """The check has no fault to find, then exactly this one."""
    assert list(check(objects)) == []
    broken = Broken(objects)
    breaking(broken)
    found = list(check(broken.objects))
    assert found and all(fault in it for it in found), found


def nowhere(field: str) -> Callable[[Broken], None]:
    """Neither the pod nor a container says this of its security."""

    def breaking(it: Broken) -> None:
        for place in (it.pod, it.sessmux, it.agent):
            place["securityContext"].pop(field)

    return breaking


PODS = [
    (lambda it: it.pod.update(hostNetwork=True), "hostNetwork"),
    (lambda it: it.pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "volume host is of hostPath"),
    (lambda it: it.pod.update(securityContext={"sysctls": [{"name": "kernel.msgmax"}]}), "sysctl kernel.msgmax"),
    (lambda it: it.pod.pop("automountServiceAccountToken"), "has a token"),
    (lambda it: it.sessmux["securityContext"].update(privileged=True), "/sessmux: privileged"),
    (lambda it: it.sessmux["securityContext"].pop("allowPrivilegeEscalation"), "/sessmux: allowPrivilegeEscalation"),
    (lambda it: it.sessmux["securityContext"].update(runAsNonRoot=False), "/sessmux: runAsNonRoot"),
    (lambda it: it.agent["securityContext"].update(runAsUser=0), "/agent: runs as root"),
    (lambda it: it.sessmux["securityContext"].update(seccompProfile={"type": "Unconfined"}), "no seccompProfile"),
    (nowhere("runAsNonRoot"), ": runAsNonRoot is not true"),
    (nowhere("seccompProfile"), ": no seccompProfile"),
    (lambda it: it.agent["securityContext"].pop("capabilities"), "/agent: capabilities are not dropped"),
    (lambda it: it.sessmux["securityContext"]["capabilities"].update(add=["NET_ADMIN"]), "capabilities are added"),
    (lambda it: it.sessmux["securityContext"].update(procMount="Unmasked"), "/sessmux: procMount"),
    (lambda it: it.sessmux["ports"][0].update(hostPort=8080), "/sessmux: hostPort"),
    (lambda it: it.agent.update(lifecycle={"preStop": {"httpGet": {"host": "169.254.169.254"}}}), "another host"),
    (lambda it: it.sessmux["securityContext"].pop("readOnlyRootFilesystem"), "/sessmux: readOnlyRootFilesystem"),
]


@pytest.mark.parametrize("breaking, fault", PODS, ids=[fault for _, fault in PODS])
def test_the_restricted_standard(rendered, breaking, fault):
    def check(objects):
        return (found for it in manifests.workloads(objects) for found in restricted(it))

    refused(rendered["overlays/demo"], check, breaking, fault)


def closes_nothing(it: Broken) -> None:
    it.one("NetworkPolicy", "sessmux")["podSelector"] = {"matchLabels": {"sessmux": "elsewhere"}}


SIDECAR = [
    (manifests.restart_policies, lambda it: it.sessmux.update(restartPolicy="OnFailure"), "is OnFailure"),
    (manifests.restart_policies, lambda it: it.sessmux.pop("restartPolicy"), "waits for its end"),
    (manifests.restart_policies, lambda it: it.agent.update(restartPolicy="Always"), "has no restartPolicy"),
    (manifests.restart_policies, lambda it: it.pod.update(restartPolicy="Never"), "of the pod is Never"),
    (manifests.probes, lambda it: it.sessmux.pop("startupProbe"), "startupProbe asks {}"),
    (manifests.probes, lambda it: it.sessmux["livenessProbe"]["httpGet"].update(path="/ready"), "livenessProbe asks"),
    (manifests.probes, lambda it: it.sessmux["readinessProbe"]["httpGet"].update(path="/live"), "readinessProbe asks"),
    (manifests.probes, lambda it: it.sessmux["readinessProbe"]["httpGet"].update(port="sessmux-health"), "not /ready"),
    (manifests.ports, lambda it: it.sessmux["ports"][0].update(containerPort=8000), "ports [8000, 8081]"),
    (manifests.ports, lambda it: it.tell("SESSMUX_HEALTH", "127.0.0.1:8081"), "nobody outside the pod"),
    (manifests.ports, lambda it: it.tell("SESSMUX_LISTEN", "[::1]:8080"), "nobody outside the pod"),
    (manifests.ports, lambda it: it.one("Service", "demo")["ports"][0].update(targetPort=8000), "targetPort 8000"),
    (manifests.ports, lambda it: it.one("Service", "demo")["ports"][0].pop("targetPort"), "targetPort None"),
    (manifests.ports, lambda it: it.one("Service", "demo")["ports"][0].update(targetPort="name"), "targetPort name"),
    (manifests.ports, lambda it: it.one("NetworkPolicy", "sessmux")["ingress"].append({}), "every port is open"),
    (
        manifests.ports,
        lambda it: it.one("NetworkPolicy", "sessmux")["ingress"][0]["ports"].append({"port": 8000}),
        "opens [8000]",
    ),
    (manifests.selections, lambda it: it.one("Service", "demo")["selector"].update(app="x"), "demo: selects no"),
    (manifests.selections, closes_nothing, "no NetworkPolicy closes it"),
    (manifests.endings, lambda it: it.sessmux.pop("lifecycle"), "is not drained"),
    (manifests.endings, lambda it: it.agent.pop("lifecycle"), "/agent: its preStop None is over before"),
    (
        manifests.endings,
        lambda it: it.agent["lifecycle"]["preStop"]["exec"].update(command=["sleep", "35"]),
        "/agent: its preStop ['sleep', '35'] is over before",
    ),
    (manifests.endings, lambda it: it.pod.update(terminationGracePeriodSeconds=40), "40 is less than 35 + 10"),
    (manifests.endings, lambda it: it.tell("SESSMUX_DRAIN_TIMEOUT", "5m"), "50 is less than 305 + 10"),
    (manifests.memory, lambda it: it.sessmux["resources"]["limits"].update(memory="128Mi"), "128 MiB, not 243"),
    (manifests.memory, lambda it: it.tell("SESSMUX_MAX_SESSIONS", "10000"), "256 MiB, not 319"),
    (manifests.agents, lambda it: it.agent["args"].append("0.0.0.0:8000"), "listens on every address"),
    (manifests.agents, lambda it: it.agent.update(ports=[{"containerPort": 8000}]), "has ports of its own"),
]
GATEWAY = [
    (manifests.endings, lambda it: it.pod.update(terminationGracePeriodSeconds=300), "300 is less than 305"),
    (
        manifests.selections,
        lambda it: it.one("PodDisruptionBudget", "sessmux")["selector"]["matchLabels"].update(app="x"),
        "PodDisruptionBudget sessmux: selects no pod",
    ),
]
CASES = [("overlays/demo", *case) for case in SIDECAR] + [("gateway", *case) for case in GATEWAY]


@pytest.mark.parametrize("folder, check, breaking, fault", CASES, ids=[f"{it[1].__name__}: {it[3]}" for it in CASES])
def test_what_no_schema_says(rendered, folder, check, breaking, fault):
    refused(rendered[folder], check, breaking, fault)


def test_every_check_is_seen_to_refuse():
    assert {check for _, check, _, _ in CASES} == set(manifests.CHECKS)
