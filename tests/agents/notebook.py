"""What a notebook's page says to a kernel, in both of Jupyter's framings."""

import json
import uuid

BINARY = "v1.kernel.websocket.jupyter.org"
"""The subprotocol whose messages are binary; without it they are JSON texts."""


class Notebook:
    """One load of a page with a kernel's channels: a session id of its own, and a request for the kernel's facts."""

    def __init__(self, browser, kernel: str, token: str, protocol: str | None, session: str | None = None):
        self.session, self._protocol = session or uuid.uuid4().hex, protocol
        path = f"/api/kernels/{kernel}/channels?session_id={self.session}&token={token}"
        self.page = browser.open(path, subprotocols=[protocol] if protocol else None)
        assert self.page.subprotocol == protocol
        self.greeting = self.send("shell", "kernel_info_request", {})

    def send(self, channel: str, kind: str, content: dict, parent: dict | None = None) -> str:
        """Sends a message; returns its id."""
        header = {"msg_id": uuid.uuid4().hex, "session": self.session, "username": "", "date": ""}
        header |= {"msg_type": kind, "version": "5.3"}
        if self._protocol:
            parts = [channel.encode(), *(json.dumps(part).encode() for part in (header, parent or {}, {}, content))]
            at = [8 * (len(parts) + 2)]
            for part in parts:
                at.append(at[-1] + len(part))
            self.page.send(b"".join(number.to_bytes(8, "little") for number in (len(at), *at)) + b"".join(parts))
        else:
            rest = {"metadata": {}, "content": content, "buffers": []}
            self.page.send({"channel": channel, "header": header, "parent_header": parent or {}, **rest})
        return header["msg_id"]

    def recv(self) -> dict:
        """The next message: its channel, header, parent's header and content."""
        message = self.page.recv()
        if not self._protocol:
            assert isinstance(message, str)
            return json.loads(message)
        count = int.from_bytes(message[:8], "little")
        at = [int.from_bytes(message[8 * i : 8 * i + 8], "little") for i in range(1, count + 1)]
        channel, header, parent, _, content = [message[a:b] for a, b in zip(at, at[1:], strict=False)][:5]
        parts = {"header": header, "parent_header": parent, "content": content}
        return {"channel": channel.decode()} | {name: json.loads(part) for name, part in parts.items()}

    def until(self, kind: str, asked: str | None = None) -> list[dict]:
        """All messages up to the first of this type that answers what was asked (or anything), that one included."""
        seen: list[dict] = []
        while not seen or not (is_a(seen[-1], kind) and asked in (None, seen[-1]["parent_header"].get("msg_id"))):
            seen.append(self.recv())
        return seen

    def done(self, asked: str) -> list[dict]:
        """All messages up to a request's end: its reply, and that its output is over, in whichever order."""
        seen: list[dict] = []
        left = {"reply", "idle"}
        while left:
            seen.append(self.recv())
            if seen[-1]["parent_header"].get("msg_id") == asked:
                left -= {"reply"} if seen[-1]["channel"] in ("shell", "control") else set()
                left -= {"idle"} if seen[-1]["content"].get("execution_state") == "idle" else set()
        return seen

    def execute(self, code: str) -> str:
        """Sends a cell; returns its id."""
        return self.send("shell", "execute_request", {"code": code, "silent": False, "allow_stdin": True})

    def answer(self, request: dict, value: str) -> None:
        """Answers an `input()`."""
        self.send("stdin", "input_reply", {"value": value}, request["header"])

    def reload(self) -> None:
        """What a browser does to the old page."""
        self.page.close(1001)


def is_a(message: dict, kind: str) -> bool:
    """Whether a message is of a type."""
    return message["header"]["msg_type"] == kind


def output(messages: list[dict]) -> str:
    """What cells printed."""
    return "".join(m["content"]["text"] for m in messages if is_a(m, "stream"))
