"""An agent server as tutorials write them: FastAPI, one task per turn, cancelled when the page is gone.

It keeps nothing for a page that comes back; what a refresh loses on it is what sessmux must save. Beside
that it counts, for the tests: connections, turns cancelled, tools run (`GET /stats`), by the `tag` that a
page puts into its prompt. Turns stop where the prompt says, until `POST /go/{tag}`, so that a test
decides what happens while a page is away.

Messages, JSON text: `init` may be said once per connection; `prompt` streams `token`s, then asks
`approval`, runs its tool when the `answer` allows it, and ends with `done`. Binary comes back reversed.
Arguments: seconds between pings, seconds until a ping without an answer ends the connection.
"""

import asyncio
import hashlib
import json
import socket
import sys
import uuid
from contextlib import suppress

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, StreamingResponse

app = FastAPI()
connections = 0
tags: dict[str, dict] = {}
gates: dict[str, asyncio.Event] = {}


def record(tag: str) -> dict:
    """What is known of one conversation."""
    empty = {"connections": [], "sent": 0, "ticks": 0, "cancelled": 0, "effects": 0, "answers": 0, "closes": []}
    return tags.setdefault(tag, empty | {"headers": {}, "marks": []})


def gate(tag: str) -> asyncio.Event:
    """Opened by the test."""
    return gates.setdefault(tag, asyncio.Event())


class Conversation:
    """One connection: what tutorials keep in local variables."""

    def __init__(self, socket: WebSocket, number: int):
        self.socket, self.number = socket, number
        self.answers: asyncio.Queue = asyncio.Queue()
        self.turn: asyncio.Task | None = None
        self.tag: str | None = None
        self.greeted = False

    async def take(self, message: dict) -> None:
        """One message of the page."""
        if "tag" in message:
            self.tag = message["tag"]
            known = record(self.tag)
            if self.number not in known["connections"]:
                known["connections"].append(self.number)
            known["headers"] = {k: v for k, v in self.socket.headers.items()}
        match message["type"]:
            case "init" if self.greeted:
                await self.socket.send_json({"type": "error", "message": "already initialised"})
                await self.socket.close(1008)
            case "init":
                self.greeted = True
                chosen = message.get("session_id") or uuid.uuid4().hex
                await self.socket.send_json({"type": "ready", "session_id": chosen, "connection": self.number})
            case "prompt":
                self.turn = asyncio.create_task(self.answer(message))
            case "answer":
                record(self.tag)["answers"] += 1
                await self.answers.put(message)
            case "mark":
                record(self.tag)["marks"].append(message["mark"])

    async def answer(self, prompt: dict) -> None:
        """A turn: tokens, an approval, a tool."""
        known = record(prompt["tag"])
        for n in range(1, prompt.get("tokens", 0) + 1):
            if n == prompt.get("hold"):
                await gate(prompt["tag"]).wait()
            await self.socket.send_json({"type": "token", "tag": prompt["tag"], "n": n})
            known["sent"] = n
        if prompt.get("tick"):
            while not gate(prompt["tag"]).is_set():
                known["ticks"] += 1
                await asyncio.sleep(prompt["tick"])
        if prompt.get("approve", True):
            await self.socket.send_json({"type": "approval", "id": prompt["tag"], "command": "make"})
            if (await self.answers.get()).get("ok"):
                known["effects"] += 1
                await self.socket.send_json({"type": "result", "output": "made"})
        await self.socket.send_json({"type": "done", "tag": prompt["tag"]})


@app.websocket("/ws/{rest:path}")
async def chat(websocket: WebSocket, rest: str):
    global connections
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol=offered[-1] if offered else None)
    connections += 1
    conversation = Conversation(websocket, connections)
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code"), message.get("reason"))
            if (data := message.get("bytes")) is not None:
                await websocket.send_bytes(data[::-1])
            else:
                await conversation.take(json.loads(message["text"]))
    except WebSocketDisconnect as gone:
        if conversation.tag:
            record(conversation.tag)["closes"].append(gone.code)
        turn = conversation.turn
        if turn and not turn.done():
            turn.cancel()
            with suppress(asyncio.CancelledError):
                await turn
            record(conversation.tag)["cancelled"] += 1


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse("<!doctype html><title>agent</title>", headers={"Cache-Control": "no-store"})


@app.get("/stats")
async def stats() -> dict:
    return {"connections": connections, "tags": tags}


@app.post("/go/{tag}")
async def go(tag: str) -> dict:
    gate(tag).set()
    return {}


@app.get("/stream/{tag}")
async def stream(tag: str) -> StreamingResponse:
    async def parts():
        yield b"first;"
        await gate(tag).wait()
        yield b"second"

    return StreamingResponse(parts(), media_type="text/plain")


@app.post("/upload/{tag}")
async def upload(tag: str, request: Request) -> dict:
    digest, size = hashlib.sha256(), 0
    async for part in request.stream():
        digest.update(part)
        size += len(part)
        record(tag)["sent"] = size
    return {"size": size, "sha256": digest.hexdigest(), "query": request.url.query}


class Announcing(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        print("listening 127.0.0.1:%d" % sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    interval, timeout = map(float, sys.argv[1:])
    config = uvicorn.Config(app, log_level="warning", ws_ping_interval=interval, ws_ping_timeout=timeout)
    Announcing(config).run(sockets=[socket.create_server(("127.0.0.1", 0))])
