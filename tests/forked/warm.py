"""What programs import: once for all of them."""

from importlib import import_module

READY = [
    import_module(name)
    for name in (
        "segue.agent", "segue.cli.acts", "segue.cli.starting", "segue.models.providers", "segue.testing.provider",
        "pydantic_ai.models.anthropic", "pydantic_ai.models.google", "pydantic_ai.models.groq",
        "pydantic_ai.models.mistral", "pydantic_ai.models.openai",
    )
]  # fmt: skip
