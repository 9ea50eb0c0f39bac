"""A JSON-RPC agent over WebSocket, as strict as the protocols that are spoken so: one session per connection.

`initialize` comes first and once, `initialized` behind it and once; a second one of either is an error.
`turn/start` is answered at once; then the turn streams `item` notifications, asks the page by a request of
its own whether it may run a command, runs it if so, and ends with `turn/completed`. `thread/read` is
answered once the test says so (`POST /go/{tag}`). A turn dies with its connection. `GET /stats` counts.
"""

import asyncio
import json
import socket
import sys
from contextlib import suppress

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
stats = {"connections": 0, "effects": [], "cancelled": [], "answers": []}
gates: dict[str, asyncio.Event] = {}


class Session:
    """One connection."""

    def __init__(self, socket: WebSocket):
        self.socket = socket
        self.tasks: dict[str, asyncio.Task] = {}
        self.asked: dict[int, asyncio.Future] = {}
        self.initialized = 0

    async def say(self, **message) -> None:
        await self.socket.send_text(json.dumps(message))

    async def take(self, message: dict) -> None:
        """One message of the page."""
        match message:
            case {"method": "initialize", "id": id} if not self.initialized:
                self.initialized = 1
                await self.say(id=id, result={"userAgent": "agent"})
            case {"method": "initialize", "id": id}:
                await self.say(id=id, error={"code": -32600, "message": "Already initialized"})
            case {"method": "initialized"} if self.initialized == 1:
                self.initialized = 2
            case {"id": id, "method": _} if self.initialized < 2:
                await self.say(id=id, error={"code": -32600, "message": "Not initialized"})
            case {"id": id, "method": "turn/start", "params": {"tag": tag}}:
                await self.say(id=id, result={"turn": {"id": tag}})
                self.tasks[tag] = asyncio.create_task(self.turn(tag))
            case {"id": id, "method": "thread/read", "params": {"tag": tag}}:
                self.tasks[f"read {tag}"] = asyncio.create_task(self.read(id, tag))
            case {"id": id, "method": "echo", "params": params}:
                await self.say(id=id, result=params)
            case {"id": id, "result": result} if id in self.asked:
                stats["answers"].append(id)
                if not self.asked[id].done():
                    self.asked[id].set_result(result)
            case _:
                # as a second `initialized`: the page does not keep to the protocol
                await self.socket.close(1008)

    async def turn(self, tag: str) -> None:
        for number in range(3):
            await self.say(method="item", params={"tag": tag, "number": number})
        id = len(self.asked)
        self.asked[id] = asyncio.get_running_loop().create_future()
        await self.say(id=id, method="item/commandExecution/requestApproval", params={"command": tag})
        if (await self.asked[id])["decision"] == "accept":
            stats["effects"].append(tag)
        await self.say(method="turn/completed", params={"turn": {"id": tag}})

    async def read(self, id, tag: str) -> None:
        await gates.setdefault(tag, asyncio.Event()).wait()
        await self.say(id=id, result={"read": tag})


@app.websocket("/ws")
async def serve(websocket: WebSocket):
    await websocket.accept()
    stats["connections"] += 1
    session = Session(websocket)
    with suppress(WebSocketDisconnect):
        while True:
            await session.take(json.loads(await websocket.receive_text()))
    for tag, task in session.tasks.items():
        if task.cancel():
            stats["cancelled"].append(tag)


@app.get("/stats")
async def counted() -> dict:
    return stats


@app.post("/go/{tag}")
async def go(tag: str) -> dict:
    gates.setdefault(tag, asyncio.Event()).set()
    return {}


class Announcing(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        print("listening 127.0.0.1:%d" % sockets[0].getsockname()[1], flush=True)


if __name__ == "__main__":
    sys.exit(Announcing(uvicorn.Config(app, log_level="warning")).run([socket.create_server(("127.0.0.1", 0))]))
