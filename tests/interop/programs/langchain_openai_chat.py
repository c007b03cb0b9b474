"""LangChain's ChatOpenAI and OpenAIEmbeddings for Python, as their documentation shows them."""
import os

import langchain_openai
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from check import check, must

BASE, KEY = os.environ["BASE"], os.environ["KEY"]
SAID = 'You said "hi", which was question 1 of this conversation.'


def model(**more):
    return ChatOpenAI(model="openclaw", base_url=BASE, api_key=KEY, max_retries=0, timeout=20, **more)


class Place(BaseModel):
    """Where it is."""

    city: str


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def invoke():
    answer = model().invoke("hi")
    must(answer.content == SAID and answer.usage_metadata["total_tokens"] == 120, answer)


def stream():
    pieces = [piece for piece in model(stream_usage=True).stream("hi")]
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    must(whole.content == SAID and len(pieces) >= 3 and whole.usage_metadata["total_tokens"] == 120, whole)


def tools():
    answer = model().bind_tools([get_weather]).invoke("call get_weather")
    must(answer.tool_calls[0]["args"] == {"city": "Paris"}, answer)
    result = get_weather.invoke(answer.tool_calls[0])
    again = model().bind_tools([get_weather]).invoke([("user", "call get_weather"), answer, result])
    must("sunny in Paris" in again.content, again.content)


def structured():
    place = model().with_structured_output(Place, method="function_calling").invoke("where?")
    must(place.city == "Paris", place)


def responses():
    chat = model(use_responses_api=True)
    must(chat.invoke("hi").text == SAID, "invoke")
    pieces = list(chat.stream("hi"))
    must("".join(piece.text for piece in pieces) == SAID and len(pieces) >= 3, pieces)


def embeddings():
    rows = OpenAIEmbeddings(model="openclaw", base_url=BASE, api_key=KEY, check_embedding_ctx_length=False).embed_documents(["abc", "z"])
    must(rows == [[3, 97, 0.5], [1, 122, 0.5]], rows)


for name, run in (
    ("invoke", invoke),
    ("stream with usage", stream),
    ("bind_tools, there and back", tools),
    ("with_structured_output", structured),
    ("the responses API, invoke and stream", responses),
    ("OpenAIEmbeddings", embeddings),
):
    check(f"LangChain for Python: {name}", run)
