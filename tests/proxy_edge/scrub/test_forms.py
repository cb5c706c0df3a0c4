"""Forms: the closed list is complete for what common encoders write, and masking is an exact union."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import random
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ConfigurationError
from proxy_edge.scrub.forms import MAX_VALUE, Forms, spell

_random = random.Random(20)
TOKEN = b"q7Jt0ZmXh4Rb9KcWv2Ls8YdPe5NfUg1TaGi3Hjk6"
SECRETS = {
    "token": TOKEN,
    "shortest": b"k3y-8byt",
    "prefixed": b"sk_live_51H~x.Yz-09",
    "json": b"quo\"te\\back/slash<&>'=`+end",
    "spaces": b"two words and  more",
    "latin": "pässwörd-ñandú".encode(),
    "astral": "key🔑of\u2028the\x7fhouse".encode(),
    "bytes": b"raw\xff\xfe\x80bytes",
    "base64": base64.b64encode(bytes(range(240, 256)) * 2 + b">>>???~~~"),
    "percent": b"100%25%20sure %41",
    "jwt": b".".join(base64.urlsafe_b64encode(_random.randbytes(n)).rstrip(b"=") for n in (27, 900, 256)),
    "huge": base64.b64encode(_random.randbytes(6000)),
}


def _text(value: bytes) -> str:
    """What a reader of the header makes of it: UTF-8 where it is, else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _json(value: bytes, *, ascii_only: bool) -> bytes:
    return json.dumps(_text(value), ensure_ascii=ascii_only)[1:-1].encode()


def _unicode(value: bytes, letters: str, spelling: str) -> bytes:
    """JSON text with some more letters as escapes, as encoders for HTML write it."""
    for letter in letters:
        value = value.replace(letter.encode(), b"\\u" + format(ord(letter), spelling).encode())
    return value


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "json": lambda value: _json(value, ascii_only=False),
    "json, ascii": lambda value: _json(value, ascii_only=True),
    "json, latin-1": lambda value: json.dumps(value.decode("latin-1"))[1:-1].encode(),
    "json, slashes": lambda value: _json(value, ascii_only=True).replace(b"/", b"\\/"),
    "json, Go": lambda value: _unicode(_json(value, ascii_only=False), "<>&", "04x"),
    "json, Gson": lambda value: _unicode(_json(value, ascii_only=False), "<>&'=", "04x"),
    "json, .NET": lambda value: _unicode(
        _json(value, ascii_only=False).replace(b'\\"', b'"'), "<>&'+`\"", "04X"
    ),
    "percent": lambda value: quote(value, safe="").encode(),
    "percent, path": lambda value: quote(value).encode(),
    "percent, component": lambda value: quote(value, safe="!'()*").encode(),
    "percent, plus": lambda value: quote_plus(value).encode(),
    "percent, form": lambda value: quote_plus(value, safe="*").replace("~", "%7E").encode(),
    "percent, lower": lambda value: "".join(
        chr(b) if (chr(b).isalnum() and b < 128) or b in b"-._~" else f"%{b:02x}" for b in value
    ).encode(),
    "percent, every byte": lambda value: "".join(f"%{b:02x}" for b in value).encode(),
    "percent, every byte, upper": lambda value: "".join(f"%{b:02X}" for b in value).encode(),
    "hex": lambda value: value.hex().encode(),
    "hex, upper": lambda value: value.hex().upper().encode(),
}


def reference(forms: tuple[bytes, ...], data: bytes, filler: bytes = b"*") -> tuple[bytes, int]:
    """The definition, spelled out: every position of every form."""
    marked = bytearray(len(data))
    for form in forms:
        for at in range(len(data) - len(form) + 1):
            if data[at : at + len(form)] == form:
                marked[at : at + len(form)] = b"\1" * len(form)
    masked = bytes(filler[0] if mark else byte for mark, byte in zip(marked, data, strict=True))
    return masked, sum(1 for at, mark in enumerate(marked) if mark and not (at and marked[at - 1]))


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS)
def test_what_common_encoders_write_is_masked_wherever_it_stands(encode, secret):
    """Every spelling of the list, written by an encoder that is not ours, is masked at any offset."""
    forms, written = Forms.of([secret]), encode(secret)
    for before in range(9):
        data = b'{"a":"b"}'[:before] + b"|" + written + b"|tail"
        assert forms.found(data)
        masked, count = forms.mask(data)
        assert masked == data.replace(written, b"*" * len(written), 1)
        assert count == 1


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode], ids=["base64", "base64url"])
def test_base64_is_masked_at_every_alignment(encode, secret):
    """Whatever stands before and after it, no character that depends on the secret alone survives."""
    forms = Forms.of([secret])
    for before in range(7):
        for after in range(4):
            written = encode(b"user:x "[:before] + secret + b"\n~\xff"[:after])
            first, last = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
            masked, count = forms.mask(b'"' + written + b'"')
            assert count == 1
            expected = written[:first] + b"*" * (last - first) + written[last:]
            assert masked == b'"' + expected + b'"'


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_every_listed_form_is_masked_and_leaves_nothing_to_find(secret):
    """Each form of a value, planted twice in one text, is masked twice; the output holds no form."""
    forms = Forms.of([secret])
    for form in spell(secret):
        assert len(form) >= 8
        masked, count = forms.mask(b"<" + form + b"> <" + form + b">")
        assert (masked, count) == (b"<" + b"*" * len(form) + b"> <" + b"*" * len(form) + b">", 2)
        assert not forms.found(masked)


def test_an_ordinary_token_has_few_forms():
    """Spellings that agree are one form: the number that the hot path pays for stays small."""
    assert len(spell(TOKEN)) <= 11
    assert len(spell(SECRETS["json"])) <= 60


def test_texts_without_a_form_come_back_as_the_same_object():
    """Nothing found: no copy is made, also where a text has nearly all of the secret."""
    forms = Forms.of([TOKEN])
    for data in (b"", b"x", TOKEN[:-1], TOKEN[1:], TOKEN[:20] + b" " + TOKEN[20:], TOKEN.swapcase()):
        masked, count = forms.mask(data)
        assert masked is data
        assert count == 0


def test_short_values_are_skipped_and_no_value_means_nothing_to_search():
    """Values under 8 bytes would mask ordinary words; without a value everything passes."""
    forms = Forms.of([b"", b"7 bytes"])
    assert not forms
    assert not forms.found(b"7 bytes")
    assert forms.mask(b"7 bytes") == (b"7 bytes", 0)
    assert Forms.of([TOKEN])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer_is_searched(kind):
    """The detector never answers no because of the type of the buffer."""
    forms = Forms.of([TOKEN])
    assert forms.found(kind(b"a" + TOKEN.hex().encode()))
    assert not forms.found(kind(b"a" + TOKEN[:-1]))


def test_several_values_are_masked_as_a_union():
    """One value may begin another or overlap it: the union is masked, touching occurrences are one run."""
    long, short, other = TOKEN, TOKEN[:12], TOKEN[-8:] + b"#and-on"
    forms = Forms.of([short, long, other, long])
    data = b".".join([short, long, long + b"#and-on", short + long, short + b"-" + long])
    expected = reference(forms._spelled, data)
    assert forms.mask(data) == expected
    assert expected[1] == 6


@given(
    st.lists(st.text("ab", min_size=8, max_size=20), min_size=1, max_size=4),
    st.lists(st.integers(0, 3), max_size=8),
    st.text("ab*", max_size=60),
)
def test_any_overlapping_occurrences_are_masked_as_a_union(words, order, noise):
    """Over two letters everything overlaps and repeats: the result is that of the definition."""
    spelled = tuple(dict.fromkeys(word.encode() for word in words))
    forms = Forms(spelled)
    for data in (
        noise.encode(),
        b"".join(spelled[at % len(spelled)][: 20 - at] for at in order) + noise.encode(),
    ):
        masked, count = reference(spelled, data)
        assert forms.mask(data) == (masked, count)
        assert forms.found(data) == bool(count)


@given(
    st.integers(1, 9), st.integers(8, 40), st.integers(0, 200), st.binary(max_size=5), st.binary(max_size=80)
)
def test_any_periodic_form_is_masked_in_any_periodic_text(period, size, repeats, breaks, noise):
    """Runs of a period are leapt over, never past an occurrence."""
    unit = bytes(range(97, 97 + period))
    form = (unit * size)[:size]
    forms = Forms((form,))
    data = (unit * repeats)[: repeats * 3] + breaks + unit * 9 + form[3:] + form + noise + form
    assert forms.mask(data) == reference((form,), data)


def test_asterisks_in_a_secret_cannot_make_the_mask_spell_it():
    """Where filler of asterisks would leave or create a form, another byte fills."""
    assert Forms.of([TOKEN, b"in*the*middle***is*fine"]).filler == b"*"
    for secret in (b"*" * 8, b"*" * 40, b"***abcde", b"abcde***", b"ab********cd"):
        forms = Forms.of([secret])
        assert forms.filler == b"#"
        data = secret + secret[3:] + secret[:5] + secret
        masked, _ = forms.mask(data)
        assert masked == reference(forms._spelled, data, b"#")[0]
        assert not forms.found(masked)


@given(
    st.lists(st.text("ab*#", min_size=8, max_size=12), min_size=1, max_size=3), st.text("ab*#", max_size=80)
)
def test_masked_text_never_holds_a_form(words, noise):
    """For any secrets, also of filler bytes, masking leaves nothing that the detector would find."""
    values = [word.encode() for word in words]
    forms = Forms.of(values)
    masked, _ = forms.mask(values[0] + noise.encode() + values[-1])
    assert not forms.found(masked)


def test_bounds_are_refused_without_showing_the_value():
    """Too long a value, too many forms, no filler left: a ConfigurationError that quotes nothing."""
    many = [bytes([at]) * 3 + TOKEN for at in b"0123456789abcdefghij"]
    cases = [
        [b"x" * (MAX_VALUE + 1)],
        [value * 300 for value in many],
        [b"*#-_.~!@$^|:;,?()[]{}=+/"[at:] + b"*" * 8 for at in range(24)],
    ]
    for values in cases:
        with pytest.raises(ConfigurationError) as caught:
            Forms.of(values)
        assert "x" * 9 not in str(caught.value)
        assert TOKEN.decode() not in str(caught.value)
    assert Forms.of([b"x" * MAX_VALUE, *many])


def test_forms_show_and_pickle_nothing():
    """Forms hold secret material: repr and str are masked, pickling and copying refused."""
    forms = Forms.of([TOKEN])
    for held in (forms, forms.tails):
        for shown in (repr(held), str(held), f"{held}"):
            assert "*****" in shown
            assert TOKEN.decode()[:4] not in shown
        for leak in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                leak(held)
        assert not hasattr(held, "__dict__")


@pytest.mark.parametrize(
    "secret",
    [
        b"a" * 40,
        b"a" * 4096,
        b"ab" * 2000 + b"b",
        b"a" * 2000 + b"b" + b"a" * 2000,
        b"a" * 49 + b"b" + b"a" * 49,
    ],
)
def test_a_hostile_text_costs_linear_time(secret):
    """A megabyte of what the secret repeats is masked within a second: far from quadratic (hours)."""
    forms = Forms.of([secret])
    data = (secret[:1] * 999 + secret) * (2**20 // (999 + len(secret)))
    for text in (data, secret[:1] * 2**20, secret * (2**20 // len(secret))):
        begun = time.process_time()
        masked, _ = forms.mask(text)
        assert time.process_time() - begun < 1
        assert len(masked) == len(text)
        assert not forms.found(masked)
