"""The disk under the server, as the tests rule it: faults by the control file of inject.c, power cuts from its undo log."""
import mmap
import os
import random
import shutil
import signal
import struct
from collections import namedtuple
from pathlib import Path

# The order of `enum call` and the layout of `struct control` in inject.c.
CALLS = ("write", "fsync", "fdatasync", "rename", "open", "truncate", "unlink", "mkdir")
HEAD = struct.Struct("=4I48s")
RULE = struct.Struct("=iiiI48s")

# `enum record` and `struct record_head`.
WRITE, TRUNCATE, SYNC, CREATE, RENAME, MKDIR, UNLINK, LINK, SYNC_FAILED = range(1, 10)
# What became of a change of a file: nobody knows; on the disk; dropped by a failed fsync, which the next one does not tell.
OPEN, DURABLE, DROPPED = range(3)
RECORD = struct.Struct("=4I5Q")
Record = namedtuple("Record", "kind inode offset old_size path second old new")
SECTOR = 512


class Disk:
    """Faults for the processes that are started with environment(). `folder` is the data directory, a real path."""

    def __init__(self, folder: Path, beside: Path, library: Path):
        self.folder, self.library = folder, library
        self.control, self.undo = beside / "fault-control", beside / "fault-undo"
        self.control.write_bytes(bytes(HEAD.size + len(CALLS) * RULE.size))
        with self.control.open("r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def environment(self, undo=False) -> dict:
        env = {"LD_PRELOAD": self.library, "SLIPWAY_FAULT_UNDER": self.folder, "SLIPWAY_FAULT_CONTROL": self.control,
               "SLIPWAY_FAULT_UNDO": self.undo if undo else None,
               # The library stands below the sanitizer's own calls: that it comes first is no mistake.
               "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=1:abort_on_error=0:strict_string_checks=1"}
        if undo:
            self.forget()
        return env

    def plan(self, die_at=0, tear=False, deaf=None):
        """die_at: SIGKILL in front of the n-th change from now. deaf: files with that word are never synced."""
        HEAD.pack_into(self.map, 0, 0, die_at, int(tear), int(deaf is not None), (deaf or "").encode())

    @property
    def calls(self) -> int:
        return HEAD.unpack_from(self.map, 0)[0]

    def fail(self, call: str, error: int, word="", skip=0, times=-1):
        """From now on that call fails with that errno, for paths with that word in them, after `skip` good ones."""
        RULE.pack_into(self.map, HEAD.size + CALLS.index(call) * RULE.size, error, skip, times, 0, word.encode())

    def hits(self, call: str) -> int:
        return RULE.unpack_from(self.map, HEAD.size + CALLS.index(call) * RULE.size)[3]

    def heal(self):
        for call in CALLS:
            self.fail(call, 0)

    # ---- power cuts --------------------------------------------------------------------------------------------
    def forget(self):
        """What is there now is on the disk."""
        for file in self.undo.parent.glob(self.undo.name + "*"):
            file.unlink()

    def records(self):
        log, at = self.undo.read_bytes() if self.undo.exists() else b"", 0
        while at + RECORD.size <= len(log):
            kind, path_n, second_n, _, inode, offset, old_size, old_n, new_n = RECORD.unpack_from(log, at)
            at += RECORD.size
            parts = []
            for n in (path_n, second_n, old_n, new_n):
                parts.append(log[at:at + n])
                at += n
            if at > len(log):
                return  # the process ended while it wrote this one, and has not made the change
            yield Record(kind, inode, offset, old_size, parts[0].decode(), parts[1].decode(), parts[2], parts[3])

    def cut_power(self, rng: random.Random) -> int:
        """Takes back what was not synced, or some of it: the disk may have written any part. How many changes were lost."""
        changes, names = {}, []
        for r in self.records():
            if r.kind in (WRITE, TRUNCATE):
                changes.setdefault(r.inode, []).append([r, OPEN])
            elif r.kind == SYNC_FAILED:
                for change in changes.get(r.inode, ()):
                    change[1] = DROPPED if change[1] == OPEN else change[1]
            elif r.kind == SYNC:
                mine = changes.get(r.inode, [])
                for change in mine:
                    change[1] = DURABLE if change[1] == OPEN else change[1]
                # From the first one that was dropped on: what follows may lie over it.
                while mine and mine[0][1] == DURABLE:
                    mine.pop(0)
                names = [n for n in names if os.path.dirname(n.second or n.path) != r.path]
            elif r.kind == UNLINK:
                names = [n for n in names if (n.second or n.path) != r.path]
            else:
                if r.kind == CREATE:
                    changes.pop(r.inode, None)  # the number was another file's
                names.append(r)
        where = {}
        for folder, _, files in os.walk(self.folder):
            for file in files:
                path = os.path.join(folder, file)
                where[os.lstat(path).st_ino] = path
        lost = sum(take_back_content(where[i], list_, rng) for i, list_ in changes.items() if i in where)
        lost += self.take_back_names(names, rng)
        self.forget()
        return lost

    def take_back_names(self, names, rng):
        """Of the changes of a folder the first ones are kept, as a journal of the file system does."""
        lost = 0
        for folder in sorted({os.path.dirname(n.second or n.path) for n in names}):
            mine = [n for n in names if os.path.dirname(n.second or n.path) == folder]
            for n in reversed(mine[rng.choice((0, len(mine), rng.randint(0, len(mine)))):]):
                lost += 1
                if n.kind == MKDIR:
                    shutil.rmtree(n.path, ignore_errors=True)
                elif n.kind == RENAME:
                    former = Path(f"{self.undo}.{n.old_size}")
                    if os.path.exists(n.second) and os.path.isdir(os.path.dirname(n.path)):
                        os.rename(n.second, n.path)
                    if n.old_size and former.exists():
                        os.rename(former, n.second)
                elif os.path.lexists(n.path):
                    os.unlink(n.path)
        return lost


def take_back_content(path, changes, rng):
    """The file as it was synced, and of what came later: nothing, everything, or any of the writes, whole or in part."""
    with open(path, "r+b") as f:
        for r, _ in reversed(changes):
            os.pwrite(f.fileno(), r.old, r.offset)
            f.truncate(r.old_size)
        kept, lost = rng.choice((0.0, 0.5, 0.9)), 0
        for r, fate in changes:
            if fate == DROPPED or fate == OPEN and rng.random() >= kept:
                lost += 1
            elif r.kind == TRUNCATE:
                f.truncate(r.offset)
            elif fate == OPEN and rng.random() < 0.2:
                os.pwrite(f.fileno(), r.new[:rng.randrange(0, len(r.new) + 1, SECTOR)], r.offset)
                lost += 1
            else:
                os.pwrite(f.fileno(), r.new, r.offset)
    return lost


def killed(process) -> bool:
    return process.poll() == -signal.SIGKILL
