"""Hosts the Codex app-server offline, on loopback, with a scripted model.

Run by the Python of the venv that has its program. Argument: a scratch folder, which becomes its home and
working folder. The program itself is not changed: the model is a server of its own protocol (a stream of
response events) on loopback, and for each prompt asks for one command, `touch PROMPT`, that needs the
person's approval; after that it says `done`.

Prints `listening 127.0.0.1:PORT` once the server accepts connections.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from codex_cli_bin import bundled_codex_path

CONFIG = """
model = "scripted"
model_provider = "script"
approval_policy = "on-request"
sandbox_mode = "read-only"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.script]
name = "script"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
"""


class Model(BaseHTTPRequestHandler):
    """The model's end of the protocol."""

    def log_message(self, *_) -> None:
        pass

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = request["input"][-1]
        if last["type"] == "function_call_output":
            item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}
        else:
            command = {
                "cmd": f"touch {last['content'][-1]['text']}",
                "sandbox_permissions": "require_escalated",
                "justification": "may I?",
            }
            call = {"name": "exec_command", "arguments": json.dumps(command)}
            item = {"type": "function_call", "call_id": f"call-{len(request['input'])}", **call}
        used = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        events = [
            {"type": "response.created", "response": {"id": "response"}},
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": {"id": "response", "usage": used}},
        ]
        body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    scratch = Path(sys.argv[1]).resolve()
    model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    (scratch / "config.toml").write_text(CONFIG.format(port=model.server_port))
    command = [bundled_codex_path(), "app-server", "--listen", "ws://127.0.0.1:0"]
    env = {**os.environ, "CODEX_HOME": str(scratch), "HOME": str(scratch)}
    server = subprocess.Popen(command, cwd=scratch, env=env, stderr=subprocess.PIPE, text=True, errors="replace")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        for line in server.stderr:
            print(line, end="", flush=True)
    finally:
        # a polite signal makes it wait for its clients
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
