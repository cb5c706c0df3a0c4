"""Names of people, where the words around say that it is one: `Dr. X`, `my name is X`, `X said`, a middle initial.

What the model sees in the shape of words alone is left to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Match, Pattern, whole
from actors.redactor.recognisers.title import FORMS
from actors.redactor.recognisers.words import FULL_NAME, NO_NAMES, WORD, without_possessive
from models.planes.texts import Span

_NAME: Final = rf"(?P<name>{FULL_NAME})"
_RELATED: Final = (
    r"(?:wife|husband|spouse|partner|fianc[ée]e?|girlfriend|boyfriend|son|daughter|kid|child|baby|brother|sister|mother"
    r"|father|mom|mum|dad|parents?|grandmother|grandfather|grandma|grandpa|uncle|aunt|cousin|nephew|niece|friend"
    r"|roommate|neighbou?r|boss|manager|supervisor|colleague|coworker|assistant|secretary|teacher|professor|doctor"
    r"|dentist|lawyer|attorney|accountant|client|patient|tenant|landlord|guardian|songwriter|singer|author|actor"
    r"|actress|director|producer|artist|composer|president|minister|senator|founder)"
)
_SPEAKS: Final = (
    r"(?:said|says|say|told|tells|asked|asks|replied|replies|shouted|answered|wrote|writes|added|explained|explains"
    r"|announced|claims|claimed|believes|thinks|lives|lived|resides|was born|grew up|works|worked|retired|died|married"
    r"|is (?:an?|the|my|our|his|her|from|from the)|was (?:an?|the|my|our|his|her)|has (?:been|worked|lived)|who)"
)
_BEFORE: Final = tuple(
    (Pattern(cue + _NAME), score)
    for cue, score in (
        (rf"\b{FORMS}\.?[ ]", 0.85),
        (
            r"(?i:\b(?:name|names|surname|nickname|alias)['’]?s?(?:[ ](?:is|are|was|of|to)|[ ]?[:=])?)[ ]{1,4}",
            0.75,
        ),
        (r"(?i:\bname\b[^\n.!?:]{0,40}[?:]\s{1,3}(?:\p{L}{2,10}:[ ])?)", 0.7),
        (r"(?i:\b(?:named|called|known as|nicknamed|n[ée]e|a\.?k\.?a\.?))[ ]", 0.6),
        (
            rf"(?i:\b(?:my|your|his|her|our|their|the|ex|former)[ -]{_RELATED}(?:[ ]name)?(?:[ ]is|,)?)[ ]",
            0.65,
        ),
        (rf"\b{_RELATED}[ ]", 0.5),
        (
            r"(?i:\b(?:i am|i['’]m|this is|it['’]s|meet|introduce|ask for|speak (?:to|with)|talk to|spoke (?:to|with)))[ ]",
            0.5,
        ),
        (
            r"(?i:\b(?:dear|hello|hi|hey|attn\.?:?|attention:?|c/o|cc:|bcc:|from:|to:|sincerely,?|regards,?|cheers,?|signed,?)\s{1,2})",
            0.55,
        ),
        (
            r"(?i:\b(?:directed|written|sung|arranged|produced|composed|performed|painted|authored|created|played|signed|approved|reviewed|prepared|edited|narrated|headed|led|starring|featuring|feat\.|according to|said|says|asked|replied)(?:[ ]and[ ]\w+)?(?:[ ]by)?:?)[ ]{1,4}",
            0.6,
        ),
        (
            r"(?im:^[ \t]*(?:contact|customer|patient|client|recipient|sender|cardholder|beneficiary|employee|owner|holder|author|applicant|guest|passenger|student|attendee|by)(?:[ ]name)?[ ]?:)[ ]{1,4}",
            0.7,
        ),
        (r"(?i:\b(?:born|married)[ ](?:to|as)?)[ ]?", 0.5),
    )
)
_AFTER: Final = Pattern(rf"{_NAME},?[ ](?:{_SPEAKS})\b")
_INITIALS: Final = Pattern(rf"(?P<name>{WORD}(?:[ ]\p{{Lu}}\.?){{1,2}}[ ]{WORD})")
_DIALOGUE: Final = Pattern(r"(?m)^[ \t]*(?P<name>\p{L}[\p{L}'’-]+):[ ]?[\"“]")
_LOWER_CUE: Final = Pattern(
    rf"\b(?:my|his|her|their)[ ](?:[a-z]+[ ])?name(?:['’]s|[ ]is|[ ]was)[ ]|\bnamed[ ]|\b(?:mr|mrs|ms|dr)\.?[ ]|\bmy[ ]{_RELATED}[ ]|\b(?:everyone|people|friends|they)[ ]calls?[ ](?:me|him|her)[ ]|\b(?:dear|hello|hi)[ ]"
)
_LOWER_NAME: Final = Pattern(r"^\p{L}[\p{L}'’-]+(?:[ ]\p{L}[\p{L}'’-]+)?")


def find(text: str) -> Iterator[Span]:
    """PERSON."""
    for pattern, score in _BEFORE:
        for match in pattern.matches(text):
            yield from _person(text, match, score)
    for pattern, score in ((_AFTER, 0.5), (_INITIALS, 0.7)):
        for match in pattern.matches(text):
            yield from _person(text, match, score)
    if text.islower():
        yield from _lower(text)
    for match in _DIALOGUE.matches(text):
        if match.group("name").lower() not in NO_NAMES:
            yield Span(*match.span("name"), "PERSON", 0.6)


def _person(text: str, match: Match, score: float) -> Iterator[Span]:
    """The name in `match` without words that are none at either end; nothing when none is left."""
    start, end = match.span("name")
    end = without_possessive(text, start, end)
    words = text[start:end].split(" ")
    while words and words[0].rstrip(".").lower() in NO_NAMES:
        start += len(words.pop(0)) + 1
    for at, word in enumerate(words):
        if at and word.lower() in NO_NAMES:
            words = words[:at]
            break
    if not words or (len(words) == 1 and len(words[0].rstrip(".")) < 2):
        return
    end = start + len(" ".join(words))
    if whole(text, start, end):
        yield Span(start, end, "PERSON", score)


def _lower(text: str) -> Iterator[Span]:
    """The one or two words behind a cue in a text without capitals, up to one that is no name."""
    for match in _LOWER_CUE.matches(text):
        at = match.span()[1]
        if found := _LOWER_NAME.first(text[at : at + 80]):
            first, _, second = found.group().partition(" ")
            if first in NO_NAMES:
                continue
            end = at + len(first if not second or second in NO_NAMES else found.group())
            yield Span(at, without_possessive(text, at, end), "PERSON", 0.5)
