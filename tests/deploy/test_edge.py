"""The proxies of `deploy/edge`, each as its snippet has it, between a browser and a real sessmux."""

import json
import os
import re
import ssl
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, run, tool
from edge_agent import EdgeAgent
from page import Browser, Refused
from processes import Server, binary, free_port
from story import SOCKET, Demo, reload_amid_a_turn

EDGE = ROOT / "deploy" / "edge"
HOST = "agent.example.com"
MODULES = Path("/usr/lib/apache2/modules")


@dataclass
class Place:
    """What the snippets leave to whoever uses them: ports and files of this run."""

    folder: Path
    port: int
    sessmux: int
    certificate: Path
    key: Path

    def snippet(self, name: str, *changes: tuple[str, str]) -> str:
        """A snippet in which each of these, which have to be there, is replaced."""
        text = (EDGE / name).read_text()
        for old, new in (("127.0.0.1:8080", f"127.0.0.1:{self.sessmux}"), *changes):
            assert old in text, f"{name} has no {old!r}"
            text = text.replace(old, new)
        return text

    def write(self, name: str, text: str) -> Path:
        """Writes a file of this run."""
        path = self.folder / name
        path.write_text(text)
        return path

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Certificate and key, under the names that the snippets have."""
        return (f"/etc/ssl/{HOST}.pem", str(self.certificate)), (f"/etc/ssl/{HOST}.key", str(self.key))


# Each makes its proxy's configuration, and gives the command that checks it and the one that runs it.


def nginx(place: Place) -> tuple[list, list]:
    """All that is round the snippet is what a system's own nginx.conf has."""
    text = place.snippet("nginx.conf", ("listen 443", f"listen 127.0.0.1:{place.port}"), *place.files)
    snippet = place.write("sessmux.conf", text)
    temporary = "".join(
        f"{what}_temp_path {place.folder / what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not read this folder
    main = place.write(
        "nginx.conf",
        f"{user} daemon off; pid {place.folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary} include {snippet}; }}\n",
    )
    command = [tool("nginx"), "-e", "stderr", "-p", place.folder, "-c", main]
    return [*command, "-t"], command


def haproxy(place: Place) -> tuple[list, list]:
    """It wants certificate and key in one file."""
    both = place.write("both.pem", place.certificate.read_text() + place.key.read_text())
    snippet = place.snippet(
        "haproxy.cfg", ("bind :443", f"bind 127.0.0.1:{place.port}"), (f"/etc/ssl/{HOST}.pem", str(both))
    )
    command = [tool("haproxy"), "-f", place.write("haproxy.cfg", snippet)]
    return [*command, "-c"], [*command, "-db"]


def caddy(place: Place) -> tuple[list, list]:
    """It would fetch a certificate for the name, so it is given one."""
    snippet = place.snippet(
        "Caddyfile", (f"{HOST} {{", f"https://{HOST}:{place.port} {{\n\ttls {place.certificate} {place.key}\n")
    )
    storage = f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system {place.folder}/caddy\n}}\n"
    config = ["--config", place.write("Caddyfile", storage + snippet), "--adapter", "caddyfile"]
    return [tool("caddy"), "validate", *config], [tool("caddy"), "run", *config]


def apache(place: Place) -> tuple[list, list]:
    """With no more modules than its first line names, and what any site needs."""
    program = tool("apache2")
    snippet = place.snippet("apache.conf", ("*:443", f"127.0.0.1:{place.port}"), *place.files)
    named = re.search(r"Needs the modules (.*)\.", snippet)[1].split(", ")
    loaded = "".join(
        f"LoadModule {name}_module {MODULES}/mod_{name}.so\n"
        for name in ["mpm_event", "authz_core", "reqtimeout", "socache_shmcb", *named]
    )
    main = place.write(
        "apache.conf",
        f"{loaded}ServerRoot {place.folder}\nPidFile pid\nErrorLog /dev/stderr\nServerName localhost\n"
        f"Mutex file:{place.folder}\nListen 127.0.0.1:{place.port}\n{snippet}",
    )
    command = [program, "-f", main]
    return [*command, "-t"], [*command, "-DFOREGROUND"]


PROXIES: dict[str, Callable[[Place], tuple[list, list]]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
    "apache": apache,
}


@pytest.fixture(scope="module")
def demo():
    """The agent that pages speak to."""
    demo = Demo()
    yield demo
    demo.stop()


@pytest.fixture(scope="module")
def agent():
    """The agent's plain HTTP."""
    agent = EdgeAgent()
    yield agent
    agent.stop()


@pytest.fixture(scope="module")
def sessmux(demo, agent, tmp_path_factory):
    """sessmux with the settings that go with the snippets."""
    settings = (EDGE / "sessmux.toml").read_text()
    for old, new in (("127.0.0.1:8080", "127.0.0.1:0"), ("127.0.0.1:8000", f"127.0.0.1:{agent.port}")):
        assert old in settings
        settings = settings.replace(old, new)
    route = f'\n[[route]]\npath = "{SOCKET}"\nupstream = "http://127.0.0.1:{demo.port}"\n'
    file = tmp_path_factory.mktemp("sessmux") / "sessmux.toml"
    file.write_text(settings + route)
    server = Server([binary(), "--config", file, "--drain-timeout", "0"])
    yield server
    server.stop()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for the name in the snippets, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    made = folder / "cert.pem", folder / "key.pem"
    run(
        *(tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-out", made[0], "-keyout", made[1]),
    )
    return made


@pytest.fixture(scope="module", params=PROXIES)
def site(request, sessmux, certificate, tmp_path_factory):
    """Browsers of the site, behind one of the proxies; the proxy's own check of its configuration comes first."""
    folder = tmp_path_factory.mktemp(request.param)
    place = Place(folder, free_port(), sessmux.port, *certificate)
    check, serve = PROXIES[request.param](place)
    env = {"HOME": str(folder)}
    run(*check, env={**os.environ, **env})
    proxy = Server(serve, env=env, port=place.port)
    trusted = ssl.create_default_context(cafile=certificate[0])
    yield lambda: Browser(place.port, host=HOST, tls=trusted)
    proxy.stop()


def test_a_reload_through_it(site, demo):
    """The proxy lets the page go, and the agent sees nothing of it."""
    browser = site()
    reload_amid_a_turn(browser, demo)
    assert "__Host-sessmux" in browser.cookies, browser.cookies
    browser.quit()


def test_strangers_are_refused(site):
    """Origin reaches sessmux as the browser sent it."""
    browser = site()
    browser.load("/")
    browser.origin = "https://other.example.com"
    with pytest.raises(Refused) as refused:
        browser.open(SOCKET)
    assert refused.value.status == 403


def test_what_the_agent_is_told(site):
    """The path as it came; the client's own address, whatever the client says; the origin that pages come under."""
    connection = site().connect(source="127.0.0.9")
    path = "/a%2Fb//c?x=%20&y"
    connection.request("GET", path, headers={"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "ftp"})
    told = json.loads(connection.getresponse().read())
    assert told["path"] == path
    wanted = {"x-forwarded-for": "127.0.0.9", "x-forwarded-proto": "https", "x-forwarded-host": HOST, "host": HOST}
    assert {name: told["headers"].get(name) for name in wanted} == wanted
    connection.close()


def test_an_answer_streams(site, agent):
    """Its first part is here while the agent still works on the second."""
    agent.go_on.clear()
    connection = site().connect()
    connection.request("GET", "/stream")
    response = connection.getresponse()
    assert response.read(6) == b"first;"
    agent.go_on.set()
    assert response.read() == b"second"
    connection.close()


def test_an_upload_streams(site, agent):
    """The agent has the first half before the client sends the other; 4 MiB, over nginx's bound of 1 MiB."""
    agent.half.clear()
    half = bytes(2 * 1024 * 1024)
    connection = site().connect()
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Length", str(2 * len(half)))
    connection.endheaders()
    connection.send(half)
    assert agent.half.wait(20)
    connection.send(half)
    assert json.loads(connection.getresponse().read()) == {"rest": len(half)}
    connection.close()


def test_the_settings_take_no_risk():
    """`sessmux check` has nothing to warn of."""
    checked = subprocess.run([binary(), "check", "--config", EDGE / "sessmux.toml"], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_traefik_hangs_together():
    """Debian has no Traefik, so only what can be told from the file: its names lead to each other."""
    http = yaml.safe_load((EDGE / "traefik.yaml").read_text())["http"]
    (router,) = http["routers"].values()
    assert router["rule"] == f"Host(`{HOST}`)" and "tls" in router
    (server,) = http["services"][router["service"]]["loadBalancer"]["servers"]
    listen = tomllib.loads((EDGE / "sessmux.toml").read_text())["listen"]
    assert server["url"] == f"http://{listen}"


def test_the_ingress_is_one():
    """By the strict schema; what its annotations mean is known to the controller alone."""
    manifest = EDGE / "ingress-nginx.yaml"
    run(tool("kubernetes-validate"), "-k", "1.33", "--strict", manifest)
    annotations = yaml.safe_load(manifest.read_text())["metadata"]["annotations"]
    assert annotations and all(isinstance(value, str) for value in annotations.values())


def test_every_snippet_is_tried():
    """A snippet that is added has a test, or this fails."""
    tried = {"nginx.conf", "haproxy.cfg", "Caddyfile", "apache.conf"}
    read = {"traefik.yaml", "ingress-nginx.yaml"}
    assert {path.name for path in EDGE.iterdir()} == tried | read | {"sessmux.toml", "README.md"}
