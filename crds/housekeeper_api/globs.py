"""Globs as RE2 expressions, one path component at a time.

`*` any characters, `?` one, `[a-z]`, `[!a-z]` and `[[:digit:]]` one of or none of, `{a,b}` either, `\\` takes the next
character as it is; none of them crosses a `/`. `**` as a whole component is any number of directories (as the last one:
everything below). A leading dot is an ordinary character. A glob is held against the whole path below the root.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Final

MAX_ALTERNATIVES: Final = 256
"""Most globs that the braces of one glob may stand for."""

_POSIX: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x{0}-.0-\\x{7f}",
    "blank": "\\x{9}\\x{20}",
    "cntrl": "\\x{0}-\\x{1f}\\x{7f}",
    "digit": "0-9",
    "graph": "!-.0-~",
    "lower": "a-z",
    "print": "\\x{20}-.0-~",
    "punct": "!-.:-@\\[-`{-~",
    "space": "\\x{9}-\\x{d}\\x{20}",
    "upper": "A-Z",
    "word": "0-9A-Z_a-z",
    "xdigit": "0-9A-Fa-f",
}
"""POSIX classes without the slash, which no class may match."""


class GlobError(ValueError):
    """The glob means nothing. The message says what to write instead."""


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """What one component of a path must be: any number of components (`**`), or a name that `expression` matches."""

    expression: str
    """RE2, without anchors; empty for `**`."""
    suffix: str = ""
    """What a name must end with, where the component is a `*` and that, as in `*.dump`; else empty."""

    @property
    def is_any_depth(self) -> bool:
        """Whether this is `**`."""
        return not self.expression

    @property
    def is_any_name(self) -> bool:
        """Whether every name matches."""
        return self.expression in {"", _ANY_NAME}


_ANY_NAME: Final = "[^/]*"
ANY_DEPTH: Final = Component("")

Glob = tuple[Component, ...]


def parse(text: str) -> tuple[Glob, ...]:
    """The globs that `text` stands for, one unless it has braces. Raises `GlobError`."""
    globs = dict.fromkeys(_parse_plain(plain) for plain in _expand_braces(text))
    return tuple(globs)


def _parse_plain(text: str) -> Glob:
    if not text:
        raise GlobError("is empty; write ** for everything")
    if text.startswith("/"):
        raise GlobError("begins with a slash; globs are relative to the volume's root")
    if text.endswith("/"):
        raise GlobError(f"ends with a slash, and items are files; write {text}** for everything below")
    components: list[Component] = []
    for part in text.split("/"):
        if not part:
            continue  # two slashes are one, as everywhere; braces make them: a/{,b}/c
        if part in {".", ".."}:
            raise GlobError("has a . or .. component, which no path below the root has")
        component = ANY_DEPTH if part == "**" else Component(_translate(part), _suffix(part))
        if component != ANY_DEPTH or components[-1:] != [ANY_DEPTH]:
            components.append(component)
    return tuple(components)


def _suffix(part: str) -> str:
    rest = part.removeprefix("*")
    return "" if rest == part or any(character in "*?[\\" for character in rest) else rest


def _translate(part: str) -> str:
    """One component as RE2 without anchors."""
    out: list[str] = []
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            if out[-1:] != [_ANY_NAME]:
                out.append(_ANY_NAME)
        elif character == "?":
            out.append("[^/]")
        elif character == "[" and (end := _class_end(part, position)) is not None:
            out.append(_translate_class(part[position:end]))
            position = end + 1
        elif character == "\\":
            if position == len(part):
                raise GlobError(
                    "ends a component with a backslash, which must be followed by the character it protects"
                )
            out.append(_literal(part[position]))
            position += 1
        else:
            out.append(_literal(character))
    return "".join(out)


def _literal(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in "_-"):
        return character
    return f"\\x{{{_code(character):x}}}"


def _code(character: str) -> int:
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise GlobError("has half a surrogate pair, which is no character")
    return code


def _class_end(part: str, start: int) -> int | None:
    """Index of the `]` that closes the class whose first character is at `start`; None: `[` is itself."""
    position = start
    if part[position : position + 1] in {"!", "^"}:
        position += 1
    if part[position : position + 1] == "]":
        position += 1
    while position < len(part):
        if part[position] == "]":
            return position
        if part[position] == "\\":
            position += 2
        elif part.startswith("[:", position) and (end := part.find(":]", position + 2)) != -1:
            position = end + 2
        else:
            position += 1
    return None


def _translate_class(body: str) -> str:
    negated = body[0] in "!^"
    members = _class_members(body[1:] if negated else body)
    return f"[^/{members}]" if negated else f"[{members}]"


def _class_members(body: str) -> str:
    out: list[str] = []
    position = 0
    while position < len(body):
        if body.startswith("[:", position) and (end := body.find(":]", position + 2)) != -1:
            name = body[position + 2 : end]
            if name not in _POSIX:
                raise GlobError(f"has the unknown class [:{name}:]; known are {', '.join(_POSIX)}")
            out.append(_POSIX[name])
            position = end + 2
            continue
        low, position = _class_character(body, position)
        if body[position : position + 1] == "-" and position + 1 < len(body):
            high, position = _class_character(body, position + 1)
            out.append(_range(low, high))
        else:
            out.append(_range(low, low))
    return "".join(out)


def _class_character(body: str, position: int) -> tuple[int, int]:
    """Code of the character at `position`, and where the next one begins."""
    if body[position] == "\\" and position + 1 < len(body):
        return _code(body[position + 1]), position + 2
    return _code(body[position]), position + 1


def _range(low: int, high: int) -> str:
    if low > high:
        raise GlobError(f"has the range {chr(low)}-{chr(high)}, which is the wrong way round")
    if low <= ord("/") <= high:
        # A component has no slash, and none may be matched: it separates the names that are looked through at once.
        below = f"\\x{{{low:x}}}-\\x{{2e}}" if low < ord("/") else ""
        above = f"\\x{{30}}-\\x{{{high:x}}}" if high > ord("/") else ""
        return below + above
    return f"\\x{{{low:x}}}" if low == high else f"\\x{{{low:x}}}-\\x{{{high:x}}}"


def _expand_braces(text: str) -> list[str]:
    """`a{b,c}d` as `abd` and `acd`; braces without a comma stand for themselves, as in a shell."""
    done: list[str] = []
    waiting = [(text, 0)]
    while waiting:
        current, start = waiting.pop()
        found = _first_braces(current, start)
        if found is None:
            done.append(current)
        else:
            opening, closing, cuts = found
            bounds = [opening, *cuts, closing]
            for left, right in pairwise(bounds):
                waiting.append((current[:opening] + current[left + 1 : right] + current[closing + 1 :], opening))
        if len(done) + len(waiting) > MAX_ALTERNATIVES:
            raise GlobError(f"stands for more than {MAX_ALTERNATIVES} globs; write fewer alternatives")
    return sorted(done)


def _first_braces(text: str, start: int) -> tuple[int, int, list[int]] | None:
    """Positions of the first braces from `start` on that hold alternatives: opening, closing, the commas between."""
    position = start
    while position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == "{" and (found := _closing_brace(text, position)) is not None:
            closing, commas = found
            if commas:
                return position, closing, commas
            if ".." in text[position:closing]:
                raise GlobError("has a range in braces; write the alternatives out, as in {1,2,3}")
        position += 1
    return None


def _closing_brace(text: str, opening: int) -> tuple[int, list[int]] | None:
    depth = 0
    commas: list[int] = []
    position = opening
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position, commas
        elif character == "," and depth == 1:
            commas.append(position)
        position += 1
    return None
