"""The smallest flow: run it with `segue run examples.hello:greet --input '{"name": "Ada"}'`."""

from segue import Retry, flow, gather, step


@step(retry=Retry(attempts=3))
async def translate(text: str, language: str) -> str:
    """Any I/O belongs here: the result is journaled before the flow sees it."""
    words = {"de": "Guten Tag", "fr": "Bonjour", "it": "Buongiorno"}
    return f"{words[language]}, {text}!"


@flow
async def greet(name: str) -> list[str]:
    """Greet in three languages at once."""
    return await gather(*(translate(name, language) for language in ("de", "fr", "it")))
