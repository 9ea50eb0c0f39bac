"""A JSON-RPC agent behind sessmux: ids that start anew with every page, and an approval that waits."""

import pytest

from conftest import HERE, python, sessmux
from page import Browser
from processes import Server, get, wait_until


@pytest.fixture(scope="module")
def agent():
    """The agent."""
    server = Server([python("fastapi"), HERE / "json_rpc_agent.py"])
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mux(agent, tmp_path_factory):
    """sessmux as a user starts it who knows that the conversation's name is in the query."""
    config = tmp_path_factory.mktemp("config") / "sessmux.toml"
    config.write_text('profile = "json-rpc"\nkey = ["query:session"]\n')
    server = sessmux(agent.port, config)
    yield server
    server.stop()


class Client:
    """A page's client, as such libraries are: ids from 0 on with every connection, answers found by them."""

    def __init__(self, browser: Browser, tag: str):
        self.page = browser.open(f"/ws?session={tag}")
        self.last = -1
        self.seen: list[dict] = []
        hello = self.ask("initialize", clientInfo={"name": "page"})
        assert self.answer(hello) == {"userAgent": "agent"}
        self.page.send({"method": "initialized"})

    def ask(self, method: str, **params) -> int:
        self.last += 1
        self.page.send({"id": self.last, "method": method, "params": params})
        return self.last

    def answer(self, id: int) -> dict:
        """Waits for the answer to its request."""
        return self.until(lambda m: m.get("id") == id and "method" not in m)["result"]

    def until(self, wanted) -> dict:
        """Waits for a message; what comes before it was seen."""
        while True:
            self.seen.append(self.page.json())
            if wanted(self.seen[-1]):
                return self.seen[-1]

    def approval(self) -> dict:
        return self.until(lambda m: m.get("method") == "item/commandExecution/requestApproval")

    def completed(self) -> None:
        self.until(lambda m: m.get("method") == "turn/completed")


def stats(agent: Server) -> dict:
    """What the agent counted."""
    return get(agent.port, "/stats")


def test_straight_a_reload_loses_the_approval(agent, tag):
    """Without sessmux the turn dies with its page."""
    browser = Browser(agent.port)
    client = Client(browser, tag)
    client.ask("turn/start", tag=tag)
    client.approval()
    client.page.close(1001)
    wait_until("the turn is cancelled", lambda: tag in stats(agent)["cancelled"])
    again = Client(browser, tag)
    assert again.answer(again.ask("echo", what=tag)) == {"what": tag}
    assert [m for m in again.seen if "method" in m] == [], "nothing of the turn is left"
    assert tag not in stats(agent)["effects"]
    browser.quit()


def test_an_approval_survives_reloads_and_is_given_once(agent, browser, tag):
    """Each page initialises, sees the turn and its question; the first answer counts."""
    before = stats(agent)["connections"]
    client = Client(browser, tag)
    assert client.answer(client.ask("turn/start", tag=tag)) == {"turn": {"id": tag}}
    asked = client.approval()
    for leave in (client.page.reset, lambda: client.page.close(1001)):
        leave()
        client = Client(browser, tag)
        assert client.approval() == asked
        items = [m["params"]["number"] for m in client.seen if m.get("method") == "item"]
        assert items == [0, 1, 2]
        assert not [m for m in client.seen[1:] if "result" in m], "no answer to a page that has gone"
    for decision in ("accept", "accept"):
        client.page.send({"id": asked["id"], "result": {"decision": decision}})
    client.completed()
    assert client.answer(client.ask("echo", still="there")) == {"still": "there"}
    client.page.close(1001)
    client = Client(browser, tag)
    client.completed()
    assert not [m for m in client.seen if m.get("method") == asked["method"]], "it was answered"
    counted = stats(agent)
    assert counted["effects"].count(tag) == 1
    assert counted["connections"] == before + 1


def test_a_late_answer_is_not_taken_for_that_to_a_newer_request(agent, browser, tag):
    """Both pages ask under the same id; each is answered what it asked."""
    client = Client(browser, tag)
    late = client.ask("thread/read", tag=tag)
    client.page.close(1001)
    client = Client(browser, tag)
    asked = client.ask("thread/read", tag=f"{tag}-mine")
    assert asked == late
    get(agent.port, f"/go/{tag}", "POST")
    assert client.answer(client.ask("echo", what="behind it")) == {"what": "behind it"}
    assert [m for m in client.seen if m.get("result") == {"read": tag}] == []
    get(agent.port, f"/go/{tag}-mine", "POST")
    assert client.answer(asked) == {"read": f"{tag}-mine"}
