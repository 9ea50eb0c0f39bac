"""Google ADK's own server, unmodified, behind sessmux: the page reloads amid a live turn."""

import base64
import shutil

import pytest

from conftest import HERE, python, sessmux
from page import Browser, Page, Refused
from processes import Server, get, wait_until

MEMORY = ["--session_service_uri", "memory://", "--artifact_service_uri", "memory://"]


class Host:
    """The server with one agent, and what the agent's model noted."""

    def __init__(self, scratch):
        self.scratch = scratch
        agent = scratch / "agents" / "live"
        agent.mkdir(parents=True)
        (agent / "__init__.py").touch()
        shutil.copy(HERE / "adk_agent.py", agent / "agent.py")
        command = [python("adk"), "-m", "google.adk.cli", "api_server", "--port", 0, *MEMORY, agent.parent]
        environment = {"HOME": str(scratch), "SCRATCH": str(scratch)}
        self.server = Server(command, cwd=scratch, env=environment, says="Uvicorn running on")
        self.port = self.server.port

    def session(self, tag: str) -> str:
        """Makes a session, as a page does over REST; returns where it goes on live."""
        get(self.port, f"/apps/live/users/person/sessions/{tag}", "POST")
        return f"/run_live?app_name=live&user_id=person&session_id={tag}&modalities=TEXT"

    def history(self, tag: str) -> list[str]:
        """The texts that the server keeps of a session."""
        events = get(self.port, f"/apps/live/users/person/sessions/{tag}")["events"]
        return [text for text in map(text_of, events) if text]

    def noted(self, line: str) -> int:
        """How often the model noted this."""
        file = self.scratch / "noted"
        return file.read_text().splitlines().count(line) if file.exists() else 0


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """ADK's server."""
    hosted = Host(tmp_path_factory.mktemp("adk"))
    yield hosted
    hosted.server.stop()


@pytest.fixture(scope="module")
def mux(host, tmp_path_factory):
    """sessmux in front of it, told the profile alone."""
    config = tmp_path_factory.mktemp("config") / "sessmux.toml"
    config.write_text('profile = "adk"\n')
    server = sessmux(host.port, config)
    yield server
    server.stop()


def text_of(event: dict) -> str:
    """What an event says."""
    return "".join(part.get("text", "") for part in event.get("content", {}).get("parts", []))


def load(browser: Browser, path: str) -> Page:
    """A page's load: the document, then the socket."""
    browser.load("/docs")
    return browser.open(path)


def ask(page: Page, text: str) -> None:
    """What a page sends for the person."""
    page.send({"content": {"role": "user", "parts": [{"text": text}]}})


def turn(page: Page) -> list[str]:
    """The texts up to the turn's end, in order; none of its events came twice."""
    events = [page.json()]
    while not events[-1].get("turnComplete"):
        events.append(page.json())
    assert len({event["id"] for event in events}) == len(events)
    return [text for text in map(text_of, events) if text]


def whole(asked) -> list[str]:
    """What a turn about this says."""
    return [f"first of {asked};", f" second of {asked}", f"first of {asked}; second of {asked}"]


LEAVES = {
    "reload": lambda page: page.close(1001),
    "reload, old socket slower than the new": lambda page: page.begin_close(1001),
    "reset": lambda page: page.reset(),
}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
def test_a_live_turn_survives(host, browser, tag, leave, tmp_path):
    """The turn goes on, its events come whole and in order, and the model has one connection for this and the next."""
    path, gate, opened = host.session(tag), tmp_path / "gate", host.noted("opened")
    page = load(browser, path)
    ask(page, tag)
    assert turn(page) == whole(tag)
    ask(page, str(gate))
    assert text_of(page.json()) == f"first of {gate};"
    leave(page)
    page = load(browser, path)
    assert text_of(page.json()) == f"first of {gate};", "the turn that runs is sent, the one before is not"
    leave(page)
    gate.touch()
    wait_until("the turn is over", lambda: host.noted(f"said {gate}"))
    page = load(browser, path)
    assert turn(page) == whole(gate)
    ask(page, "next")
    assert turn(page) == whole("next")
    assert host.noted("opened") == opened + 1
    assert host.noted(f"asked {gate}") == 1
    assert host.history(tag) == [tag, whole(tag)[-1], str(gate), whole(gate)[-1], "next", whole("next")[-1]]


def test_what_was_said_just_before_the_reload_is_answered(host, browser, tag):
    """The question goes to the model although its page has gone."""
    path = host.session(tag)
    page = load(browser, path)
    ask(page, tag)
    page.begin_close(1001)
    assert turn(load(browser, path)) == whole(tag)
    assert host.noted(f"asked {tag}") == 1


def test_a_spoken_turn_survives(host, browser, tag, tmp_path):
    """No message of the page says when a turn of speech starts, but what the model heard does."""
    path, gate = host.session(tag), tmp_path / "gate"
    page = load(browser, path)
    for spoken in (tag, str(gate)):
        page.send({"blob": {"mime_type": "audio/pcm", "data": base64.urlsafe_b64encode(spoken.encode()).decode()}})
        assert page.json()["inputTranscription"]["text"] == spoken
        if spoken == tag:
            assert turn(page) == whole(tag)
    assert text_of(page.json()) == f"first of {gate};"
    page.close(1001)
    gate.touch()
    wait_until("the turn is over", lambda: host.noted(f"said {gate}"))
    page = load(browser, path)
    assert page.json()["inputTranscription"]["text"] == str(gate), "the turn before is not sent"
    assert turn(page) == whole(gate)


def test_sessions_are_apart(host, browser, tag):
    """Two conversations of one browser have a connection of the model each."""
    first, second = (load(browser, host.session(f"{tag}-{name}")) for name in ("first", "second"))
    ask(first, f"{tag}-1")
    ask(second, f"{tag}-2")
    assert turn(first) == whole(f"{tag}-1")
    assert turn(second) == whole(f"{tag}-2")


def test_the_server_compares_origins_and_is_content(host, browser, tag):
    """It refuses a foreign origin by itself; the origin of pages that come through sessmux is its own."""
    path = host.session(tag)
    with pytest.raises(Refused) as refused:
        Page(host.port, path, origin="http://127.0.0.1:9")
    assert refused.value.status == 403
    page = load(browser, path)
    ask(page, tag)
    assert turn(page) == whole(tag)


def test_an_unknown_session_is_refused_as_by_the_server(host, browser, tag):
    """Its close reaches the page, code and reason."""
    page = browser.open(f"/run_live?app_name=live&user_id=person&session_id={tag}&modalities=TEXT")
    closed = page.closed()
    assert (closed.code, closed.reason) == (1002, "Session not found")


def test_a_page_that_hangs_up_is_not_waited_for(host, browser, tag):
    """The server hears no more on this socket: the next load has another, and the conversation goes on there."""
    path, opened = host.session(tag), host.noted("opened")
    page = load(browser, path)
    ask(page, tag)
    assert turn(page) == whole(tag)
    page.send({"close": True})
    page.close(1001)
    page = load(browser, path)
    ask(page, "next")
    assert turn(page) == whole("next")
    assert host.noted("opened") == opened + 2


def test_straight_a_reload_closes_the_live_connection(host, tag, tmp_path):
    """The turn is cut off: nobody hears its end, not even the session's history."""
    browser, path, gate = Browser(host.port), host.session(tag), tmp_path / "gate"
    opened, closed = host.noted("opened"), host.noted("closed")
    page = load(browser, path)
    ask(page, str(gate))
    assert text_of(page.json()) == f"first of {gate};"
    page.close(1001)
    wait_until("the model's connection is closed", lambda: host.noted("closed") == closed + 1)
    page = load(browser, path)
    gate.touch()
    ask(page, "next")
    assert turn(page) == whole("next")
    assert host.noted("opened") == opened + 2
    assert host.history(tag) == [str(gate), "next", whole("next")[-1]]
    assert host.noted(f"said {gate}") == 0
    browser.quit()
