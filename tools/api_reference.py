"""Writes docs/reference/api.md: the public names of `segue`, from their own docstrings."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import segue
from segue.agent import options

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "api.md"
GROUPS = {
    "Writing flows": ["flow", "step", "Flow", "Step", "Retry", "Applied", "NotApplied", "step_scope"],
    "Branches and children": ["gather", "map", "as_completed", "detach"],
    "Waits": ["sleep", "timeout", "wait_for"],
    "People": ["approve", "ask_human", "escalate"],
    "Models": ["ask", "prompt", "Media", "embed", "memory"],
    "Tools": ["tool", "ApprovalRule"],
    "Agents": ["agent"],
    "Delegation": ["delegate"],
    "Values that vary, true ends, new beginnings": ["now", "random", "uuid", "cleanup", "continue_as_new"],
    "Secrets": ["Secret"],
    "Running": ["Engine", "EngineOptions", "Run", "RunStatus", "Thread"],
    "Streams": ["Piece", "Retracted", "Ended"],
    "Errors (all of them: segue.errors)": ["SegueError", "StepFailed", "RunFailed", "RunCancelled", "RunStuck"],
}


def page() -> str:
    """The page's text."""
    lines = ["# Public names", "", "Everything here is imported from `segue`. Generated from the docstrings.", ""]
    for title, names in GROUPS.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += _entry(name)
    return "\n".join(lines).rstrip() + "\n"


def _entry(name: str) -> list[str]:
    found = getattr(segue, name)
    found = segue.agent.agent if name == "agent" else found  # the room is called like it
    text = inspect.getdoc(found) or ""
    lines = [f"### `{name}{_signature(found)}`", "", text, ""]
    if name == "ask":
        lines += ["| option | type | default | |", "| --- | --- | --- | --- |", *_options(), ""]
    if inspect.ismodule(found):
        for one in found.__all__:
            made = getattr(found, one)
            lines += [f"#### `{name}.{one}{_signature(getattr(made, 'function', made))}`", "", _said(made), ""]
    if inspect.isclass(found) and name in ("Engine", "Run", "Thread", "Step"):
        for method, function in vars(found).items():
            public = method == "using" if name == "Step" else not method.startswith("_")  # the rest is for other rooms
            if public and inspect.isfunction(function):
                lines += [f"#### `{name}.{method}{_signature(function)}`", "", inspect.getdoc(function) or "", ""]
    return lines


def _said(found: object) -> str:
    return inspect.getdoc(getattr(found, "function", found)) or ""


def _options() -> Iterator[str]:
    """The options of `ask` in order, each with the docstring that stands under it."""
    tree = ast.parse(inspect.getsource(options))
    (made,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Options")
    for node, after in zip(made.body, [*made.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant), (
                f"{node.target.id}: no docstring"
            )
            name, kind = node.target.id, ast.unparse(node.annotation).replace("|", "\\|")
            says = " ".join(str(after.value.value).split()).replace("|", "\\|")
            yield f"| `{name}` | `{kind}` | `{options.DEFAULTS[name]!r}` | {says} |"


def _signature(found: object) -> str:
    if not callable(found) or (inspect.isclass(found) and issubclass(found, BaseException)):
        return ""
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return ""
    parameters = [p.replace(annotation=p.empty) for n, p in signature.parameters.items() if n != "self"]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page())
