"""What a model can see of what is shown to it: text always, images, sound and documents where it can. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    CachePoint,
    DocumentUrl,
    ImageUrl,
    TextContent,
    ToolReturnPart,
    UploadedFile,
    UserContent,
    VideoUrl,
)

from .spec import Capability, Model, Provider

_FAMILIES = {
    Provider.OPENAI: "openai",
    Provider.OPENAI_RESPONSES: "openai",
    Provider.ANTHROPIC: "anthropic",
    Provider.GOOGLE: "google",
    Provider.BEDROCK: "bedrock",
}
_FILES = ImageUrl | AudioUrl | VideoUrl | DocumentUrl | BinaryContent | UploadedFile


def seen_by(content: str | Sequence[UserContent], model: Model) -> str | list[UserContent]:
    """What the user wrote and attached, with a note in place of what the model cannot see; empty if nothing is left."""
    if isinstance(content, str):
        return content if content.strip() else ""
    shown = [_shown(item, model) for item in content]
    kept = [item for item in shown if not isinstance(item, str) or item.strip()]
    return [] if all(isinstance(item, CachePoint) for item in kept) else kept


def shown_tool_result(part: ToolReturnPart, model: Model) -> ToolReturnPart:
    """A tool's result, plain, with a note in place of files that the model cannot see; never empty."""
    content: Any = _without_files(part.content, model)
    if content is None or (isinstance(content, str) and not content.strip()):
        content = "(empty)"
    return ToolReturnPart(
        part.tool_name,
        content,
        part.tool_call_id,
        metadata=part.metadata,
        timestamp=part.timestamp,
        outcome=part.outcome,
    )


def _without_files(content: Any, model: Model) -> Any:
    if isinstance(content, _FILES):
        return _shown(content, model)
    if isinstance(content, list):
        return [_without_files(item, model) for item in cast("list[Any]", content)]
    return content


def _shown(item: UserContent, model: Model) -> UserContent:
    if isinstance(item, TextContent):
        return item.content
    if not isinstance(item, _FILES) or _can_see(item, model):
        return item
    return f"[{_kind(item)} that this model cannot see]"


def _can_see(item: Any, model: Model) -> bool:
    if isinstance(item, UploadedFile) and item.provider_name != _FAMILIES.get(model.provider):
        return False
    return _NEEDS[_kind(item)] in model.capabilities


_NEEDS = {
    "an image": Capability.VISION,
    "a video": Capability.VISION,
    "a sound": Capability.AUDIO,
    "a document": Capability.DOCUMENTS,
}


def _kind(item: Any) -> str:
    media_type = str(item.media_type)
    if media_type.startswith("image/"):
        return "an image"
    if media_type.startswith("audio/"):
        return "a sound"
    return "a video" if media_type.startswith("video/") else "a document"
