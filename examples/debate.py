"""Three agents that argue by channels until the chair has heard enough, each with a budget of tokens.

    pip install 'cascade-py[http]'
    python examples/debate.py                         # a stand-in plays the models, see stand_ins.py
    OPENAI_BASE_URL=http://localhost:11434/v1 MODEL=... python examples/debate.py    # or any other server

An agent is a loop with a mailbox, an entry for each message: it hears what was said, asks its model, and passes on
what it says to the next. Whoever has spent its budget says so and is passed over; its siblings go on.
"""

import contextlib
import os
from typing import Any

import httpx
import stand_ins

import cascade as cs

QUESTION = "Should the city close its centre to cars?"
AGENTS = {
    "Ada": "You are for it. Answer in one sentence.",
    "Bob": "You are against it. Answer in one sentence.",
    "Eve": "You doubt both. Answer in one sentence.",
}
NAMES = [*AGENTS]
ROUNDS = 2

Said = tuple[str, str]


@cs.task(retry={"max_attempts": 3, "delay": 0.5, "on": httpx.TransportError}, timeout=120.0)
async def argues(
    name: str, url: str, model: str, spent: int, budget: int, client: httpx.AsyncClient = cs.inject(cs.http.http_client)
) -> cs.Jump | int:
    try:
        heard: list[Said] = await cs.channel(name, type=list).receive()
    except cs.ChannelError:  # the chair has closed the debate
        return spent
    text = f"I have spent {spent} of {budget} tokens and leave it at that."
    if spent < budget:
        text, tokens = await asked(client, url, model, name, heard)
        spent += tokens
    after = NAMES[(NAMES.index(name) + 1) % len(NAMES)]
    to = "chair" if len(heard) >= ROUNDS * len(NAMES) else after
    await cs.channel(to, type=list).send([*heard, (name, text)])
    return cs.Jump("listen", {"spent": spent})


async def asked(client: httpx.AsyncClient, url: str, model: str, name: str, heard: list[Said]) -> tuple[str, int]:
    """Ask the model what somebody would say now; return that, and how many tokens it took."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": f"You are {name}. {AGENTS[name]}"}]
    messages += [{"role": "user", "content": f"{who}: {text}"} for who, text in heard]
    headers = {"authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"}
    body = {"model": model, "messages": messages}
    response = await client.post(f"{url}/chat/completions", json=body, headers=headers)
    answer = response.raise_for_status().json()
    return answer["choices"][0]["message"]["content"], answer["usage"]["total_tokens"]


@cs.task
async def chairs(question: str) -> list[Said]:
    await cs.channel(NAMES[0], type=list).send([("chair", question)])
    minutes: list[Said] = await cs.channel("chair", type=list).receive()
    for name in NAMES:
        cs.channel(name, type=list).close()
    return minutes


@cs.task
def written(minutes: list[Said], spent: list[int]) -> str:
    lines = [f"{who}: {text}" for who, text in minutes]
    return "\n".join([*lines, f"({sum(spent)} tokens)"])


def debate(question: str, url: str) -> cs.LazyResult[str]:
    same = {"url": url, "model": cs.Param("model", default="any"), "budget": cs.Param("budget", default=500)}
    agents = argues.partial(spent=0, **same).map(name=NAMES)
    cs.bind(agents, cs.select_jump({"listen": agents}), max_iterations=100)
    return written(chairs(question), agents)


def main() -> None:
    with contextlib.ExitStack() as stack:
        url = os.environ.get("OPENAI_BASE_URL") or f"{stack.enter_context(stand_ins.people())}/v1"
        params = {"model": os.environ["MODEL"]} if "MODEL" in os.environ else {}
        print(cs.run(debate(QUESTION, url), params, log_level="WARNING"))


if __name__ == "__main__":
    main()
