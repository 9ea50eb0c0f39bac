"""What is not a WebSocket passes through on the same port, unbuffered."""

import hashlib
import http.client
import json

from page import TIMEOUT
from processes import get


def test_get_and_errors_pass(agent, mux):
    """Status, headers and body are the server's."""
    connection = http.client.HTTPConnection("127.0.0.1", mux.port, timeout=TIMEOUT)
    for path, status in (("/", 200), ("/stats", 200), ("/nothing-here", 404)):
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        assert response.status == status
        if path == "/":
            assert response.headers["Content-Type"].startswith("text/html") and b"<title>agent" in body
    connection.close()


def test_a_response_streams(agent, mux, tag):
    """The first part arrives while the server still works on the second."""
    connection = http.client.HTTPConnection("127.0.0.1", mux.port, timeout=TIMEOUT)
    connection.request("GET", f"/stream/{tag}")
    response = connection.getresponse()
    assert response.read(6) == b"first;"
    agent.go(tag)
    assert response.read() == b"second"
    connection.close()


def test_an_upload_streams(agent, mux, tag):
    """The server has the first part before the client sends the last; the whole arrives as it was."""
    parts = [bytes([n]) * 65536 for n in range(64)]
    connection = http.client.HTTPConnection("127.0.0.1", mux.port, timeout=TIMEOUT)
    connection.putrequest("POST", f"/upload/{tag}?a=b%20c")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()

    def send(part: bytes) -> None:
        connection.send(b"%x\r\n%s\r\n" % (len(part), part))

    send(parts[0])
    agent.wait(tag, "first part", lambda r: r["sent"] >= len(parts[0]))
    for part in parts[1:]:
        send(part)
    send(b"")
    response = connection.getresponse()
    whole = b"".join(parts)
    expected = {"size": len(whole), "sha256": hashlib.sha256(whole).hexdigest(), "query": "a=b%20c"}
    assert response.status == 200
    assert json.loads(response.read()) == expected
    connection.close()


def test_http_works_beside_an_open_socket(agent, mux, browser, tag):
    """A page's requests and its socket do not disturb each other."""
    page = browser.open(f"/ws/capture/{tag}")
    page.send({"type": "prompt", "tag": tag, "tokens": 1})
    page.until("approval")
    assert get(mux.port, "/stats")["tags"][tag]["sent"] == 1
    page.send({"type": "answer", "id": tag, "ok": True})
    page.until("done")
