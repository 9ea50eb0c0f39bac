"""An echo that checks nothing: whatever is refused between it and the suite, sessmux refused.

A strict echo would hide a lax proxy, for its close would pass through with the very code that is wanted.
"""

import asyncio
import base64
import os
from hashlib import sha1

CLOSE, PING, PONG = 8, 9, 10


def frame(first, payload, masked):
    """A frame with this first byte, whatever it says."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2) if size < 1 << 16 else b"\x7f" + size.to_bytes(8)
    if not masked:
        return bytes([first]) + length + payload
    mask = os.urandom(4)
    return bytes([first, length[0] | 0x80]) + length[1:] + mask + xor(payload, mask)


def xor(payload, mask):
    stream = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(len(payload))


async def read_frame(reader):
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    return first, xor(await reader.readexactly(size), mask)


async def echo(reader, writer, masked):
    """Sends every frame back until a close was, or the connection ends."""
    try:
        opcode = None
        while opcode != CLOSE:
            first, payload = await read_frame(reader)
            opcode = first & 0x0F
            if opcode == PING:
                first += PONG - PING
            if opcode != PONG:
                writer.write(frame(first, payload, masked))
                await writer.drain()
        # The server closes the connection first (RFC 6455 section 7.1.1).
        if masked:
            await reader.read()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(started):
    """Listens on a free port, which it tells `started`, until cancelled."""

    async def connected(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(sha1(key.encode()).digest()).decode()
        answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        writer.write(f"{answer}{accept}\r\n\r\n".encode())
        await echo(reader, writer, masked=False)

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        started(server.sockets[0].getsockname()[1])
        await server.serve_forever()


async def run_cases(port):
    """Asks the fuzzing server how many cases there are, echoes in each, and has the report written."""

    async def connect(path):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return reader, writer

    reader, writer = await connect("/getCaseCount")
    _, count = await read_frame(reader)
    await echo(reader, writer, masked=True)
    for case in range(1, int(count) + 1):
        await echo(*await connect(f"/runCase?case={case}&agent=sessmux"), masked=True)
    await echo(*await connect("/updateReports?agent=sessmux"), masked=True)
