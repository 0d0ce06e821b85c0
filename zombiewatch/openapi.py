"""The OpenAPI document of the HTTP API, made from the operations that it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from zombiewatch._version import ours
from zombiewatch.operations import JSON, TEXT, ErrorJson

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema
    from pydantic_core.core_schema import TypedDictSchema

    from zombiewatch.operations import Operation

_SCHEMAS: Final = "#/components/schemas/{model}"
_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "`http.token` of the configuration, where it is set.",
}
_ABOUT: Final = (
    "What the sidecar has found, and why; and ways to tell it something. Answers may be cached by"
    " nobody, and bear no secrets beyond what was logged."
)


class _Closed(GenerateJsonSchema):
    """Says that an answer has the keys that are declared and no others; no titles of fields."""

    def typed_dict_schema(self, schema: TypedDictSchema) -> JsonSchemaValue:
        return {**super().typed_dict_schema(schema), "additionalProperties": False}

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:
        del schema
        return False


def document(
    operations: Iterable[Operation], *, guarded: bool, open_paths: tuple[str, ...]
) -> dict[str, Any]:
    """Return the document of *operations*.

    Where a token is asked for (*guarded*), that of *open_paths* needs none.
    """
    every = tuple(operations)
    schemas, shared = _schemas(every)
    paths: dict[str, dict[str, Any]] = {}
    for one in every:
        asked = guarded and not one.path.startswith(open_paths)
        said = _operation(one, schemas, asked=asked)
        paths.setdefault(one.path, {})[one.method.lower()] = said
    return {
        "openapi": "3.1.0",
        "info": {"title": "zombiewatch", "version": ours(), "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": shared, "securitySchemes": {"bearer": _BEARER}},
    }


def _schemas(operations: Iterable[Operation]) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """Return the schema of each answer and body by operation and side, and what they refer to."""
    asked: list[tuple[Any, Any, TypeAdapter[Any]]] = [
        (("error", "out"), "serialization", TypeAdapter(ErrorJson))
    ]
    for one in operations:
        asked.append(((one.name, "out"), "serialization", TypeAdapter(one.answer)))
        if one.refusal:
            asked.append(((one.name, "refused"), "serialization", TypeAdapter(one.refusal)))
        if one.body:
            asked.append(((one.name, "in"), "validation", TypeAdapter(one.body)))
    made, shared = TypeAdapter.json_schemas(asked, schema_generator=_Closed, ref_template=_SCHEMAS)
    return {key: schema for (key, _), schema in made.items()}, shared["$defs"]


def _operation(one: Operation, schemas: Mapping[Any, Any], *, asked: bool) -> dict[str, Any]:
    ok = {"description": one.says, "content": _content(one.media, schemas[one.name, "out"])}
    refused = {"description": "What is asked for: the error says so.", **_error(schemas)}
    answers: dict[str, Any] = {"200": ok}
    for status, why in sorted(one.refuses.items()):
        if one.refusal:
            content = {"content": _content((JSON,), schemas[one.name, "refused"])}
        elif one.is_api:
            content = _error(schemas)
        else:
            content = {"content": _content((TEXT,), {"type": "string"})}
        answers[str(status)] = {"description": why, **content}
    if one.is_api and one.parts:
        missing = {"description": "There is no such address.", **_error(schemas)}
        answers.setdefault("404", missing)
    if asked:
        answers["401"] = refused
    said: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.says,
        "parameters": [*_parts(one), *_query(one)],
        "responses": answers,
        "security": [{"bearer": []}] if asked else [],
    }
    if one.body:
        said["requestBody"] = {
            "required": True,
            "content": _content((JSON,), schemas[one.name, "in"]),
        }
    return said


def _content(media: Iterable[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"schema": schema} for name in media}


def _error(schemas: Mapping[Any, Any]) -> dict[str, Any]:
    return {"content": _content((JSON,), schemas["error", "out"])}


def _parts(one: Operation) -> Iterable[dict[str, Any]]:
    for name, part in one.parts.items():
        schema = TypeAdapter(part.kind).json_schema(schema_generator=_Closed)
        yield _parameter(name, "path", schema, required=True)


def _query(one: Operation) -> Iterable[dict[str, Any]]:
    said = one.query.model_json_schema(schema_generator=_Closed) if one.query else {}
    required = said.get("required", ())
    for name, schema in said.get("properties", {}).items():
        yield _parameter(name, "query", _present(schema), required=name in required)


def _parameter(name: str, where: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    told = schema.pop("description", "")
    return {
        "name": name, "in": where, "required": required, "description": told, "schema": schema,
    }  # fmt: skip


def _present(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return *schema* without null: a parameter that is not there is not sent."""
    said = dict(schema)
    kinds = [kind for kind in said.pop("anyOf", ()) if kind != {"type": "null"}]
    if kinds and said.get("default") is None:
        del said["default"]
    return {**said, **(kinds[0] if kinds else {})}
