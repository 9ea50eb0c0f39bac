"""The life of the demo's pod, by its manifest: the same settings, probes and hooks, by processes of this machine."""

import http.client
import json
import os
import subprocess

import pytest
import yaml

import manifests
from conftest import run
from page import TIMEOUT, Browser, Refused
from processes import Server, binary, free_port, get, wait_until
from test_kubernetes import render, without_settings

SOCKET = "/agent/sessmux"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


class Pod:
    """The agent and sessmux, in a folder that stands for their volumes."""

    def __init__(self, folder, **settings: str):
        objects = list(yaml.safe_load_all(render("overlays/demo")))
        [workload] = manifests.workloads(objects)
        self.sessmux, [self.agent] = manifests.sessmux_of(workload), manifests.pod_spec(workload)["containers"]
        self.folder, self.health, port = folder, free_port(), free_port()
        arguments = [it.replace("127.0.0.1:8000", f"127.0.0.1:{port}") for it in self.agent["args"]]
        self.agent_server = Server([binary(), *arguments], says="demo agent")
        assert self.agent_server.port == port
        told = folder / "sessmux.toml"
        text = manifests.named(objects, "ConfigMap")["sessmux"]["data"]["sessmux.toml"]
        told.write_text(text.replace(":8000", f":{port}"))
        self.environment = {
            **without_settings(),
            **{name: self.here(it) for name, it in manifests.variables(self.sessmux).items()},
            "SESSMUX_CONFIG": str(told),
            "SESSMUX_LISTEN": "127.0.0.1:0",
            "SESSMUX_HEALTH": f"127.0.0.1:{self.health}",
            "SESSMUX_LOG_FORMAT": "text",
            **settings,
        }
        self.server = Server([binary()], env=self.environment)

    def here(self, text: str) -> str:
        """A path in the pod, as it is here."""
        return text.replace("/run/sessmux", str(self.folder))

    def probe(self, name: str) -> int:
        """What the node is told."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health, timeout=TIMEOUT)
        connection.request("GET", self.sessmux[name]["httpGet"]["path"])
        return connection.getresponse().status

    def cli(self, *words: str) -> str:
        """What an operator types behind `kubectl exec`."""
        return run(binary(), *words, env=self.environment)

    def end(self) -> list[subprocess.Popen]:
        """The hooks that the node runs at the beginning of the pod's end, all at once."""
        hooks = [manifests.pre_stop(it) for it in (self.sessmux, self.agent)]
        assert all(hook[0] == "sessmux" for hook in hooks)
        commands = [[str(binary()), *map(self.here, hook[1:])] for hook in hooks]
        return [subprocess.Popen(it, env=self.environment, stdout=subprocess.DEVNULL) for it in commands]

    def stop(self) -> None:
        """Kills what is left of it."""
        self.server.stop()
        self.agent_server.stop()


@pytest.fixture
def pod(tmp_path, request):
    started = Pod(tmp_path, **getattr(request, "param", {}))
    yield started
    started.stop()


def test_a_pod_that_ends_lets_its_sessions_go_on_until_they_end(pod):
    assert {name: pod.probe(name) for name in PROBES} == dict.fromkeys(PROBES, 200)
    browser = Browser(pod.server.port)
    browser.load("/")
    page = browser.open(SOCKET)
    page.send({"type": "prompt", "text": "tidy up"})
    asked = page.until("approval_needed")[-1]

    hooks = pod.end()
    try:
        # both have been heard by then, or will be: the second finds a drain that runs
        wait_until("the pod is unready", lambda: pod.probe("readinessProbe") == 503)
        assert pod.probe("livenessProbe") == 200
        with pytest.raises(Refused) as refused:
            Browser(pod.server.port).open(SOCKET)
        assert refused.value.status == 503

        browser.load("/")
        page.close(1001)
        page = browser.open(SOCKET)
        assert page.until("approval_needed")[-1] == asked
        page.send({"type": "approve", "id": asked["id"]})
        page.until("turn_finished")
        assert [hook.poll() for hook in hooks] == [None, None]

        [session] = json.loads(pod.cli("sessions", "--json"))["sessions"]
        pod.cli("end", session["session"])
        assert [hook.wait(TIMEOUT) for hook in hooks] == [0, 0]
        assert pod.server.ended() == 0
    finally:
        for hook in hooks:
            hook.kill()
    counted = get(pod.agent_server.port, "/stats")["sessmux"]
    assert (counted["connections"], counted["cancelled"], counted["tool_runs"]) == (1, 0, 1)


@pytest.mark.parametrize("pod", [{"SESSMUX_DRAIN_TIMEOUT": "1s"}], indirect=True, ids=["1s"])
def test_a_pod_that_ends_does_not_wait_for_ever(pod):
    browser = Browser(pod.server.port)
    browser.load("/")
    page = browser.open(SOCKET)
    page.until("welcome")
    hooks = pod.end()
    try:
        assert page.closed().code == 1012
        assert [hook.wait(TIMEOUT) for hook in hooks] == [0, 0]
        assert pod.server.ended() == 0
    finally:
        for hook in hooks:
            hook.kill()


def test_a_changed_file_is_reloaded_and_sessions_go_on(pod):
    browser = Browser(pod.server.port)
    browser.load("/")
    page = browser.open(SOCKET)
    page.until("welcome")
    told = pod.folder / "sessmux.toml"
    told.write_text(told.read_text() + 'trusted_proxies = ["10.0.0.0/8"]\nlisten = "0.0.0.0:9090"\n')
    # the file's listen counts for nothing beside the manifest's
    assert pod.cli("reload").splitlines()[-1].endswith("trusted_proxies")
    page.send({"type": "prompt", "text": "tidy up"})
    page.until("approval_needed")
    page.close(1001)


def test_names_of_services_are_no_settings(tmp_path):
    # what Kubernetes tells every container of a Service that is called sessmux, or sessmux-health
    links = {
        "SESSMUX_PORT": "tcp://10.0.0.1:80",
        "SESSMUX_SERVICE_HOST": "10.0.0.1",
        "SESSMUX_PORT_80_TCP_ADDR": "10.0.0.1",
        "SESSMUX_HEALTH_PORT": "tcp://10.0.0.2:8081",
        "SESSMUX_HEALTH_SERVICE_HOST": "10.0.0.2",
    }
    run(binary(), "check", "--upstream", "http://127.0.0.1:8000", env={**os.environ, **links})
