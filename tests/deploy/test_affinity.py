"""The edges of `deploy/kubernetes/affinity`: pages of one session key find the same sessmux, also while one drains."""

import http.client
import http.server
import json
import re
import subprocess
import threading

import pytest
import yaml

import manifests
from conftest import ROOT, run, tool
from page import Page
from processes import Server, binary, free_port, get, wait_until
from test_kubernetes import render, without_settings

AFFINITY = ROOT / "deploy" / "kubernetes" / "affinity"
ENVOY = "type.googleapis.com/envoy.extensions"
KEYS = [f"conversation-{number}" for number in range(16)]


class Sessmux:
    """One of the gateway's, with the gateway's settings."""

    def __init__(self, folder, name: str, agent: int):
        objects = list(yaml.safe_load_all(render("gateway")))
        told = folder / "sessmux.toml"
        text = manifests.named(objects, "ConfigMap")["sessmux"]["data"]["sessmux.toml"]
        told.write_text(text.replace("http://agents.agents.svc:8000", f"http://127.0.0.1:{agent}"))
        assert str(agent) in told.read_text()
        [workload] = manifests.workloads(objects)
        [metric] = manifests.named(objects, "HorizontalPodAutoscaler")["sessmux"]["spec"]["metrics"]
        self.metric = metric["pods"]["metric"]["name"]
        self.health = free_port()
        self.admin = f"unix:{folder / name}.sock"
        self.server = Server(
            [binary()],
            env={
                **manifests.variables(manifests.sessmux_of(workload)),
                "SESSMUX_CONFIG": str(told),
                "SESSMUX_LISTEN": "127.0.0.1:0",
                "SESSMUX_HEALTH": f"127.0.0.1:{self.health}",
                "SESSMUX_ADMIN": self.admin,
                "SESSMUX_LOG_FORMAT": "text",
                # the edge is this machine
                "SESSMUX_TRUSTED_PROXIES": "127.0.0.1",
            },
        )
        self.port, self.runs = self.server.port, True
        self.checked = Checked(self.health)

    def sessions(self) -> int:
        """How many it holds, as the autoscaler is told."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health)
        connection.request("GET", "/metrics")
        counted = re.findall(rf"^{self.metric}\{{.*\}} (\d+)$", connection.getresponse().read().decode(), re.M)
        assert counted
        return sum(map(int, counted))

    def drain(self) -> None:
        """Begins to drain it."""
        run(binary(), "drain", "--no-wait", "--admin", self.admin, env=without_settings())

    def stop(self) -> None:
        """Ends it at once: SIGTERM hurries one that drains."""
        if self.runs:
            self.drain()
            self.checked.stop()
        self.runs = False
        self.server.stop()


class Checked:
    """Stands at a health port's place and passes checks on: what the edge was told is then known."""

    def __init__(self, health: int):
        self.told: list[int] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                connection = http.client.HTTPConnection("127.0.0.1", health)
                connection.request("GET", handler.path)
                status = connection.getresponse().status
                handler.send_response(status)
                handler.end_headers()
                self.told.append(status)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait(self) -> None:
        """Waits until the edge knows what is: more answers than it asks for to change its mind."""
        seen = len(self.told)
        wait_until("the edge has asked anew", lambda: len(self.told) > seen + 5)

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def agent():
    server = Server([binary(), "demo", "--agent-only", "--listen", "127.0.0.1:0"], says="demo agent")
    yield server
    server.stop()


@pytest.fixture
def peers(agent, tmp_path):
    started = [Sessmux(tmp_path, f"sessmux-{number}", agent.port) for number in range(2)]
    yield started
    for it in started:
        it.stop()


def haproxy_config(peers: list[Sessmux], *changes: tuple[str, str]) -> tuple[str, int]:
    """The snippet with these servers in place of the cluster's, and the port that it listens on."""
    port, text = free_port(), (AFFINITY / "haproxy.cfg").read_text()
    text, binds = re.subn(r"bind :443 .*", f"bind 127.0.0.1:{port}", text)
    text, defaults = re.subn(r"check port 8081 inter 2s", "check inter 100ms", text)
    text, names = re.subn(r" resolvers cluster init-addr none", "", text)
    text, servers = re.subn(r"^    server .*\n", "", text, flags=re.M)
    assert (binds, defaults, names) == (1, 1, 1) and servers > len(peers)
    for number, peer in enumerate(peers):
        text += f"    server sessmux-{number} 127.0.0.1:{peer.port} port {peer.checked.port}\n"
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text, port


@pytest.fixture
def haproxy(tmp_path):
    """Starts haproxy."""
    running = []

    def start(text: str, port: int) -> int:
        path = tmp_path / "haproxy.cfg"
        path.write_text(text)
        running.append(Server([tool("haproxy"), "-db", "-f", path], port=port))
        return port

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def envoy(tmp_path):
    """Starts Envoy as Envoy Gateway would for this policy; what it makes of one is known from its reference only."""
    running = []

    def start(policy: dict, peers: list[Sessmux]) -> int:
        port, hashed = free_port(), policy["loadBalancer"]["consistentHash"]
        to = {"cluster": "sessmux", "timeout": "0s"}
        to["hash_policy"] = [{"query_parameter": it} for it in hashed["queryParams"]]
        routes = [{"match": {"prefix": "/"}, "route": to}]
        addresses = [{"endpoint": {"address": address(it.port)}} for it in peers]
        limits = {"max_connections": "maxConnections", "max_requests": "maxParallelRequests"}
        manager = {
            "@type": f"{ENVOY}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "edge",
            # otherwise each close of a page takes 1 s
            "delayed_close_timeout": "0.01s",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "route_config": {
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
            },
            "http_filters": [
                {"name": "router", "typed_config": {"@type": f"{ENVOY}.filters.http.router.v3.Router"}},
            ],
        }
        cluster = {
            "name": "sessmux",
            "type": "STATIC",
            "lb_policy": "MAGLEV",
            "circuit_breakers": {"thresholds": [{ours: policy["circuitBreaker"][it] for ours, it in limits.items()}]},
            "load_assignment": {"cluster_name": "sessmux", "endpoints": [{"lb_endpoints": addresses}]},
        }
        filters = [{"name": "http", "typed_config": manager}]
        listener = {"name": "edge", "address": address(port), "filter_chains": [{"filters": filters}]}
        path = tmp_path / "envoy.json"
        path.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
        command = [tool("envoy"), "--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c", path]
        running.append(Server(command, port=port))
        return port

    yield start
    for server in running:
        server.stop()


def address(port: int) -> dict:
    """A port of this machine, as Envoy is told."""
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def visit(port: int, key: str) -> None:
    """A page comes, and is reloaded twice; each time it is greeted."""
    for _ in range(3):
        page = Page(port, f"/agent/sessmux?session_id={key}")
        page.until("welcome")
        page.close(1001)


def connections(agent: Server) -> int:
    """How many sessions reached the agent, ever."""
    return get(agent.port, "/stats")["sessmux"]["connections"]


def test_haproxy_takes_its_file(tmp_path):
    text = (AFFINITY / "haproxy.cfg").read_text()
    certificate = tmp_path / "agent.example.com.pem"
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=agent.example.com", "-keyout", tmp_path / "key", "-out", certificate),
        stdin=subprocess.DEVNULL,
    )
    certificate.write_text(certificate.read_text() + (tmp_path / "key").read_text())
    path = tmp_path / "haproxy.cfg"
    path.write_text(text.replace("/etc/ssl/agent.example.com.pem", str(certificate)))
    said = run(tool("haproxy"), "-c", "-f", path)
    assert "[WARNING]" not in said, said


def test_haproxy_names_what_the_gateway_has():
    objects = list(yaml.safe_load_all(render("gateway")))
    [workload] = manifests.workloads(objects)
    text, told = (AFFINITY / "haproxy.cfg").read_text(), manifests.settings(objects)
    [param] = re.findall(r"^    balance url_param (\S+)$", text, re.M)
    assert told["key"] == [f"query:{param}"]
    peers, name = workload["spec"]["serviceName"], workload["metadata"]["name"]
    space, port = workload["metadata"]["namespace"], manifests.port_of(told["listen"])
    most = manifests.named(objects, "HorizontalPodAutoscaler")["sessmux"]["spec"]["maxReplicas"]
    assert re.findall(r"^    server (\S+) (\S+)$", text, re.M) == [
        (f"{name}-{it}", f"{name}-{it}.{peers}.{space}.svc.cluster.local:{port}") for it in range(most)
    ]
    assert f"check port {manifests.port_of(told['health'])} " in text


def test_envoy_gateway_names_what_the_gateway_has():
    objects = list(yaml.safe_load_all(render("gateway")))
    edge = list(yaml.safe_load_all((AFFINITY / "envoy-gateway.yaml").read_text()))
    [route] = manifests.named(edge, "HTTPRoute").values()
    [policy] = manifests.named(edge, "BackendTrafficPolicy").values()
    [rule] = route["spec"]["rules"]
    [backend] = rule["backendRefs"]
    service = manifests.named(objects, "Service")[backend["name"]]
    assert backend["port"] in [it["port"] for it in service["spec"]["ports"]]
    assert {route["metadata"]["namespace"], policy["metadata"]["namespace"]} == {service["metadata"]["namespace"]}
    [target] = policy["spec"]["targetRefs"]
    assert target == {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": route["metadata"]["name"]}
    told = manifests.settings(objects)
    hashed = policy["spec"]["loadBalancer"]["consistentHash"]
    assert hashed == {"type": "QueryParams", "queryParams": [{"name": it.removeprefix("query:")} for it in told["key"]]}
    assert [f"https://{it}" for it in route["spec"]["hostnames"]] == told["public_origin"]
    most = manifests.named(objects, "HorizontalPodAutoscaler")["sessmux"]["spec"]["maxReplicas"]
    allowed = policy["spec"]["circuitBreaker"]
    assert min(allowed["maxConnections"], allowed["maxParallelRequests"]) >= most * int(told["max_sessions"])


def test_one_key_finds_one_sessmux(agent, peers, haproxy):
    port = haproxy(*haproxy_config(peers))
    for key in KEYS:
        visit(port, key)
    assert connections(agent) == len(KEYS)
    assert sum(it.sessions() for it in peers) == len(KEYS)
    assert all(it.sessions() for it in peers), "both have some"


def test_one_key_finds_one_sessmux_by_envoy(agent, peers, envoy):
    edge = list(yaml.safe_load_all((AFFINITY / "envoy-gateway.yaml").read_text()))
    port = envoy(manifests.named(edge, "BackendTrafficPolicy")["sessmux"]["spec"], peers)
    for key in KEYS:
        visit(port, key)
    assert connections(agent) == len(KEYS)
    assert all(it.sessions() for it in peers), "both have some"


def test_without_affinity_a_page_finds_another_sessmux(agent, peers, haproxy):
    port = haproxy(*haproxy_config(peers, ("balance url_param session_id", "balance roundrobin")))
    visit(port, KEYS[0])
    assert connections(agent) == 2
    assert [it.sessions() for it in peers] == [1, 1]


def test_one_that_drains_keeps_its_sessions_and_gets_no_more(agent, peers, haproxy):
    port = haproxy(*haproxy_config(peers))
    for key in KEYS:
        visit(port, key)
    before = [it.sessions() for it in peers]
    assert all(before)
    peers[0].drain()
    peers[0].checked.wait()
    for key in KEYS:
        visit(port, key)
    assert connections(agent) == len(KEYS), "every page came back to its session"
    for key in KEYS:
        visit(port, f"new-{key}")
    assert connections(agent) == 2 * len(KEYS)
    assert [it.sessions() for it in peers] == [before[0], before[1] + len(KEYS)]


def test_one_that_is_gone_takes_its_own_sessions_only(agent, peers, haproxy):
    port = haproxy(*haproxy_config(peers))
    for key in KEYS:
        visit(port, key)
    lost, kept = (it.sessions() for it in peers)
    peers[0].stop()
    for key in KEYS:
        visit(port, key)
    assert connections(agent) == len(KEYS) + lost
    wait_until("the other has all", lambda: peers[1].sessions() == lost + kept)
