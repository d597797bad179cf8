"""A web app that asks several carriers for each request and answers with the cheapest offer.

A plain ASGI application, for any ASGI server:

    pip install cascade-py uvicorn
    uvicorn --app-dir examples web:app
    curl 'http://127.0.0.1:8000/offer?to=Oslo&kilos=3'

One engine lives as long as the application; each request is a run with a timeout. A carrier that is slow or down is
left out, and a client that goes away cancels its run.
"""

import asyncio
import json
from urllib.parse import parse_qsl

import cascade as cs

CARRIERS = {"Heron": 4.0, "Postbus": 6.5, "Redline": 5.25, "Swift": 5.0}  # a price for each kilo


@cs.task
async def offer(carrier: str, to: str, kilos: float) -> tuple[float, str]:
    """Stands in for a request to the carrier: Heron is slow today, and Swift is down."""
    await asyncio.sleep(60 if carrier == "Heron" else 0.01)
    if carrier == "Swift":
        raise ConnectionError(f"{carrier} does not answer")
    return round(CARRIERS[carrier] * kilos + len(to), 2), carrier


@cs.task
async def discount(customer: str) -> float:
    await asyncio.sleep(0.01)
    return 0.1 if customer else 0.0


@cs.task
def cheapest(offers: list[tuple[float, str] | cs.Failed], discount: float) -> dict[str, object]:
    made = [each for each in offers if not isinstance(each, cs.Failed)]
    if not made:
        raise LookupError("no carrier made an offer")
    price, carrier = min(made)
    return {"carrier": carrier, "price": round(price * (1 - discount), 2), "offers": len(made)}


asked = offer.partial(to=cs.Param("to"), kilos=cs.Param("kilos", type=float))
offers = asked.map(carrier=list(CARRIERS), on_error="collect").with_timeout(0.2)
flow = cheapest(offers, discount(cs.Param("customer", default="")))


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        async with cs.Engine() as engine:
            scope["state"]["engine"] = engine
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] != "/offer":
        return await answer(send, 404, {"error": "try /offer?to=Oslo&kilos=3"})
    query = dict(parse_qsl(scope["query_string"].decode()))
    try:
        run = scope["state"]["engine"].start(flow, query, timeout=2.0)
    except cs.ParameterError:  # its message is for us: it names files and lines
        return await answer(
            send, 400, {"error": "this takes to=<city>, kilos=<number> and, if you like, customer=<name>"}
        )
    gone = asyncio.create_task(disconnected(receive, run))
    try:
        await answer(send, 200, await run)
    except TimeoutError:
        await answer(send, 504, {"error": "that took too long"})
    except LookupError as error:
        await answer(send, 502, {"error": str(error)})
    except asyncio.CancelledError:
        if not gone.done():  # it is the server that ends, and not the client
            raise
    finally:
        gone.cancel()


async def disconnected(receive, run: cs.Run) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    run.cancel()


async def answer(send, status: int, body: object) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
