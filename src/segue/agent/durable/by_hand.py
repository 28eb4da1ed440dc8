"""What somebody has said in the place of a model, in the form that an agent takes it in.

It is held against the output types of the agent itself, as Pydantic AI has them: fields go by their names or aliases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime
from inspect import isfunction, ismethod
from types import UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union, cast, get_args, get_origin

from pydantic import AliasChoices, BaseModel, TypeAdapter, ValidationError
from pydantic_ai import NativeOutput, PromptedOutput, RunContext, Tool
from pydantic_ai.messages import ModelResponse, ModelResponsePart, TextPart, ToolCallPart
from pydantic_core import to_json, to_jsonable_python
from typing_extensions import is_typeddict

from ...core.codec import fingerprint
from ..form import misfit
from ..request import Question, unfit

__all__ = ["Output", "outputs_of", "said_by_hand"]

_WRAPPED = ("response", "result")
"""The names that Pydantic AI gives to an output that is no object, and to one of several types."""


@dataclass(frozen=True, slots=True)
class Output:
    """One type of what an agent gives: what holds its arguments, and the name that it stands under where it is no
    object.
    """

    validator: Any
    under: str | None = None
    tool: str = ""
    names: frozenset[str] | None = None
    """Those of its fields; None: not known, or known by its tool."""

    def forms(self, value: Any) -> Iterator[Any]:
        """A value as arguments; it may have that form already."""
        if self.under is not None:
            yield {self.under: value}
        if self.under is None or (_is_object(value) and set(value) == {self.under}):
            yield value

    def fitting(self, value: Any) -> tuple[tuple[int, bool], Any]:
        """How well a value fits, and what it is as arguments in JSON. Raises a ValueError where it does not."""
        wrong: ValueError | None = None
        for form in self.forms(value):
            for strict in (True, False):
                try:
                    made = self.validator.validate_json(to_json(form), strict=strict, by_alias=True, by_name=True)
                except ValueError as error:
                    wrong = wrong or error
                    continue
                named = _names(made) if self.under is None else set[str]()
                return (len(named & set(form)) if _is_object(form) else 0, strict), self._written(form, made)
        assert wrong is not None
        raise wrong

    def misfit(self, error: ValueError) -> str:
        """What does not fit, and where in the value."""
        if self.under is None or not isinstance(error, ValidationError):
            return misfit(error)
        beside = 2 if self.tool else 1  # its name; of a tool also which form: it may be JSON in a text
        said = [one for one in error.errors() if not str(one["loc"][1:2]).startswith("('json[")]
        return "; ".join(f"{'.'.join(map(str, one['loc'][beside:])) or 'it'}: {one['msg']}" for one in said[:3])

    def _written(self, form: Any, made: Any) -> Any:
        """As Pydantic AI reads it, by aliases alone. Raises a ValueError where it cannot."""
        for one in (form, to_jsonable_python(_aliased(made))):
            try:
                if self.validator.validate_json(to_json(one)) == made:
                    return one
            except ValueError:
                continue
        self.validator.validate_json(to_json(form))
        return form


def _aliased(made: Any) -> Any:
    """A value with its fields by the aliases that are read."""
    fields: dict[str, Any] | None = getattr(cast("object", type(made)), "__pydantic_fields__", None)
    if fields is not None:
        extra: dict[str, Any] = getattr(made, "__pydantic_extra__", None) or {}
        named = {name: getattr(made, name) for name in fields} | extra
        return {_alias(fields.get(name), name): _aliased(one) for name, one in named.items()}
    if _is_object(made):
        return {name: _aliased(one) for name, one in made.items()}
    return [_aliased(one) for one in cast("Any", made)] if isinstance(made, list | tuple | set) else made


def _alias(field: Any, name: str) -> str:
    alias = getattr(field, "validation_alias", None)
    alias = alias.choices[0] if isinstance(alias, AliasChoices) else alias
    return alias if isinstance(alias, str) else name


def _names(made: Any) -> set[str]:
    """Of what has fields, all names that those go by."""
    forms: list[Any] = [_aliased(made), to_jsonable_python(made, by_alias=False)]
    return {str(name) for form in forms if isinstance(form, dict) for name in cast("Any", form)}


def outputs_of(ctx: RunContext[Any]) -> list[Output]:
    """The types of what an agent gives, in order; none where it gives a text."""
    tools = (ctx.tool_manager.tools or {}).values() if ctx.tool_manager is not None else ()
    found = [
        Output(one.args_validator, one.tool_def.outer_typed_dict_key, one.tool_def.name)
        for one in tools
        if one.tool_def.kind == "output"
    ]
    given: Any = ctx.agent.output_type if ctx.agent is not None else None
    marked: list[Any] = [one for one in _each(given) if isinstance(one, NativeOutput | PromptedOutput)]
    return found or [_output(of) for one in marked for of in _each(one.outputs)]


def _each(given: Any) -> Iterator[Any]:
    """Types one by one: of a list of them, and of a union."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        for one in cast("Sequence[Any]", given):
            yield from _each(one)
    elif get_origin(given) in (Union, UnionType):
        yield from get_args(given)
    elif get_origin(given) is Annotated and get_origin(get_args(given)[0]) in (Union, UnionType):
        yield from get_args(get_args(given)[0])  # told apart by a field: each of them is held to its own
    else:
        yield given


def _output(of: Any) -> Output:
    if isfunction(of) or ismethod(of):
        made = Tool(of).function_schema
        return Output(made.validator, names=_fields(made.json_schema))
    plain: Any = get_args(of)[0] if get_origin(of) is Annotated else of
    if isinstance(plain, type) and get_origin(plain) is None and _has_fields(plain):
        adapter: TypeAdapter[Any] = TypeAdapter(of)
        return Output(adapter.validator, names=_fields(adapter.json_schema()))
    wrapped: Any = dict.__class_getitem__((Literal["response"], of))
    return Output(TypeAdapter(wrapped).validator, "response", names=frozenset({"response"}))


def _fields(schema: Mapping[str, Any]) -> frozenset[str] | None:
    return frozenset(schema["properties"]) if "properties" in schema else None


def _has_fields(of: Any) -> bool:
    """Whether Pydantic AI asks for a type as it is: it is an object."""
    return issubclass(of, BaseModel) or is_dataclass(of) or is_typeddict(of) or hasattr(of, "__is_model_like__")


def _is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)


def said_by_hand(value: Any, question: Question, outputs: Sequence[Output], *, held: bool = True) -> ModelResponse:
    """A model's turn that gives this value: a text where that is wanted, else an output. Raises BadOutput for one that
    fits no type of the agent, and for an empty text; where it is not `held` to them, it goes to the agent as it is.
    """
    tools = {one["name"]: one["parameters_json_schema"] for one in question.tools if one.get("kind") == "output"}
    outputs = list(outputs) if held else []
    part: ModelResponsePart
    if question.schema is not None:
        part = TextPart(to_json(_under_schema(value, question.schema, outputs)).decode())
    elif tools and (question.must_call or not isinstance(value, str)):
        known = [one for one in outputs if one.tool in tools]
        if known:
            at, args = _best(value, known)
            name = at.tool
        else:
            name = next((name for name, of in tools.items() if _is_named_as(value, of)), next(iter(tools)))
            args = _as_named(value, tools[name])
        said = to_json(args).decode()
        part = ToolCallPart(name, said, tool_call_id=f"by-hand-{fingerprint(said.encode())}")
    else:
        if value == "" and held:  # Pydantic AI would ask the model for more
            raise unfit("an empty text is no answer", "what was said by hand")
        part = TextPart(value if isinstance(value, str) else to_json(value).decode())
    return ModelResponse(parts=[part], timestamp=datetime.fromtimestamp(0, UTC))  # the same on a replay


def _under_schema(value: Any, schema: Mapping[str, Any], outputs: list[Output]) -> Any:
    """As a model would write it: what is one of several types with the name of its type."""
    kinds = [form["properties"]["kind"]["const"] for form in _kinds(schema)]
    wanted = [_data(form, schema) for form in _kinds(schema)] or [schema]
    own = len(outputs) == len(wanted) and all(map(_asks_for, wanted, outputs))
    if not own:  # this run of the agent wants others than the agent itself
        return _as_named(value, schema)
    if not kinds:
        return _best(value, outputs)[1]
    said: object = value["result"] if _is_object(value) and set(value) == {"result"} else None
    if _is_object(said) and set(said) == {"kind", "data"} and said["kind"] in kinds:  # it has that form already
        at, args = _best(said["data"], [outputs[kinds.index(said["kind"])]])
    else:
        at, args = _best(value, outputs)
    return {"result": {"kind": kinds[outputs.index(at)], "data": args}}


def _best(value: Any, outputs: Sequence[Output]) -> tuple[Output, Any]:
    """The type that a value fits best, and it as that one's arguments. Raises BadOutput where it fits none."""
    found: list[tuple[tuple[int, bool], Output, Any]] = []
    wrong: list[str] = []
    for one in outputs:
        try:
            rank, args = one.fitting(value)
            found.append((rank, one, args))
        except ValueError as error:
            wrong.append(one.misfit(error))
    if not found:
        raise unfit("; or: ".join(dict.fromkeys(wrong)), "what was said by hand")
    _, at, args = max(found, key=lambda one: one[0])
    return at, args


def _kinds(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The forms of an output that is one of several types; none where it is of one."""
    of = schema.get("properties", {})
    forms: list[Mapping[str, Any]] = of["result"].get("anyOf", []) if set(of) == {"result"} else []
    return [form for form in forms if set(form.get("properties", {})) == {"kind", "data"}]


def _data(form: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """What one of several types is, in such a form."""
    data: Mapping[str, Any] = form["properties"]["data"]
    return schema["$defs"][data["$ref"].rpartition("/")[2]] if "$ref" in data else data


def _asks_for(schema: Mapping[str, Any], output: Output) -> bool:
    """Whether a schema may be that of an output: they have the same fields."""
    names = _fields(schema)
    return names is None or output.names is None or names == output.names


def _as_named(value: Any, schema: Mapping[str, Any]) -> Any:
    """A value in the form of a schema, by the names of its fields alone: the types are not known, or do not count."""
    names = list(schema.get("properties", ()))
    if len(names) != 1 or names[0] not in _WRAPPED or (_is_object(value) and names[0] in value):
        return value
    for form in _kinds(schema):
        data = _data(form, schema)
        if _is_named_as(value, data):
            kind = form["properties"]["kind"]["const"]
            return {names[0]: {"kind": kind, "data": _as_named(value, data)}}
    return {names[0]: value}


def _is_named_as(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether the names of a value are those that an output has."""
    made = _as_named(value, schema)
    known, needed = set(schema.get("properties", ())), set(schema.get("required", ()))
    return _is_object(made) and needed <= set(made) <= known
