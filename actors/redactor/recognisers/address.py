"""Postal addresses: a street with its number is the anchor; unit, town, region, country and code behind it are taken along.

Streets are told by their words in a dozen languages, post boxes by theirs. What a town is called is not known: it is
what stands in capitals behind a street. An address inside a sentence is one finding; where it stands in lines of its
own, each part of it is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from actors.redactor.recognisers.words import NO_NAMES
from models.planes.texts import Span

_WORD: Final = r"(?:\p{Lu}[\p{L}]*(?:[.'’-]+[\p{L}]+)*\.?)"
_LINK: Final = r"(?:de|da|do|dos|das|du|des|del|della|di|la|le|las|los|van|von|der|den|het|of|the|and|y|e|af|på|i|nad|am|an|u\.|ul\.)"
_WORDS: Final = rf"{_WORD}(?:[ ](?:{_LINK}[ ]){{0,2}}{_WORD}){{0,4}}?"
_SOME: Final = rf"(?:ul\.[ ])?{_WORD}(?:[ ](?:{_LINK}[ ]){{0,2}}{_WORD}){{0,4}}"
_NUMBER: Final = r"(?:[0-9]{1,6}[A-Ha-h]?(?:[-/][0-9]{1,5}[A-Ha-h]?)?)"

_KIND: Final = (
    r"(?:Street|St|Str|Avenue|Ave|Av|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Squares|Sq"
    r"|Terrace|Ter|Way|Circle|Cir|Highway|Hwy|Parkway|Pkwy|Trail|Trl|Close|Crescent|Cres|Row|Mews|Alley|Walk|Quay"
    r"|Crossing|Loop|Pass|Path|Pike|Plaza|Grove|Gardens|Garden|Hill|Hills|Point|Ridge|Run|View|Vista|Turnpike|Bridge"
    r"|Expressway|Freeway|Esplanade|Promenade|Parade|Rise|Glen|Heights|Manor|Meadow|Meadows|Park|Common|Commons"
    r"|Corner|Cove|Creek|Estate|Field|Fields|Forest|Gateway|Green|Harbor|Haven|Hollow|Island|Isle|Junction|Key|Knoll"
    r"|Lake|Landing|Lodge|Mall|Mill|Mount|Mountain|Oval|Ranch|Shore|Spring|Springs|Spur|Station|Stream|Summit|Trace"
    r"|Track|Tunnel|Union|Valley|Viaduct|Village|Ville|Wall|Wells|Route|Rest|Port|Plain|Plains)\b\.?"
)
_PREFIX: Final = (
    r"(?:Rua|Avenida|Av\.|Travessa|Praça|Calle|C/|Plaza|Plaça|Paseo|Carrer|Carretera|Via|Viale|Piazza|Corso|Vicolo"
    r"|Rue|Avenue|Boulevard|Chemin|Place|Impasse|Quai|Cours|Allée|Route|ul\.|Ulica|ulica|Aleja|al\.|Strada|Bulevardul"
    r"|Rruga|Jalan|Jl\.|Λεωφόρος|Οδός|Λεωφ\.|улица|ул\.|проспект|пр\.)"
)
_JOINED: Final = (
    r"(?:(?i:straße|strasse|gasse|weg|platz|allee|damm|ring|ufer|gata|gatan|gade|vej|vejen|veien|vegen|vägen|stien"
    r"|stræti|straeti|stræde|braut|gränd|gränden|torg|torget|laan|straat|kade|plein|hof|baan|dijk|singel|gracht|steeg"
    r"|hove|katu|tie|kuja|polku|raitti|tänav|maantee|puiestee|utca|körút|ulica|cesta|třída|náměstí|ulice|allé)|str\.)"
)
_WORD_KIND: Final = r"(?:utca|út|útja|tér|tere|körút|köz|sor|rkp\.|u\.|kapu|tn|mnt|pst|tee|cesta|ulica|třída|náměstí|nám\.|trg|str|g\.)"

_UNIT: Final = r"(?i:(?:apt|apartment|suite|ste|unit|flat|floor|fl|room|rm|bldg|building|lot|trailer|door|dept|entrance|stiege)\.?[ ]?#?[ ]?[0-9]{1,6}[a-z]?\b)|#[ ]?[0-9]{1,5}"
_STREETS: Final = tuple(
    Pattern(pattern)
    for pattern in (
        rf"(?P<lead>)(?i:the[ ])?(?i:corner[ ]of)[ ](?:{_NUMBER}[ ]){{0,2}}{_SOME}(?:[ ]{_NUMBER}\.?)?(?:[ ](?i:str|st)\b\.?)?[ ](?:and|&)[ ](?:{_NUMBER}[ ]){{0,2}}(?:ten[ ])?{_SOME}(?:[ ]{_NUMBER})?",
        r"(?P<lead>)(?i:PSC|CMR|UNIT|USS|USNS|USCGC|USNV)[ ](?:[0-9]{1,5}|\p{Lu}\p{L}+),?[ ]?\n?(?:(?i:box)[ ][0-9]{1,5})?[,\s]{1,3}(?i:(?:APO|FPO|DPO)[ ](?:AA|AE|AP))[ ][0-9]{5}",
        rf"(?P<lead>{_NUMBER},?[ ])?(?i:p\.?[ ]?o\.?[ ]?box|post office box|postfach|casilla|apartado|postboks|boîte postale|b\.p\.)[ ]#?[0-9]{{1,7}}(?:[ ]{_WORDS}[ ]{_KIND})?",
        rf"(?P<lead>{_NUMBER}[ ])?{_NUMBER}[ ](?:rue|avenue|boulevard|chemin|impasse|quai|allée|calle|avenida)[ ](?:{_LINK}[ ]){{0,2}}\p{{L}}+(?:[ ]{_WORD}){{0,3}}",
        rf"(?P<lead>{_NUMBER},?[ ])?(?:{_NUMBER}[ ])?{_PREFIX}[ ](?:{_LINK}[ ]){{0,2}}{_SOME}(?:,?[ ]{_NUMBER})?",
        rf"(?P<lead>{_NUMBER},?[ ])?(?:{_WORD}[ ]){{0,2}}\p{{Lu}}[\p{{L}}-]*{_JOINED}[ ]{_NUMBER}\.?",
        rf"(?P<lead>{_NUMBER},?[ ])?(?:{_WORD}[ ]){{1,3}}{_WORD_KIND}[ ]{_NUMBER}\.?",
        rf"(?P<lead>{_NUMBER},?[ ])?{_NUMBER}[ ]{_WORDS}[ ]{_KIND}",
        rf"(?P<lead>{_NUMBER}[ ]){_WORDS}(?:[ ]\p{{L}}+)?[ ]{_NUMBER}\.?",
        rf"(?P<lead>){_WORDS}[ ]{_NUMBER}\.?(?:[ ]{_WORDS})?[ ]?,?[ ]?\n?[ ]{{0,4}}(?:{_UNIT})",
    )
)
"""The plainest first: what one has found, later ones leave alone."""
_GAP: Final = r"[ ]?,?[ \t]{0,4}\n{0,2}[^\p{L}\p{N}\n]{0,8}?"
_UNIT_BEFORE: Final = Pattern(rf"(?P<item>{_UNIT}),?[ ]$")
_TAIL_UNIT: Final = Pattern(rf"^{_GAP}(?P<item>{_UNIT})")
_TAIL_TOWN: Final = Pattern(
    rf"^(?P<gap>{_GAP})(?:[0-9]{{3}}[ ]?[0-9]{{2}}[ ])?(?P<item>{_WORD}(?:[ ](?:{_LINK}[ ]){{0,2}}{_WORD}){{0,3}}(?:[ ]\([\p{{L}} ]+\))?)"
)
_TAIL_CODE: Final = Pattern(rf"^{_GAP}(?P<item>(?:[A-Z]{{1,2}}-)?[0-9]{{3,6}}(?:[ -][0-9]{{2,4}})?)\b")
_TAIL_REGION: Final = Pattern(
    rf"^{_GAP}(?:(?P<item>[A-Z]{{2,3}}\b)|(?P<lower>[a-z]{{2,3}}|[0-9]{{2}})[ ]?\n?[ ]{{0,4}}[0-9]{{3,6}}\b)"
)
_NO_CODE: Final = Pattern(r"^[ ]?[./()-]?[ ]?[0-9]|^[-/+]")
"""What follows on a number that is rather one for telephones."""
_YEAR: Final = Pattern(r"^\p{L}+[ ](?:1[5-9]|20)[0-9]{2}$")
"""`During 2017`, which looks like a street."""
_END: Final = Pattern(r"^(?:$|[ ]?[\n,.;:?!)]|[ ][0-9])")
_LONGEST_ITEM: Final = 120
_SURE: Final = 0.65
_STREET, _LOCATION, _CODE = "STREET_ADDRESS", "LOCATION", "ZIP_CODE"

_TAILS: Final = (
    (_TAIL_UNIT, "item", _STREET),
    (_TAIL_REGION, "item", _LOCATION),
    (_TAIL_REGION, "lower", _LOCATION),
    (_TAIL_CODE, "item", _CODE),
)
_ITEMS: Final = 8
_NO_STREET: Final = NO_NAMES - {"and", "at", "corner", "i", "of", "the"}

Item = tuple[int, int, str]
"""Start, end, entity."""


def find(text: str) -> Iterator[Span]:
    """STREET_ADDRESS; for parts of one in lines of its own also LOCATION and ZIP_CODE."""
    if not any(one.isdigit() for one in text) and "orner" not in text:
        return
    shown = capitalised(text) if text.islower() else text
    taken = bytearray(len(text))  # 1 for what is in an address
    for pattern in _STREETS:
        for match in pattern.matches(shown):
            start, end = match.span()
            if (
                not whole(shown, start, end)
                or any(taken[start:end])
                or _YEAR.first(text[start:end]) is not None
                or _is_common(text[start:end])
                or _goes_on(text, start)
            ):
                continue
            lead = len(match.group("lead"))
            if not (text[start + lead].isdigit() or any(one.isdigit() for one in text[end - 6 : end])):
                lead = 0  # it is the number of this street
            street, tail = _street(shown, start, lead, end), list(_tail(shown, end))
            first, last = street[0][0], (tail or street)[-1][1]
            taken[first:last] = b"\1" * (last - first)
            in_parts = _stands_alone(text, first, last) or [one[2] for one in tail] == [_LOCATION]
            for at, to, entity in (*street, *tail) if in_parts else ((first, last, _STREET),):
                yield Span(at, to, entity, _SURE)


def capitalised(text: str) -> str:
    """Every word with a capital letter, at the same length."""
    return "".join(
        one.upper() if len(one.upper()) == 1 and (at == 0 or not text[at - 1].isalpha()) else one
        for at, one in enumerate(text)
    )


def _is_common(street: str) -> bool:
    """Whether a common word in lower case stands in it that no street's name is made with."""
    return any(word.strip(".,") in _NO_STREET for word in street.split())


def _goes_on(text: str, start: int) -> bool:
    """Whether its first number is the end of a longer one, or an amount."""
    before = text[max(start - 2, 0) : start]
    return before[-1:] in {"$", "€", "£", "#"} or (before[-1:] in {".", ",", ":"} and before[:1].isdigit())


def _street(text: str, start: int, lead: int, end: int) -> list[Item]:
    """A street and what stands before it. lead: length of a number in front that the street does not need."""
    items: list[Item] = []
    if before := _UNIT_BEFORE.first(text[max(start - 24, 0) : start]):
        at, to = before.span("item")
        items.append((max(start - 24, 0) + at, max(start - 24, 0) + to, _STREET))
    if lead:
        items.append((start, start + len(text[start : start + lead].rstrip(" ,")), _STREET))
    items.append((start + lead, end, _STREET))
    return items


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether it goes over three lines or more, the first of which it begins."""
    line = text.rfind("\n", 0, start) + 1
    return text.count("\n", start, end) > 1 and not any(one.isalnum() for one in text[line:start])


def _tail(text: str, end: int) -> Iterator[Item]:
    """What belongs to the address whose street ends at `end`."""
    for _ in range(_ITEMS):
        rest = text[end : end + _LONGEST_ITEM]
        found = _item(rest)
        if found is None:
            return
        yield end + found[0], end + found[1], found[2]
        end += found[1]


def _item(rest: str) -> Item | None:
    """The part of an address at the beginning of `rest`."""
    for pattern, name, entity in _TAILS:
        match = pattern.first(rest)
        if match is None or not whole(rest, *match.span(name)):
            continue
        start, end = match.span(name)
        if entity != _CODE or not (_NO_CODE.first(rest[end:]) or set("(+") & set(rest[:start])):
            return start, end, entity
    match = _TAIL_TOWN.first(rest)
    if match is None:
        return None
    start, end = match.span("item")
    if end < len(rest) and rest[end].isalnum():  # the last word goes on as a code
        end = start + max(rest[start:end].rfind(" "), 0)
    common = rest[start:end].partition(" ")[0].lower() in NO_NAMES
    if start == end or common or rest[end : end + 1] in {":", "@"}:
        return None
    # A town stands apart by a comma, or fills its line.
    gap = match.group("gap")
    apart = _END.first(rest[end:]) is not None or ("," in gap and "\n" not in gap)
    return (start, end, _LOCATION) if apart else None
