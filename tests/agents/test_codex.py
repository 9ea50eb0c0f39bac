"""The Codex app-server, unmodified, behind sessmux: a client's connection ends while an approval waits.

It refuses every Origin, so its clients are no browsers' pages: editors and gateways, which name their
session in the query.
"""

import json

import pytest

from conftest import HERE, python, sessmux
from page import Page
from processes import Server


@pytest.fixture(scope="module")
def codex(tmp_path_factory):
    """The server, and the folder that its commands run in."""
    scratch = tmp_path_factory.mktemp("codex")
    server = Server([python("codex"), HERE / "codex_host.py", scratch])
    yield server, scratch
    server.stop()


@pytest.fixture(scope="module")
def mux(codex, tmp_path_factory):
    """sessmux in front of it."""
    config = tmp_path_factory.mktemp("config") / "sessmux.toml"
    config.write_text('profile = "json-rpc"\nkey = ["query:session"]\n')
    server = sessmux(codex[0].port, config)
    yield server
    server.stop()


class Client:
    """A client that starts its ids anew with every connection."""

    def __init__(self, port: int, tag: str):
        self.page = Page(port, f"/?session={tag}")
        self.seen: list[dict] = []
        self.last = -1
        info = {"name": "client", "title": "client", "version": "1"}
        assert "userAgent" in self.ask("initialize", clientInfo=info)["result"]
        self.page.send({"method": "initialized"})

    def send(self, method: str, **params) -> int:
        self.last += 1
        self.page.send({"id": self.last, "method": method, "params": params})
        return self.last

    def ask(self, method: str, **params) -> dict:
        """Asks, and waits for the answer."""
        id = self.send(method, **params)
        return self.until(lambda m: m.get("id") == id and "method" not in m)

    def until(self, wanted) -> dict:
        while True:
            self.seen.append(self.page.json(waiting_for=json.dumps([m.get("method") for m in self.seen])))
            if wanted(self.seen[-1]):
                return self.seen[-1]

    def start(self, tag: str) -> str:
        """Starts a turn that wants a command run; returns its thread."""
        thread = self.ask("thread/start")["result"]["thread"]["id"]
        self.send("turn/start", threadId=thread, input=[{"type": "text", "text": tag}])
        return thread

    def approval(self) -> dict:
        return self.until(lambda m: m.get("method") == "item/commandExecution/requestApproval")

    def approvals(self) -> int:
        return len([m for m in self.seen if m.get("method") == "item/commandExecution/requestApproval"])

    def completed(self) -> None:
        self.until(lambda m: m.get("method") == "turn/completed")


def test_straight_a_client_that_comes_back_has_lost_its_turn(codex, tag):
    """Nothing of the turn comes by itself, and the hello may not be said twice on a connection."""
    server, scratch = codex
    client = Client(server.port, tag)
    client.start(tag)
    client.approval()
    client.page.reset()
    client = Client(server.port, tag)
    assert client.ask("initialize", clientInfo={"name": "c", "version": "1"})["error"]["message"]
    client.ask("model/list")
    assert client.approvals() == 0
    assert not (scratch / tag).exists()
    client.page.vanish()


@pytest.mark.parametrize("resumes", [False, True], ids=["replayed alone", "a client that resumes its thread"])
def test_an_approval_survives_and_is_asked_once(codex, mux, tag, resumes):
    """Whatever the client does of its own, it sees the question once, and the command runs once."""
    _, scratch = codex
    client = Client(mux.port, tag)
    thread = client.start(tag)
    asked = client.approval()
    for _ in range(2):
        client.page.reset()
        client = Client(mux.port, tag)
        assert client.approval() == asked
    if resumes:
        # the server sends it again for that
        assert client.ask("thread/resume", threadId=thread)["result"]["thread"]["id"] == thread
    client.ask("model/list")
    assert client.approvals() == 1
    assert not (scratch / tag).exists()
    client.page.send({"id": asked["id"], "result": {"decision": "accept"}})
    client.completed()
    assert (scratch / tag).exists()
    client.page.close(1001)
    client = Client(mux.port, tag)
    client.completed()
    assert client.approvals() == 0, "it was answered"
    client.page.vanish()
