"""How names are written: capitalised words of any script with the particles between them, and words that are no names."""

from __future__ import annotations

from typing import Final

WORD: Final = r"(?:\p{Lu}[\p{L}]*(?:['’-]\p{L}[\p{L}]*)*)"
"""`Smith`, `O'Neill`, `Jean-Luc`, `SMITH`."""
INITIAL: Final = r"(?:\p{Lu}\.)"
PARTICLE: Final = r"(?:van|von|der|den|de|da|do|dos|das|di|du|del|della|la|le|ten|ter|bin|ibn|al|el|af|av|zu|zur|y|e|st|san)"
FULL_NAME: Final = rf"(?:{WORD}|{INITIAL})(?:[ ](?:{PARTICLE}[ ]){{0,2}}(?:{WORD}|{INITIAL})){{0,3}}"
"""One to four words; may end with an initial."""

_PRONOUNS: Final = "i you he she it we they who what which this that these those me him her us them my your his its our their"
_LINKS: Final = (
    "a an the and or but if so as at by for from in into of off on onto out over to up with without about after"
    " before between during since than then though through under until upon via while because not no nor yet too"
)
_VERBS: Final = (
    "am is are was were be been being do does did done have has had can could may might must shall should will would"
    " let make get go come see know need want please thank thanks follow call find give keep look say said says tell"
    " take try use send show ask add check contact help update change cancel remove reset open close"
)
_OPENERS: Final = (
    "also although another any anyone anything around both each either even ever every everyone everything few here"
    " hello hey hi how however just last least less like many maybe more most much name names neither never new next"
    " nobody nothing now okay ok oh once one only other perhaps same several some someone something sometimes soon"
    " still such there therefore thus today tomorrow tonight yesterday two three very well when whenever where"
    " whether why yes dear sincerely regards best address phone email mail date time number card account"
    " bot user customer title status type order total amount subject note dr mr mrs ms prof sir madam c'mon i'm i've i'll i'd it's that's let's ex"
    " asap atm ssn iban pin faq id url api http https json xml html pdf csv sms gps tv pc ceo cto cfo hr it vat"
)
_CALENDAR: Final = (
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august"
    " september october november december"
)
NO_NAMES: Final = frozenset(f"{_PRONOUNS} {_LINKS} {_VERBS} {_OPENERS} {_CALENDAR}".split())
"""Lower case. Words that begin sentences, fields and lines, and are taken for no name although capitalised."""


def without_possessive(text: str, start: int, end: int) -> int:
    """The end of a name before its `'s` or `'`."""
    if end - start > 2 and text[end - 1] in "sS" and text[end - 2] in "'’":
        return end - 2
    return end - 1 if text[end - 1] in "'’" else end
