"""Token counts: an estimate, with its margin, is not under the true count; also not of what is no prose."""

from __future__ import annotations

import base64
import json
import string
import uuid
from collections.abc import Callable
from random import Random

import pytest

from segue.context.tokens import dearest, estimate, exact
from segue.models import Model, Provider

COUNT = exact("o200k_base")
SIZES = (60, 200, 1_000, 6_000)
WORDS = [
    "the",
    "invoice",
    "of",
    "March",
    "was",
    "paid",
    "late",
    "because",
    "nobody",
    "saw",
    "the",
    "reminder",
    "in",
    "the",
    "old",
    "queue",
    "and",
    "so",
    "on,",
    "so",
    "the",
    "customer",
    "asked",
    "for",
    "an",
    "international",
    "responsibility",
    "statement.",
    "I",
    "use",
    "an",
    "API",
    "over",
    "HTTP.",
    "Is",
    "it",
    "so?",
    "It's",
    "fine;",
    "we'll",
    "see!",
]
GERMAN = [
    "Die",
    "Donaudampfschifffahrtsgesellschaft",
    "fährt",
    "übermorgen",
    "nach",
    "Österreich",
    "und",
    "die",
    "Rechtsschutzversicherung",
    "der",
    "Kraftfahrzeughaftpflicht",
    "bezahlt",
    "mit",
    "einer",
    "Arbeitsunfähigkeitsbescheinigung",
    "den",
    "Verhältnismäßigkeitsgrundsatz",
]
ARABIC = ["القاهرة", "هي", "عاصمة", "مصر", "وهي", "مدينة", "كبيرة", "جدا", "يسكنها", "ملايين", "الناس", "منذ", "القدم"]

PROSE = {
    "finnish": (
        "Valiokunta käsitteli tiistaina vuosittaista talousarviota ja useimmat jäsenet katsoivat että uuden "
        "kirjaston pitäisi aueta ennen talvea eikä lämmityskustannuksista puhunut kukaan. "
        "Rakennusvalvontaviraston lausunnossa huomautettiin puutteellisesta ilmanvaihdosta ja "
        "esteettömyydestä."
    ),
    "estonian": (
        "Komisjon arutas teisipäeval aastaeelarvet ning enamik liikmeid leidis, et uus raamatukogu tuleks "
        "avada enne talve. Küttekuludest ei rääkinud keegi, ehitusjärelevalve juhtis tähelepanu puudulikule "
        "ventilatsioonile."
    ),
    "latvian": (
        "Komisija otrdien izskatīja gada budžetu, un vairākums locekļu uzskatīja, ka jaunā bibliotēka jāatver"
        " pirms ziemas. Par apkures izmaksām neviens nerunāja."
    ),
    "lithuanian": (
        "Komisija antradienį svarstė metinį biudžetą, ir dauguma narių sutiko, kad naujoji biblioteka turėtų "
        "atsidaryti prieš žiemą. Apie šildymo išlaidas niekas nekalbėjo."
    ),
    "polish": (
        "Komisja rozpatrywała we wtorek roczny budżet i większość członków zgodziła się, że nowa biblioteka "
        "powinna zostać otwarta przed zimą. O kosztach ogrzewania nikt nie wspomniał."
    ),
    "slovene": (
        "Odbor je v torek obravnaval letni proračun in večina članov se je strinjala, da bi morala nova "
        "knjižnica odpreti vrata pred zimo. Stroškov ogrevanja ni omenil nihče."
    ),
    "basque": (
        "Batzordeak asteartean aztertu zuen urteko aurrekontua eta kide gehienak bat etorri ziren liburutegi "
        "berria negua baino lehen ireki behar dela esatean."
    ),
    "swahili": (
        "Kamati ilijadili bajeti ya mwaka siku ya Jumanne na wajumbe wengi walikubaliana kwamba maktaba mpya "
        "ifunguliwe kabla ya majira ya baridi."
    ),
    "amharic": "ኮሚቴው ማክሰኞ ዕለት ዓመታዊውን በጀት ተወያየበት፤ አብዛኞቹ አባላትም አዲሱ ቤተ መጻሕፍት ከክረምት በፊት መከፈት እንዳለበት ተስማሙ።",
    "lao": ("ຄະນະກຳມະການໄດ້ພິຈາລະນາງົບປະມານປະຈຳປີ ໃນວັນອັງຄານ ແລະ ສະມາຊິກສ່ວນໃຫຍ່ເຫັນດີວ່າ ຫໍສະໝຸດແຫ່ງໃໝ່ ຄວນເປີດກ່ອນລະດູໜາວ."),
    "tibetan": "ཨུ་ཡོན་ལྷན་ཁང་གིས་ གཟའ་མིག་དམར་ལ་ ལོ་འཁོར་གྱི་སྔོན་རྩིས་ལ་ གྲོས་བསྡུར་བྱས།",
    "cherokee": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ ᎠᎴ ᏗᎪᏪᎵ ᏗᎦᏘᏗᏍᏗ ᎤᎵᏍᏇᏓ ᎤᎾᏓᏡᎬ ᎠᏂᏬᏂᏍᎬ.",
    "phonetic": "ðə kəˈmɪti ˈmɛt ɒn ˈtjuːzdeɪ tə rɪˈvjuː ði ˈænjuəl ˈbʌdʒɪt, ənd ˈnəʊbədi ˈmɛnʃənd ðə ˈhiːtɪŋ",
    "ancient greek": "Ἐν ἀρχῇ τοῦ χειμῶνος οἱ πολῖται συνῆλθον εἰς τὴν ἀγοράν, καὶ ἔδοξεν αὐτοῖς οἰκοδομῆσαι",
}
"""In languages and scripts of which vocabularies have few whole words."""
KNOWN = {
    "english": (
        "The committee met on Tuesday to review the annual budget, and most of its members agreed that the "
        "new library should open before winter. Nobody mentioned the costs of heating."
    ),
    "german": (
        "Der Ausschuss hat am Dienstag den Haushaltsplan geprüft, und die meisten Mitglieder waren sich "
        "einig, dass die neue Bücherei vor dem Winter öffnen soll. Über die Heizkosten sprach niemand."
    ),
    "french": (
        "La commission a examiné mardi le budget annuel, et la plupart de ses membres ont estimé que la "
        "nouvelle bibliothèque devait ouvrir avant l'hiver. Personne n'a évoqué les frais de chauffage."
    ),
    "spanish": (
        "La comisión revisó el martes el presupuesto anual, y la mayoría de sus miembros opinó que la nueva "
        "biblioteca debería abrir antes del invierno. Nadie mencionó los gastos de calefacción."
    ),
}

NAMES = {
    "nigerian": "Oluwaseun Adebayo,Chukwuemeka Okonkwo,Ngozi Iweala,Babatunde Fashola,Adaeze Nwosu,Temitope Ogunleye",
    "indian": "Venkatesh Krishnamurthy,Lakshmi Narayanan,Sivaramakrishnan Iyer,Padmavathi Reddy,Jyotirmoy Mukhopadhyay",
    "polish": "Krzysztof Wojciechowski,Małgorzata Szymańska,Zbigniew Jaworski,Bożena Krawczyk,Łukasz Brzęczek",
    "german": "Jürgen Schmidtke,Annegret Wiesinger,Wolfgang Petersdorf,Friedhelm Stolze,Heike Landgraf,Sieglinde Rauch",
    "american": "James Wilson,Mary O'Connor,Robert Hernandez,Patricia Kowalski,Michael Nguyen,Tyrone Jefferson",
    "of places": "Albuquerque,Poughkeepsie,Schenectady,Murfreesboro,Okeechobee,Tallahassee,Oconomowoc,Puyallup,Spokane",
    "of species": "Quercus robur,Fagus sylvatica,Pseudotsuga menziesii,Taraxacum officinale,Eschscholzia californica",
}


def names(some: str, by: str) -> Callable[[Random, int], str]:
    return lambda luck, size: by.join(luck.choices(some.split(","), k=max(4, size // 16)))


def sentences(text: str) -> Callable[[Random, int], str]:
    """The words of a text from some place on, again and again."""

    def made(luck: Random, size: int) -> str:
        said = text.split()
        at = luck.randrange(len(said))
        return " ".join([*said[at:], *said * (1 + size // len(text))])[:size]

    return made


def of(letters: str) -> Callable[[Random, int], str]:
    return lambda luck, size: "".join(luck.choices(letters, k=size))


def groups(letters: str, least: int, most: int, by: str = " ") -> Callable[[Random, int], str]:
    def made(luck: Random, size: int) -> str:
        count = range(1 + 2 * size // (least + most))
        return by.join("".join(luck.choices(letters, k=luck.randint(least, most))) for _ in count)

    return made


def words(*some: str) -> Callable[[Random, int], str]:
    return lambda luck, size: " ".join(luck.choices(some, k=max(1, size // 6)))


def base64_of(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwt(luck: Random, size: int) -> str:
    head, body = b'{"alg":"HS256","typ":"JWT"}', json.dumps({"sub": luck.getrandbits(60), "name": "Ann"}).encode()
    return ".".join(map(base64_of, (head, body, luck.randbytes(max(32, size // 2)))))


def minified(luck: Random, size: int) -> str:
    a, b = string.ascii_lowercase, ("function ", "var ", "return ", "if(", "for(", "this.")
    one = (f"{luck.choice(b)}{luck.choice(a)}={luck.choice(a)}[{luck.choice(a)}];" for _ in range(size // 12 + 1))
    return "".join(one)


def code(luck: Random, size: int) -> str:
    names = [word.strip(".,?;!'").lower().replace("'", "") for word in WORDS]
    one = (
        f"def {luck.choice(names)}_{luck.choice(names)}(x: int) -> str:\n    return a[{luck.randint(1, 99)}]\n"
        for _ in range(size // 60 + 1)
    )
    return "".join(one)


KINDS: dict[str, Callable[[Random, int], str]] = {
    "hex": lambda luck, size: luck.randbytes(size // 2).hex(),
    "base64": lambda luck, size: base64.b64encode(luck.randbytes(size)).decode(),
    "base64 in lines": lambda luck, size: base64.encodebytes(luck.randbytes(size)).decode(),
    "base64 for urls": lambda luck, size: base64_of(luck.randbytes(size)),
    "base32": lambda luck, size: base64.b32encode(luck.randbytes(size)).decode(),
    "uuid": lambda luck, size: "\n".join(str(uuid.UUID(int=luck.getrandbits(128))) for _ in range(size // 36 + 1)),
    "jwt": jwt,
    "dna": of("ACGT"), "dna, small": of("acgt"), "protein": of("ACDEFGHIKLMNPQRSTVWY"),
    "capitals": of(string.ascii_uppercase), "small letters": of(string.ascii_lowercase),
    "letters": of(string.ascii_letters), "letters and digits": of(string.ascii_letters + string.digits),
    "all of ascii": of(string.ascii_letters + string.digits + string.punctuation), "digits": of(string.digits),
    "keys": groups(string.ascii_letters + string.digits, 20, 40, " sk-"),
    "ids": groups(string.ascii_uppercase + string.digits, 6, 14),
    "licences": groups(string.ascii_uppercase + string.digits, 5, 5, "-"),
    "short codes": groups(string.ascii_uppercase, 3, 6),
    "minified": minified, "code": code,
    "csv": lambda luck, size: "\n".join(f"{luck.gauss(0, 99):.4f},{luck.random()},-1" for _ in range(size // 30 + 1)),
    "json": lambda luck, size: json.dumps([{"id": n, "price": luck.random()} for n in range(size // 40 + 1)], indent=2),
    "prose": words(*WORDS), "shouted": words(*(word.upper() for word in WORDS)), "compounds": words(*GERMAN),
    "chinese": of("东京是日本的首都有很多人住在这里我们今天去学校学习中文因为老师说明天很重要"),
    "japanese": of("東京は日本の首都であり多くの人が住んでいますカタカナのテスト。"),
    "arabic": words(*ARABIC), "emoji": of("😀🎉🚀👍🔥💯🤖🧠🦊🌍"), "families": of("👩‍👩‍👧‍👦🏳️‍🌈👨🏽‍💻"),
    "blanks": of(" "), "line feeds": of("\n"),
    "digits and blanks": lambda luck, size: " ".join(luck.choices(string.digits, k=size // 2)),
    "matrix": lambda luck, size: "\n".join(
        " ".join(f"{luck.randint(0, 99):2d}" for _ in range(10)) for _ in range(size // 30 + 1)
    ),
    "numbers and tabs": lambda luck, size: "\t".join(str(luck.randint(0, 9_999)) for _ in range(size // 4)),
    **{name: sentences(text) for name, text in (PROSE | KNOWN).items()},
    **{f"names, {name}, {by!r}": names(some, by) for name, some in NAMES.items() for by in (", ", "\n", ",Berlin\n")},
}  # fmt: skip


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_estimate_with_its_margin_is_not_under_the_true_count(kind: str, small: bool) -> None:
    assert COUNT is not None
    count = estimate(small=small)
    for seed in range(24):
        luck = Random(f"{kind} {seed}")
        text = KINDS[kind](luck, SIZES[seed % len(SIZES)])
        true, made = COUNT(text), count(text)
        assert made * (1 + count.margin_share) + 4 >= true, f"seed {seed}: {made} of {true}: {text[:60]!r}"


def test_prose_is_counted_as_exactly_as_it_was() -> None:
    """Beside keys, too: what is no prose adds its own, and takes nothing from what is."""
    count = estimate()
    prose = " ".join(WORDS * 20)
    assert COUNT is not None and 0.95 < count(prose) / COUNT(prose) < 1.2
    key = base64.b64encode(Random(1).randbytes(3_000)).decode()
    both = COUNT(prose) + COUNT(key)
    assert 0.8 < count(f"{prose}\n{key}") / both < 1.2
    table = " ".join(f"word{n % 9}x{n}" for n in range(300))
    assert count(table) < 1.3 * COUNT(table), "the same name again and again is none either"
    for name, text in KNOWN.items():
        assert count(text) / COUNT(text) < 1.2, name
    assert count("Hm, psst: brb, tl;dr") <= 14, "a few letters tell nothing"


def test_names_within_prose_and_code_are_counted_as_before() -> None:
    assert COUNT is not None
    for text in (
        "Ann Berg met Bob Lee in Oslo. Dr. Jones of Acme Ltd wrote to Ms. Dahl. " * 9,
        "Frau Schmidt und Herr Weber berichten über den Stand der Arbeiten am Neubau in Berlin. " * 9,
        "export interface User { Name: string; Email: string; Address: Address }\n" * 9,
    ):
        assert estimate()(text) < 1.2 * COUNT(text)


def test_a_letter_that_is_said_again_and_again_is_no_key() -> None:
    assert COUNT is not None
    assert estimate()("x" * 4_000) < 4 * COUNT("x" * 4_000)


def test_the_dearest_of_several_models_counts() -> None:
    small = Model(name="s", id="s", provider=Provider.OLLAMA, window=8_000, max_output=1_000)
    large = Model(name="l", id="claude", provider=Provider.ANTHROPIC, window=8_000, max_output=1_000)
    numbers = "1234567,7654321\n" * 20
    count = dearest([large, small])
    assert count(numbers) == max(estimate()(numbers), estimate(small=True)(numbers)) and not count.exact
    assert dearest([small, small]) is estimate(small=True)
    assert dearest([]) is estimate()
