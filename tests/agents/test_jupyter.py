"""Jupyter Server, unmodified, behind sessmux: the page reloads while a cell runs, or waits for input."""

import http.client
import json

import pytest

from conftest import python, sessmux
from notebook import BINARY, Notebook, is_a, output
from page import TIMEOUT, Browser, Refused
from processes import Server, wait_until

TOKEN = "of-the-tests"
OPTIONS = ["ip=127.0.0.1", "port=0", "open_browser=False", "allow_root=True"]


class Host:
    """The server, and what its REST interface tells."""

    def __init__(self, scratch):
        options = [f"--ServerApp.{option}" for option in [*OPTIONS, f"root_dir={scratch}"]]
        command = [python("jupyter"), "-m", "jupyter_server", f"--IdentityProvider.token={TOKEN}", *options]
        # it says its port before it listens
        self.server = Server(command, cwd=scratch, env={"HOME": str(scratch)}, says="http://127.0.0.1:")
        self.port = self.server.port
        wait_until("the server listens", self._listens)

    def rest(self, method: str, path: str) -> dict | None:
        """What it answers, where it has a body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        connection.request(method, path, headers={"Authorization": f"token {TOKEN}"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        assert response.status < 300, (method, path, response.status, text[:500])
        return json.loads(text) if text else None

    def idle(self, kernel: str) -> bool:
        """Whether no cell runs."""
        return self.rest("GET", f"/api/kernels/{kernel}")["execution_state"] == "idle"

    def connections(self, kernel: str) -> int:
        """How many pages the kernel has, as the server sees it."""
        return self.rest("GET", f"/api/kernels/{kernel}")["connections"]

    def _listens(self) -> bool:
        try:
            return bool(self.rest("GET", "/api"))
        except ConnectionError:
            return False


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Jupyter Server."""
    hosted = Host(tmp_path_factory.mktemp("jupyter"))
    yield hosted
    hosted.server.stop()


@pytest.fixture(scope="module")
def mux(host, tmp_path_factory):
    """sessmux in front of it, told the profile alone."""
    config = tmp_path_factory.mktemp("config") / "sessmux.toml"
    config.write_text('profile = "jupyter"\n')
    server = sessmux(host.port, config)
    yield server
    server.stop()


@pytest.fixture(params=[BINARY, None], ids=["binary", "text"])
def protocol(request):
    """Both of its framings."""
    return request.param


@pytest.fixture
def kernel(host):
    """A kernel of this test's own."""
    kernel = host.rest("POST", "/api/kernels")["id"]
    yield kernel
    if kernel in [model["id"] for model in host.rest("GET", "/api/kernels")]:
        host.rest("DELETE", f"/api/kernels/{kernel}")


def load(browser: Browser, kernel: str, protocol: str | None, session: str | None = None) -> Notebook:
    """A page's load: the document, then the socket with a new session id."""
    browser.load(f"/api?token={TOKEN}")
    return Notebook(browser, kernel, TOKEN, protocol, session)


def long_cell(gate) -> str:
    """A cell that prints, waits for a file, and prints again."""
    wait = f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)"
    return f"import pathlib, time\nprint('before', flush=True)\n{wait}\nprint('meanwhile')\n"


def asking_cell(effects) -> str:
    """A cell that asks, and notes the answer."""
    return f"answer = input('go? ')\nwith open({str(effects)!r}, 'a') as file: file.write(answer + '\\n')\n"


def test_a_cell_goes_on_while_the_page_is_away(host, browser, kernel, protocol, tmp_path):
    """What it printed meanwhile, and its reply, are there after the reload; so is the kernel for the next cell."""
    gate = tmp_path / "gate"
    notebook = load(browser, kernel, protocol)
    asked = notebook.execute(long_cell(gate))
    assert output(notebook.until("stream", asked)) == "before\n"
    notebook.reload()
    gate.touch()
    wait_until("the cell is over", lambda: host.idle(kernel))
    notebook = load(browser, kernel, protocol)
    seen = notebook.done(asked)
    seen += notebook.done(notebook.greeting)
    assert output(seen) == "before\nmeanwhile\n"
    assert [m["content"]["status"] for m in seen if is_a(m, "execute_reply")] == ["ok"]
    again = notebook.execute("print('next')")
    assert output(notebook.done(again)) == "next\n"
    assert host.connections(kernel) == 1


LEAVES = {"reload": lambda notebook: notebook.reload(), "reset": lambda notebook: notebook.page.reset()}


@pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES.keys())
def test_pending_input_survives(host, browser, kernel, protocol, leave, tmp_path):
    """It is shown again, answered once, has its effect once, and is not shown again once answered."""
    effects = tmp_path / "effects"
    notebook = load(browser, kernel, protocol)
    asked = notebook.execute(asking_cell(effects))
    request = notebook.until("input_request", asked)[-1]
    for _ in range(2):
        leave(notebook)
        notebook = load(browser, kernel, protocol)
        shown = notebook.until("input_request")
        assert shown[-1] == request
    notebook.answer(request, "yes")
    seen = shown + notebook.done(asked)
    assert len([m for m in seen if is_a(m, "input_request")]) == 1
    leave(notebook)
    notebook = load(browser, kernel, protocol)
    seen = notebook.done(asked) + notebook.done(notebook.greeting)
    assert not [m for m in seen if is_a(m, "input_request")], "it was answered"
    notebook.answer(request, "late")
    again = notebook.execute(asking_cell(effects))
    notebook.answer(notebook.until("input_request", again)[-1], "again")
    notebook.done(again)
    assert effects.read_text().splitlines() == ["yes", "again"]
    assert host.connections(kernel) == 1


ENDS = {"interrupt": "execute_reply", "restart": "shutdown_reply"}


@pytest.mark.parametrize("end", ENDS)
def test_input_that_nobody_waits_for_is_not_shown(host, browser, kernel, protocol, end, tmp_path):
    """The cell was interrupted, or the kernel restarted."""
    notebook = load(browser, kernel, protocol)
    asked = notebook.execute(asking_cell(tmp_path / "effects"))
    notebook.until("input_request", asked)
    host.rest("POST", f"/api/kernels/{kernel}/{end}")
    notebook.until(ENDS[end])
    notebook.reload()
    notebook = load(browser, kernel, protocol)
    # what comes before it is all of the replay
    seen = notebook.until("kernel_info_reply", notebook.greeting)
    assert [m for m in seen if is_a(m, ENDS[end])]
    assert not [m for m in seen if is_a(m, "input_request")]


def test_a_page_is_told_that_its_kernel_is_gone(host, browser, kernel, protocol):
    """The server says so, and leaves the socket open; so does sessmux, and the next load hears from the server itself."""
    notebook = load(browser, kernel, protocol)
    notebook.done(notebook.greeting)
    host.rest("DELETE", f"/api/kernels/{kernel}")
    assert notebook.until("shutdown_reply")[-1]["content"]["restart"] is False
    notebook.reload()
    with pytest.raises(Refused) as refused:
        load(browser, kernel, protocol)
    assert refused.value.status == 404


@pytest.mark.parametrize("same", [False, True], ids=["new session id", "same session id"])
def test_straight_a_reload_loses_output_and_reply(host, kernel, protocol, same, tmp_path):
    """The server keeps them for a page of the same session id; but pages make a new one on every load."""
    browser, gate = Browser(host.port), tmp_path / "gate"
    notebook = load(browser, kernel, protocol)
    asked = notebook.execute(long_cell(gate))
    notebook.until("stream", asked)
    notebook.reload()
    gate.touch()
    wait_until("the cell is over", lambda: host.idle(kernel))
    notebook = load(browser, kernel, protocol, notebook.session if same else None)
    seen = notebook.done(notebook.greeting)
    assert output(seen) == ("meanwhile\n" if same else "")
    assert len([m for m in seen if is_a(m, "execute_reply")]) == int(same)
    browser.quit()


def test_straight_a_reload_loses_the_input(host, kernel, protocol, tmp_path):
    """The kernel waits on, and no page knows of it."""
    browser = Browser(host.port)
    notebook = load(browser, kernel, protocol)
    notebook.until("input_request", notebook.execute(asking_cell(tmp_path / "effects")))
    notebook.reload()
    notebook = load(browser, kernel, protocol)
    # the control channel is served while a cell runs
    seen = notebook.done(notebook.send("control", "kernel_info_request", {}))
    assert not host.idle(kernel)
    assert not [m for m in seen if is_a(m, "input_request")]
    browser.quit()
