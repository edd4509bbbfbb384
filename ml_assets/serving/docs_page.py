"""``/docs``: the OpenAPI document as a page, made here and loading nothing from elsewhere.

FastAPI's own pages fetch Swagger UI from a CDN, so that they stay blank without the internet. To
try requests by hand there is the playground.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

import orjson

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: how to call it</title>
<link rel="icon" href="page/favicon.svg" type="image/svg+xml">
<link rel="stylesheet" href="page/colours.css">
<link rel="stylesheet" href="page/docs.css">
</head>
<body>
<header><h1>{title}: how to call it</h1>
<p>{description} This page is made from <a href="openapi.json">openapi.json</a>.</p></header>
<main>
"""

DEFAULT_ADDRESS: Final = "127.0.0.1:8000"
"""In the page's commands, where the address of whoever looks at it is put."""


def docs_page(document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        document: As ``description.describe`` makes it.
    """
    info = document["info"]
    schemas = document["components"]["schemas"]
    title, description = escape(info["title"]), _text(info.get("description", ""))
    parts = [_HEAD.format(title=title, description=description)]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.extend(_operation(path, method, operation))
    parts.append("<h2>Shapes</h2>\n")
    for name, schema in sorted(schemas.items()):
        if "properties" in schema:
            parts.extend(_shape(name, schema))
    parts.append("</main>\n</body>\n</html>\n")
    return "".join(parts)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    token = " <small>needs the token</small>" if operation.get("security") else ""
    yield f"<section><h2><b>{method.upper()}</b> <code>{escape(path)}</code>{token}</h2>\n"
    yield f"<p>{_text(operation.get('description') or operation.get('summary', ''))}</p>\n"
    parameters = operation.get("parameters", [])
    if parameters:
        rows = [
            (_code(entry["name"]), escape(entry["in"]), _kind(entry["schema"]),
             _text(entry.get("description", "")))
            for entry in parameters
        ]  # fmt: skip
        yield _table(("Parameter", "In", "Value", "Meaning"), rows)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        yield f"<p>Body (JSON): {_kind(body['schema'])}. For example:</p>\n"
        for example in body.get("examples", {}).values():
            yield f"<p>{escape(example['summary'])}</p>{_curl(path, example['value'])}"
    answers = [
        (_code(status), _text(answer["description"]), _answer_kind(answer))
        for status, answer in operation["responses"].items()
    ]
    yield _table(("Status", "When", "Answer"), answers) + "</section>\n"


def _shape(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<section id="{escape(name)}"><h3>{escape(name)}</h3>\n'
    yield f"<p>{_text(schema.get('description', ''))}</p>\n"
    required = schema.get("required", [])
    rows = [
        (_code(field), "yes" if field in required else "", _kind(found),
         _text(found.get("description", "")))
        for field, found in schema["properties"].items()
    ]  # fmt: skip
    yield _table(("Field", "Always", "Value", "Meaning"), rows) + "</section>\n"


def _answer_kind(answer: Mapping[str, Any]) -> str:
    return ", ".join(
        _kind(content["schema"]) if content.get("schema") else escape(media)
        for media, content in answer.get("content", {}).items()
    )


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(choice) for choice in schema["anyOf"]))
    if "const" in schema:
        return "empty text" if schema["const"] == "" else _code(str(schema["const"]))
    kind = str(schema.get("type", "any value"))
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    named = {"string": "text", "object": "object"}.get(kind, kind)
    if "minimum" in schema and "maximum" in schema:
        return f"{named} from {schema['minimum']} to {schema['maximum']}"
    return escape(named)


def _curl(path: str, value: Any) -> str:
    body = orjson.dumps(value).decode()
    command = f"curl -s http://{DEFAULT_ADDRESS}{path} -d '{body}'"
    return f"<pre><code>{escape(command)}</code></pre>\n"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Cells are HTML already."""
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="table"><table><tr>{names}</tr>\n{lines}</table></div>\n'


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _text(text: str) -> str:
    """Prose with `code` in it."""
    pieces = escape(" ".join(text.replace("``", "`").split())).split("`")
    return "".join(f"<code>{piece}</code>" if at % 2 else piece for at, piece in enumerate(pieces))
