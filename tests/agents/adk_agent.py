"""An agent for ADK's own server; its model is in this process, and notes when its live connections begin and end."""

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.models.base_llm_connection import BaseLlmConnection
from google.genai import types

SCRATCH = Path(os.environ["SCRATCH"])


def note(line: str) -> None:
    """For the test."""
    with open(SCRATCH / "noted", "a") as file:
        file.write(line + "\n")


def says(text: str, **more) -> LlmResponse:
    """A piece of what the model says."""
    return LlmResponse(content=types.Content(role="model", parts=[types.Part(text=text)]), **more)


class Connection(BaseLlmConnection):
    """Says two pieces about each text; of one that is the name of a file, the second when there is that file."""

    def __init__(self):
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()

    async def send_history(self, history):
        """There is none to send: what was said is said on this connection."""

    async def send_content(self, content):
        note(f"asked {content.parts[0].text}")
        await self._texts.put(content.parts[0].text)

    async def send_realtime(self, blob):
        # what it hears is the text, spoken
        await self._texts.put("heard " + blob.data.decode())

    async def receive(self):
        text = await self._texts.get()
        if text is None:
            return
        if text.startswith("heard "):
            text = text.removeprefix("heard ")
            yield LlmResponse(input_transcription=types.Transcription(text=text, finished=True))
        yield says(f"first of {text};", partial=True)
        while text.startswith("/") and not Path(text).exists():
            await asyncio.sleep(0.01)
        yield says(f" second of {text}", partial=True)
        yield says(f"first of {text}; second of {text}")
        yield LlmResponse(turn_complete=True)
        note(f"said {text}")

    async def close(self):
        await self._texts.put(None)


class Model(BaseLlm):
    """A model without a network."""

    async def generate_content_async(self, llm_request, stream=False):
        yield says("this model is a live one")

    @asynccontextmanager
    async def connect(self, llm_request):
        note("opened")
        try:
            yield Connection()
        finally:
            note("closed")


root_agent = LlmAgent(name="live", model=Model(model="in-process"), instruction="Answer.")
