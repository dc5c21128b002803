# SPDX-License-Identifier: Apache-2.0
"""The test runner behind tests/run.sh: finds the tests, runs each in a folder and session of its own with a time
limit, ends what it leaves behind, prints a line a test and, last, `N passed, N failed, N skipped`.

A test is a cmocka program known to meson, a test_*.py or test_*.sh below tests/{fs,iscsi,fault,crash}, or a check below.
A file may say in a comment among its first lines:
    time-limit: SECONDS     default 120
    run-alone               nothing else runs meanwhile: its figures are times
Exit status 77 is a skip, whose reason is the last line printed. tests/allowed-skips lists those that may be in CI."""

import argparse
import concurrent.futures
import glob
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ("fs", "iscsi", "fault", "crash")
MARK = "REPLICAFS_TEST"
LIMIT = 120
LONGEST_FUNCTION = 100


def text_of(path, size=-1):
    try:
        with open(path, errors="replace") as f:
            return f.read(size)
    except OSError:
        return ""


# What a test leaves behind -------------------------------------------------------------------------------------------


def processes_of(mark):
    """Every process that was started under this mark or one that begins so, however far it went away from its
    parent."""
    needle = ("\0%s=%s" % (MARK, mark)).encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % entry, "rb") as f:
                if needle in b"\0" + f.read():
                    found.append(int(entry))
        except OSError:
            pass
    return found


def name_of(pid):
    return text_of("/proc/%d/cmdline" % pid).replace("\0", " ").strip()[:120]


def end_processes(mark):
    names = []
    for _ in range(50):
        pids = [pid for pid in processes_of(mark)]
        if not pids:
            break
        for pid in pids:
            names.append(name_of(pid))
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.05)
    return sorted(set(filter(None, names)))


def end_mounts(folder):
    points = []
    for line in text_of("/proc/self/mountinfo").splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point.startswith(folder + "/"):
            points.append(point)
    for point in reversed(points):
        subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)
    return points


def end_loops(folder):
    ended = []
    for backing in glob.glob("/sys/block/loop*/loop/backing_file"):
        if text_of(backing).startswith(folder + "/"):
            device = "/dev/" + backing.split("/")[3]
            ended.append(device)
            subprocess.run(["losetup", "-d", device], stderr=subprocess.DEVNULL, check=False)
    return ended


def clean_up(mark, folder):
    loops = end_loops(folder)
    left = end_processes(mark)
    mounts = end_mounts(folder)
    return ["process " + name for name in left] + ["mount " + m for m in mounts] + ["loop device " + d for d in loops]


def stacks(mark):
    """What everybody was doing when the time was up."""
    out = []
    for pid in processes_of(mark):
        out.append("--- %d %s" % (pid, name_of(pid)))
        for task in sorted(glob.glob("/proc/%d/task/*" % pid)):
            where = text_of(task + "/wchan").strip() or "?"
            out.append("  %s %s in %s, %s" % (os.path.basename(task), text_of(task + "/comm").strip(), where,
                                              text_of(task + "/syscall").strip()[:60]))
            out.extend("      " + line for line in text_of(task + "/stack").splitlines()[:8])
        if "replicafs" in name_of(pid).split(" ")[0] and shutil.which("gdb"):
            try:
                got = subprocess.run(["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "thread apply all bt 25"],
                                     capture_output=True, text=True, timeout=60, check=False)
                out.append(got.stdout)
            except subprocess.TimeoutExpired:
                out.append("  gdb did not answer")
    return "\n".join(out)


# Tests ---------------------------------------------------------------------------------------------------------------


class Result:
    def __init__(self, outcome, name, seconds, reason=""):
        self.outcome, self.name, self.seconds, self.reason = outcome, name, seconds, reason


class Test:
    """One program to run. `results` where it reports single tests itself (unitmain.py)."""

    def __init__(self, name, argv, limit=LIMIT, alone=False, many=False, cwd=TOP, env=None):
        self.name, self.argv, self.limit, self.alone, self.many = name, argv, limit, alone, many
        self.cwd, self.env = cwd, env or {}


def test_of_file(path, slower):
    head = text_of(path, 1500)
    limit = re.search(r"time-limit: (\d+)", head)
    limit = (int(limit.group(1)) if limit else LIMIT) * slower
    name = os.path.relpath(path, os.path.join(TOP, "tests"))
    alone = re.search(r"^# run-alone", head, re.M) is not None
    if path.endswith(".sh"):
        return Test(name, ["bash", path], limit, alone)
    if "unittest" in text_of(path):
        return Test(name, [sys.executable, os.path.join(TOP, "tests/lib/unitmain.py"), "RESULTS", path], limit, alone, True)
    return Test(name, [sys.executable, path], limit, alone)


def unit_tests(build, slower):
    listed = subprocess.run(["meson", "introspect", "--tests", build], capture_output=True, text=True, check=True)
    tests = []
    for t in json.loads(listed.stdout):
        tests.append(Test("unit/" + t["name"], t["cmd"], max(t["timeout"], 30) * slower, cwd=t["workdir"] or TOP,
                          env=t["env"]))
    return tests


def file_tests(slower):
    tests = []
    for folder in FOLDERS:
        for kind in ("py", "sh"):
            for path in sorted(glob.glob(os.path.join(TOP, "tests", folder, "test_*." + kind))):
                tests.append(test_of_file(path, slower))
    return tests


class Runner:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.mark = uuid.uuid4().hex
        self.stopping = False
        self.started = itertools.count(1)
        self.lock = threading.Lock()
        self.results = []
        self.allowed = [re.compile(line) for line in text_of(os.path.join(TOP, "tests/allowed-skips")).splitlines()
                        if line and not line.startswith("#")]

    def environment(self, test, mark, folder):
        env = {**os.environ, **test.env, MARK: mark, "TMPDIR": folder, "REPLICAFS_BUILD": self.options.build,
               "REPLICAFS_BIN": os.path.join(self.options.build, "replicafs"),
               "REPLICAFS_SANITIZE": self.options.sanitize, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
        log = "log_path=%s/sanitizer" % folder
        supp = os.path.join(TOP, "tests")
        env["ASAN_OPTIONS"] = log + ":detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1"
        env["LSAN_OPTIONS"] = "suppressions=%s/lsan.supp:print_suppressions=0" % supp
        env["UBSAN_OPTIONS"] = log + ":print_stacktrace=1:halt_on_error=1"
        env["TSAN_OPTIONS"] = log + ":second_deadlock_stack=1:history_size=4:suppressions=%s/tsan.supp" % supp
        return env

    def execute(self, test):
        """Runs it; returns (exit status or None when the time was up, its output, what it left, sanitizer reports)."""
        mark = "%s.%d." % (self.mark, next(self.started))
        folder = tempfile.mkdtemp(prefix="t", dir=self.folder)
        os.chmod(folder, 0o711)  # tests of other users have to get through
        results = os.path.join(folder, "results")
        output = os.path.join(folder, "output")
        argv = [results if a == "RESULTS" else a for a in test.argv]
        with open(output, "wb") as out:
            proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                    cwd=test.cwd, env=self.environment(test, mark, folder))
            try:
                status = proc.wait(test.limit)
                hang = ""
            except subprocess.TimeoutExpired:
                status = None
                if test.many:
                    proc.send_signal(signal.SIGUSR1)
                    time.sleep(0.2)
                hang = "\n%d s are over. What everybody was doing:\n%s\n" % (test.limit, stacks(mark))
                proc.kill()
        left = clean_up(mark, folder)
        proc.wait()
        reports = "".join(text_of(path) for path in sorted(glob.glob(folder + "/sanitizer.*")))
        said = text_of(output) + hang
        lines = [line.split("\t") for line in text_of(results).splitlines()]
        shutil.rmtree(folder, ignore_errors=True)
        return status, said, lines, left, reports

    def judge(self, test, seconds, status, said, lines, left, reports):
        found = []
        if test.many and lines:
            for outcome, name, took, reason in lines:
                found.append(Result(outcome, "%s %s" % (test.name, name), float(took), reason))
        bad = [r for r in found if r.outcome == "fail"]
        if status is None:
            found.append(Result("fail", test.name, seconds, "not ready after %d s" % test.limit))
        elif status == 77 and not found:
            found.append(Result("skip", test.name, seconds, (said.strip().splitlines() or ["no reason given"])[-1]))
        elif status not in (0, 77) and not bad:
            found.append(Result("fail", test.name, seconds, "exit status %d" % status))
        elif not found:
            found.append(Result("ok", test.name, seconds))
        if left and status is not None:
            found.append(Result("fail", test.name + " (clean-up)", seconds, "left behind: " + ", ".join(left)))
        if reports:
            found.append(Result("fail", test.name + " (sanitizer)", seconds, "see the report"))
        for r in found:
            if r.outcome == "skip" and os.environ.get("CI") == "true" and not self.may_skip(r):
                r.outcome, r.reason = "fail", "skipped in CI: " + r.reason
        return found

    def may_skip(self, result):
        return any(p.search("%s: %s" % (result.name, result.reason)) for p in self.allowed)

    def give_up(self, *_):
        """SIGTERM, SIGINT: nothing more is begun, and what runs is ended."""
        self.stopping = True
        end_processes(self.mark)
        sys.exit(143)

    def run_one(self, test):
        if self.stopping:
            return
        began = time.monotonic()
        status, said, lines, left, reports = self.execute(test)
        found = self.judge(test, time.monotonic() - began, status, said, lines, left, reports)
        self.report(found, said, reports)

    def report(self, found, said="", reports=""):
        words = {"ok": "PASS", "fail": "FAIL", "skip": "SKIP"}
        with self.lock:
            for r in found:
                print("%s %6.1fs  %s%s" % (words[r.outcome], r.seconds, r.name, ": " + r.reason if r.reason else ""))
            if any(r.outcome == "fail" for r in found):
                lines = (said + ("\n" + reports if reports else "")).strip().splitlines()
                if len(lines) > 300:
                    lines = lines[:120] + ["    ... %d lines left out ..." % (len(lines) - 300)] + lines[-180:]
                print("".join("    | %s\n" % line for line in lines), end="")
            sys.stdout.flush()
            self.results.extend(found)

    def run_check(self, name, check):
        began = time.monotonic()
        try:
            outcome, reason = check(self.options)
        except (OSError, subprocess.SubprocessError) as err:
            outcome, reason = "fail", str(err)
        self.report([Result(outcome, "check/" + name, time.monotonic() - began,
                            reason if outcome == "skip" else "")], reason if outcome == "fail" else "")

    def run(self, tests):
        together = [t for t in tests if not t.alone]
        with concurrent.futures.ThreadPoolExecutor(max_workers=self.options.jobs) as pool:
            for done in [pool.submit(self.run_one, t) for t in together]:
                done.result()
        for test in tests:
            if test.alone:
                self.run_one(test)


# Checks --------------------------------------------------------------------------------------------------------------


def sources():
    found = []
    for folder in ("fs", "replica", "tests"):
        for pattern in ("**/*.c", "**/*.h"):
            found.extend(glob.glob(os.path.join(TOP, folder, pattern), recursive=True))
    return sorted(found)


def check_tree(options):
    program = os.path.join(options.build, "replicafs")
    got = subprocess.run([program, "--print-tree"], capture_output=True, text=True, timeout=60, check=False)
    if got.returncode:
        return "fail", "--print-tree failed: " + got.stderr
    if got.stdout == text_of(os.path.join(TOP, "docs/tree.md")):
        return "ok", ""
    diff = subprocess.run(["diff", "-u", os.path.join(TOP, "docs/tree.md"), "-"], input=got.stdout, text=True,
                          capture_output=True, check=False)
    return "fail", "docs/tree.md is stale; build/replicafs --print-tree > docs/tree.md\n" + diff.stdout


def check_format(_):
    if not shutil.which("clang-format"):
        return "skip", "clang-format is not installed"
    version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True, check=False).stdout
    if " 14." not in version:
        return "skip", "clang-format is not version 14, whose layout this is: " + version.strip()
    got = subprocess.run(["clang-format", "--dry-run", "-Werror", "--style=file", *sources()], capture_output=True,
                         text=True, cwd=TOP, check=False)
    files = sorted({os.path.relpath(line.split(":")[0], TOP) for line in got.stderr.splitlines() if ": error: " in line})
    if got.returncode == 0:
        return "ok", ""
    return "fail", "not laid out as .clang-format says; clang-format -i\n" + "\n".join(files or [got.stderr])


def check_function_length(_):
    long = []
    for path in sources():
        start = None
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if re.match(r"[A-Za-z_].*\(", line) and not line.rstrip().endswith(";"):
                start = (number, line)
            elif line.startswith("}") and start:
                if number - start[0] + 1 > LONGEST_FUNCTION:
                    long.append("%s:%d: %d lines: %s" % (os.path.relpath(path, TOP), start[0],
                                                         number - start[0] + 1, start[1]))
                start = None
    return ("ok", "") if not long else ("fail", "over %d lines:\n%s" % (LONGEST_FUNCTION, "\n".join(long)))


def check_licence(_):
    bare = [os.path.relpath(p, TOP) for p in sources() if "SPDX-License-Identifier: Apache-2.0" not in text_of(p, 200)]
    return ("ok", "") if not bare else ("fail", "no SPDX line in:\n" + "\n".join(bare))


CHECKS = (("docs/tree.md", check_tree), ("clang-format", check_format), ("function length", check_function_length),
          ("licence lines", check_licence))


# -------------------------------------------------------------------------------------------------------------------


def work_folder():
    """LUNs lie here: in memory where there is plenty of it, else on disk."""
    shm = "/dev/shm"
    free_kib = int(re.search(r"MemAvailable:\s+(\d+)", text_of("/proc/meminfo")).group(1))
    if free_kib > 14 << 20 and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 12 << 30:
        return tempfile.mkdtemp(prefix="replicafs-", dir=shm), 2
    return tempfile.mkdtemp(prefix="replicafs-"), 2 if free_kib > 6 << 20 else 1


def wanted(name, only):
    return not only or any(o in name for o in only)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--sanitize", default="")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    slower = 3 if options.sanitize else 1
    folder, options.jobs = work_folder()
    os.chmod(folder, 0o711)
    runner = Runner(options, folder)
    signal.signal(signal.SIGTERM, runner.give_up)
    signal.signal(signal.SIGINT, runner.give_up)
    try:
        for name, check in CHECKS:
            if wanted("check/" + name, options.only):
                runner.run_check(name, check)
        tests = unit_tests(options.build, slower) + ([] if options.quick else file_tests(slower))
        runner.run([t for t in tests if wanted(t.name, options.only)])
    finally:
        clean_up(runner.mark, folder)
        shutil.rmtree(folder, ignore_errors=True)
    count = {o: sum(r.outcome == o for r in runner.results) for o in ("ok", "fail", "skip")}
    for r in runner.results:
        if r.outcome == "fail":
            print("failed: %s%s" % (r.name, ": " + r.reason if r.reason else ""))
    print("%d passed, %d failed, %d skipped" % (count["ok"], count["fail"], count["skip"]))
    sys.exit(1 if count["fail"] or not count["ok"] else 0)


main()
