"""A nightly job that tells a chat when it fails: python examples/notify.py [WEBHOOK]

Failures are told of once, after the last attempt: of the job as a whole by `on_failure=` of the run, and of what is
worth a word of its own by that of a task. A chat that does not answer harms nothing: it is a warning in the log.
WEBHOOK is an address of Slack, Mattermost, Teams or the like, which take {"text": ...}; without one the messages go to
a server on this machine.
"""

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import stand_ins

import cascade as cs

said: list[str] = []
webhook = ""


class Chat(BaseHTTPRequestHandler):
    """Takes messages as the webhooks of chats do."""

    def do_POST(self) -> None:
        said.append(json.loads(self.rfile.read(int(self.headers["content-length"])))["text"])
        stand_ins.reply(self, 200, "text/plain", b"ok")

    def log_message(self, *args: object) -> None:
        pass


def post(text: str) -> None:
    """Say something in the chat; hooks that are no coroutines have a thread, so that this may take its time."""
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(webhook, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def tell(outcome: cs.Outcome) -> None:
    post(str(outcome))


def ask_for_help(outcome: cs.Outcome) -> None:
    post(f"@finance {outcome.name} could not be done ({outcome.error}); {outcome.attempts} attempts")


@cs.task
def read_accounts() -> list[str]:
    return ["ada", "ben", "cyd"]


@cs.task(retry={"max_attempts": 3, "delay": 0.05}, on_failure=ask_for_help)
def charge(account: str) -> str:
    if account == "ben":
        raise ConnectionError("the bank does not answer")
    return f"charged {account}"


@cs.task
def write_report(charged: list[str]) -> str:
    return f"{len(charged)} charged"


def nightly(on_error: str) -> cs.LazyResult[str]:
    return write_report(charge.map(on_error=on_error, account=read_accounts()))


@contextlib.contextmanager
def chat() -> Iterator[str]:
    said.clear()
    with stand_ins.serving(Chat) as address:
        yield address


def main(address: str) -> None:
    global webhook
    webhook = address
    print("with what can be charged:", cs.run(nightly("skip"), on_failure=tell, log_level="WARNING"))
    try:
        cs.run(nightly("raise"), on_failure=tell, log_level="SILENT")
    except ConnectionError as error:
        print("all or nothing:", error)
    for text in said:
        print("chat:", text)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with chat() as address:
            main(address)
