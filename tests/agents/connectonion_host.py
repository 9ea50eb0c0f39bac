"""Hosts a ConnectOnion agent offline, on loopback, with a scripted model.

Run by the Python of the venv that has the version under test. Arguments: a scratch folder (it becomes
HOME and the working folder), and the caller's address, who becomes a contact. The framework itself is
not changed: the model is an `LLM` of its own kind, the socket that it listens on is bound here, so that
it is loopback only and its port is known.

Each WebSocket that comes appends a line to `sockets`. Prints `listening 127.0.0.1:PORT` once the server
accepts connections. A prompt makes the model run a tool, which appends its command to `effects` in the
scratch folder; a command whose last word starts with `slow-` then takes until a file of that name is there.
A prompt that starts with `ask-` makes it ask the person instead, one that starts with `plan-` has a plan
reviewed, by the framework's own tools; one that starts with `steps-` has the tool run three times.
"""

import os
import socket
import sys
import time
from pathlib import Path


def main() -> None:
    scratch, caller = Path(sys.argv[1]).resolve(), sys.argv[2]
    os.environ["HOME"] = str(scratch)
    os.chdir(scratch)
    lists = scratch / ".co"
    lists.mkdir(exist_ok=True)
    (lists / "contacts.txt").write_text(caller + "\n")

    import uvicorn
    from connectonion import Agent, host
    from connectonion.core.llm import LLM, LLMResponse, ToolCall
    from connectonion.core.usage import TokenUsage
    from connectonion.useful_plugins import tool_approval
    from connectonion.useful_tools import ask_user

    tools = [ask_user]
    try:
        from connectonion.cli.co_ai.tools.plan_mode import enter_plan_mode, exit_plan_and_implement
    except ImportError:
        # later versions have no such reviews
        pass
    else:
        tools += [enter_plan_mode, exit_plan_and_implement]

    class Script(LLM):
        """Asks for the tool once per prompt, then answers with what the tool said."""

        model = "script"

        def complete(self, messages, tools=None, **_):
            last = messages[-1]
            usage = TokenUsage()
            prompt = next(m["content"] for m in reversed(messages) if m["role"] == "user")
            call = None
            runs = len([m for m in messages if m["role"] == "tool"])
            if last["role"] != "tool" or (prompt.startswith("steps-") and runs < 3):
                if prompt.startswith("ask-"):
                    call = ("ask_user", {"question": prompt, "options": ["yes", "no"]})
                elif prompt.startswith("plan-"):
                    call = ("enter_plan_mode", {})
                else:
                    call = ("bash", {"command": f"make {prompt}"})
            elif "Entered plan mode" in last["content"]:
                call = ("exit_plan_and_implement", {})
            if call:
                return LLMResponse(None, [ToolCall(*call, f"call-{len(messages)}")], None, usage)
            return LLMResponse(f"done: {last['content']}", [], None, usage)

        def structured_complete(self, messages, output_schema, **_):
            raise NotImplementedError("the script has no structured answers")

    def bash(command: str) -> str:
        """Runs a command (here it only notes that it ran)."""
        with open(scratch / "effects", "a", encoding="utf-8") as effects:
            effects.write(command + "\n")
        target = command.split()[-1]
        while target.startswith("slow-") and not (scratch / target).exists():
            time.sleep(0.01)
        return f"ran {command}"

    def agent() -> Agent:
        return Agent("scripted", llm=Script(), tools=[bash, *tools], plugins=[tool_approval], log=False)

    def counted(app):
        """The same application, each WebSocket noted before it is answered."""

        async def run(scope, receive, send):
            if scope["type"] == "websocket":
                with open(scratch / "sockets", "a", encoding="utf-8") as sockets:
                    sockets.write(f"{scope['client']}\n")
            await app(scope, receive, send)

        return run

    def serve(app, **options):
        """Stands in for `uvicorn.run`: a socket bound to loopback instead of every address."""
        listener = socket.create_server(("127.0.0.1", 0))
        options.update(host=None, port=None, workers=1, reload=False)

        class Server(uvicorn.Server):
            async def startup(self, sockets=None):
                await super().startup(sockets)
                print("listening 127.0.0.1:%d" % listener.getsockname()[1], flush=True)

        Server(uvicorn.Config(counted(app), **options)).run(sockets=[listener])

    uvicorn.run = serve
    host(agent, port=0, trust="open", relay_url="", co_dir=lists)


if __name__ == "__main__":
    main()
