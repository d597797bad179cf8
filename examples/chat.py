"""A page that shows what a model says while it says it: tokens go to the browser as the node gives them.

A plain ASGI application, for any ASGI server:

    pip install 'cascade-py[http]' uvicorn
    uvicorn --app-dir examples chat:app               # a stand-in plays the model, see stand_ins.py
    OPENAI_BASE_URL=http://localhost:11434/v1 MODEL=... uvicorn --app-dir examples chat:app

`tokens` is a generator task, and the page gets its items as they come. A page
that is slow holds the model back.
"""

import contextlib
import json
import os
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl

import httpx
import stand_ins

import cascade as cs

PAGE = """<!doctype html><meta charset="utf-8"><title>Ask</title>
<form><input name="question" value="How are you?" size="60"> <button>Ask</button></form><pre></pre>
<script>
const [form] = document.forms, shown = document.querySelector("pre");
form.onsubmit = async event => {
  event.preventDefault();
  shown.textContent = "";
  const answer = await fetch("/ask?" + new URLSearchParams(new FormData(form)));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part; !(part = await reader.read()).done;) shown.append(part.value);
};
</script>"""


@cs.task(retry={"max_attempts": 3, "delay": 0.5, "on": httpx.ConnectError})
async def tokens(
    question: str, url: str, model: str, client: httpx.AsyncClient = cs.inject(cs.http.http_client)
) -> AsyncIterator[str]:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    headers = {"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"}
    async with client.stream("POST", f"{url}/chat/completions", json=body, headers=headers) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or ""


def flow(url: str) -> cs.LazyResult[list[str]]:
    return tokens(cs.Param("question"), url, os.environ.get("MODEL", "any"))


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        with contextlib.ExitStack() as stack:
            url = os.environ.get("OPENAI_BASE_URL") or f"{stack.enter_context(stand_ins.people())}/v1"
            async with cs.Engine() as engine:
                scope["state"].update(engine=engine, flow=flow(url))
                await send({"type": "lifespan.startup.complete"})
                await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] == "/":
        await begin(send, 200, "text/html")
        await send({"type": "http.response.body", "body": PAGE.encode()})
    elif scope["path"] == "/ask":
        question = dict(parse_qsl(scope["query_string"].decode())).get("question", "?")
        await begin(send, 200, "text/plain; charset=utf-8")
        engine, target = scope["state"]["engine"], scope["state"]["flow"]
        async with contextlib.aclosing(engine.stream(target, {"question": question})) as stream:
            async for token in stream:
                await send({"type": "http.response.body", "body": token.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    else:
        await begin(send, 404, "text/plain")
        await send({"type": "http.response.body", "body": b"try /"})


async def begin(send, status: int, kind: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind.encode())]})
