"""A Chainlit app that asks the person, at the start and in each turn; in a folder it notes by session what happened."""

import os
from pathlib import Path

import chainlit as cl

SCRATCH = Path(os.environ["SCRATCH"])
WAIT = 600
"""Seconds that a question waits: longer than any test."""


def note(what: str) -> None:
    """One line, in the file of the page's session."""
    with (SCRATCH / cl.context.session.id).open("a") as file:
        file.write(what + "\n")


@cl.on_chat_start
async def start():
    note("asked")
    choices = [cl.Action(name=name, label=name.title(), payload={}) for name in ("yes", "no")]
    answer = await cl.AskActionMessage("May I begin?", actions=choices, timeout=WAIT).send()
    note(f"begun: {answer and answer['name']}")
    await cl.Message(f"It was {answer and answer['name']}.").send()


@cl.on_message
async def turn(message: cl.Message):
    note(f"turn: {message.content}")
    answer = await cl.AskUserMessage("Who says so?", timeout=WAIT).send()
    note(f"said by {answer and answer['output']}")
    await cl.Message(f"Done for {answer and answer['output']}.").send()


@cl.on_chat_end
async def end():
    note("left")
