"""A sink that answers late and defers: `python -m bench.whole.late_sink PORT MILLISECONDS EVERY`.

`fastrelay sink` with a script; like smtp-sink it writes its running count to standard output, for ends.Sink.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from fastrelay.load.script import Script, parse_latency, parse_reply
from fastrelay.load.scripted import ScriptedConnection
from fastrelay.load.sink import Sink

COUNT_EVERY = 0.02  # seconds


async def serve(port: int, milliseconds: float, every: int) -> None:
    script = Script()
    if milliseconds:
        script.latency.update([parse_latency(f"dot={milliseconds}")])
    if every:
        script.add(parse_reply(f"rcpt=450 4.2.1 Try later:every {every}"))
    sink = Sink()
    await asyncio.get_running_loop().create_server(
        lambda: ScriptedConnection(sink, script), "127.0.0.1", port, backlog=1000
    )
    told = -1
    while True:
        if told != sink.counts.messages:
            told = sink.counts.messages
            print(f"mesg={told} ", end="", flush=True)
        await asyncio.sleep(COUNT_EVERY)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
