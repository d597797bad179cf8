"""Servers on this machine in the place of those that other examples would talk to; the network is not asked.

`sales()` is an API of sales that is busy now and then. `model()` speaks as much of the protocol of OpenAI's chat
completions as an agent needs, and plays a fixed part. `people()` plays whoever the system's message names; it gives its
answer word by word if it is asked to. `tools()` wants several tools called at once.
"""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked: Counter[str] = Counter()

SALES = """day,shop,amount
{day},  north ,120.50
{day},South,{amount}.00
{day},south,
"""


class Sales(BaseHTTPRequestHandler):
    """`GET /sales/2026-03-02.csv`; every other day it is busy when it is first asked."""

    def do_GET(self) -> None:
        day = self.path.removeprefix("/sales/").removesuffix(".csv")
        asked[day] += 1
        if not day[-2:].isdigit():
            return reply(self, 404, "text/plain", b"no such day")
        number = int(day[-2:])
        if number % 2 == 0 and asked[day] == 1:
            return reply(self, 503, "text/plain", b"busy")
        reply(self, 200, "text/csv", SALES.format(day=day, amount=number * 10).encode())

    def log_message(self, *args: object) -> None:
        pass


class Model(BaseHTTPRequestHandler):
    """`POST /v1/chat/completions`: looks an order up, refunds it, and says what it did."""

    def do_POST(self) -> None:
        messages = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"]
        told = [message["content"] for message in messages if message["role"] == "tool"]
        if not told:
            said = {"tool_calls": [call("find_order", customer="ada")]}
        elif len(told) == 1:
            said = {"tool_calls": [call("refund", **json.loads(told[0]))]}
        else:
            said = {"content": f"About your order: {told[-1]}."}
        body = {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": None, **said}}],
            "usage": {"total_tokens": 40 + 10 * len(messages)},
        }
        reply(self, 200, "application/json", json.dumps(body).encode())

    def log_message(self, *args: object) -> None:
        pass


class People(BaseHTTPRequestHandler):
    """`POST /v1/chat/completions`: says who it is, and what it answers to; with `"stream": true` word by word."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        messages = asked["messages"]
        system = [message["content"] for message in messages if message["role"] == "system"]
        part = system[0].partition(". ")[2] if system else "I am a stand-in."
        said = f"({part.partition('.')[0]}) After {len(messages) - len(system)} I say: {messages[-1]['content'][-30:]}"
        if asked.get("stream"):
            chunks = [{"choices": [{"index": 0, "delta": {"content": word + " "}}]} for word in said.split()]
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
            return reply(self, 200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())
        body = {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": said}}],
            "usage": {"total_tokens": 40 + 10 * len(messages)},
        }
        reply(self, 200, "application/json", json.dumps(body).encode())

    def log_message(self, *args: object) -> None:
        pass


class Tools(BaseHTTPRequestHandler):
    """`POST /v1/chat/completions`: wants a tool called for each name in the question, and says what these told it."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question, tool = asked["messages"][0]["content"], asked["tools"][0]["function"]["name"]
        told = [message["content"] for message in asked["messages"] if message["role"] == "tool"]
        names = [word.strip("?,.") for word in question.split()[1:] if word[0].isupper()]
        said = {"content": "; ".join(told) if told else "I know nothing."}
        if len(asked["messages"]) == 1:
            said = {"tool_calls": [{**call(tool, city=name), "id": name} for name in names]}
        message = {"role": "assistant", "content": None, **said}
        body = {"choices": [{"index": 0, "message": message}], "usage": {"total_tokens": 40}}
        reply(self, 200, "application/json", json.dumps(body).encode())

    def log_message(self, *args: object) -> None:
        pass


def call(name: str, **arguments: object) -> dict[str, object]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{name}", "type": "function", "function": function}


def reply(handler: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("content-type", kind)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port while the `with` block lasts; gives the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def sales() -> contextlib.AbstractContextManager[str]:
    asked.clear()
    return serving(Sales)


def model() -> contextlib.AbstractContextManager[str]:
    return serving(Model)


def people() -> contextlib.AbstractContextManager[str]:
    return serving(People)


def tools() -> contextlib.AbstractContextManager[str]:
    return serving(Tools)
