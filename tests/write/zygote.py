"""Run as a program: do what each line of standard input asks in a forked child, and tell how that ended.

A fork costs milliseconds where an interpreter costs half a second, so a packer can be killed at
every single step it takes: `kill_at` is the number of a call that changes the disk, and the child
kills itself just before it. A write counts twice: before it, and when half of it is done.
`kill_at_change` is the same for changes of a bucket, each counted before and after it.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import tempfile
import threading
from pathlib import Path

import shardpack
from shardpack.storage.remote import RemoteStore

CHANGES = ["mkdir", "open", "posix_fallocate", "write", "fsync", "replace", "rename", "link", "unlink", "rmdir"]


class Killer:
    def __init__(self, kill_at):
        self.left = kill_at

    def step(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, name):
        real = getattr(os, name)

        def call(*arguments, **options):
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **options)
            self.step()
            if name == "write" and self.left == 1:
                real(arguments[0], memoryview(arguments[1])[: len(arguments[1]) // 2])
                self.step()
            elif name == "write":
                self.left -= 1
            return real(*arguments, **options)

        setattr(os, name, call)


class BucketKiller(Killer):
    def __init__(self, kill_at):
        super().__init__(kill_at)
        self._lock = threading.Lock()

    def wrap(self, name):
        real = getattr(RemoteStore, name)

        def change(*arguments, **options):
            with self._lock:
                self.step()
            real(*arguments, **options)
            with self._lock:
                self.step()

        setattr(RemoteStore, name, change)


def write(source, out, **options):
    """Pack a folder's files with a ShardWriter, as `pack` does with layout="files"."""
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted(Path(source).rglob("*.*")):
        key, _, field = path.relative_to(source).as_posix().partition(".")
        samples.setdefault(key, {})[field] = path.read_bytes()
    with shardpack.ShardWriter(out, **options) as writer:
        for key, fields in sorted(samples.items()):
            writer.write(key, fields)


ACTIONS = {
    "append": lambda source, out, **options: shardpack.append(source, out, jobs=1, **options),
    "pack": lambda source, out, **options: shardpack.pack(source, out, jobs=1, **options),
    "write": write,
    "copy": shardpack.copy,
    "delete": lambda source, out, **options: shardpack.delete(out, **options),  # noqa: ARG005 - edits have one place
    "gc": lambda source, out, **options: shardpack.gc(out, **options),  # noqa: ARG005
    "relabel": lambda source, out, **options: shardpack.relabel(out, **options),  # noqa: ARG005
    "index": lambda source, out, **options: shardpack.index(out, jobs=1, **options),  # noqa: ARG005 - where the tars are
}


def child(request):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if request.get("kill_at"):
        killer = Killer(request["kill_at"])
        for name in CHANGES:
            killer.wrap(name)
    if request.get("kill_at_change"):
        bucket_killer = BucketKiller(request["kill_at_change"])
        for name in ("put", "create", "delete"):
            bucket_killer.wrap(name)
    try:
        report = ACTIONS[request["action"]](request["source"], request["out"], **request["options"])
    except shardpack.ShardpackError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"resumed": getattr(report, "resumed_shards", None)}


def warm_up():
    """Do everything once, so that children find imported what they need."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "source"), str(Path(folder, "out"))
        source.mkdir()
        (source / "a.jpg").write_bytes(b"1")
        write(source, out)
        ACTIONS["pack"](str(source), out, layout="files", force=True)
        shardpack.copy(out, f"{out}-copy")
        shardpack.relabel(f"{out}-copy", {"a": {"n": 1}})
        shardpack.delete(f"{out}-copy", ["a"])
        ACTIONS["append"](str(source), f"{out}-copy", layout="files")
        shardpack.gc(f"{out}-copy")
        for path in Path(out, ".shardpack").rglob("*.*"):
            path.unlink()
        ACTIONS["index"](None, out)
    gc.freeze()


def main():
    warm_up()
    os.fsync = lambda _: None  # no test cuts the power
    for line in sys.stdin:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            answer = json.dumps(child(json.loads(line))).encode()
            posix_write(writer, answer)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            answer = pipe.read()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status)
        sys.stdout.write(json.dumps({"killed": killed, **(json.loads(answer) if answer else {})}) + "\n")
        sys.stdout.flush()


posix_write = os.write

if __name__ == "__main__":
    main()
