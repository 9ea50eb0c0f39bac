"""ConnectOnion, unmodified, behind sessmux: the page reloads while a tool waits for approval."""

import json
import re
import time
import uuid

import pytest
from nacl.signing import SigningKey

from conftest import HERE, python, sessmux
from page import Browser, Page
from processes import Server, get, wait_until

VERSIONS = ["0.8.5", "1.9.2"]


class Host:
    """One version of the framework, hosted on loopback, and the identity that may talk to it."""

    def __init__(self, version: str, scratch):
        self.version, self.scratch = version, scratch
        self._key = SigningKey.generate()
        self.caller = "0x" + self._key.verify_key.encode().hex()
        command = [python(f"connectonion-{version}"), HERE / "connectonion_host.py", scratch, self.caller]
        self.server = Server(command)
        self.port = self.server.port
        self.address = get(self.port, "/info")["address"]

    def hello(self, session: str, *, key: SigningKey | None = None, **payload) -> dict:
        """A CONNECT as the page signs one on every load: never the same twice."""
        key = key or self._key
        payload = {"timestamp": time.time(), "to": self.address, **payload}
        canonical = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
        return {
            "type": "CONNECT",
            "session_id": session,
            "payload": payload,
            "from": "0x" + key.verify_key.encode().hex(),
            "signature": key.sign(canonical).signature.hex(),
            "timestamp": payload["timestamp"],
        }

    def effects(self) -> list[str]:
        """The commands that the tool ran, in order."""
        return self._noted("effects")

    def sockets(self) -> int:
        """How many WebSockets came to it."""
        return len(self._noted("sockets"))

    def _noted(self, name: str) -> list[str]:
        file = self.scratch / name
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="module", params=VERSIONS)
def host(request, tmp_path_factory):
    """The framework in each version."""
    hosted = Host(request.param, tmp_path_factory.mktemp("host"))
    yield hosted
    hosted.server.stop()


def in_front_of(host: Host, tmp_path_factory) -> Server:
    """sessmux as a user of the framework starts it."""
    config = tmp_path_factory.mktemp("config") / "sessmux.toml"
    config.write_text('profile = "connectonion"\n')
    return sessmux(host.port, config)


@pytest.fixture(scope="module")
def mux(host, tmp_path_factory):
    """sessmux in front of it."""
    server = in_front_of(host, tmp_path_factory)
    yield server
    server.stop()


def open_page(browser: Browser, host: Host, session: str, status: str | None = None):
    """What the framework's page does on every load; it may be told that a turn runs."""
    page = browser.open("/ws")
    page.names = host.version != "0.8.5"
    page.send(host.hello(session))
    connected = page.until("CONNECTED")[-1]
    assert connected["session_id"] == session
    if status is not None:
        assert connected["status"] == status
    return page


def prompt(page, command: str) -> dict:
    """Asks for a tool and waits for its approval."""
    page.send({"type": "INPUT", "input_id": uuid.uuid4().hex, "prompt": command})
    return page.until("approval_needed")[-1]


def answer(page, kind: str, asked: dict, **what) -> None:
    """Answers what the agent asked; up to 0.9.2 pages do not name it."""
    page.send({"type": kind, **({"request_id": asked["id"]} if page.names and "id" in asked else {}), **what})


def allow(page, approval: dict, scope: str = "once") -> None:
    answer(page, "APPROVAL_RESPONSE", approval, approved=True, scope=scope)


def approve(page, approval: dict) -> dict:
    """Approves, and waits for the end of the turn."""
    allow(page, approval)
    return page.until("OUTPUT")[-1]


LEAVES = {
    "reload": lambda page: page.close(1001),
    "reload, old socket slower than the new": lambda page: page.begin_close(1001),
    "reset": lambda page: page.reset(),
    "no close frame": lambda page: page.vanish(),
    "old socket still open": lambda page: None,
}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
def test_pending_approval_survives(host, browser, leave, tag):
    """The founding case: approval pending, the page goes, comes back, sees it, approves; the tool runs once."""
    before = host.sockets()
    browser.load("/docs")
    page = open_page(browser, host, tag)
    asked = prompt(page, tag)
    leave(page)
    browser.load("/docs")
    page = open_page(browser, host, tag)
    shown = page.until("approval_needed")
    assert shown[-1] == asked
    assert [m["content"] for m in shown if m["type"] == "user_input"] == [tag]
    output = approve(page, asked)
    assert f"ran make {tag}" in output["result"]
    assert host.effects().count(f"make {tag}") == 1
    assert host.sockets() == before + 1


def test_reload_before_the_approval_comes(host, mux, browser, tag):
    """All of the turn up to its approval comes while nobody is there; the next page sees it, once."""
    page = open_page(browser, host, tag)
    page.send({"type": "INPUT", "input_id": uuid.uuid4().hex, "prompt": tag})
    page.close(1001)

    def loaded():
        """A page that found the approval in its replay, and not live."""
        page = open_page(browser, host, tag)
        seen = page.until("approval_needed")
        attached = [line for line in mux.lines if " attach " in line][-1]
        # superseded states are among these, but are not sent
        if int(re.search(r"replay=(\d+)", attached)[1]) >= len(seen):
            return page, seen
        page.close(1001)
        return None

    page, seen = wait_until("the approval came while nobody was there", loaded)
    assert [m["type"] for m in seen].count("user_input") == 1
    assert len({(m["type"], m.get("id")) for m in seen}) == len(seen), "none comes twice"
    approve(page, seen[-1])
    assert host.effects().count(f"make {tag}") == 1


def test_more_than_ten_events_in_the_gap(host, browser, tag):
    """The agent works on for several steps; the next page sees each of them, in order and once."""
    steps = f"steps-{tag}"
    page = open_page(browser, host, tag)
    asked = prompt(page, steps)
    allow(page, asked, "session")
    page.close(1001)
    wait_until("all steps are done", lambda: host.effects().count(f"make {steps}") == 3)
    page = open_page(browser, host, tag)
    seen = page.until("OUTPUT")
    assert len(seen) > 10
    assert [m["type"] for m in seen if m["type"] in ("tool_call", "tool_result")] == ["tool_call", "tool_result"] * 3
    ids = [(m["type"], m["id"]) for m in seen if "id" in m]
    assert len(set(ids)) == len(ids)


def test_asking_for_the_status_answers_nothing(host, browser, tag):
    """Up to 0.9.2 the server itself would take it for the person's answer, and reject the tool."""
    page = open_page(browser, host, tag)
    asked = prompt(page, tag)
    page.send({"type": "SESSION_STATUS", "session": {"session_id": tag}})
    assert page.until("SESSION_STATUS")[-1] == {"type": "SESSION_STATUS", "session_id": tag, "status": "executing"}
    approve(page, asked)
    assert host.effects().count(f"make {tag}") == 1


def test_three_reloads_in_a_row_then_the_next_turn(host, browser, tag):
    """Each reload shows the same approval; the turn after it works on the same connection."""
    before = host.sockets()
    page = open_page(browser, host, tag)
    asked = prompt(page, tag)
    for _ in range(3):
        page.close(1001)
        page = open_page(browser, host, tag)
        assert page.until("approval_needed")[-1] == asked
    approve(page, asked)
    page.close(1001)
    page = open_page(browser, host, tag)
    assert f"ran make {tag}" in page.until("OUTPUT")[-1]["result"]
    again = prompt(page, f"{tag}-again")
    assert again["id"] != asked["id"]
    approve(page, again)
    assert [e for e in host.effects() if tag in e] == [f"make {tag}", f"make {tag}-again"]
    assert host.sockets() == before + 1


def test_away_while_the_turn_ends(host, browser, tag):
    """Approve, then reload at once: what was decided counts, and the new page gets the answer."""
    page = open_page(browser, host, tag)
    asked = prompt(page, tag)
    allow(page, asked)
    page.close(1001)
    wait_until("the tool has run", lambda: f"make {tag}" in host.effects())
    page = open_page(browser, host, tag)
    assert f"ran make {tag}" in page.until("OUTPUT")[-1]["result"]
    assert host.effects().count(f"make {tag}") == 1
    page.close(1001)
    open_page(browser, host, tag, "connected")


def test_reload_while_the_tool_runs(host, browser, tag):
    """The tool goes on while its page is away, and its result and the answer come to the next page."""
    slow = f"slow-{tag}"
    page = open_page(browser, host, tag)
    asked = prompt(page, slow)
    allow(page, asked)
    wait_until("the tool runs", lambda: f"make {slow}" in host.effects())
    page.reset()
    page = open_page(browser, host, tag, "executing" if host.version == "0.8.5" else "running")
    page.until("user_input")
    page.close(1001)
    (host.scratch / slow).touch()
    page = open_page(browser, host, tag)
    seen = page.until("OUTPUT")
    assert "approval_needed" not in [m["type"] for m in seen], "it was answered"
    assert [m["result"] for m in seen if m["type"] == "tool_result"] == [f"ran make {slow}"]
    assert host.effects().count(f"make {slow}") == 1


def bad_signature(host: Host, session: str) -> dict:
    hello = host.hello(session)
    hello["payload"]["timestamp"] += 1
    return hello


STRANGERS = {
    "unsigned": lambda host, session: {"type": "CONNECT", "session_id": session},
    "a bad signature": bad_signature,
    "a foreign key": lambda host, session: host.hello(session, key=SigningKey.generate()),
    "for another agent": lambda host, session: host.hello(session, to="0x" + "0" * 64),
    "stale": lambda host, session: host.hello(session, timestamp=time.time() - 301),
    "other capabilities": lambda host, session: host.hello(session, signed_commands=1),
}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS.keys())
def test_strangers_are_refused_and_the_session_is_untouched(host, mux, browser, stranger, tag):
    """Who names the session without its owner's signature is shown nothing, and the server hears nothing of it."""
    page = open_page(browser, host, tag)
    asked = prompt(page, tag)
    before = host.sockets()
    other = Browser(mux.port)
    foreign = other.open("/ws")
    foreign.send(stranger(host, tag))
    assert foreign.closed().code == 4003
    other.quit()
    assert host.sockets() == before
    approve(page, asked)
    assert host.effects().count(f"make {tag}") == 1


def test_a_hello_that_was_used_is_refused_elsewhere(host, mux, browser, tag):
    """Somebody who has seen a CONNECT cannot use it again, not even while it is fresh."""
    page = browser.open("/ws")
    page.names = host.version != "0.8.5"
    hello = host.hello(tag)
    page.send(hello)
    page.until("CONNECTED")
    asked = prompt(page, tag)
    thief = Page(mux.port, "/ws", source="127.0.0.2")
    thief.send(hello)
    assert thief.closed().code == 4003
    approve(page, asked)
    assert host.effects().count(f"make {tag}") == 1


def answered(page, kind: str, asked: dict, **what) -> str:
    """Answers a question of the agent's; returns what the turn came to."""
    answer(page, kind, asked, **what)
    return page.until("OUTPUT")[-1]["result"]


def test_a_pending_question_survives(host, browser, tag):
    """The same for a question as for an approval: shown again, answered once, and not shown any more."""
    page = open_page(browser, host, tag)
    page.send({"type": "INPUT", "input_id": uuid.uuid4().hex, "prompt": f"ask-{tag}"})
    asked = page.until("ask_user")[-1]
    assert asked["question"] == f"ask-{tag}"
    page.reset()
    page = open_page(browser, host, tag)
    assert page.until("ask_user")[-1] == asked
    assert "yes" in answered(page, "ASK_USER_RESPONSE", asked, answer="yes")
    page.close(1001)
    page = open_page(browser, host, tag, "connected")
    assert "ask_user" not in [m["type"] for m in page.until("OUTPUT")]


# Later versions have no such reviews.
@pytest.mark.parametrize("host", ["0.8.5"], indirect=True)
def test_a_pending_plan_review_survives(host, browser, tag):
    """The same for a plan that waits for its review."""
    page = open_page(browser, host, tag)
    page.send({"type": "INPUT", "input_id": uuid.uuid4().hex, "prompt": f"plan-{tag}"})
    asked = page.until("plan_review")[-1]
    page.close(1001)
    page = open_page(browser, host, tag)
    assert page.until("plan_review")[-1] == asked
    assert f"reviewed {tag}" in answered(page, "PLAN_REVIEW_RESPONSE", asked, message=f"reviewed {tag}")


AWAY = 75
"""Seconds: longer than two of the server's pings, and than a page stands silence."""


def test_away_for_75_seconds(tmp_path_factory, tag):
    """Nobody is there for longer than the server's pings are apart; the approval waits all the same."""
    waiting = []
    for version in VERSIONS:
        host = Host(version, tmp_path_factory.mktemp("host"))
        mux = in_front_of(host, tmp_path_factory)
        browser = Browser(mux.port)
        page = open_page(browser, host, tag)
        waiting.append((host, mux, browser, prompt(page, tag)))
        page.close(1001)
    # the time itself is what is tried
    time.sleep(AWAY)
    for host, mux, browser, asked in waiting:
        page = open_page(browser, host, tag)
        assert page.until("approval_needed")[-1] == asked
        approve(page, asked)
        assert host.effects() == [f"make {tag}"]
        assert host.sockets() == 1
        browser.quit()
        mux.stop()
        host.server.stop()


def test_the_older_tab_is_told(host, browser, tag):
    """A second tab takes the session over with its prompt; the first is closed with 4001."""
    first = open_page(browser, host, tag)
    asked = prompt(first, tag)
    second = open_page(browser, host, tag)
    assert second.until("approval_needed")[-1] == asked
    assert first.closed().code == 4001
    approve(second, asked)
    assert host.effects().count(f"make {tag}") == 1


def test_the_server_names_a_session_that_its_page_did_not(host, browser, tag):
    """A page without an id is given one, and finds its session by that."""
    before = host.sockets()
    page = browser.open("/ws")
    page.names = host.version != "0.8.5"
    hello = host.hello(tag)
    del hello["session_id"]
    page.send(hello)
    session = page.until("CONNECTED")[-1]["session_id"]
    asked = prompt(page, tag)
    page.close(1001)
    page = open_page(browser, host, session)
    assert page.until("approval_needed")[-1] == asked
    approve(page, asked)
    assert host.effects().count(f"make {tag}") == 1
    assert host.sockets() == before + 1


def test_a_probe_is_no_session(host, browser, tag):
    """What asks for a session's state goes to the server on its own connection, and disturbs nothing."""
    page = open_page(browser, host, tag)
    asked = prompt(page, tag)
    before = host.sockets()
    probe = browser.open("/ws")
    probe.send({"type": "SESSION_STATUS", "session": {"session_id": tag}})
    assert probe.until("SESSION_STATUS")
    probe.close(1000)
    assert host.sockets() == before + 1
    approve(page, asked)
    assert host.effects().count(f"make {tag}") == 1


# Later versions show the approval again by themselves.
@pytest.mark.parametrize("host", ["0.8.5"], indirect=True)
def test_straight_a_reload_loses_the_approval(host, tag):
    """Without sessmux a reload rejects the tool: what sessmux is for."""
    browser = Browser(host.port)
    page = open_page(browser, host, tag)
    prompt(page, tag)
    page.close(1001)
    stored = wait_until("the turn ended", lambda: session_result(host, tag))
    assert "connection closed" in stored.lower()
    assert f"make {tag}" not in host.effects()
    browser.quit()


def session_result(host: Host, tag: str) -> str | None:
    """How the newest finished turn of a session ended, as the host stored it."""
    for stored in get(host.port, "/sessions")["sessions"]:
        if stored["status"] == "done" and tag in stored["prompt"]:
            return stored["result"]
    return None
