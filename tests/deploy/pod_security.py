"""The restricted Pod Security Standard, of every container that a pod has: init containers and sidecars too.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
}
SECCOMP = ("RuntimeDefault", "Localhost")


def pod_spec(workload: dict) -> dict:
    """The pods' own part of a Deployment or StatefulSet."""
    return workload["spec"]["template"]["spec"]


def containers(spec: dict) -> list[dict]:
    """Every container of a pod."""
    return [it for kind in ("initContainers", "containers", "ephemeralContainers") for it in spec.get(kind, [])]


def restricted(workload: dict) -> Iterator[str]:
    """The faults of a workload's pods, and what we ask beyond the standard: a read-only root and no token."""
    spec, name = pod_spec(workload), workload["metadata"]["name"]
    pod = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{name}: {field}"
    for volume in spec.get("volumes", []):
        for kind in set(volume) - {"name"} - VOLUMES:
            yield f"{name}: volume {volume['name']} is of {kind}"
    for sysctl in pod.get("sysctls", []):
        if sysctl["name"] not in SYSCTLS:
            yield f"{name}: sysctl {sysctl['name']}"
    if spec.get("automountServiceAccountToken") is not False:
        yield f"{name}: has a token of the service account"
    for container in containers(spec):
        for fault in of_container(pod, container):
            yield f"{name}/{container['name']}: {fault}"


def of_container(pod: dict, container: dict) -> Iterator[str]:
    """The faults of one container; where it says nothing its pod does."""
    own = container.get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if own.get("runAsUser", pod.get("runAsUser", 1)) == 0:
        yield "runs as root"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in SECCOMP:
        yield "no seccompProfile"
    if "ALL" not in own.get("capabilities", {}).get("drop", []):
        yield "capabilities are not dropped"
    if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
    if any("httpGet" in hook and "host" in hook["httpGet"] for hook in container.get("lifecycle", {}).values()):
        yield "a hook that asks another host"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem is not true"
