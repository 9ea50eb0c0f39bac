"""Alerts and dashboard: well-formed, tested, and about metrics, labels and label values that sessmux has."""

import http.client
import json
import re
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run, tool
from processes import Server, binary

HERE = ROOT / "deploy" / "monitoring"
OF_THE_SCRAPE = {"instance", "job"}
"""Labels that Prometheus adds."""


class AdminConnection(http.client.HTTPConnection):
    """HTTP over an admin socket."""

    def __init__(self, path: Path):
        super().__init__("sessmux")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    """What `/metrics` says."""
    path = tmp_path_factory.mktemp("admin") / "admin.sock"
    server = Server([binary(), "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--admin", f"unix:{path}"])
    try:
        connection = AdminConnection(path)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def exported(text) -> dict[str, dict[str, set[str]]]:
    """Names of series, and the values that each of their labels has."""
    series: dict[str, dict[str, set[str]]] = {}
    for line in text.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line)
        if found and not line.startswith("#"):
            labels = series.setdefault(found[1], {})
            for name, value in re.findall(r'(\w+)="([^"]*)"', found[2] or ""):
                labels.setdefault(name, set()).add(value)
    assert len(series) > 20, text
    return series


def rules() -> list[dict]:
    """The alerts."""
    return yaml.safe_load((HERE / "rules.yml").read_text())["groups"][0]["rules"]


def panels() -> list[dict]:
    """The dashboard's panels that show something."""
    dashboard = json.loads((HERE / "dashboard.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """Every query, with what is shown beside its result."""
    alerts = [(rule["expr"], json.dumps(rule["annotations"])) for rule in rules()]
    targets = [target for panel in panels() for target in panel["targets"]]
    return alerts + [(target["expr"], target["legendFormat"]) for target in targets]


def faults(expr: str, shown: str, exported: dict[str, dict[str, set[str]]]) -> list[str]:
    """What in a query is none of sessmux's."""
    found, known = [], set(OF_THE_SCRAPE)
    for name, matchers in re.findall(r"(sessmux_\w+)(?:\{(.*?)\})?", expr):
        labels = exported.get(name)
        if labels is None:
            found.append(f"there is no {name}")
            continue
        known |= labels.keys()
        for label, regex, values in re.findall(r'(\w+)=(~?)"([^"]*)"', matchers):
            if label in OF_THE_SCRAPE:
                continue
            for value in values.split("|") if regex else [values]:
                if value not in labels.get(label, set()):
                    found.append(f"{name} has no {label}={value!r}")
    grouped = re.findall(r"(?:by|without) \(([^)]*)\)", expr)
    used = {label.strip() for labels in grouped for label in labels.split(",")}
    used |= set(re.findall(r"\{\{(?:\s*\$labels\.)?\s*(\w+)\s*\}\}", shown))
    return found + [f"no label {label}" for label in sorted(used - known)]


def test_every_query_is_about_what_sessmux_exports(exported):
    wrong = {expr: found for expr, shown in queries() if (found := faults(expr, shown, exported))}
    assert not wrong, wrong


@pytest.mark.parametrize(
    "expr, shown",
    [
        ("sum(sessmux_session)", ""),
        ('rate(sessmux_refused_total{rule="orgin"}[5m])', ""),
        ('rate(sessmux_upstream_dials_total{result=~"timeout|late"}[5m])', ""),
        ("sum by (status) (sessmux_sessions)", ""),
        ("sessmux_sessions", "{{rule}}"),
        ("sessmux_sessions", "{{ $labels.rule }}"),
    ],
)
def test_a_query_about_something_else_is_noticed(exported, expr, shown):
    assert faults(expr, shown, exported)


def test_the_dashboard_leaves_no_metric_out(exported):
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for expr, _ in queries() for name in re.findall(r"sessmux_\w+", expr)}
    there = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported}
    assert there - shown == set()


def test_the_dashboards_queries_are_promql(tmp_path):
    exprs = [expr.replace("$__rate_interval", "5m").replace("$instance", ".*") for expr, _ in queries()]
    made = {"groups": [{"name": "all", "rules": [{"record": f"q{i}", "expr": expr} for i, expr in enumerate(exprs)]}]}
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump(made))
    assert f"{len(exprs)} rules found" in run(tool("promtool"), "check", "rules", file)


def test_metrics_are_as_prometheus_wants_them(text):
    promtool = tool("promtool")
    done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, ""), done.stdout + done.stderr


def test_alerts_fire_when_they_should():
    promtool = tool("promtool")
    run(promtool, "check", "rules", HERE / "rules.yml")
    assert "SUCCESS" in run(promtool, "test", "rules", "rules_test.yml", cwd=HERE)
    tested = {test["alertname"] for case in yaml.safe_load((HERE / "rules_test.yml").read_text())["tests"] for test in case["alert_rule_test"]}
    assert tested == {rule["alert"] for rule in rules()}


def test_the_operators_rules_are_the_same():
    spec = yaml.safe_load((HERE / "prometheusrule.yaml").read_text())["spec"]
    assert spec == yaml.safe_load((HERE / "rules.yml").read_text())


def test_each_alert_is_on_the_dashboard():
    described = " ".join(panel["description"] for panel in panels())
    assert [rule["alert"] for rule in rules() if rule["alert"] not in described] == []


def test_panels_do_not_overlap_and_say_what_they_show():
    taken = set()
    for panel in json.loads((HERE / "dashboard.json").read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]


@pytest.mark.parametrize("golden", ["demo", "demo-classic", "connectonion", "gateway"])
def test_the_operator_finds_what_the_manifests_have_to_scrape(golden):
    """One Service of those has the labels and the port."""
    spec = yaml.safe_load((HERE / "servicemonitor.yaml").read_text())["spec"]
    manifests = yaml.safe_load_all((ROOT / "tests" / "deploy" / "golden" / f"{golden}.yaml").read_text())
    labelled = [
        manifest
        for manifest in manifests
        if manifest["kind"] == "Service"
        and spec["selector"]["matchLabels"].items() <= manifest["metadata"].get("labels", {}).items()
    ]
    (endpoint,) = spec["endpoints"]
    found = [port["name"] for service in labelled for port in service["spec"]["ports"] if port.get("name") == endpoint["port"]]
    assert found == [endpoint["port"]]


def test_each_alert_has_its_runbook():
    """A heading of deploy/README.md, to which the alert leads."""
    headings = re.findall(r"^### (\w+)$", (ROOT / "deploy" / "README.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"deploy/README.md#{rule['alert'].lower()}"
