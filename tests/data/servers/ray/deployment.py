"""A deployment of Ray Serve: OpenAI's endpoints, streaming, and one that answers an object. `deployment.py PORT`."""

import asyncio
import json
import signal
import sys

import ray
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from ray import serve

app = FastAPI()


async def events(wanted, content):
    for number in range(wanted):
        await asyncio.sleep(0.01)
        reason = "length" if number == wanted - 1 else None
        yield event(choices=[{"index": 0, **content(f"word{number} "), "finish_reason": reason}])
    yield event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": wanted})
    yield "data: [DONE]\n\n"


def event(**fields):
    return f"data: {json.dumps(fields)}\n\n"


@serve.deployment(max_ongoing_requests=8, ray_actor_options={"num_cpus": 0})
@serve.ingress(app)
class Words:
    @app.post("/v1/completions")
    async def completions(self, request: Request):
        wanted = (await request.json())["max_tokens"]
        return StreamingResponse(events(wanted, lambda word: {"text": word}), media_type="text/event-stream")

    @app.post("/v1/chat/completions")
    async def chat(self, request: Request):
        wanted = (await request.json())["max_tokens"]
        said = events(wanted, lambda word: {"delta": {"content": word}})
        return StreamingResponse(said, media_type="text/event-stream")

    @app.post("/")
    async def whole(self, request: Request):
        body = await request.json()
        return {"text": " ".join(body["prompt"].split()[:1] * body["max_tokens"])}


ray.init(num_cpus=1, include_dashboard=False, object_store_memory=100 * 2**20)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(Words.bind(), route_prefix="/")
sys.stdout.write("the application is ready\n")
sys.stdout.flush()
signal.sigwait([signal.SIGTERM, signal.SIGINT])
serve.shutdown()
ray.shutdown()
