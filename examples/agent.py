"""An agent: a state machine around a model that calls tools, with a budget and somebody who is asked first.

    pip install 'cascade-py[http]'
    python examples/agent.py                          # a stand-in plays the model, see stand_ins.py
    OPENAI_BASE_URL=http://localhost:11434/v1 MODEL=... python examples/agent.py    # or any other server

`think` asks the model. If that wants a tool, `act` calls it and goes back to `think`; a tool that needs a yes goes
through `ask` first. When the budget is used up the loop ends with what there is.
"""

import contextlib
import json
import os
import sys
from dataclasses import dataclass, replace
from typing import Any

import httpx
import stand_ins

import cascade as cs

QUESTION = "I am Ada. My order broke, please refund it."
ORDERS = {17: {"customer": "ada", "amount": 30.0}}
NEEDS_A_YES = {"refund"}
TOOLS = [
    {"type": "function", "function": {"name": "find_order", "parameters": {"type": "object", "properties": {
        "customer": {"type": "string"}}}}},
    {"type": "function", "function": {"name": "refund", "parameters": {"type": "object", "properties": {
        "order": {"type": "integer"}, "amount": {"type": "number"}}}}},
]  # fmt: skip


def find_order(customer: str) -> str:
    for number, order in ORDERS.items():
        if order["customer"] == customer:
            return json.dumps({"order": number, "amount": order["amount"]})
    raise LookupError(f"{customer} has no order")


def refund(order: int, amount: float) -> str:
    return f"{amount:.2f} refunded for order {order}"


@dataclass(frozen=True)
class Talk:
    """What is sent along from state to state."""

    messages: tuple[dict[str, Any], ...]
    tokens: int = 0

    def then(self, message: dict[str, Any], tokens: int = 0) -> "Talk":
        return replace(self, messages=(*self.messages, message), tokens=self.tokens + tokens)


@cs.task(retry={"max_attempts": 3, "delay": 0.5, "backoff": 2.0, "on": httpx.TransportError}, timeout=60.0)
async def think(
    talk: Talk, url: str, model: str, budget: int, client: httpx.AsyncClient = cs.inject(cs.http.http_client)
) -> cs.Jump:
    if talk.tokens >= budget:
        return cs.Jump("stop", f"I have used {talk.tokens} of {budget} tokens and stop here.")
    body = {"model": model, "messages": talk.messages, "tools": TOOLS, "parallel_tool_calls": False}
    headers = {"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"}
    response = await client.post(f"{url}/chat/completions", json=body, headers=headers)
    answer = response.raise_for_status().json()
    message = answer["choices"][0]["message"]
    talk = talk.then(message, answer["usage"]["total_tokens"])
    if not message.get("tool_calls"):
        return cs.Jump("stop", message["content"])
    call = message["tool_calls"][0]
    key = "ask" if call["function"]["name"] in NEEDS_A_YES else "act"
    return cs.Jump(key, {"talk": talk, "call": call})


@cs.task(mode="blocking")
def ask(talk: Talk, call: dict[str, Any]) -> cs.Jump:
    function = call["function"]
    print(f"May I call {function['name']} with {function['arguments']}? [y/n] ", end="", flush=True)
    reply = sys.stdin.readline().strip() or "n"
    if reply == "y":
        return cs.Jump("act", {"talk": talk, "call": call})
    return cs.Jump("think", {"talk": talk.then(told(call, "the shop did not agree"))})


@cs.task
def act(talk: Talk, call: dict[str, Any]) -> cs.Jump:
    tools = {"find_order": find_order, "refund": refund}
    function = call["function"]
    try:
        result = tools[function["name"]](**json.loads(function["arguments"]))
    except (LookupError, TypeError, ValueError) as error:  # the model may mend its call
        result = f"error: {error!r}"
    return cs.Jump("think", {"talk": talk.then(told(call, result))})


def told(call: dict[str, Any], result: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call["id"], "content": result}


def agent(question: str, url: str) -> cs.LazyResult[str]:
    nothing = Talk(())
    budget = cs.Param("budget", default=2000, description="tokens")
    thinking = think(Talk(({"role": "user", "content": question},)), url, cs.Param("model", default="any"), budget)
    asking, acting = ask(nothing, {}), act(nothing, {})
    routes = cs.select_jump({"think": thinking, "ask": asking, "act": acting, "stop": None})
    cs.bind(thinking, routes, max_iterations=50)
    cs.bind(asking, routes)
    cs.bind(acting, routes)
    return thinking


def flow() -> cs.LazyResult[str]:
    """What `cascade show examples/agent.py` draws."""
    return agent(QUESTION, "http://localhost:11434/v1")


def main() -> None:
    with contextlib.ExitStack() as stack:
        url = os.environ.get("OPENAI_BASE_URL") or f"{stack.enter_context(stand_ins.model())}/v1"
        params = {"model": os.environ["MODEL"]} if "MODEL" in os.environ else {}
        print(cs.run(agent(QUESTION, url), params, log_level="WARNING"))


if __name__ == "__main__":
    main()
