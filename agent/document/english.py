"""English for the methods paragraph: articles, lists, counts, and numbers with as many digits as they deserve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.contract.record import Captured

Values = Mapping[str, Captured]
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def named(values: Values) -> str:
    """Maker and model, the maker once."""
    maker, model = text(values, "Manufacturer"), text(values, "Model")
    return model if maker and model.lower().startswith(maker.lower()) else f"{maker} {model}".strip()


def text(values: Values, name: str) -> str:
    """A value as text; empty when it is not known, or known not to apply."""
    captured = values.get(name)
    said = "" if captured is None or captured.value is None else str(captured.value).strip()
    return "" if said.lower() in ("na", "n/a") else said


def number(values: Values, name: str) -> str:
    """A number as `figure` writes it; empty when it is not known."""
    captured = values.get(name)
    known = captured.value if captured else None
    return figure(known) if isinstance(known, int | float) and not isinstance(known, bool) else ""


def figure(value: float) -> str:
    """To four significant digits, which is more than any of these is known to, and never with an exponent."""
    rounded = float(f"{value:.4g}")
    if rounded and abs(rounded) < 1e-4:
        return f"{rounded:.12f}".rstrip("0")
    return f"{rounded:,.0f}" if abs(rounded) >= 10_000 else f"{rounded:.4g}"


def duration(seconds: float) -> str:
    """In the unit that people would use: 50 ms, 2.5 s, 5 min, 12 h."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length or seconds == length:
            return f"{figure(seconds / length)} {unit}"
    return f"{figure(seconds * 1000)} ms" if seconds < 1 else f"{figure(seconds)} s"


def article(words: str) -> str:
    """With `a` or `an`."""
    # An LED, an sCMOS, an 8x: the sound decides, and letters that are spelled out sound like vowels.
    first = words.split()[0] if words else ""
    spelled = first[1:2].isupper() and first[0] in "FHLMNRSXfhlmnrsx"
    sounds_like_you = first.lower().startswith(("uni", "use", "eu", "one"))
    vowel = first[:1].lower() in "aeio8u" and not sounds_like_you
    return f"{'an' if vowel or spelled else 'a'} {words}"


def count(how_many: int, noun: str) -> str:
    """`one frame`, `12 frames`, `10,000 frames`."""
    word = _NUMBERS[how_many] if how_many < len(_NUMBERS) else f"{how_many:,}"
    return f"{word} {noun}{'' if how_many == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b, and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])}{',' if len(parts) > 2 else ''} and {parts[-1]}"


def capital(sentence: str) -> str:
    """With a capital letter at its start."""
    return sentence[:1].upper() + sentence[1:]
