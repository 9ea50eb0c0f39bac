"""What `deploy/kubernetes` has to hold, and no schema says: each check gives the faults that it finds, one a line."""

import ipaddress
import re
import tomllib
from collections.abc import Iterator

from pod_security import containers, pod_spec

NATIVE_SIDECAR = "Always"
# What sessmux itself needs once drain_timeout is over: it closes pages and upstreams within 5 s.
CLOSING = 5
# What an agent is left for its own end, after its preStop.
AGENT_END = 10
MIB = 1 << 20


def named(objects: list[dict], kind: str) -> dict[str, dict]:
    """The objects of this kind, by name."""
    return {it["metadata"]["name"]: it for it in objects if it["kind"] == kind}


def workloads(objects: list[dict]) -> list[dict]:
    """What makes pods."""
    return [it for it in objects if it["kind"] in ("Deployment", "StatefulSet")]


def sessmux_of(workload: dict) -> dict | None:
    """The container that is sessmux."""
    return next((it for it in containers(pod_spec(workload)) if it["name"] == "sessmux"), None)


def variables(container: dict) -> dict[str, str]:
    """The settings in a container's environment."""
    return {it["name"]: it["value"] for it in container.get("env", []) if it["name"].startswith("SESSMUX_")}


def settings(objects: list[dict]) -> dict:
    """What sessmux is told: by the ConfigMap's file, and before that by its environment."""
    told = tomllib.loads(named(objects, "ConfigMap")["sessmux"]["data"]["sessmux.toml"])
    for workload in filter(sessmux_of, workloads(objects)):
        told |= {name.removeprefix("SESSMUX_").lower(): it for name, it in variables(sessmux_of(workload)).items()}
    return told


def port_of(address: str) -> int:
    """The port of ADDRESS:PORT."""
    return int(address.rsplit(":", 1)[1])


def seconds(time: str) -> float:
    """A time as sessmux.toml writes it."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", time).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def size(text: str) -> int:
    """A size as sessmux.toml or Kubernetes writes it."""
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)B?", text).groups()
    return int(number) << {"Ki": 10, "Mi": 20, "Gi": 30}[unit]


def restart_policies(objects: list[dict]) -> Iterator[str]:
    """Only an init container may have one, and `Always` is all that it may say."""
    for workload in workloads(objects):
        spec, name = pod_spec(workload), workload["metadata"]["name"]
        if spec.get("restartPolicy", "Always") != "Always":
            yield f"{name}: restartPolicy of the pod is {spec['restartPolicy']}"
        for container in spec["containers"]:
            if "restartPolicy" in container:
                yield f"{name}/{container['name']}: a container has no restartPolicy"
        for container in spec.get("initContainers", []):
            if container.get("restartPolicy", NATIVE_SIDECAR) != NATIVE_SIDECAR:
                yield f"{name}/{container['name']}: restartPolicy is {container['restartPolicy']}"
            if container["name"] == "sessmux" and "restartPolicy" not in container:
                yield f"{name}/sessmux: an init container without restartPolicy: the pod waits for its end for ever"


def probes(objects: list[dict]) -> Iterator[str]:
    """Each probe asks what it is for, at the port that `health` says, by number."""
    health = port_of(settings(objects)["health"])
    for workload in filter(sessmux_of, workloads(objects)):
        container, name = sessmux_of(workload), workload["metadata"]["name"]
        for probe, path in (("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")):
            asked = container.get(probe, {}).get("httpGet", {})
            if (asked.get("path"), asked.get("port")) != (path, health):
                yield f"{name}: {probe} asks {asked}, not {path} at {health}"


def ports(objects: list[dict]) -> Iterator[str]:
    """The container's ports are those of the settings; Services and policies name them by number."""
    told = settings(objects)
    traffic, health = port_of(told["listen"]), port_of(told["health"])
    for workload in filter(sessmux_of, workloads(objects)):
        found = {it["containerPort"] for it in sessmux_of(workload).get("ports", [])}
        if found != {traffic, health}:
            yield f"{workload['metadata']['name']}: ports {sorted(found)}, not {sorted({traffic, health})}"
    for key in ("listen", "health"):
        if ipaddress.ip_address(told[key].rsplit(":", 1)[0].strip("[]")).is_loopback:
            yield f"{key} = {told[key]}: nobody outside the pod reaches it"
    for service in named(objects, "Service").values():
        for port in service["spec"]["ports"]:
            target = port.get("targetPort")
            if target not in (traffic, health):
                yield f"Service {service['metadata']['name']}: targetPort {target} is not sessmux's"
    for policy in named(objects, "NetworkPolicy").values():
        rules = policy["spec"].get("ingress", [])
        allowed = {port["port"] for rule in rules for port in rule.get("ports", [])}
        selects_sessmux = any(
            set(policy["spec"]["podSelector"].get("matchLabels", {}).items()) <= set(labels_of(it).items())
            and policy["metadata"].get("namespace") == it["metadata"].get("namespace")
            for it in filter(sessmux_of, workloads(objects))
        )
        if selects_sessmux and any(not rule.get("ports") for rule in rules):
            yield f"NetworkPolicy {policy['metadata']['name']}: every port is open"
        if selects_sessmux and not allowed <= {traffic, health}:
            yield f"NetworkPolicy {policy['metadata']['name']}: opens {sorted(allowed - {traffic, health}, key=str)}"


def labels_of(workload: dict) -> dict:
    """The labels of the pods."""
    return workload["spec"]["template"]["metadata"]["labels"]


def selections(objects: list[dict]) -> Iterator[str]:
    """Whatever selects pods selects some, and every pod with sessmux is closed by a policy."""
    pods = [(it["metadata"].get("namespace"), labels_of(it)) for it in workloads(objects)]

    def selected(by: dict, labels: dict) -> list[dict]:
        space = by["metadata"].get("namespace")
        return [pod for where, pod in pods if where == space and labels.items() <= pod.items()]

    for kind in ("Service", "PodDisruptionBudget", "Deployment", "StatefulSet"):
        for name, it in named(objects, kind).items():
            selector = it["spec"].get("selector", {})
            if not selected(it, selector if kind == "Service" else selector.get("matchLabels", {})):
                yield f"{kind} {name}: selects no pod"
    policies = named(objects, "NetworkPolicy").values()
    for workload in filter(sessmux_of, workloads(objects)):
        closed = [
            it
            for it in policies
            if "Ingress" in it["spec"]["policyTypes"]
            and labels_of(workload) in selected(it, it["spec"]["podSelector"].get("matchLabels", {}))
        ]
        if not closed:
            yield f"{workload['metadata']['name']}: no NetworkPolicy closes it"


def endings(objects: list[dict]) -> Iterator[str]:
    """The drain fits into the pod's grace, and an agent beside sessmux waits for it."""
    drain = seconds(settings(objects)["drain_timeout"]) + CLOSING
    for workload in filter(sessmux_of, workloads(objects)):
        name, spec = workload["metadata"]["name"], pod_spec(workload)
        grace = spec.get("terminationGracePeriodSeconds", 30)
        if pre_stop(sessmux_of(workload)) != ["sessmux", "drain"]:
            yield f"{name}: sessmux is not drained at the beginning of the pod's end"
        agents = [it for it in spec["containers"] if it["name"] != "sessmux"]
        for agent in agents:
            match pre_stop(agent):
                case ["sleep", time] if float(time) > drain:
                    waits = float(time)
                case ["sessmux", "drain", "--admin", _]:
                    waits = drain
                case other:
                    yield f"{name}/{agent['name']}: its preStop {other} is over before the drain, after {drain:g} s"
                    continue
            if waits + AGENT_END > grace:
                yield f"{name}: terminationGracePeriodSeconds {grace} is less than {waits:g} + {AGENT_END}"
        if not agents and drain + CLOSING > grace:
            yield f"{name}: terminationGracePeriodSeconds {grace} is less than {drain:g} + {CLOSING}"


def pre_stop(container: dict) -> list[str] | None:
    """What is run at the beginning of a container's end."""
    return container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")


def memory(objects: list[dict]) -> Iterator[str]:
    """The limit is what the formula beside it comes to, for what sessmux.toml allows."""
    told = settings(objects)
    needed = 32 * MIB + size(told["max_buffered"]) * 3 // 2 + 10_000 * int(told["max_sessions"])
    for workload in filter(sessmux_of, workloads(objects)):
        limit = size(sessmux_of(workload)["resources"]["limits"]["memory"])
        if limit < needed:
            yield f"{workload['metadata']['name']}: limits.memory {limit / MIB:.0f} MiB, not {needed / MIB:.0f}"


def agents(objects: list[dict]) -> Iterator[str]:
    """The agent beside sessmux is reached by sessmux alone: by loopback, which it shares with no other pod."""
    told = settings(objects)
    for workload in filter(sessmux_of, workloads(objects)):
        beside = [it for it in pod_spec(workload)["containers"] if it["name"] != "sessmux"]
        upstream = re.fullmatch(r"http://(.+):(\d+)", told["upstream"])
        if beside and not ipaddress.ip_address(upstream[1]).is_loopback:
            yield f"upstream = {told['upstream']}: not the agent in its pod"
        for agent in beside:
            if agent.get("ports"):
                yield f"{workload['metadata']['name']}/{agent['name']}: has ports of its own"
            words = " ".join(map(str, [*agent.get("args", []), *(it.get("value", "") for it in agent.get("env", []))]))
            if re.search(r"0\.0\.0\.0|\[::\]", words):
                yield f"{workload['metadata']['name']}/{agent['name']}: listens on every address"


CHECKS = (restart_policies, probes, ports, selections, endings, memory, agents)
