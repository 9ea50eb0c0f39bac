"""What every way to deploy sessmux has to keep true: a page that is reloaded amid a turn loses nothing."""

import re

from page import Browser, Page
from processes import Server, binary, get

SOCKET = "/agent/sessmux"
"""Where the demo agent speaks to pages that come through sessmux."""


class Demo:
    """`sessmux demo`, of which only the agent is used: what it counted tells what reached it."""

    def __init__(self):
        self.server = Server([binary(), "demo", "--listen", "127.0.0.1:0"], says="open http")
        straight = Browser(self.server.port).load("/straight")
        self.port = int(re.search(r"ws://127\.0\.0\.1:(\d+)/agent/straight", straight)[1])

    def counts(self) -> dict:
        """What it counted of connections that came through sessmux."""
        return get(self.port, "/stats")["sessmux"]

    def stop(self) -> None:
        """Ends it."""
        self.server.stop()


def reload_amid_a_turn(browser: Browser, demo: Demo) -> Page:
    """A page asks, is reloaded while the agent waits for an approval, and approves; the page that is there then."""
    before = demo.counts()
    browser.load("/")
    page = browser.open(SOCKET)
    page.send({"type": "prompt", "text": "tidy up"})
    shown = page.until("approval_needed")

    # in a browser's order: document, the old page's close, the new page's socket
    browser.load("/")
    page.close(1001)
    reloaded = browser.open(SOCKET)
    assert reloaded.until("approval_needed") == shown

    reloaded.send({"type": "approve", "id": shown[-1]["id"]})
    rest = reloaded.until("turn_finished")
    assert [message["seq"] for message in rest] == list(range(len(shown) + 1, len(shown) + len(rest) + 1))
    after = demo.counts()
    changed = {name: after[name] - before[name] for name in after}
    assert changed == {"connections": 1, "turns": 1, "cancelled": 0, "tool_runs": 1}
    return reloaded
