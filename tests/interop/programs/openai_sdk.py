"""The OpenAI SDK for Python as a stranger uses it: base URL, key, nothing else."""
import json
import os

import openai
from openai import OpenAI
from pydantic import BaseModel

from check import check, must

BASE, KEY = os.environ["BASE"], os.environ["KEY"]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
client = OpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=20)
WEATHER = {"name": "get_weather", "description": "The weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
CHAT_TOOL = {"type": "function", "function": WEATHER}
FLAT_TOOL = {"type": "function", **WEATHER}


def said(text, question=1):
    return f'You said "{text}", which was question {question} of this conversation.'


def user(text):
    return [{"role": "user", "content": text}]


def models():
    ids = [model.id for model in client.models.list()]
    must(ids[:2] == ["openclaw", "openclaw/default"] and "openclaw/main" in ids, ids)
    must(client.models.retrieve("openclaw/main").id == "openclaw/main", "retrieve")


def chat():
    answer = client.chat.completions.create(model="openclaw", messages=user("hi"))
    must(answer.choices[0].message.content == said("hi"), answer)
    must(answer.choices[0].finish_reason == "stop", answer.choices[0].finish_reason)
    must((answer.usage.prompt_tokens, answer.usage.completion_tokens) == (100, 20), answer.usage)


def chat_stream():
    stream = client.chat.completions.create(model="openclaw", messages=user("hi"), stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    must("".join(pieces) == said("hi") and len(pieces) >= 3, pieces)
    must([c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop", "finish")
    must(chunks[-1].usage and chunks[-1].usage.total_tokens == 120 and not chunks[-1].choices, chunks[-1])
    return f"{len(pieces)} pieces"


def chat_helper():
    kinds = []
    with client.chat.completions.stream(model="openclaw", messages=user("hi")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    must("content.done" in kinds and final.choices[0].finish_reason == "stop", kinds)
    must(final.choices[0].message.content == said("hi"), final)


def chat_tools():
    asked = user("call get_weather")
    answer = client.chat.completions.create(model="openclaw", messages=asked, tools=[CHAT_TOOL])
    choice = answer.choices[0]
    must(choice.finish_reason == "tool_calls", choice)
    call = choice.message.tool_calls[0]
    must(call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Paris"}, call)
    history = asked + [choice.message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    answer = client.chat.completions.create(model="openclaw", messages=history, tools=[CHAT_TOOL])
    must("sunny" in answer.choices[0].message.content, answer.choices[0].message.content)


def chat_tools_stream():
    with client.chat.completions.stream(model="openclaw", messages=user("call get_weather"), tools=[CHAT_TOOL]) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    must("tool_calls.function.arguments.done" in kinds, kinds)
    must(json.loads(final.choices[0].message.tool_calls[0].function.arguments) == {"city": "Paris"}, final)


def chat_tool_named_like_ours():
    own = {"type": "function", "function": {**WEATHER, "name": "read"}}
    answer = client.chat.completions.create(model="openclaw", messages=user("call read"), tools=[own])
    must(answer.choices[0].message.tool_calls[0].function.name == "read", answer)


def chat_tool_required_unmet():
    try:
        client.chat.completions.create(model="openclaw", messages=user("hi"), tools=[CHAT_TOOL], tool_choice="required")
    except openai.InternalServerError as error:
        must(error.status_code == 502 and "tool_choice=required was not satisfied" in str(error), error)
    else:
        must(False, "an answer without the call")


class Place(BaseModel):
    city: str


def chat_parse_tools():
    tool = openai.pydantic_function_tool(Place, name="place")
    answer = client.chat.completions.parse(model="openclaw", messages=user("call place"), tools=[tool])
    must(answer.choices[0].message.tool_calls[0].function.parsed_arguments.city == "Paris", answer)


def chat_image():
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]
    answer = client.chat.completions.create(model="openclaw", messages=[{"role": "user", "content": content}])
    must(answer.choices[0].message.content == "I see 1 picture.", answer)


def chat_user_keeps_the_session():
    for question in (1, 2):
        answer = client.chat.completions.create(model="openclaw", messages=user("hi"), user="interop-python")
        must(answer.choices[0].message.content == said("hi", question), answer.choices[0].message.content)


def wrong_key():
    stranger = OpenAI(base_url=BASE, api_key="wrong", max_retries=0)
    for call in (
        lambda: stranger.models.list(),
        lambda: stranger.chat.completions.create(model="openclaw", messages=user("hi")),
        lambda: stranger.responses.create(model="openclaw", input="hi"),
    ):
        try:
            call()
        except openai.AuthenticationError:
            continue
        must(False, "let in")


def bad_requests():
    for call, text in (
        (lambda: client.chat.completions.create(model="gpt-4o", messages=user("hi")), "Invalid `model`"),
        (lambda: client.chat.completions.create(model="openclaw/ghost", messages=user("hi")), "Unknown agent 'ghost'"),
        (lambda: client.chat.completions.create(model="openclaw", messages=[]), "Missing user message"),
        (lambda: client.chat.completions.create(model="openclaw", messages=user("hi"), temperature=9), "temperature"),
    ):
        try:
            call()
        except openai.BadRequestError as error:
            must(text in str(error), error)
            continue
        must(False, f"no error: {text}")


def upstream_refuses():
    for stream in (False, True):
        try:
            answer = client.chat.completions.create(model="openclaw", messages=user("refuse"), stream=stream)
            if stream:
                must(False, f"an answer: {list(answer)}")
        except openai.APIError as error:
            must("the fake model refuses this key" in str(error), error)
            continue
        must(False, f"an answer: {answer}")


def responses():
    answer = client.responses.create(model="openclaw", input="hi", instructions="Be brief.")
    must(answer.output_text == said("hi") and answer.status == "completed", answer)
    must((answer.usage.input_tokens, answer.usage.output_tokens) == (100, 20), answer.usage)


def responses_short_items():
    answer = client.responses.create(model="openclaw", input=[{"role": "user", "content": "hi"}])
    must(answer.output_text == said("hi"), answer.output_text)


def responses_stream():
    with client.responses.stream(model="openclaw", input="hi") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    first = ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    last = ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"]
    must(kinds[:4] == first and kinds[-4:] == last, kinds)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    must("".join(deltas) == said("hi") and len(deltas) >= 3 and final.output_text == said("hi"), deltas)
    return f"{len(deltas)} deltas"


def responses_tools():
    answer = client.responses.create(model="openclaw", input="call get_weather", tools=[FLAT_TOOL])
    call = next(item for item in answer.output if item.type == "function_call")
    must(call.name == "get_weather" and json.loads(call.arguments) == {"city": "Paris"}, call)
    again = client.responses.create(
        model="openclaw", tools=[FLAT_TOOL], previous_response_id=answer.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
    )
    must("sunny" in again.output_text, again.output_text)


def responses_image():
    content = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}]
    answer = client.responses.create(model="openclaw", input=[{"role": "user", "content": content}])
    must(answer.output_text == "I see 1 picture.", answer.output_text)


def responses_previous():
    first = client.responses.create(model="openclaw", input="one")
    second = client.responses.create(model="openclaw", input="two", previous_response_id=first.id)
    must(second.output_text == said("two", 2), second.output_text)


def responses_upstream_refuses():
    kinds = []
    try:
        for event in client.responses.create(model="openclaw", input="refuse", stream=True):
            kinds.append(event.type)
    except openai.APIError as error:
        must("refuses this key" in str(error), error)
        return
    must("response.failed" in kinds and "response.completed" not in kinds, kinds)


def embeddings():
    plain = client.embeddings.create(model="openclaw", input=["abc", "z"])
    must([row.embedding for row in plain.data] == [[3, 97, 0.5], [1, 122, 0.5]], plain)
    floats = client.embeddings.create(model="openclaw", input="abc", encoding_format="float")
    must(floats.data[0].embedding == [3, 97, 0.5], floats)


for name, run in (
    ("the models, listed and one by one", models),
    ("a chat answer with its usage", chat),
    ("a streamed chat answer with its usage", chat_stream),
    ("chat, the stream() helper", chat_helper),
    ("chat, tools there and back", chat_tools),
    ("chat, tools streamed", chat_tools_stream),
    ("chat, a tool named like one of the gateway's", chat_tool_named_like_ours),
    ("chat, a required tool that is not called", chat_tool_required_unmet),
    ("chat, parsed arguments of a tool", chat_parse_tools),
    ("chat, a picture", chat_image),
    ("chat, `user` keeps the session", chat_user_keeps_the_session),
    ("a wrong key is an AuthenticationError", wrong_key),
    ("bad requests say what is wrong", bad_requests),
    ("a provider's refusal is an error, streamed or not", upstream_refuses),
    ("a response", responses),
    ("responses, input items without type", responses_short_items),
    ("responses, typed events of the stream() helper", responses_stream),
    ("responses, tools there and back", responses_tools),
    ("responses, a picture", responses_image),
    ("responses, previous_response_id", responses_previous),
    ("responses, a provider's refusal is response.failed", responses_upstream_refuses),
    ("embeddings, as base64 and as numbers", embeddings),
):
    check(f"OpenAI SDK {openai.__version__} for Python: {name}", run)
