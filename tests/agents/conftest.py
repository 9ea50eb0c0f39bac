"""Servers and browsers for the tests; everything that is started here ends here."""

import uuid
from pathlib import Path

import pytest

import venvs
from page import Browser
from processes import Server, binary, get, wait_until

HERE = Path(__file__).resolve().parent

ROUTES = {
    "capture": ["path:id"],
    "path": ["path"],
    "query-one": ["query:sid"],
    "query-all": ["query"],
    "header": ["header:X-Session"],
    "cookie": ["cookie:sid"],
    "browser": ["browser"],
    "either": ["query:sid|header:X-Session|cookie:sid"],
    "both": ["path:id", "query:sid"],
    "first": ["first:/session_id"],
    "answer": ["first:/session_id|answer:/session_id"],
}
"""Routes of the FastAPI agent, `/ws/NAME/…`, by the key that each has."""

PROFILES = {"first": "init.toml", "answer": "init-answer.toml"}


def python(name: str) -> Path:
    """The Python of an environment; its absence skips the test by name."""
    found = venvs.python(name)
    if found is None:
        pytest.skip(f"environment {name} is absent: {venvs.folder(name)} (tests/run makes it)")
    return found


class Agent:
    """The FastAPI agent: its port, and what it counted."""

    def __init__(self, server: Server):
        self.server, self.port = server, server.port

    def of(self, tag: str) -> dict:
        """What it knows of one conversation."""
        return get(self.port, "/stats")["tags"].get(tag, {})

    def connections(self) -> int:
        """How many connections it ever had."""
        return get(self.port, "/stats")["connections"]

    def go(self, tag: str) -> None:
        """Lets the turn go on that waits at its hold."""
        get(self.port, f"/go/{tag}", "POST")

    def wait(self, tag: str, what: str, condition) -> dict:
        """Waits until what it knows of a conversation fulfils a condition."""

        def known():
            record = self.of(tag)
            return record if record and condition(record) else None

        return wait_until(f"the agent's {what}", known)


def start_agent(interval: float, timeout: float) -> Server:
    """The FastAPI agent with these times of its WebSocket pings."""
    return Server([python("fastapi"), HERE / "fastapi_agent.py", interval, timeout])


def sessmux(upstream: int, config: Path, *flags) -> Server:
    """sessmux in front of a port."""
    if not binary().exists():
        pytest.fail(f"no sessmux at {binary()}: build it, or name it in SESSMUX_BIN")
    address = ["--upstream", f"http://127.0.0.1:{upstream}", "--listen", "127.0.0.1:0"]
    # what a test leaves behind is not waited for
    return Server([binary(), *address, "--config", config, "--drain-timeout", "0", *flags])


@pytest.fixture(scope="session")
def agent():
    """The FastAPI agent with uvicorn's own ping times."""
    server = start_agent(20, 20)
    yield Agent(server)
    server.stop()


@pytest.fixture(scope="session")
def config(tmp_path_factory) -> Path:
    """A configuration with a route for each key source."""
    lines = []
    for name, key in ROUTES.items():
        lines += ["[[route]]", f'path = "/ws/{name}/{{id}}"', f"key = {key!r}".replace("'", '"')]
        if name in PROFILES:
            lines.append(f'profile = "{HERE / PROFILES[name]}"')
    file = tmp_path_factory.mktemp("config") / "sessmux.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="session")
def mux(agent, config):
    """sessmux in front of the FastAPI agent."""
    server = sessmux(agent.port, config)
    yield server
    server.stop()


@pytest.fixture
def browser(mux):
    """A browser whose pages come through sessmux."""
    browser = Browser(mux.port)
    yield browser
    browser.quit()


@pytest.fixture
def straight(agent):
    """A browser without sessmux."""
    browser = Browser(agent.port)
    yield browser
    browser.quit()


@pytest.fixture
def tag() -> str:
    """A name of this test's own."""
    return uuid.uuid4().hex


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the last lines of the test's servers beside its failure."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            server = value if isinstance(value, Server) else getattr(value, "server", None)
            if isinstance(server, Server):
                report.sections.append((f"last output of {name}", "".join(list(server.lines)[-60:])))
    return report
