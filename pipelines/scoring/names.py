"""The id of an image -> the name of its file among what scoring writes."""

import hashlib
import re

OUTPUTS = (".geojson", ".png")
"""How the files of images end: no folder may end so, or it would be in the way of a file."""
LONGEST_PART, LONGEST = 200, 600  # bytes: file systems take 255 with the ending, S3 1,024 with the folder before it

_RESERVED = re.compile(r'[%\\:*?"<>|]')


def safe_name(image_id: str) -> str:
    """A relative name that keeps the folders of an id; other ids have other names, and none leaves its folder.

    Letters of every script, digits, spaces and most signs stay as they are. What no file system or glob takes as it is
    becomes `%` and the two hex digits of each of its UTF-8 bytes, a part without a name a lone `%`, and the end of what
    is too long `%~` and a digest.
    """
    *folders, name = map(_part, image_id.split("/"))
    whole = "/".join([*map(_folder, folders), name])
    return whole if len(whole.encode()) <= LONGEST else f"%~{_digest(image_id)}/{name}"


def _part(text: str) -> str:
    if text in (".", ".."):
        return text.replace(".", "%2E")
    escaped = "".join(char if char.isprintable() and not _RESERVED.match(char) else _escaped(char) for char in text)
    if len(escaped.encode()) > LONGEST_PART:
        return f"{escaped.encode()[: LONGEST_PART // 2].decode(errors='ignore')}%~{_digest(text)}"
    return escaped or "%"


def _folder(part: str) -> str:
    if part.endswith(OUTPUTS):
        stem, _, ending = part.rpartition(".")
        return f"{stem}%2E{ending}"
    return part


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
