"""Every recogniser on what it has to find and on what looks alike; and that none of them is slow on any text."""

from __future__ import annotations

import time
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.redactor.core import PRECEDENCE
from actors.redactor.recognisers import (
    address,
    age,
    api_key,
    card,
    crypto,
    date,
    driver_license,
    email,
    iban,
    ip,
    name,
    nationality,
    organisation,
    passport,
    phone,
    place,
    ssn,
    title,
    url,
    zip_code,
)
from models.entities import ENTITIES, merged

FOUND: list[tuple[ModuleType, str, list[str]]] = [
    (email, "to a.b+c@mail.example.org, now", ["a.b+c@mail.example.org"]),
    (email, "an jürgen@müller.example. Gruß", ["jürgen@müller.example"]),
    (email, "me@home and @you are none", []),
    (url, "see https://a.example/x?y=(z)#f. And www.b.org!", ["https://a.example/x?y=(z)#f", "www.b.org"]),
    (url, "at example.com, example.co.uk/path, notes.md and e.g. main.py", ["example.com", "example.co.uk/path"]),
    (ip, "from 10.0.0.1 and 2001:db8::1:2", ["10.0.0.1", "2001:db8::1:2"]),
    (ip, "at 10:20:30, version 1.2.3.4.5, 999.1.1.1, a::b", []),
    (card, "card 4111 1111 1111 1111.", ["4111 1111 1111 1111"]),
    (card, "378282246310005 and 5555-5555-5555-4444", ["378282246310005", "5555-5555-5555-4444"]),
    (card, "order 4111 1111 1111 1112, 9999999999999995", []),
    (card, "my credit card is 4111111111111112", ["4111111111111112"]),
    (iban, "GB82 WEST 1234 5698 7654 32 or de89370400440532013000", ["GB82 WEST 1234 5698 7654 32", "de89370400440532013000"]),
    (iban, "GB82 WEST 1234 5698 7654 33", []),
    (ssn, "SSN 219099999, or 219-09-9999", ["219099999", "219-09-9999"]),
    (ssn, "000-12-3456, 666-12-3456, 123-00-4567, 123-45-0000, 219099999, 1-219-09-9999", []),
    (crypto, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"]),
    (crypto, "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", ["BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"]),
    (crypto, "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0", ["bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"]),
    (crypto, "0x52908400098527886E0F7030069857D2E4169EE7", ["0x52908400098527886E0F7030069857D2E4169EE7"]),
    (crypto, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb, bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", []),
    (api_key, "use ghp_0123456789abcdefghijABCDEFGHIJ456789 here", ["ghp_0123456789abcdefghijABCDEFGHIJ456789"]),
    (api_key, "api_key: q9X2mB7kLw4Zt8Rv1N", ["q9X2mB7kLw4Zt8Rv1N"]),
    (api_key, "the secret is internationalisation; key: 1234567890123456", []),
    (date, "on 2024-02-30T10:00:00Z, 3/4/2024 and May 5th, 2024", ["2024-02-30T10:00:00Z", "3/4/2024", "May 5th, 2024"]),
    (date, "at 10:15 pm; 31/31/2024, 1-2-3-4 and you may 5", ["10:15 pm"]),
    (driver_license, "my driver's license number is D123-4567-8901 ok", ["D123-4567-8901"]),
    (driver_license, "a driving licence is needed by 2025", []),
    (passport, "Passport no. C01X00T47, please", ["C01X00T47"]),
    (passport, "my passport expires soon", []),
    (phone, "call +44 20 7946 0958 or (212) 555-0123 x12", ["+44 20 7946 0958", "(212) 555-0123 x12"]),
    (phone, "tel: 467 3395", ["467 3395"]),
    (phone, "1 000 000 people, 12.345.678, id 1234567, $2125550123, 2024-2025, ISBN 978-3-16-148410-0", []),
    (address, "sent to 221B Baker Street, London NW1.", ["221B Baker Street", "London"]),
    (address, "Hauptstraße 12 a", ["Hauptstraße 12"]),
    (address, "12 Main St Apt 4, Springfield, IL 62701", ["12 Main St Apt 4, Springfield, IL 62701"]),
    (address, "PSC 1234, Box 5678\nAPO AE 09012", ["PSC 1234, Box 5678\nAPO AE 09012"]),
    (address, "P.O. Box 77", ["P.O. Box 77"]),
    (address, "I have 3 Questions for 2 people, 1.56 USD for 3 items, During 2017", []),
    (age, "a 35-year-old, aged 7, 63 years old, she is 41.", ["35", "63", "7", "41"]),
    (age, "in 35 years, aged 7 kg cheese, I am 100% sure", []),
    (zip_code, "ZIP: 394 13, Boston, MA 02134-1000, SW1A 1AA, K1A 0B1", ["394 13", "02134-1000", "SW1A 1AA", "K1A 0B1"]),
    (zip_code, "zip the file of 12345 lines", []),
    (title, "Dr. Who and Ms Marple\nPosition: Head of Sales", ["Dr.", "Ms", "Head of Sales"]),
    (title, "I miss you, general", []),
    (name, "My name is Ján M. Novák", ["Ján M. Novák"]),
    (name, "Dear Ms. van Dyk, ask for Lee's desk", ["Lee"]),
    (name, "my name is on the list; I am In", []),
    (place, "She lives in Bad Homburg, near France", ["France", "Bad Homburg"]),
    (place, "we moved to Monday", []),
    (nationality, "Two Norwegians; we are proud saudis", ["Norwegians", "saudis"]),
    (nationality, "polish the table", []),
    (organisation, "The Acme Widgets Ltd. of Bolt & Sons", ["Acme Widgets Ltd.", "Bolt & Sons"]),
    (organisation, "she works at Initech.", ["Initech"]),
    (card, "Order 7 4111 1111 1111 1111 12/29 123", ["4111 1111 1111 1111"]),
    (card, "4111.1111.1111.1111, 4111  1111  1111  1111", ["4111.1111.1111.1111", "4111  1111  1111  1111"]),
    (card, "a1 4111111111111111 b2, 3782-822463-10005 99", ["4111111111111111", "3782-822463-10005"]),
    (card, "4111 1111 1111 111, 10.20.30.40 50 60 70 80, 1 4111 1111 1111 1112", []),
    (phone, "name:x,phone:+12125550123,tel:+44 20 7946 0958", ["+12125550123", "+44 20 7946 0958"]),
    (phone, "+1-212-555-0123 4111 1111 1111 1111", ["+1-212-555-0123"]),
    (phone, "at 10:2125550123, v1-2125550123", []),
    (phone, "212-555-0123 212-555-0124", ["212-555-0123", "212-555-0124"]),
    (phone, "(212) 555-0123 (212) 555-0124/(212) 555-0125", ["(212) 555-0123", "(212) 555-0124", "(212) 555-0125"]),
    (phone, "call 020 7946 0958 020 7946 0959", ["020 7946 0958", "020 7946 0959"]),
    (phone, "212-555-0123 4111 1111 1111 1111 212.555.0124", ["212-555-0123", "212.555.0124"]),
    (phone, "+1 212 555 0123 212 555 0124", ["+1 212 555 0123", "212 555 0124"]),
    (phone, "invoice 212-555-0123 212-555-0124", []),
    (phone, "06 12 34 56 78 06 12 34 56 79", ["06 12 34 56 78", "06 12 34 56 79"]),
    (phone, "100 200 300 400 500 600 700, 1.234.567 8.900.000 1.000.000, 12.5 13.5 14.5 15.5 16.5 17.5", []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("recogniser", "text", "expected"),
    [pytest.param(*case, id=f"{case[0].__name__.rpartition('.')[2]}-{at}") for at, case in enumerate(FOUND)],
)
def test_what_is_found(recogniser: ModuleType, text: str, expected: list[str]) -> None:
    """Exactly this, once overlaps are settled; every finding names an entity of the contract."""
    spans = list(recogniser.find(text))
    found = [text[one.start : one.end] for one in merged(text, [spans])]
    assert sorted(found) == sorted(expected)
    assert all(one.entity in ENTITIES and 0 < one.score <= 1 for one in spans)


@given(st.text(alphabet=st.sampled_from("Aa1 .@-:/#+()\n'éÅ漢😀Mr"), max_size=60))
def test_findings_lie_inside_any_text(text: str) -> None:
    """Positions are code points of it, whatever it is."""
    for group in PRECEDENCE:
        for find in group:
            for one in find(text):
                assert 0 <= one.start < one.end <= len(text)


@pytest.mark.parametrize(
    "piece",
    ["1", "a", "A ", "1 ", "a@a.", ":", "(", "1-", "Aa ", "a.a/", "0x", "Mr. ", "12 Aa ", "aaaa1", "<", "+1 ", "GB00",
     "212-555-0123 ", "999-999-9999 ", "99 999 9999 "],
)  # fmt: skip
def test_none_is_slow_on_a_long_text(piece: str) -> None:
    """30,000 characters of one pattern, which no recogniser may take more than linear time for."""
    text = piece * (30_000 // len(piece))
    started = time.process_time()
    for group in PRECEDENCE:
        for find in group:
            for _one in find(text):
                pass
    assert time.process_time() - started < 3.0
