"""Random spellings of one name: composed or decomposed, other blanks, case, invisible letters."""

import unicodedata

from hypothesis import strategies as st

BLANKS = "\u0020\u00a0\u2003\u2009\u202f\u3000\t"
INVISIBLE = "\u200b\u200c\u200d\u00ad\u2060\ufeff\ufe0f\u202a"
names = st.text(
    st.characters(categories=["L", "Mn", "Nd"]) | st.sampled_from("éöñßçİ 0-_"), min_size=1
).filter(lambda text: any(letter.isalnum() for letter in text))
participants = st.sampled_from(["José  Luis", "90001", "P07", "Åsa Öman", "Straße 3", "김민수"])


@st.composite
def spellings_of(draw: st.DrawFn, name: str) -> str:
    """Draw another spelling of a name: what a person takes for the same name."""
    form = draw(st.sampled_from(["NFC", "NFD"]))
    words = unicodedata.normalize(form, name).split()
    letters = draw(st.text(BLANKS, max_size=2))
    for index, word in enumerate(words):
        if index:
            letters += draw(st.text(BLANKS, min_size=1, max_size=3))
        for letter in word:
            letters += draw(st.text(INVISIBLE, max_size=1)) if draw(st.booleans()) else ""
            letters += draw(st.sampled_from([letter, _other_case(letter)]))
    return letters + draw(st.text(BLANKS + INVISIBLE, max_size=2))


def _other_case(letter: str) -> str:
    """Return a letter in other case, if both are one letter to Unicode."""
    other = letter.swapcase()
    return other if other.casefold() == letter.casefold() else letter
