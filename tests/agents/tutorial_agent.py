"""The agent of src/profile/README.md: as many are written, and none of it made for reloads.

    uvicorn --app-dir tests/agents tutorial_agent:app --port 8000

Every connection has to say `init`, once. The server sends `ping` every 5 s and leaves whoever does not answer `pong`
before the next one. A `prompt` begins a turn: `token`s, an `approval` that waits for an `answer`, a `result`, `done`.
"""

import asyncio

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse

PING_EVERY = 5
"""Seconds; real servers have 20 or 30."""

PAGE = """<!doctype html>
<meta charset="utf-8"><title>agent</title>
<style>body { font: 16px/1.5 sans-serif; max-width: 40em; margin: 2em auto } pre { white-space: pre-wrap }</style>
<form id="ask"><input id="text" value="tidy up" autocomplete="off"> <button>Send</button></form>
<pre id="said"></pre><p id="asked"></p>
<script>
  const [said, asked] = [document.getElementById("said"), document.getElementById("asked")];
  const socket = new WebSocket(`ws://${location.host}/ws`);
  const send = message => socket.send(JSON.stringify(message));
  socket.onopen = () => send({ type: "init" });
  socket.onclose = event => said.append(`\\n[closed: ${event.code} ${event.reason}]`);
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "ping") send({ type: "pong", n: message.n });
    if (message.type === "token") said.append(message.text);
    if (message.type === "result") said.append(`\\n${message.output}\\n`);
    if (message.type === "error") said.append(`\\n[${message.message}]`);
    if (message.type === "approval") {
      const button = document.createElement("button");
      button.textContent = `Approve: ${message.command}`;
      button.onclick = () => { asked.replaceChildren(); send({ type: "answer", id: message.id, ok: true }) };
      asked.replaceChildren(button);
    }
  };
  document.getElementById("ask").onsubmit = event => {
    event.preventDefault();
    send({ type: "prompt", text: document.getElementById("text").value });
  };
</script>
"""

app = FastAPI()


class Conversation:
    """One connection, and all that it knows."""

    def __init__(self, socket: WebSocket):
        self.socket = socket
        self.tasks: list[asyncio.Task] = []
        self.greeted = False
        self.turns = 0
        self.pings = 0
        self.pongs = 0
        self.answers: asyncio.Queue = asyncio.Queue()

    def start(self, work) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def take(self, message: dict) -> None:
        """One message of the page."""
        match message["type"]:
            case "init" if self.greeted:
                await self.say("error", message="already initialised")
                await self.socket.close(1008, "already initialised")
            case "init":
                self.greeted = True
                await self.say("ready", model="tidy-1")
            case "pong":
                self.pongs = message["n"]
            case "prompt":
                self.turns += 1
                self.start(self.turn())
            case "answer":
                await self.answers.put(message)

    async def turn(self) -> None:
        """Tokens, an approval, a tool."""
        for word in ["I", " would", " remove", " build/."]:
            await asyncio.sleep(0.1)
            await self.say("token", text=word)
        await self.say("approval", id=f"call-{self.turns}", command="rm -r build")
        answer = await self.answers.get()
        await self.say("result", output="removed" if answer["ok"] else "left as it was")
        await self.say("token", text="Done.")
        await self.say("done")

    async def ping(self) -> None:
        """Asks whether the page lives."""
        await asyncio.sleep(PING_EVERY)
        while self.pongs == self.pings:
            self.pings += 1
            await self.say("ping", n=self.pings)
            await asyncio.sleep(PING_EVERY)
        await self.socket.close(1011, "no pong")

    async def say(self, type: str, **fields) -> None:
        await self.socket.send_json({"type": type, **fields})


@app.websocket("/ws")
async def chat(websocket: WebSocket):
    await websocket.accept()
    conversation = Conversation(websocket)
    conversation.start(conversation.ping())
    try:
        while True:
            await conversation.take(await websocket.receive_json())
    except (WebSocketDisconnect, RuntimeError):
        # a page that is gone takes its turn with it
        await conversation.end()


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE, headers={"Cache-Control": "no-store"})
