# SPDX-License-Identifier: Apache-2.0
"""The measuring part of copy.sh."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests/lib"))

from rfsmount import Mount  # noqa: E402
from targets import Istgt, Tgtd, random_file, same_content  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
OURS, VERIFIED, CONVERT, COMPARE = "replicafs, verify=none", "replicafs, verify=copied", \
    "qemu-img convert -n -m 16 -W", "qemu-img compare"


def size_of(text):
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper())
    return int(text[:-1]) * unit if unit else int(text)


def work_folder(need):
    shm = "/dev/shm"
    fits = os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > need * 1.2
    return tempfile.mkdtemp(prefix="bench-", dir=shm if fits else None), fits


def cpu_of(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Bench:
    def __init__(self, kind, size, folder):
        self.size, self.folder = size, folder
        self.source_file = random_file(os.path.join(folder, "source"), size)
        # full from the start: nobody's round pays for allocating it
        self.target_file = random_file(os.path.join(folder, "target"), size)
        self.source, self.target = (self.start(kind, f) for f in (self.source_file, self.target_file))
        self.mount = Mount(state_dir=os.path.join(folder, "state"), mountpoint=os.path.join(folder, "mnt"),
                           log=subprocess.DEVNULL)
        self.mount.start()
        for name, target in (("a", self.source), ("b", self.target)):
            os.mkdir(os.path.join(self.mount.path, "elements", name))
            self.mount.write("elements/%s/url" % name, target.url())

    def start(self, kind, path):
        target = kind(folder=tempfile.mkdtemp(dir=self.folder))
        target.add_lun(path)
        return target.start()

    def stop(self):
        self.mount.stop()
        self.source.stop()
        self.target.stop()

    def ours(self, verify):
        """From the request to Synchronized, on one descriptor."""
        pid = self.mount.pid
        cpu, began = cpu_of(pid), time.monotonic()
        self.mount.call("service/attach_replica", "source_element=a target_element=b copy_type=Sync name=db force=1 "
                        "setting.verify=%s wait_for_copy_state=Synchronized timeout=600" % verify)
        took = time.monotonic() - began, cpu_of(pid) - cpu
        self.mount.write("relationships/db/operation", "Detach force=1")
        return took

    def peer(self, *argv):
        """wait4 gives the CPU time of this child alone."""
        began = time.monotonic()
        proc = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(proc.pid, 0)
        proc.returncode = os.waitstatus_to_exitcode(status)
        if proc.returncode:
            raise SystemExit("%s: exit status %d" % (" ".join(argv), proc.returncode))
        return time.monotonic() - began, usage.ru_utime + usage.ru_stime

    def one(self, what):
        a, b = self.source.url(), self.target.url()
        if what in (OURS, VERIFIED):
            return self.ours("none" if what is OURS else "copied")
        if what is CONVERT:
            return self.peer("qemu-img", "convert", "-n", "-m", "16", "-W", "-f", "raw", "-O", "raw", a, b)
        return self.peer("qemu-img", "compare", "-f", "raw", "-F", "raw", a, b)

    def scribble(self):
        """So that a copy that did nothing could not pass for one."""
        with open(self.target_file, "r+b") as f:
            for i in range(0, self.size, max(self.size // 64, 4096)):
                f.seek(i)
                f.write(b"scribble" * 512)

    def round(self, times):
        for what in (OURS, VERIFIED, CONVERT, COMPARE):
            if what is not COMPARE:
                self.scribble()
            times.setdefault(what, []).append(self.one(what))
            if what is not COMPARE and not same_content(self.source_file, self.target_file):
                raise SystemExit("%s: the copy differs from its source" % what)
            print("  %-30s %6.2f s wall, %5.2f s CPU" % (what, *times[what][-1]), file=sys.stderr)


def table(title, times, gib):
    med = {what: [statistics.median(t[i] for t in got) for i in (0, 1)] for what, got in times.items()}
    print("\n%s\n\n| work | wall s | MiB/s | CPU s per GiB |\n|---|---|---|---|" % title)
    for what, (wall, cpu) in med.items():
        print("| %s | %.2f | %.0f | %.2f |" % (what, wall, gib * 1024 / wall, cpu / gib))
    ratios = (("copy / convert, wall", med[OURS][0] / med[CONVERT][0]),
              ("copy / convert, CPU", med[OURS][1] / med[CONVERT][1]),
              ("copy with verification / (convert + compare), wall",
               med[VERIFIED][0] / (med[CONVERT][0] + med[COMPARE][0])),
              ("copy with verification / (convert + compare), CPU",
               med[VERIFIED][1] / (med[CONVERT][1] + med[COMPARE][1])))
    print("\n| ratio | |\n|---|---|")
    for name, ratio in ratios:
        print("| %s | %.2f |" % (name, ratio))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=size_of, default=2 << 30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", choices=("tgt", "istgt", "both"), default="both")
    options = parser.parse_args()
    kinds = {"tgt": [Tgtd], "istgt": [Istgt], "both": [Tgtd, Istgt]}[options.target]
    os.environ.setdefault("REPLICAFS_BIN", os.path.join(TOP, "build/replicafs"))
    gib = options.size / (1 << 30)
    for kind in kinds:
        folder, memory = work_folder(2 * options.size)
        bench = None
        times = {}
        try:
            bench = Bench(kind, options.size, folder)
            for i in range(options.rounds):
                print("%s, round %d" % (kind.argv0, i + 1), file=sys.stderr)
                bench.round(times)
        finally:
            if bench:
                bench.stop()
            shutil.rmtree(folder, ignore_errors=True)
        table("%g GiB of random data between two %s, backing files %s, %d cores, medians of %d rounds" % (
            gib, kind.argv0, "in memory" if memory else "on disk", os.cpu_count(), options.rounds), times, gib)


main()
