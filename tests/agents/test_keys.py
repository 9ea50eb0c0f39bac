"""Every key source finds the session again, and keeps others out of it."""

import pytest

from conftest import ROUTES
from page import Browser, Page


def at(name: str, value: str, load: int) -> tuple[str, dict]:
    """Where a page connects whose key has this value, and its headers; what is no part of the key changes by load."""
    noise = f"t={load}"
    match name:
        case "capture":
            return f"/ws/capture/{value}?{noise}", {}
        case "path":
            return f"/ws/path/{value}?{noise}", {}
        case "query-one":
            return f"/ws/query-one/{load}?{noise}&sid={value}", {}
        case "query-all":
            return f"/ws/query-all/{load}?a=b&sid={value}", {}
        case "header":
            return f"/ws/header/{load}?{noise}", {"X-Session": value}
        case "both":
            return f"/ws/both/{value}?{noise}&sid={value}", {}
        case _:
            return f"/ws/{name}/{load}?{noise}", {}


def open_page(browser, name: str, value: str, load: int):
    """Opens one page the way its route wants it."""
    if name == "cookie":
        browser.set_cookie("sid", value)
    path, headers = at(name, value, load)
    page = browser.open(path, headers=headers)
    if name in ("first", "answer"):
        page.send({"type": "init", "session_id": value})
        # The recorded answer, whose connection is the session's one.
        assert page.until("ready")[-1]["session_id"] == value
    return page


def tokens(messages: list[dict]) -> list[int]:
    """The numbers of the tokens among the messages."""
    return [m["n"] for m in messages if m["type"] == "token"]


# "either" has a test of its own, for each of its alternatives.
@pytest.mark.parametrize("name", [name for name in ROUTES if name != "either"])
def test_reload_amid_a_turn(name, agent, browser, tag):
    """Reload amid tokens; the rest comes while away; the approval is shown, answered, carried out once."""
    browser.load()
    page = open_page(browser, name, tag, 1)
    page.send({"type": "prompt", "tag": tag, "tokens": 9, "hold": 5})
    assert [page.json()["n"] for _ in range(4)] == [1, 2, 3, 4]
    browser.load()
    page.close(1001)
    agent.go(tag)
    agent.wait(tag, "tokens sent while away", lambda r: r["sent"] == 9)
    page = open_page(browser, name, tag, 2)
    shown = page.until("approval")
    assert tokens(shown) == list(range(1, 10))
    page.send({"type": "answer", "id": tag, "ok": True})
    assert [m["type"] for m in page.until("done")] == ["result", "done"]
    record = agent.of(tag)
    assert (len(record["connections"]), record["cancelled"], record["effects"], record["answers"]) == (1, 0, 1, 1)
    assert record["closes"] == []


@pytest.mark.parametrize("name", [name for name in ROUTES if name not in ("either", "browser")])
def test_another_key_is_another_session(name, agent, browser, tag):
    """The same browser with another key gets a connection of its own and nothing of the first."""
    page = open_page(browser, name, tag, 1)
    page.send({"type": "prompt", "tag": tag, "tokens": 2})
    page.until("approval")
    other = open_page(browser, name, f"{tag}-b", 2)
    other.send({"type": "prompt", "tag": f"{tag}-b", "tokens": 1})
    assert [m.get("tag") for m in other.until("approval")[:-1]] == [f"{tag}-b"]
    assert agent.of(tag)["connections"] != agent.of(f"{tag}-b")["connections"]


@pytest.mark.parametrize("name", ROUTES)
def test_another_browser_is_another_owner(name, agent, mux, browser, tag):
    """Somebody else's browser with the same key is a new client: it sees nothing and takes nothing over."""
    other = Browser(mux.port)
    for who in (browser, other):
        who.load()
    page = open_page(browser, "cookie" if name == "either" else name, tag, 1)
    page.send({"type": "prompt", "tag": tag, "tokens": 2})
    page.until("approval")
    foreign = open_page(other, "cookie" if name == "either" else name, tag, 2)
    foreign.send({"type": "prompt", "tag": f"{tag}-b", "tokens": 1, "approve": False})
    assert tokens(foreign.until("done")) == [1]
    page.send({"type": "answer", "id": tag, "ok": True})
    page.until("done")
    assert agent.of(tag)["effects"] == 1
    assert agent.of(tag)["connections"] != agent.of(f"{tag}-b")["connections"]
    other.quit()


def test_alternatives_name_the_same_session(agent, browser, tag):
    """`A|B`: the first that is there, whichever it is; where it comes from is no part of the key."""
    page = browser.open(f"/ws/either/1?sid={tag}")
    page.send({"type": "prompt", "tag": tag, "tokens": 1})
    page.until("approval")
    page.close(1001)
    page = browser.open("/ws/either/2", headers={"X-Session": tag})
    assert tokens(page.until("approval")) == [1]
    page.close(1001)
    browser.set_cookie("sid", tag)
    page = browser.open("/ws/either/3")
    assert tokens(page.until("approval")) == [1]
    # The query comes first, and it names somebody else.
    other = browser.open(f"/ws/either/4?sid={tag}-b", headers={"X-Session": tag})
    other.send({"type": "prompt", "tag": f"{tag}-b", "approve": False})
    assert [m["type"] for m in other.until("done")] == ["done"]
    assert len(agent.of(tag)["connections"]) == 1


def test_the_server_chooses_the_id(agent, browser, tag):
    """A first page without an id gets one in the hello's answer; a page that names it is back in the session."""
    page = browser.open("/ws/answer/1")
    page.send({"type": "init"})
    ready = page.json()
    page.send({"type": "prompt", "tag": tag, "tokens": 3})
    page.until("approval")
    page.close(1001)
    page = browser.open("/ws/answer/2")
    page.send({"type": "init", "session_id": ready["session_id"]})
    assert page.json() == ready
    shown = page.until("approval")
    assert [m["type"] for m in shown] == ["token"] * 3 + ["approval"]
    assert len(agent.of(tag)["connections"]) == 1
    # A page that names nothing is a new conversation.
    other = browser.open("/ws/answer/3")
    other.send({"type": "init"})
    assert other.json()["session_id"] != ready["session_id"]


def test_bearer_without_a_browser(agent, mux, browser, tag):
    """A client without Origin is known by the key alone, and cannot reach what a browser owns."""
    owned = browser.open(f"/ws/capture/{tag}")
    owned.send({"type": "prompt", "tag": tag, "tokens": 1})
    owned.until("approval")
    client = Page(mux.port, f"/ws/capture/{tag}")
    client.send({"type": "prompt", "tag": f"{tag}-b", "tokens": 3})
    assert len(tokens(client.until("approval"))) == 3
    client.vanish()
    client = Page(mux.port, f"/ws/capture/{tag}")
    assert len(tokens(client.until("approval"))) == 3
    client.close()
    assert len(agent.of(tag)["connections"]) == len(agent.of(f"{tag}-b")["connections"]) == 1
