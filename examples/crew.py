"""A supervisor that hands out work: the model says which tools to call, all at once, and a person approves the bill.

    pip install 'cascade-py[http]'
    python examples/crew.py                           # a stand-in plays the model, see stand_ins.py
    OPENAI_BASE_URL=http://localhost:11434/v1 MODEL=... python examples/crew.py    # or any other server

`plan` asks the model, whose tool calls become the items of a map: they go on side by side, each with a budget of its
own, and one that fails or spends too much is told to the model like any other answer. What all of it would cost is
asked for with `cs.wait_signal`; `main` answers, and so could a page or `cascade signal` from elsewhere.
"""

import asyncio
import contextlib
import json
import os
from typing import Any

import httpx
import stand_ins

import cascade as cs

QUESTION = "What will the weather be in Oslo, Rome and Atlantis?"
FORECASTS = {"Oslo": "snow", "Rome": "sun"}
TOOLS = [{"type": "function", "function": {"name": "forecast", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}}}}}]  # fmt: skip
Message = dict[str, Any]


@cs.task(retry={"max_attempts": 3, "delay": 0.5, "on": httpx.TransportError}, timeout=60.0)
async def model(
    messages: list[Message], url: str, name: str, client: httpx.AsyncClient = cs.inject(cs.http.http_client)
) -> Message:
    headers = {"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"}
    body = {"model": name, "messages": messages, "tools": TOOLS}
    response = await client.post(f"{url}/chat/completions", json=body, headers=headers)
    answer: Message = response.raise_for_status().json()["choices"][0]["message"]
    return answer


@cs.task
def calls(plan: Message) -> list[Message]:
    return plan.get("tool_calls") or []


@cs.task
async def forecast(call: Message) -> str:
    """Ask a service for the weather of a city, at a price for each letter of its name."""
    city = json.loads(call["function"]["arguments"])["city"]
    cs.current().spend(len(city))
    await asyncio.sleep(0.01)
    return FORECASTS[city]


@cs.task
def bill(calls: list[Message]) -> None:
    price = sum(len(json.loads(call["function"]["arguments"])["city"]) for call in calls)
    print(f"{len(calls)} calls at {price} in all: wait for a yes")


@cs.task
def told(plan: Message, calls: list[Message], answers: list[str | cs.Failed]) -> list[Message]:
    """Return the conversation with what the tools said."""
    said = [f"error: {each.error!r}" if isinstance(each, cs.Failed) else each for each in answers]
    pairs = zip(calls, said, strict=False)
    found = [{"role": "tool", "tool_call_id": call["id"], "content": text} for call, text in pairs]
    return [{"role": "user", "content": QUESTION}, plan, *found]


@cs.task
def text(message: Message) -> str:
    return str(message["content"])


def crew(url: str) -> cs.LazyResult[str]:
    name = cs.Param("model", default="any")
    plan = model([{"role": "user", "content": QUESTION}], url, name)
    wanted = calls(plan)
    yes = cs.wait_signal("approved", type=bool).after(bill(wanted))
    answers = forecast.map(call=wanted, on_error="collect").with_budget(cost=6)
    return text(model(told(plan, wanted, answers.run_if(yes, otherwise=[])), url, name))


async def main() -> None:
    with contextlib.ExitStack() as stack:
        url = os.environ.get("OPENAI_BASE_URL") or f"{stack.enter_context(stand_ins.tools())}/v1"
        params = {"model": os.environ["MODEL"]} if "MODEL" in os.environ else {}
        async with cs.Engine() as engine:
            run = engine.start(crew(url), params, run_id="crew")
            await engine.signal("crew", "approved", True)
            print(await run)


if __name__ == "__main__":
    asyncio.run(main())
