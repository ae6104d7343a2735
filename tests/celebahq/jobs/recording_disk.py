"""A recording file layer, and disks as a loss of power may leave them.

The recorder notes, whenever something is forced to disk, renamed or removed, what the disk is sure to hold
and what else was written by then. From each such moment, disks are made as a crash may leave them: every file
with its last synced bytes, with later ones, or with later ones torn or missing in the middle; every folder
with each of its later changes done or not done. A folder that was renamed has the old name or the new one, as
on file systems with a journal; a file may have lost both.
"""

import os
from pathlib import Path
from typing import NamedTuple


class Moment(NamedTuple):
    """A tree as its processes see it, and as the disk is sure to hold it; contents by inode."""

    root_inode: int
    names: dict[Path, dict[str, int]]
    synced_names: dict[int, dict[str, int]]
    contents: dict[int, bytes]
    synced_contents: dict[int, bytes]


class Recorder:
    """Notes moments of the tree below `root`."""

    def __init__(self, root, monkeypatch):
        self.root, self.moments = root, []
        self.kept = root.with_name(f"{root.name}.kept")
        self.synced_names, self.synced_contents = {}, {}
        fsync = os.fsync

        def synced(descriptor):
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self.note()
            fsync(descriptor)
            if path.is_dir():
                self.synced_names[path.stat().st_ino] = listing(path)
            elif path.exists():
                self.synced_contents[path.stat().st_ino] = path.read_bytes()
            self.note()

        def noted(change):
            def changed(*args, **kwargs):
                self.note()
                if not isinstance(args[-1], int):  # a length
                    self.keep(Path(args[-1]))
                result = change(*args, **kwargs)
                self.note()
                return result

            return changed

        def all_synced():
            self.note()
            for path in [root, *root.rglob("*")]:
                if path.is_dir():
                    self.synced_names[path.stat().st_ino] = listing(path)
                else:
                    self.synced_contents[path.stat().st_ino] = path.read_bytes()
            self.note()

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "sync", all_synced)
        for name, change in (("replace", os.replace), ("unlink", os.unlink), ("truncate", os.truncate)):
            monkeypatch.setattr(os, name, noted(change))

    def keep(self, path):
        """Let no new file take the number of one that is about to lose its name: the disk may hold both."""
        if path.is_file():
            self.kept.mkdir(exist_ok=True)
            os.link(path, self.kept / str(len(list(self.kept.iterdir()))))

    def note(self):
        folders = [self.root, *(path for path in self.root.rglob("*") if path.is_dir())]
        names = {folder: listing(folder) for folder in folders}
        files = [folder / name for folder in folders for name in names[folder]]
        contents = {path.stat().st_ino: path.read_bytes() for path in files if path.is_file()}
        inode = self.root.stat().st_ino
        self.moments.append(
            Moment(inode, names, dict(self.synced_names), contents, dict(self.synced_contents))
        )


def listing(folder):
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


def crash(moment, root, target, rng):
    """Make a disk as a power loss at this moment may leave it."""
    inodes = {folder / name: inode for folder, names in moment.names.items() for name, inode in names.items()}
    inodes[root] = moment.root_inode
    where = {inode: folder / name for folder, names in moment.names.items() for name, inode in names.items()}
    sure_names = {inode: name for names in moment.synced_names.values() for name, inode in names.items()}
    renamed = {
        inode: rng.random() < 0.5  # whether that is done
        for inode, name in sure_names.items()
        if where.get(inode) in moment.names and where[inode].name != name
    }

    def chosen(now, sure):
        if renamed.get(now):
            return now
        if renamed.get(sure) is False:
            return sure
        return rng.choice([None if inode in renamed else inode for inode in (now, sure)])

    def make(inode, path):
        if where.get(inode) in moment.names:
            folder(where[inode], path)
        else:
            path.write_bytes(torn(moment, inode, rng))

    def folder(source, path):
        path.mkdir(parents=True, exist_ok=True)
        now, sure = moment.names[source], moment.synced_names.get(inodes.get(source), {})
        for name in sorted(now.keys() | sure.keys()):
            inode = chosen(now.get(name), sure.get(name))
            if inode is not None:
                make(inode, path / name)

    folder(root, target)


def torn(moment, inode, rng):
    """A file's bytes: those on disk, and of what was written since, anything."""
    now, sure = moment.contents.get(inode), moment.synced_contents.get(inode, b"")
    if now is None:
        return sure
    kind = rng.randrange(4)
    if kind == 0:
        return sure
    if kind == 1:
        return now
    length = rng.randint(min(len(sure), len(now)), len(now))
    if kind == 2:
        return now[:length]
    start = rng.randint(min(len(sure), length), length)
    return now[:start] + bytes(length - start)  # the file was made longer, and its blocks not written
