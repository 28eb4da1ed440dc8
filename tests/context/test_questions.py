"""A question of a FAQ heads its answer; one of a mail, talk or prose heads nothing, and stands with what follows."""

from __future__ import annotations

import pytest

from segue.context.recall.above import above
from segue.context.recall.pieces import pieces

FILL = "Visitors are met at the door and are given a badge. The kitchen is on the first floor; leave it as it was. " * 4
ASKED = ("How do I get a badge?", "May I work from abroad, and if so for how many days of a year?", "Who pays?")
CHINESE = ("如何获得证件？", "我可以在国外工作吗？", "谁付钱？")
ARABIC = ("كيف أحصل على بطاقة؟", "هل يمكنني العمل من الخارج؟", "من يدفع؟")
GREEK = ("Πώς παίρνω κάρτα;", "Μπορώ να δουλέψω από το εξωτερικό;", "Ποιος πληρώνει;")
SPANISH = ("¿Cómo consigo una tarjeta?", "¿Puedo trabajar desde el extranjero?", "¿Quién paga?")


NUMBERS = ("{n})", "({n})", "{n}.)", "{n} -", "{n} –", "{l})", "({l})", "Q{n})", "Q{n} -")


def faq(form: str, asked: tuple[str, ...] = ASKED, title: str = "# FAQ\n\n") -> str:
    return title + "\n\n".join(
        f"{form.format(n=n, l='abc'[n - 1], asks=asks)}{FILL}\n\n{FILL}\n\nKey {n}. {FILL}"
        for n, asks in enumerate(asked, 1)
    )


def over(text: str, says: str) -> str:
    parts = pieces(text)
    assert len(parts) > 1
    return next(one for part, one in zip(parts, above(text, parts), strict=True) if says in part)


def together(text: str, one: str, other: str) -> bool:
    return any(one in part and other in part for part in pieces(text))


@pytest.mark.parametrize("asked", [ASKED, CHINESE, ARABIC, GREEK, SPANISH])
@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("**{asks}**\n\n", "{asks}"),
        ("**{asks}**\n", "{asks}"),
        ("**{n}. {asks}**\n\n", "{n}. {asks}"),
        ("{n}. {asks}\n\n", "{n}. {asks}"),
        ("{n}. {asks}\n", "{n}. {asks}"),
        ("**{n}.** {asks}\n", "{n}. {asks}"),
        ("**{n}.** {asks}\n\n", "{n}. {asks}"),
        ("- **{asks}**\n  ", "{asks}"),
        *((f"{form} {{asks}}{joint}", f"{form} {{asks}}") for form in NUMBERS for joint in ("\n", "\n\n")),
        ("**{n})** {asks}\n\n", "{n}) {asks}"),
        ("{asks}\n\n", "{asks}"),
        ("Q{n}: {asks}\n\n", "Q{n}: {asks}"),
        ("Q: {asks}\nA: ", "Q: {asks}"),
    ],
)
@pytest.mark.parametrize(("title", "outer"), [("# FAQ\n\n", "FAQ > "), ("FAQ\n\n", "FAQ > "), ("", "")])
def test_a_question_heads_its_answer(form: str, said: str, asked: tuple[str, ...], title: str, outer: str) -> None:
    text = faq(form, asked, title)
    for n, asks in enumerate(asked, 1):
        assert over(text, f"Key {n}.") == outer + said.format(n=n, l="abc"[n - 1], asks=asks)
        assert together(text, asks, FILL[:40]), "with the beginning of its answer"
    assert over(text, asked[1]) == outer.removesuffix(" > ")


def test_questions_stand_under_the_titles_of_their_sections() -> None:
    work = faq("**{asks}**\n\n", title="## Work\n\n")
    text = f"# FAQ\n\n{work}\n\n## Rooms\n\n{FILL}\n\n{FILL}\n\nKey 9. {FILL}"
    assert over(text, "Key 2.") == f"FAQ > Work > {ASKED[1]}"
    assert over(text, "Key 9.") == "FAQ > Rooms"


def some(n: int) -> str:
    """Paragraphs of prose, no two of which are the same."""
    return "\n\n".join(f"{'abcdefgh'[at].upper()}nn said {n + at}. {FILL}" for at in range(n))


@pytest.mark.parametrize(
    "text",
    [
        f"{some(4)}\n\nWhat does it mean?\n\n{some(3)}\n\nWho knows?\n\n{some(2)}\n\nWhy now?\n\n{some(5)}",  # prose
        f"# Time\n\n{some(1)}\n\nWhat does it mean?\n\n{some(3)}\n\nWho knows?\n\n{some(4)}",
        f"What does it mean?\n\n{some(3)}\n\nBut why?\n\n{some(4)}",
        f"What does it mean?\n\n{some(8)}\n\nWho knows?\n\n{some(7)}",
        f"What does it mean?\n\n{some(5)}",  # one alone
        f"Hi Bob,\n\nCan you send it?\n\n{some(1)}\n\nDo you come on Monday?\n\n{some(3)}\n\nBest regards,\nAnn",
        f"Can you send it?\n\n{some(2)}\n\nDo you come on Monday?\n\n{some(3)}\n\nThanks, Ann",
        f"Hi Bob,\n\n1. Can you send it?\n\n{some(2)}\n\n2. Do you come on Monday?\n\n{some(3)}",
        f"Hi Bob,\n\n**Can you send it?**\n\n{some(5)}",
        "\n\n".join(f"Can you send number {n}?\n\nYes, I can.\n\nThank you." for n in range(60)),
        "\n\n".join(f"Can you send number {n}?\n\nYes, I sent {n}." for n in range(60)),
        f"Ann Berg\n\nCan you send it?\n\n{some(1)}\n\nBob\n\n{some(2)}\n\nAnn Berg\n\nAnd who pays?\n\n{some(3)}",
        f"Ann Berg\n\nCan you send it?\n\n{some(1)}\n\nAnn Berg\n\nWho pays?\n\n{some(3)}",
        f"Ann Berg 10:12\n\nCan you send it?\n\n{some(2)}\n\nBob 10:14\n\nWho pays?\n\n{some(3)}",
        "\n\n".join(f"Ann: Can you send number {n}?\n\nBob: Yes. {FILL}" for n in range(9)),
        "\n\n".join(f"Can you send number {n}?\n\nBob: Yes.\n\nAnn: No. {FILL}" for n in range(9)),
        f"“Can you send it?”\n\n{some(2)}\n\n“Do you come on Monday?”\n\n{some(4)}",
        f"- Can you send it?\n\n{some(2)}\n\n- Do you come on Monday?\n\n{some(4)}",
        f"1. Can you send it?\n\n2. Do you come on Monday?\n\n3. Who pays?\n\n{some(5)}",
        f"They asked:\n\nCan you send it?\n\n{some(2)}\n\nWe asked:\n\nDo you come on Monday?\n\n{some(3)}",
    ],
)
def test_a_question_that_may_be_no_heading_heads_nothing(text: str) -> None:
    assert "?" not in "".join(above(text, pieces(text)))


@pytest.mark.parametrize("before", [100, 300, 500, 650, 900])
@pytest.mark.parametrize(
    ("asks", "answer"),
    [
        ("What does it mean?", f"\n\nIt means much. {FILL}"),
        ("3. May I work from abroad?", f"\n\nIt means much. {FILL}"),
        ("Can you send it?", f"\n\nIt means much. {FILL}"),
    ],
)
def test_an_uncertain_question_is_kept_with_what_follows(before: int, asks: str, answer: str) -> None:
    text = f"{FILL[:before]}\n\n{FILL[:before]}\n\n{asks}{answer}\n\n{FILL}"
    assert together(text, asks, "It means much.")


@pytest.mark.parametrize(("joint", "beside"), [("\n", "\n"), ("\n\n", "\n"), ("\n\n", "\n\n")])
@pytest.mark.parametrize("size", [1, 4, 7])
def test_each_question_stands_with_its_answer_in_pairs(joint: str, beside: str, size: int) -> None:
    text = joint.join(
        f"Q: My badge number {n} is lost{'.' if n % 2 else ', who helps me?'}{beside}"
        f"A: Room {n}. {'Ask there. ' * (size + n % 3) * 5}"
        for n in range(60)
    )
    assert all(together(text, f"badge number {n} ", f"Room {n}.") for n in range(60))
    assert "" in above(text, pieces(text))[1:]


@pytest.mark.parametrize("before", [100, 300, 550, 650, 900])
def test_a_heading_is_not_the_end_of_a_piece(before: int) -> None:
    text = f"{(FILL * 3)[:before]}\n\n# Rome\n\n## Hours\n\n{'From 9 to 17. ' * 50}\n\n{FILL}"
    assert together(text, "# Rome", "From 9")
    text = f"{(FILL * 3)[:before]}\n\n2. Fees\n2.1 {FILL}\n2.2 {FILL}\n2.3 {FILL}\n\n{FILL}"
    assert together(text, "2. Fees", "2.1 ")


@pytest.mark.parametrize(
    "text",
    [
        f"Hi Bob,\n\n1. Who has the key?\n\n{FILL}\n\n2. Who pays?\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}",
        f"1. Who has the key?\n\n2. Who pays?\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}",
        f"Hi Bob,\n\n1. Who has the key?\nI need it.\n\n2. Who pays?\nNot us.\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}",
        f"1. Who has the key?\n2. Who pays?\nTimes\n{FILL}\n\n{FILL}\n\nKey. {FILL}",
        f"1. Who has the key?\n- Ann\n- Bob\n\n2. Who pays?\n- we\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}",
        f"{FILL}\n\n1. Who has the key?\nAnn has.\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}",
    ],
)
@pytest.mark.parametrize("form", ["{}. ", "{}) ", "({}) ", "{} - "])
def test_numbered_questions_of_a_mail_or_a_list_head_nothing(text: str, form: str) -> None:
    for n, letter in enumerate("ab", 1):
        assert over(text.replace(f"{n}. ", form.format(n)), "Key.") == ""
        assert over(text.replace(f"{n}. ", f"{letter}) "), "Key.") == ""
    assert over(text.replace("1. ", form.format(1)).replace("2. ", form.format(2)), "Key.") == ""
    assert over(text.replace("1. ", "a) ").replace("2. ", "b) "), "Key.") == ""


TURNS = (
    ("Ann Berg", ASKED[0]),
    ("Bob Lee", FILL),
    ("Kim Roe", ASKED[1]),
    ("Bob Lee", f"Yes. {FILL}"),
    ("Kim Roe", FILL),
)


@pytest.mark.parametrize(
    "text",
    [
        "\n\n".join(f"{who}\n\n{said}" for who, said in TURNS) + f"\n\n{FILL}\n\nKey. {FILL}",
        f"{ASKED[0]}\n\n{FILL}\n\n{ASKED[1]}\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}\n\nBob",
        f"{ASKED[0]}\n\n{FILL}\n\n{ASKED[1]}\n\n{FILL}\n\n{FILL}\n\nKey. {FILL}\n\nAnn Berg",
    ],
)
def test_where_names_stand_alone_no_question_heads_anything(text: str) -> None:
    found = next(one for part, one in zip(pieces(text), above(text, pieces(text)), strict=True) if "Key." in part)
    assert "?" not in found


NUMBERED = ("{n}.", "{n})", "({n})", "{n} -", "{l})", "Q{n}:", "Q{n} -")
SECTIONS = (
    ("Billing", "Shipping"),
    ("BILLING", "SHIPPING"),
    ("**Billing**", "**Shipping**"),
    ("Billing:", "Shipping:"),
    ("Section A: Billing", "Section B: Shipping"),
    ("SECTION 1 - BILLING", "SECTION 2 - SHIPPING"),
)


def section(title: str, form: str, joint: str, before: str = "\n\n", many: int = 3) -> str:
    """A title, and questions below it."""
    return title + before + "\n\n".join(answered(form, n, joint) for n in range(1, many + 1))


def answered(form: str, n: int, joint: str = "\n") -> str:
    return f"{form.format(n=n, l='abcdef'[n - 1])} {ASKED[(n - 1) % 3]}{joint}{FILL}\n\nKey {n}. {FILL}"


@pytest.mark.parametrize("joint", ["\n", "\n\n"])
@pytest.mark.parametrize("form", NUMBERED)
@pytest.mark.parametrize("titles", SECTIONS)
@pytest.mark.parametrize(
    ("before", "outer"),
    [
        (f"Customer FAQ\n\n{FILL}\n\n{FILL}\n\n", ""),
        (f"**Customer FAQ**\n\n{FILL}\n\n{FILL}\n\n", ""),
        ("Customer FAQ\n\n", "Customer FAQ"),
        (f"# Customer FAQ\n\n{FILL}\n\n", "Customer FAQ"),
        (f"Customer FAQ\n============\n\n{FILL}\n\n", "Customer FAQ"),
        ("", ""),
    ],
)
def test_questions_numbered_anew_stand_under_the_title_above_them(
    joint: str, form: str, titles: tuple[str, ...], before: str, outer: str
) -> None:
    text = before + "\n\n".join(section(title, form, joint) for title in titles)
    parts = pieces(text)
    found = above(text, parts)
    for title in titles:
        at = next(no for no, part in enumerate(parts) if f"{title}\n\n" in part)
        assert at == 0 or found[at] == outer, "not what is before it"
        assert parts[at + 1].startswith(form.format(n=2, l="b"))
        assert found[at + 1] == " > ".join(filter(None, (outer, title.strip("*:"))))


@pytest.mark.parametrize("form", ["{n}.", "{n})", "{l})"])
@pytest.mark.parametrize("before", ["\n", f"\n\n{FILL}\n\n"])
def test_a_section_may_begin_with_prose_or_stand_right_above(form: str, before: str) -> None:
    text = f"Customer FAQ\n\n{FILL}\n\n" + "\n\n".join(section(name, form, "\n", before) for name in ("Rome", "Oslo"))
    for part, found in zip(pieces(text), above(text, pieces(text)), strict=True):
        if part.startswith(form.format(n=3, l="c")):
            assert found in ("Rome", "Oslo")
    assert above(text, pieces(text))[-1] == "Oslo"


@pytest.mark.parametrize(("one", "other"), [("1. Rome", "2. Oslo"), ("Section 1: Rome", "Section 2: Oslo")])
def test_a_section_may_have_a_number_itself(one: str, other: str) -> None:
    text = f"FAQ for all\n\n{FILL}\n\n{FILL}\n\n{section(one, '({n})', chr(10))}\n\n{section(other, '({n})', chr(10))}"
    assert over(text, f"(2) {ASKED[1]}") == one and above(text, pieces(text))[-1] == other
    last = f"{text}\n\n{other.replace('2', '3').replace('Oslo', 'Bonn')}\n\n{FILL}\n\n{FILL}\n\nLast. {FILL}"
    assert over(last, "Last.").endswith("Bonn") and "Oslo" not in over(last, "Last.")


GOES_ON = "\n\n".join(answered("{n})", n) for n in (4, 5))


@pytest.mark.parametrize(
    "after",
    [
        f"Part two\n\n{GOES_ON}",  # the numbers go on: a section, or a part of an answer
        f"By card\n\n{FILL}\n\n{FILL}\n\n{GOES_ON}",
        f"and now (new!)\n\n{section('', '{n})', chr(10), '')}",  # no title, but the numbers begin anew
        f"Comments\n\n{FILL}\n\n{FILL}\n\nKey 4. {FILL}",
    ],
)
@pytest.mark.parametrize("colon", ["", ":"])
def test_where_a_section_may_have_ended_no_question_stands_under_it(after: str, colon: str) -> None:
    first = section(f"Rome{colon}", "{n})", "\n")
    text = f"Customer FAQ\n\n{FILL}\n\n{FILL}\n\n{first}\n\n{after}\n\n{section(f'Oslo{colon}', '{n})', chr(10))}"
    parts = pieces(text)
    found = above(text, parts)
    begins = next(no for no, part in enumerate(parts) if after[:20] in part) + 1
    ends = next(no for no, part in enumerate(parts) if f"Oslo{colon}\n" in part)
    assert begins < ends and not any("Rome" in one for one in found[begins : ends + 1])
    assert found[-1] == "Oslo"


@pytest.mark.parametrize("form", ["Q: {q}", "{q}", "**{q}**", "{n}. {q}", "Q{n}: {q}"])
def test_a_text_that_begins_with_its_first_section_puts_no_other_one_under_it(form: str) -> None:
    sections = {
        "Billing": ["How do I pay?", "Who sends the bill?", "Can I get it back?"],
        "Shipping": ["When does it come?", "Who brings it?"],
        "The shop": ["Where is it?", "When is it open?"],
    }
    about = "You can do this at any time in the shop or at home, as you like it best. We send you a mail. " * 4
    said, n = list[str](), 0
    for title, questions in sections.items():
        said.append(title)
        for q in questions:
            n += 1
            said += [form.format(n=n, q=q), *[f"[{title}] {about}"] * 3]
    text = "\n\n".join(said)
    for piece, under in zip(pieces(text), above(text, pieces(text)), strict=True):
        if piece.startswith("["):
            assert not [title for title in sections if f"[{title}]" not in piece and title in under]
            assert "?" in under
