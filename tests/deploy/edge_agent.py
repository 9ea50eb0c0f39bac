"""An agent's plain HTTP, to see what a proxy in front of it does to requests and answers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class EdgeAgent(ThreadingHTTPServer):
    """Answers pages, tells what it was asked, streams an answer, takes an upload bit by bit."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.go_on = threading.Event()
        """Until then a streamed answer has its first part alone."""
        self.half = threading.Event()
        """Half of an upload is here."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Ends it."""
        self.go_on.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """`/stream` in two parts; anything else is told what was asked."""
        if self.path == "/stream":
            self.send_response(200)
            # of text/event-stream some proxies know by themselves that it is not to be gathered
            self.send_header("Content-Type", "text/plain")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"6\r\nfirst;\r\n")
            self.server.go_on.wait()
            self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")
            return
        self._tell({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}})

    def do_POST(self):
        """An upload of known size."""
        size = int(self.headers["Content-Length"])
        self.rfile.read(size // 2)
        self.server.half.set()
        self._tell({"rest": len(self.rfile.read(size - size // 2))})

    def _tell(self, what: dict) -> None:
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""
