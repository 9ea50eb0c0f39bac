"""The agent, the rules and the recording of src/profile/README.md, which has to be true of a real server."""

import json
import re
import subprocess

import pytest

from conftest import HERE, python, sessmux
from page import Browser
from processes import ROOT, Server, binary, wait_until

PAGE = (ROOT / "src" / "profile" / "README.md").read_text().split("\n## 5.")[0]


@pytest.fixture(scope="module")
def agent():
    """The agent, as the page starts it."""
    uvicorn = [python("fastapi"), "-m", "uvicorn", "--app-dir", HERE, "tutorial_agent:app", "--port", 0]
    server = Server(uvicorn, says="running on")
    yield server
    server.stop()


def begin(page) -> None:
    """Says hello, and asks for something."""
    page.send({"type": "init"})
    assert page.until("ready")[-1] == {"type": "ready", "model": "tidy-1"}
    page.send({"type": "prompt", "text": "tidy up"})


def test_straight_a_reload_loses_the_question(agent):
    """The next connection knows nothing of it."""
    browser = Browser(agent.port)
    page = browser.open("/ws")
    begin(page)
    page.until("approval")
    page.close(1001)
    page = browser.open("/ws")
    page.send({"type": "init"})
    assert [m["type"] for m in page.until("ping", timeout=20)] == ["ready", "ping"]
    browser.quit()


def test_without_a_profile_the_second_hello_ends_it(agent, tmp_path):
    """What the first recording shows."""
    (tmp_path / "sessmux.toml").write_text("")
    mux = sessmux(agent.port, tmp_path / "sessmux.toml")
    browser = Browser(mux.port)
    browser.load()
    page = browser.open("/ws")
    begin(page)
    page.until("approval")
    page.close(1001)
    page = browser.open("/ws")
    page.send({"type": "init"})
    assert page.until("error")[-1]["message"] == "already initialised"
    assert page.closed().code == 1008
    browser.quit()
    mux.stop()


def test_with_the_rules_of_the_page_it_survives_and_the_recording_says_why(agent, tmp_path):
    """A reload while it asks, after more pings than the server sends without an answer; and one at the end."""
    profile, capture = tmp_path / "mine.toml", tmp_path / "second.jsonl"
    profile.write_text("\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)))
    (tmp_path / "sessmux.toml").write_text("")
    mux = sessmux(agent.port, tmp_path / "sessmux.toml", "--profile", profile, "--record", capture)

    def recorded() -> list[dict]:
        return [json.loads(line) for line in capture.read_text().splitlines()]

    def pings() -> int:
        return sum('"ping"' in line.get("text", "") for line in recorded())

    browser = Browser(mux.port)
    browser.load()
    page = browser.open("/ws")
    begin(page)
    shown = page.until("approval")
    page.close(1001)
    before = pings()
    wait_until("it has pinged often while nobody was there", lambda: pings() >= before + 3, timeout=30)

    browser.load()
    page = browser.open("/ws")
    page.send({"type": "init"})
    ready, *replayed = page.until("approval")
    assert (ready["type"], replayed) == ("ready", shown)
    page.send({"type": "answer", "id": "call-1", "ok": True})
    assert [m["type"] for m in page.until("done")] == ["result", "token", "done"]
    page.close(1001)

    browser.load()
    page = browser.open("/ws")
    page.send({"type": "init"})
    types = [m["type"] for m in page.until("done")]
    assert types == ["ready", "token", "token", "token", "token", "result", "token", "done"], "it was answered"
    page.close(1001)
    browser.quit()
    mux.stop()

    test = [binary(), "profiles", "test", profile, "--capture", capture]
    told = subprocess.run(test, capture_output=True, text=True, check=True).stdout
    assert "\nsession " not in told and "the server ends" not in told, told
    last = [line for line in told.splitlines() if " done " in line.replace('"', " ")][-1]
    assert "turn-end rule[7]" in last and "hello answer, 7 messages" in last, told
