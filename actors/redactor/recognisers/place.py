"""Places: countries and their like by name, and whatever stands in capitals behind words that lead to a place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from actors.redactor.recognisers.patterns import Pattern, whole
from actors.redactor.recognisers.words import NO_NAMES, WORD, without_possessive
from models.planes.texts import Span

_COUNTRIES: Final = (
    "Afghanistan|Albania|Algeria|American Samoa|Andorra|Angola|Anguilla|Antigua and Barbuda|Argentina|Armenia|Aruba"
    "|Australia|Austria|Azerbaijan|Bahamas|Bahrain|Bangladesh|Barbados|Belarus|Belgium|Belize|Benin|Bermuda|Bhutan"
    "|Bolivia|Bosnia and Herzegovina|Bosnia|Botswana|Brazil|Brunei|Bulgaria|Burkina Faso|Burundi|Cambodia|Cameroon"
    "|Canada|Cape Verde|Cayman Islands|Central African Republic|Chile|China|Colombia|Comoros|Congo|Costa Rica"
    "|Croatia|Cuba|Curaçao|Cyprus|Czech Republic|Czechia|Côte d['’]Ivoire|Denmark|Djibouti|Dominica"
    "|Dominican Republic|East Timor|Ecuador|Egypt|El Salvador|England|Equatorial Guinea|Eritrea|Estonia|Eswatini"
    "|Ethiopia|Faroe Islands|Fiji|Finland|France|French Guiana|French Polynesia|Gabon|Gambia|Germany|Ghana"
    "|Gibraltar|Great Britain|Greece|Greenland|Grenada|Guadeloupe|Guam|Guatemala|Guernsey|Guinea-Bissau|Guinea"
    "|Guyana|Haiti|Honduras|Hong Kong|Hungary|Iceland|India|Indonesia|Iran|Iraq|Ireland|Isle of Man|Israel|Italy"
    "|Ivory Coast|Jamaica|Japan|Kazakhstan|Kenya|Kiribati|Kosovo|Kuwait|Kyrgyzstan|Laos|Latvia|Lebanon|Lesotho"
    "|Liberia|Libya|Liechtenstein|Lithuania|Luxembourg|Macau|Macedonia|Madagascar|Malawi|Malaysia|Maldives|Mali"
    "|Malta|Marshall Islands|Martinique|Mauritania|Mauritius|Mexico|Micronesia|Moldova|Monaco|Mongolia|Montenegro"
    "|Montserrat|Morocco|Mozambique|Myanmar|Namibia|Nauru|Nepal|Netherlands|New Caledonia|New Zealand|Nicaragua"
    "|Nigeria|Niger|North Korea|Northern Ireland|Norway|Oman|Pakistan|Palau|Palestine|Panama|Papua New Guinea"
    "|Paraguay|Peru|Philippines|Poland|Portugal|Puerto Rico|Qatar|Romania|Russia|Rwanda|Réunion|Samoa|San Marino"
    "|Saudi Arabia|Scotland|Senegal|Serbia|Seychelles|Sierra Leone|Singapore|Slovakia|Slovenia|Solomon Islands"
    "|Somalia|South Africa|South Korea|South Sudan|Spain|Sri Lanka|Sudan|Suriname|Swaziland|Sweden|Switzerland"
    "|Syria|Taiwan|Tajikistan|Tanzania|Thailand|Tibet|Togo|Tonga|Trinidad and Tobago|Tunisia|Turkmenistan|Tuvalu"
    "|Uganda|Ukraine|United Arab Emirates|United Kingdom|United States(?: of America)?|Uruguay|Uzbekistan|Vanuatu"
    "|Vatican City|Venezuela|Vietnam|Wales|Western Sahara|Yemen|Zambia|Zimbabwe"
)
"""Without those whose names are words or first names as well: Chad, Georgia, Jersey, Jordan, Turkey."""
_SHORT: Final = r"UAE|U\.A\.E\.|UK\b|U\.K\.|USA\b|U\.S\.A\.|U\.S\."
_STATES: Final = (
    "Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Hawaii|Idaho|Illinois|Indiana"
    "|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana"
    "|Nebraska|Nevada|New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|Ohio|Oklahoma"
    "|Oregon|Pennsylvania|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|Virginia"
    "|Washington|West Virginia|Wisconsin|Wyoming"
)
_NAMED: Final = Pattern(rf"(?:{_COUNTRIES}|{_STATES}|{_SHORT}|(?i:{_COUNTRIES}))")
_LED: Final = Pattern(
    r"(?:\b(?:[Ll]iv(?:e|es|ed|ing)|[Rr]esid(?:e|es|ed|ing)|[Bb]orn|[Rr]aised|grew up|[Gg]row(?:s|n|ing)? up|[Bb]ased"
    r"|[Ss]tay(?:s|ed|ing)?|[Ss]tud(?:y|ies|ied|ying)|[Ww]ork(?:s|ed|ing)?|[Mm]arried|[Dd]ied|[Hh]eadquartered"
    r"|[Ll]ocated|[Vv]acation(?:ed|ing)?|I am|I['’]m|[Mm]eeting|[Cc]onference|offices?)[ ]in"
    r"|\b(?:[Mm]ov(?:e|es|ed|ing)|[Rr]elocat(?:e|es|ed|ing)|[Tt]ravel(?:s|led|ed|ling|ing)?|[Ff]l(?:y|ies|ew|ying|own)"
    r"|[Rr]eturn(?:s|ed|ing)?|[Dd]riv(?:e|es|ing)|[Dd]rove|trips?|flights?|[Ee]migrat(?:e|ed|ing))[ ](?:back[ ]|here[ ])?(?:to|from)"
    r"|\b(?:[Vv]isit(?:s|ed|ing)?|originally from|comes? from|[Nn]ative of|[Cc]ity of|[Tt]own of|[Vv]illage of)"
    r"|(?i:\b(?:city|town|country|state|province|place of birth|birthplace|location|region|where)[ ]?:))"
    rf"[ ]{{1,4}}(?P<place>{WORD}(?:[ ](?:(?:de|del|la|las|los|do|da|di|of|the|upon|sur|am|nad|ob|an der)[ ]){{0,2}}{WORD}){{0,3}})"
)
_AND_STATE: Final = Pattern(
    rf"(?P<place>{WORD}(?:[ ]{WORD}){{0,2}}),[ ](?:{_STATES}|A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])\b"
)


def find(text: str) -> Iterator[Span]:
    """LOCATION."""
    yield from _NAMED.spans(text, "LOCATION", 0.8)
    yield from _AND_STATE.spans(text, "LOCATION", 0.5, "place")
    for match in _LED.matches(text):
        start, end = match.span("place")
        end = without_possessive(text, start, end)
        if whole(text, start, end) and text[start:end].split(" ", maxsplit=1)[0].lower() not in NO_NAMES:
            yield Span(start, end, "LOCATION", 0.6)
