"""Nationalities, religions and political groups, as adjectives and as nouns, from a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern
from models.planes.texts import Span

_PEOPLES: Final = (
    "Afghan|Afghani|African|Albanian|Algerian|American|Andorran|Angolan|Arab|Arabian|Argentin(?:ian|ean|e)|Armenian"
    "|Asian|Australian|Austrian|Azerbaijani|Bahamian|Bahraini|Bangladeshi|Barbadian|Basque|Belarusian|Belgian"
    "|Beli[zs]i?an|Beninese|Bhutanese|Bolivian|Bosnian|Botswanan|Brazilian|British|Briton|Bruneian|Bulgarian|Burkinabe"
    "|Burmese|Burundian|Cambodian|Cameroonian|Canadian|Catalan|Chadian|Chilean|Chinese|Colombian|Comorian|Congolese"
    "|Costa Rican|Croatian|Croat|Cuban|Cypriot|Czech|Dane|Danish|Djiboutian|Dominican|Dutch|Dutchm[ae]n|Ecuadorian"
    "|Egyptian|Emirati|English|Englishm[ae]n|Eritrean|Estonian|Ethiopian|European|Fijian|Filipino|Filipina|Finn"
    "|Finnish|French|Frenchm[ae]n|Gabonese|Gambian|Georgian|German|Ghanaian|Greek|Greenlandic|Greenlander|Grenadian"
    "|Guatemalan|Guinean|Guyanese|Haitian|Hispanic|Honduran|Hungarian|Icelander|Icelandic|Indian|Indonesian|Iranian"
    "|Iraqi|Irish|Irishm[ae]n|Israeli|Italian|Ivorian|Jamaican|Japanese|Jordanian|Kazakh|Kenyan|Korean|Kosovar|Kurd"
    "|Kurdish|Kuwaiti|Kyrgyz|Laotian|Latino|Latina|Latvian|Lebanese|Liberian|Libyan|Liechtensteiner|Lithuanian"
    "|Luxembourger|Macedonian|Malagasy|Malawian|Malaysian|Maldivian|Malian|Maltese|Mauritanian|Mauritian|Mexican"
    "|Moldovan|Mongolian|Montenegrin|Moroccan|Mozambican|Namibian|Nepalese|Nepali|New Zealander|Nicaraguan|Nigerian"
    "|Nigerien|Norwegian|Omani|Pakistani|Palestinian|Panamanian|Paraguayan|Persian|Peruvian|Pole|Polish|Portuguese"
    "|Puerto Rican|Qatari|Roma|Romanian|Russian|Rwandan|Salvadoran|Samoan|Saudi|Saudi Arabian|Scandinavian|Scot"
    "|Scottish|Senegalese|Serb|Serbian|Sierra Leonean|Singaporean|Slovak|Slovakian|Slovene|Slovenian|Somali"
    "|South African|South Korean|Spaniard|Spanish|Sri Lankan|Sudanese|Surinamese|Swede|Swedish|Swiss|Syrian"
    "|Taiwanese|Tajik|Tanzanian|Thai|Tibetan|Togolese|Tongan|Trinidadian|Tunisian|Turk|Turkish|Turkmen|Ugandan"
    "|Ukrainian|Uruguayan|Uzbek|Venezuelan|Vietnamese|Welsh|Welshm[ae]n|Yemeni|Zambian|Zimbabwean"
)
_GROUPS: Final = (
    "Muslim|Christian|Jew|Jewish|Hindu|Buddhist|Sikh|Catholic|Protestant|Mormon|Sunni|Shiite|Shi['’]ite|Shi['’]a|Shia|Shii"
    "|Lutheran|Methodist|Baptist|Anglican|Evangelical|Quaker|Amish|Islamic|Jain|Atheist"
)
_NAMED: Final = Pattern(rf"(?:{_PEOPLES}|{_GROUPS})s?")
_LOWER: Final = Pattern(
    r"(?:\b(?:am|are|is|was|were|i['’]m|we['’]re|they['’]re|he['’]s|she['’]s)[ ](?:(?:an?|all|both|not|half|part|proud|proudly|also|originally)[ ]){0,3}"
    rf"|\bproud[ ])(?P<people>(?i:{_PEOPLES}|{_GROUPS})s?)"
)


def find(text: str) -> Iterator[Span]:
    """NRP: capitalised wherever it stands; in lower case, where somebody is said to be one."""
    yield from _NAMED.spans(text, "NRP", 0.75)
    yield from _LOWER.spans(text, "NRP", 0.6, "people")
