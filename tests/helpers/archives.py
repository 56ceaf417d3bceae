"""Archives of the dependency cache, made by hand: tar in zstd, as hostile as a test wants them."""
import io
import struct
import tarfile

BLOCK = 128 * 1024


def frame(text: bytes, repeat=0, window=0x58, last=True) -> bytes:
    """A zstd frame that holds `text` as it is, and behind it `repeat` zero bytes, which take next to nothing."""
    out = [struct.pack("<I", 0xFD2FB528), bytes([0, window])]
    blocks = [(0, text[i:i + BLOCK], len(text[i:i + BLOCK])) for i in range(0, len(text), BLOCK)]
    while repeat:
        n = min(repeat, BLOCK)
        blocks.append((1, b"\0", n))
        repeat -= n
    blocks.append((0, b"", 0))
    for i, (kind, content, size) in enumerate(blocks):
        out.append(struct.pack("<I", (last and i == len(blocks) - 1) | kind << 1 | size << 3)[:3] + content)
    return b"".join(out)


class Tar:
    """Entries in the order of the calls."""

    def __init__(self):
        self.file = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.file, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, content=None, kind=tarfile.REGTYPE, target="", mode=None, **fields):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, len(content or b"")
        info.mode = mode if mode is not None else 0o755 if kind == tarfile.DIRTYPE else 0o644
        for field, value in fields.items():
            setattr(info, field, value)
        self.tar.addfile(info, io.BytesIO(content) if content is not None else None)
        return self

    def folder(self, name, **more):
        return self.add(name, kind=tarfile.DIRTYPE, **more)

    def link(self, name, target, **more):
        return self.add(name, kind=tarfile.SYMTYPE, target=target, mode=0o755, **more)

    def raw(self, content: bytes):
        self.file.write(content)
        self.tar.offset += len(content)
        return self

    def plain(self) -> bytes:
        self.tar.close()
        text = self.file.getvalue()
        # tarfile fills up to records of 10 KB; two empty blocks are the end.
        end = len(text)
        while end >= 512 and text[end - 512:end] == bytes(512):
            end -= 512
        return text[:end] + bytes(1024)

    def archive(self) -> bytes:
        return frame(self.plain())
