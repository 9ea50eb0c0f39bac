"""Chainlit, unmodified, behind sessmux: the page reloads, or is away for long, while the app asks the person."""

import json
import time
import uuid

import pytest

from conftest import HERE, python, sessmux
from page import Browser, Page
from processes import Server, free_port, wait_until

SOCKET = "/ws/socket.io/?EIO=4&transport=websocket"
AWAY = 50
"""Seconds: the server pings every 25 s, and gives up whoever does not answer within 20 s."""

CONFIG = """
[project]
transports = ["websocket"]
[UI]
name = "Assistant"
[meta]
generated_by = "2.12.0"
"""


class Host:
    """The server with one app, and what the app noted."""

    def __init__(self, scratch):
        self.scratch = scratch
        (scratch / ".chainlit").mkdir()
        (scratch / ".chainlit" / "config.toml").write_text(CONFIG)
        self.port = free_port()
        command = [python("chainlit"), "-m", "chainlit", "run", HERE / "chainlit_app.py", "--headless"]
        environment = {"HOME": str(scratch), "SCRATCH": str(scratch), "CHAINLIT_APP_ROOT": str(scratch)}
        address = ["--host", "127.0.0.1", "--port", self.port]
        self.server = Server([*command, *address], cwd=scratch, env=environment, port=self.port)

    def noted(self, session: str) -> list[str]:
        """What the app noted of one of its sessions."""
        file = self.scratch / session
        return file.read_text().splitlines() if file.exists() else []

    def wait(self, session: str, line: str) -> None:
        """Waits until the app has noted this."""
        wait_until(f"the app noted {line!r}", lambda: line in self.noted(session))


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Chainlit's server."""
    hosted = Host(tmp_path_factory.mktemp("chainlit"))
    yield hosted
    hosted.server.stop()


@pytest.fixture(scope="module")
def mux(host, tmp_path_factory):
    """sessmux in front of it, told the profile alone."""
    config = tmp_path_factory.mktemp("config") / "sessmux.toml"
    config.write_text('profile = "chainlit"\n')
    server = sessmux(host.port, config)
    yield server
    server.stop()


def until(page: Page, start: str) -> list[str]:
    """All messages up to the first that starts so, that one included."""
    seen = []
    while not seen or not seen[-1].startswith(start):
        seen.append(page.recv(waiting_for=f"{start!r} after {seen}"))
    return seen


def load(browser: Browser, session: str | None = None) -> Page:
    """What Chainlit's page does on every load, under a session id that is new each time."""
    page = browser.open(SOCKET)
    assert page.recv(waiting_for="the server's greeting").startswith('0{"sid":')
    auth = {"clientType": "webapp", "sessionId": session or str(uuid.uuid4()), "threadId": "", "userEnv": "{}"}
    page.send("40" + json.dumps(auth | {"chatProfile": ""}))
    until(page, '40{"sid":')
    page.send('42["connection_successful"]')
    page.send('42["fetch_favorites"]')
    return page


def settled(page: Page, number: int = 0) -> list[str]:
    """What comes until the server has answered a request: all that it says to what the page said before."""
    page.send(f'42{number}["fetch_favorites"]')
    return until(page, f"43{number}[")


def question(page: Page) -> tuple[int, str]:
    """Waits for a question: its number, and what is asked."""
    return parsed(next(m for m in iter(page.recv, None) if '["ask",' in m))


def parsed(message: str) -> tuple[int, str]:
    """A question's number, and what is asked."""
    number, event = message[2:].split("[", 1)
    return int(number), json.loads("[" + event)[1]["msg"]["output"]


def say(page: Page, text: str) -> None:
    """What the person types, where nothing is asked."""
    page.send("42" + json.dumps(["client_message", {"message": message(text), "fileReferences": []}]))


def answer(page: Page, number: int, text: str) -> None:
    """What the person chooses or types, where something is asked."""
    page.send(f"43{number}" + json.dumps([message(text) | {"label": text, "payload": {}, "forId": ""}]))


def message(text: str) -> dict:
    """As the page writes it; a choice has its name where a text has its author's."""
    told = {"id": str(uuid.uuid4()), "threadId": "", "name": text, "type": "user_message", "output": text}
    return told | {"createdAt": "2026-01-01T00:00:00.000Z", "metadata": {}}


LEAVES = {
    "reload": lambda page: page.close(1001),
    "no close frame": lambda page: page.vanish(),
    "old socket still open": lambda page: None,
}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
def test_a_pending_question_survives(host, browser, leave, tag):
    """The page goes, comes back under another id, sees the question, answers; the app goes on, once."""
    page = load(browser, tag)
    asked = question(page)
    assert asked == (1, "May I begin?")
    leave(page)
    page = load(browser)
    assert question(page) == asked
    assert settled(page) == ["430[]"], "nothing took the question from the page"
    answer(page, asked[0], "yes")
    until(page, '42["clear_ask"')
    assert "It was yes." in until(page, '42["new_message"')[-1]
    assert host.noted(tag) == ["asked", "begun: yes"]


def test_reloads_in_a_turn(host, browser, tag):
    """Answered questions stay answered, and the open one is there, reload by reload."""
    page = load(browser, tag)
    answer(page, question(page)[0], "no")
    until(page, '42["clear_ask"')
    say(page, "go")
    assert question(page) == (2, "Who says so?")
    for _ in range(2):
        page.close(1001)
        page = load(browser)
        seen = [message[:11] for message in until(page, '422["ask"') + settled(page)]
        asks = [message for message in seen if message in ('42["clear_a', '421["ask",{', '422["ask",{')]
        assert asks == ['42["clear_a', '421["ask",{', '42["clear_a', '422["ask",{'], "as they came"
    answer(page, 2, tag)
    # approve, then reload at once
    page.close(1001)
    host.wait(tag, f"said by {tag}")
    page = load(browser)
    while f"Done for {tag}." not in page.recv():
        pass
    assert host.noted(tag) == ["asked", "begun: no", "turn: go", f"said by {tag}"]


def test_requests_of_pages_are_answered_to_them(browser, tag):
    """An answer comes under the page's own number, and is not shown to the next page."""
    page = load(browser, tag)
    for number in (3, 0, 3):
        assert not any(message.startswith("43") for message in settled(page, number)[:-1])
        page.close(1001)
        page = load(browser)


def test_away_for_longer_than_the_servers_ping_timeout(host, mux, browser, tag):
    """sessmux answers the server's pings while nobody is there, and pings the page that is."""
    other = Browser(mux.port)
    stays = load(other)
    question(stays)
    page = load(browser, tag)
    asked = question(page)
    page.close(1001)
    end = time.monotonic() + AWAY
    assert stays.recv(timeout=AWAY, waiting_for="a ping") == "2"
    stays.send("3")
    time.sleep(end - time.monotonic())
    page = load(browser)
    assert question(page) == asked
    answer(page, asked[0], "yes")
    until(page, '42["clear_ask"')
    answer(stays, 1, "yes")
    until(stays, '42["clear_ask"')
    host.wait(tag, "begun: yes")
    assert host.noted(tag) == ["asked", "begun: yes"]
    other.quit()


def test_straight_a_reload_loses_the_question(host, tag):
    """Without sessmux a reload is another session, and a page that comes back to its own is not asked again."""
    browser = Browser(host.port)
    page = load(browser, tag)
    asked = question(page)
    page.close(1001)
    host.wait(tag, "left")
    second = str(uuid.uuid4())
    page = load(browser, second)
    answer(page, question(page)[0], "yes")
    host.wait(second, "begun: yes")
    page.close(1001)
    page = load(browser, tag)
    until(page, '42["clear_ask"')
    answer(page, asked[0], "yes")
    say(page, "go")
    assert question(page)[1] == "Who says so?", "and not the first question"
    assert host.noted(tag) == ["asked", "left", "turn: go"]
    browser.quit()
