"""What a page and its network do to a session, on an agent that loses everything by itself."""

import threading
import uuid

import pytest

from conftest import Agent, sessmux, start_agent
from page import Browser
from processes import wait_until


def tokens(messages: list[dict]) -> list[int]:
    """The numbers of the tokens among the messages."""
    return [m["n"] for m in messages if m["type"] == "token"]


def path(tag: str) -> str:
    """A path that both the agent itself and a route of sessmux take."""
    return f"/ws/capture/{tag}"


@pytest.mark.parametrize("code", [None, 1000, 1001])
def test_straight_a_reload_cancels_the_turn(agent, straight, tag, code):
    """Without sessmux the turn dies with its page, and the next page sees nothing of it."""
    page = straight.open(path(tag))
    page.send({"type": "prompt", "tag": tag, "tokens": 2})
    page.until("approval")
    page.close(code) if code else page.reset()
    record = agent.wait(tag, "turn cancelled", lambda r: r["cancelled"] == 1)
    assert record["effects"] == 0
    page = straight.open(path(tag))
    page.send({"type": "answer", "tag": tag, "id": tag, "ok": True})
    page.send({"type": "mark", "tag": tag, "mark": "after"})
    record = agent.wait(tag, "mark", lambda r: r["marks"])
    assert (len(record["connections"]), record["effects"]) == (2, 0)


LEAVES = {
    "1001": lambda page: page.close(1001),
    "1000": lambda page: page.close(1000),
    "no code": lambda page: page.close(),
    "no close frame": lambda page: page.vanish(),
    "reset": lambda page: page.reset(),
}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
def test_pending_prompt_survives_every_way_to_leave(agent, browser, tag, leave):
    """The key is explicit: whatever the page's close says, the session stays and the prompt comes back."""
    browser.load()
    page = browser.open(path(tag))
    page.send({"type": "prompt", "tag": tag, "tokens": 3})
    asked = page.until("approval")
    leave(page)
    browser.load()
    page = browser.open(path(tag))
    assert page.until("approval") == asked
    page.send({"type": "answer", "id": tag, "ok": True})
    page.until("done")
    record = agent.of(tag)
    assert (len(record["connections"]), record["cancelled"], record["effects"]) == (1, 0, 1)


def test_new_page_before_the_old_one_closed(agent, browser, tag):
    """The newest page has the session; the old one is told 4001 and what it still says is not heard."""
    old = browser.open(path(tag))
    old.send({"type": "prompt", "tag": tag, "tokens": 9, "hold": 4})
    assert [old.json()["n"] for _ in range(3)] == [1, 2, 3]
    browser.load()
    new = browser.open(path(tag))
    assert [new.json()["n"] for _ in range(3)] == [1, 2, 3]
    old.send({"type": "mark", "tag": tag, "mark": "stale"})
    assert old.closed().code == 4001
    agent.go(tag)
    assert tokens(new.until("approval")) == [4, 5, 6, 7, 8, 9]
    new.send({"type": "mark", "tag": tag, "mark": "live"})
    new.send({"type": "answer", "id": tag, "ok": True})
    new.until("done")
    record = agent.of(tag)
    assert record["marks"] == ["live"]
    assert (len(record["connections"]), record["cancelled"], record["effects"]) == (1, 0, 1)


def test_approve_then_reload(agent, browser, tag):
    """What the page said last before it left is carried out once, and its outcome is shown to the next."""
    page = browser.open(path(tag))
    page.send({"type": "prompt", "tag": tag, "tokens": 1})
    page.until("approval")
    page.send({"type": "answer", "id": tag, "ok": True})
    page.close(1001)
    agent.wait(tag, "tool run", lambda r: r["effects"] == 1)
    page = browser.open(path(tag))
    assert [m["type"] for m in page.until("done")] == ["token", "approval", "result", "done"]
    assert (agent.of(tag)["effects"], agent.of(tag)["answers"]) == (1, 1)


def test_a_page_without_a_refresh_gets_only_what_it_missed(agent, browser, tag):
    """The pages come through sessmux and none was requested: the page still has what it acknowledged."""
    browser.load()
    page = browser.open(path(tag))
    page.send({"type": "prompt", "tag": tag, "tokens": 9, "hold": 6})
    assert [page.json()["n"] for _ in range(5)] == [1, 2, 3, 4, 5]
    # One ping follows the last message within a second; its pong went before the mark on the same wire.
    pings = page.pings

    def pinged() -> bool:
        page.poll()
        return page.pings > pings

    wait_until("a ping asks for an acknowledgement", pinged)
    page.send({"type": "mark", "tag": tag, "mark": "acknowledged"})
    agent.wait(tag, "mark", lambda r: r["marks"])
    page.reset()
    agent.go(tag)
    agent.wait(tag, "tokens sent while away", lambda r: r["sent"] == 9)
    page = browser.open(path(tag))
    assert tokens(page.until("approval")) == [6, 7, 8, 9]
    # The same cut with a page request after it is a refresh.
    page.reset()
    browser.load()
    page = browser.open(path(tag))
    assert tokens(page.until("approval")) == list(range(1, 10))
    assert len(agent.of(tag)["connections"]) == 1


def test_a_cut_is_a_refresh_where_pages_come_from_elsewhere(agent, mux, tag):
    """Nothing is known of this browser's pages: everything is shown again."""
    browser = Browser(mux.port)
    page = browser.open(path(tag))
    page.send({"type": "prompt", "tag": tag, "tokens": 4})
    page.until("approval")
    page.reset()
    page = browser.open(path(tag))
    assert tokens(page.until("approval")) == [1, 2, 3, 4]
    browser.quit()


@pytest.mark.parametrize("code", [None, 1000])
def test_closed_on_purpose_ends_the_session(agent, browser, tag, code):
    """No explicit id, its pages come through sessmux, none was requested: "new chat" means a new session."""
    browser.load()
    page = browser.open("/ws/browser/1")
    page.send({"type": "prompt", "tag": tag, "tokens": 1})
    page.until("approval")
    page.close(code)
    record = agent.wait(tag, "end of its connection", lambda r: r["closes"])
    assert record["closes"] == [code or 1005]
    page = browser.open("/ws/browser/1")
    page.send({"type": "prompt", "tag": f"{tag}-b", "tokens": 1, "approve": False})
    assert [m["tag"] for m in page.until("done")] == [f"{tag}-b"] * 2


def test_text_and_binary_keep_kind_and_order(agent, browser, tag):
    """Binary, empty and large messages come live and again after a reload, as they were."""
    page = browser.open(path(tag))
    large = bytes(range(256)) * 4096
    payloads = [b"\x00\xff", b"", large]
    for payload in payloads:
        page.send(payload)
        assert page.recv() == payload[::-1]
    page.send({"type": "prompt", "tag": tag, "tokens": 1, "approve": False})
    live = [page.recv(), page.recv()]
    assert all(isinstance(m, str) for m in live)
    page.close(1001)
    page = browser.open(path(tag))
    assert [page.recv() for _ in range(5)] == [p[::-1] for p in payloads] + live
    page.send(b"abc")
    assert page.recv() == b"cba"


def test_the_session_keeps_its_subprotocol(agent, browser, tag):
    """The server's choice among those offered is every later page's, too."""
    page = browser.open(path(tag), subprotocols=["agent.v1", "agent.v2"])
    assert page.subprotocol == "agent.v2"
    page.send({"type": "prompt", "tag": tag, "tokens": 1})
    page.until("approval")
    page.close(1001)
    page = browser.open(path(tag), subprotocols=["agent.v1", "agent.v2"])
    assert page.subprotocol == "agent.v2"
    page.until("approval")
    assert agent.of(tag)["headers"]["sec-websocket-protocol"].replace(" ", "") == "agent.v1,agent.v2"


def test_the_agent_sees_the_browsers_own_head(agent, browser, mux, tag):
    """Host, Origin and the application's cookies go unchanged; sessmux's own cookie does not."""
    browser.load()
    assert list(browser.cookies) == [f"sessmux-{mux.port}"]
    browser.set_cookie("login", "abc")
    page = browser.open(path(tag))
    page.send({"type": "mark", "tag": tag, "mark": 1})
    headers = agent.wait(tag, "mark", lambda r: r["marks"])["headers"]
    assert headers["host"] == f"127.0.0.1:{mux.port}"
    assert headers["origin"] == browser.origin
    assert headers["cookie"] == "login=abc"
    assert "sec-websocket-extensions" not in headers


def test_three_sessions_at_once(agent, mux):
    """Three browsers reload amid their turns at the same time; nobody sees anything of another."""
    failures = []

    def person(tag: str) -> None:
        browser = Browser(mux.port)
        try:
            browser.load()
            page = browser.open(path(tag))
            page.send({"type": "prompt", "tag": tag, "tokens": 200, "hold": 100})
            for n in range(1, 100):
                assert page.json() == {"type": "token", "tag": tag, "n": n}
            for _ in range(3):
                page.close(1001)
                browser.load()
                page = browser.open(path(tag))
            agent.go(tag)
            shown = page.until("approval")
            assert [(m.get("tag"), m.get("n")) for m in shown[:-1]] == [(tag, n) for n in range(1, 201)]
            assert shown[-1]["id"] == tag
            page.send({"type": "answer", "id": tag, "ok": True})
            page.until("done")
            record = agent.of(tag)
            assert (len(record["connections"]), record["effects"], record["cancelled"]) == (1, 1, 0)
        except Exception as failure:
            failures.append((tag, repr(failure)))
        finally:
            browser.quit()

    people = [threading.Thread(target=person, args=(uuid.uuid4().hex,)) for _ in range(3)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    assert failures == []


PING = 0.5
"""Seconds between the impatient agent's pings, and until it gives a silent connection up."""


@pytest.fixture(scope="module")
def impatient():
    """An agent that drops who does not answer its pings."""
    server = start_agent(PING, PING)
    yield Agent(server)
    server.stop()


@pytest.fixture(scope="module")
def patient(impatient, config):
    """sessmux in front of it."""
    server = sessmux(impatient.port, config)
    yield server
    server.stop()


TICKS = round(6 * PING / 0.05)
"""Ticks of 50 ms that outlast three times the time in which the impatient agent gives a page up."""


def test_straight_a_silent_page_loses_its_turn(impatient, tag):
    """What the impatient agent does to a page that does not answer its pings."""
    browser = Browser(impatient.port)
    page = browser.open(path(tag))
    page.send({"type": "prompt", "tag": tag, "tick": 0.05})
    impatient.wait(tag, "turn cancelled", lambda r: r["cancelled"] == 1)
    page.vanish()
    browser.quit()


@pytest.mark.parametrize("stuck", [False, True], ids=["away", "there, but stuck"])
def test_longer_than_the_servers_ping_timeout(impatient, patient, tag, stuck):
    """sessmux answers the server's pings, whether the page is away or does not read."""
    agent, browser = impatient, Browser(patient.port)
    page = browser.open(path(tag))
    page.send({"type": "prompt", "tag": tag, "tokens": 3, "tick": 0.05})
    assert [page.json()["n"] for _ in range(3)] == [1, 2, 3]
    if not stuck:
        page.close(1001)
    since = agent.of(tag)["ticks"]
    agent.wait(tag, "ticks while the page is silent", lambda r: r["ticks"] >= since + TICKS)
    agent.go(tag)
    page = browser.open(path(tag))
    assert tokens(page.until("approval")) == [1, 2, 3]
    page.send({"type": "answer", "id": tag, "ok": True})
    page.until("done")
    record = agent.of(tag)
    assert (len(record["connections"]), record["cancelled"], record["effects"]) == (1, 0, 1)
    browser.quit()
