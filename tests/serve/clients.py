"""Clients of a service, in a process that a test can end without a word.

    python clients.py URL TOKEN SECONDS OUT RUN...

Fifty ask for the list and for runs, twenty follow events, and five open streams that they never read. Once all runs are
over and the seconds are gone, what they saw is written to OUT, and they go on until they are killed.
"""

import asyncio
import json
import os
import socket
import sys
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import httpx

POLLING, FOLLOWING, DEAF = 50, 20, 5
OVER = {"done", "failed", "cancelled", "lost"}


async def poll(http: httpx.AsyncClient, number: int, runs: list[str], seen: Counter[str]) -> None:
    """Ask for a page or for a run, again and again."""
    paths = ["/v1/runs", "/v1/runs?state=done&limit=5", *(f"/v1/runs/{run}" for run in runs)]
    for turn in range(number, sys.maxsize):
        answer = await http.get(paths[turn % len(paths)])
        seen[f"polled: {answer.status_code}"] += 1
        answer.json()
        await asyncio.sleep(0.2)


async def follow(http: httpx.AsyncClient, path: str, runs: set[str]) -> dict[str, str]:
    """The last state of each run that the events of a stream told, once all are over."""
    states: dict[str, str] = {}
    async with http.stream("GET", path) as stream:
        assert stream.status_code == 200, stream.status_code
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                run: dict[str, Any] = json.loads(line[5:])
                states[run["id"]] = run["state"]
            if runs <= states.keys() and all(states[run] in OVER for run in runs):
                break
    return states


def open_and_never_read(url: str, token: str, path: str) -> socket.socket:
    """A request whose answer is left where it is."""
    parts = urlsplit(url)
    opened = socket.create_connection((parts.hostname or "", parts.port or 80))
    asks = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
    opened.sendall(asks.encode())
    return opened


async def main(url: str, token: str, seconds: float, out: str, runs: list[str]) -> None:
    """As above."""
    seen: Counter[str] = Counter()
    bounds = httpx.Limits(max_connections=None)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, limits=bounds) as http:
        polling = [asyncio.create_task(poll(http, number, runs, seen)) for number in range(POLLING)]
        one = [follow(http, f"/v1/runs/{runs[at % len(runs)]}/events", {runs[at % len(runs)]}) for at in range(10)]
        every = [follow(http, "/v1/events", set(runs)) for _ in range(FOLLOWING - 10)]
        following = [asyncio.create_task(each) for each in one + every]
        deaf = [open_and_never_read(url, token, "/v1/events") for _ in range(DEAF)]
        kept = [asyncio.create_task(follow(http, "/v1/events", {""})) for _ in range(FOLLOWING)]  # for ever
        await asyncio.sleep(seconds)
        ends = await asyncio.gather(*following)
        failed = [repr(task.exception()) for task in polling if task.done()]
        with open(f"{out}.tmp", "w") as file:
            json.dump({"seen": seen, "ends": ends, "failed": failed, "deaf": len(deaf)}, file)
        os.replace(f"{out}.tmp", out)
        await asyncio.gather(*polling, *kept)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4], sys.argv[5:]))
