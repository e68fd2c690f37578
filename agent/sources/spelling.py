"""Names that are not text, or not allowed elsewhere: how they are stored, shown and delivered.

A Linux name is bytes; those that are no UTF-8 come as lone surrogates (U+DC80 to U+DCFF), which neither SQLite nor
JSON nor XML takes. Windows names may hold other lone surrogates. Both spellings below can be turned back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from agent.sources.names import fold

_MARK = "escaped:"
"""No path begins so: absolute ones begin with a slash, a backslash or a drive."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_HIDDEN = re.compile(r"[%\ud800-\udfff]")
_SHOWN = re.compile(r"%u([0-9A-F]{4})|%([0-9A-F]{2})")
_BARE = re.compile(r"%(?![0-9A-F]{2})")

_ILLEGAL = re.compile(r'[\x00-\x1f\x7f\\:<>"|?*\ud800-\udfff]|%(?=[0-9A-F]{2})|[. ]+$')
_UNLIKE = re.compile(r"[^a-z0-9._ -]|[. ]+$")
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3])(?=[ .]|$)")
"""Names of devices on Windows, whatever their ending."""
_MOST_BYTES = 255


def stored(text: str) -> str:
    """Text for a database or JSON; ordinary text stays as it is. `restored` turns it back."""
    if text.isascii() and not text.startswith(_MARK):
        return text
    if _SURROGATE.search(text) is None and not text.startswith(_MARK):
        return text
    return _MARK + _HIDDEN.sub(lambda match: _escape(match[0]), text)


def restored(text: str) -> str:
    """What was given to `stored`."""
    if not text.startswith(_MARK):
        return text
    return _SHOWN.sub(
        lambda match: chr(int(match[1], 16)) if match[1] else _character(int(match[2], 16)), text[len(_MARK) :]
    )


def shown(text: str) -> str:
    """Text for people and for XML: each half character as `%FF`, which cannot always be told from a real `%FF`."""
    return text if text.isascii() else _SURROGATE.sub(lambda match: _escape(match[0]), text)


def portable(name: str) -> str:
    """A relative POSIX name that every system can store; `original` turns it back. Ordinary names stay as they are.

    What Windows refuses (its special characters, device names, a dot or space at the end) and bytes that are no
    UTF-8 are written as `%XX`. A level that grows over 255 bytes is cut and marked with a hash, beyond return.
    """
    return "/".join(_level(level) for level in name.split("/"))


def original(name: str) -> str:
    """The name that was given to `portable`."""
    return unquote_to_bytes(_lowered(name)).decode("utf-8", "surrogateescape")


def apart(names: Iterable[str]) -> dict[str, str]:
    """`portable` for the names of one dataset: two that Windows or macOS take for one are spelled apart."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    # Small letters sort last: a name of nothing else stays as it is.
    for name in sorted(names, reverse=True):
        spelled = portable(name)
        if fold(spelled) in taken:
            spelled = "/".join(_level(level, _UNLIKE) for level in name.split("/"))
        folded = fold(spelled)
        # There may be a hundred thousand, nearly all of them ordinary: one text for all its forms.
        taken.add(name if folded == name else folded)
        found[name] = name if spelled == name else spelled
    return found


def _level(level: str, illegal: re.Pattern[str] = _ILLEGAL) -> str:
    spelled = illegal.sub(lambda match: _quote(match[0]), level)
    reserved = _RESERVED.match(spelled)
    if reserved is not None:
        spelled = _quote(spelled[0]) + spelled[1:]
    if len(spelled.encode()) > _MOST_BYTES:
        end = spelled[-20:] if len(spelled[-20:].encode()) < 60 else ""
        mark = hashlib.sha256(spelled.encode()).hexdigest()[:12]
        head = spelled.encode()[: _MOST_BYTES - len(end.encode()) - 13].decode("utf-8", "ignore")
        spelled = f"{head}~{mark}{end}"
    return spelled


def _lowered(name: str) -> str:
    """Percent signs that are none of ours, in a form that unquoting leaves alone."""
    return _BARE.sub("%25", name)


def _quote(text: str) -> str:
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "surrogatepass")  # half a character of Windows
    return "".join(f"%{byte:02X}" for byte in raw)


def _escape(character: str) -> str:
    code = ord(character)
    if character == "%":
        return "%25"
    return f"%{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else f"%u{code:04X}"


def _character(byte: int) -> str:
    return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)
