"""One file out of a zip archive or a wheel, checked against what hostile archives do."""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

CHUNK = 1 << 20
ENCRYPTED = 0x1


class ArchiveError(Exception):
    """An archive that does not give the file; the message is a clause without a full stop."""


def extract(
    archive: Path, member: str, target: Path, what: str, *, size: int | None = None
) -> None:
    """Write one member of an archive to `target`; nothing else is ever written.

    The member's own name and rights are not used, and zip's checksum of its content is tested. No
    more is written than the archive's directory announces, and that is looked at first.

    Args:
        archive: The zip archive.
        member: The member's path inside it.
        target: Where its content goes; an existing file is overwritten.
        what: "archive" or "wheel", for messages.
        size: Bytes that it must have, where they are known.

    Raises:
        ArchiveError: The path leads out of the archive, or the archive is damaged, has no such
            member, or has a link, a folder or an encrypted file in its place; or the member has
            another size, or one that the disk has no room for.
    """
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts or "\\" in member:
        raise ArchiveError(f"{member!r} leads out of the {what}")
    try:
        with zipfile.ZipFile(archive) as opened:
            _copy(opened, member, target, what, size)
    except zipfile.BadZipFile as error:
        raise ArchiveError(f"the {what} is damaged: {str(error).rstrip('.')}") from error
    except (EOFError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f"{member} in the {what} cannot be unpacked: {error}") from error


def _copy(opened: zipfile.ZipFile, member: str, target: Path, what: str, size: int | None) -> None:
    found = [info for info in opened.infolist() if info.filename == member]
    if not found:
        raise ArchiveError(f"the {what} has no {member}")
    if len(found) > 1:
        raise ArchiveError(f"the {what} has {member} {len(found)} times")
    kind = stat.S_IFMT(found[0].external_attr >> 16)
    if found[0].is_dir() or kind not in (0, stat.S_IFREG) or found[0].flag_bits & ENCRYPTED:
        raise ArchiveError(f"{member} in the {what} is no plain file")
    announced = found[0].file_size
    if size is not None and announced != size:
        raise ArchiveError(f"{member} in the {what} has {announced:,} bytes, not {size:,}")
    if announced > shutil.disk_usage(target.parent).free:
        raise ArchiveError(f"{member} in the {what} has {announced:,} bytes: no room for them")
    with opened.open(found[0]) as packed, target.open("wb") as written:
        while chunk := packed.read(CHUNK):
            written.write(chunk)
