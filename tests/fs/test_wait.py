# SPDX-License-Identifier: Apache-2.0
"""Rule 5: what waits holds up nobody else; a signal ends the wait and not the operation; the same bytes join it again."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from fsbase import FsCase, LIMIT, MIB, SLOWER, pairs

OPERATION = "relationships/db/operation"
WAIT = "relationships/db/wait"

# Writes a request and prints what came of it; says when the write is about to begin. Signals end it (no handler that
# would let Python write again).
WRITER = """
import os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print("go", flush=True)
try:
    os.write(fd, sys.argv[2].encode())
    print("ok", flush=True)
except OSError as e:
    print("error", e.errno, flush=True)
try:
    print(os.read(fd, 4096).decode().splitlines()[0], flush=True)
except OSError:
    pass  # the mount is gone
"""


class Interrupted(Exception):
    pass


class Waits(FsCase):
    def setUp(self):
        super().setUp()
        self.job = self.slow_copy()

    def writer(self, path, request):
        """A process that writes and waits; returned when its write is under way."""
        proc = subprocess.Popen([sys.executable, "-c", WRITER, self.at(path), request], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, proc)
        self.assertEqual(proc.stdout.readline(), "go\n")
        self.m.wait_for(lambda: self.in_write(proc.pid), LIMIT, "the write of process %d" % proc.pid)
        return proc

    @staticmethod
    def end(proc):
        proc.kill()
        proc.wait()
        proc.stdout.close()

    @staticmethod
    def in_write(pid):
        with open("/proc/%d/syscall" % pid, encoding="ascii") as f:
            return f.read().split(" ")[0] == str(1 if os.uname().machine == "x86_64" else 64)

    def faster(self):
        self.m.write("relationships/db/settings/rate_limit", "0")

    def interrupted_write(self, fd, data, seconds=0.3):
        """A write that a signal ends; an exception from the handler keeps Python from writing again by itself."""
        def handler(*_):
            raise Interrupted

        old = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        began = time.monotonic()
        try:
            with self.assertRaises(Interrupted):
                os.write(fd, data)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        self.assertLess(time.monotonic() - began, 5 * SLOWER)

    # waiting

    def test_wait(self):
        proc = self.writer(WAIT, "Synchronized timeout=60")
        self.faster()
        self.assertEqual(proc.stdout.read(), "ok\nreturn_value=0\n")

    def test_timeout(self):
        began = time.monotonic()
        status = self.refused(errno.ETIMEDOUT, self.m.write, WAIT, "Synchronized timeout=0.2")
        self.assertGreaterEqual(time.monotonic() - began, 0.2)
        self.assertEqual(status["return_value"], "3")
        self.assertEqual(self.m.read(self.job + "/job_state"), "Running")

    def test_others_go_on(self):
        """With ten waiting, everybody else works, on the same files too."""
        opened_before, wait_before = self.write_fd(OPERATION), self.write_fd(WAIT, os.O_WRONLY)
        os.fstat(opened_before)  # as Python's open() does
        os.fstat(wait_before)
        procs = [self.writer(path, request) for path, request in
                 5 * [(OPERATION, "ResyncReplica wait_for_copy_state=Synchronized timeout=60"),
                      (WAIT, "Synchronized timeout=60")]]
        before = os.stat(self.at(WAIT)).st_ino
        began = time.monotonic()
        for folder, folders, files in os.walk(self.path):
            for name in folders + files:
                os.lstat(os.path.join(folder, name))
        self.assertEqual(self.m.read("relationships/db/copy_state"), "UnSynchronized")
        self.refused(errno.EINVAL, os.write, opened_before, b"Nonsense\n")
        self.refused(errno.EINVAL, os.write, wait_before, b"Nonsense\n")
        self.m.write(OPERATION, "Suspend wait_for_copy_state=Suspended timeout=30")
        os.mkdir(self.at("elements/new"))
        self.assertLess(time.monotonic() - began, 10 * SLOWER)
        self.assertEqual(os.stat(self.at(WAIT)).st_ino, before)
        self.faster()
        self.m.write(OPERATION, "Resume")
        for proc in procs:
            self.assertIn(proc.stdout.readline(), ("ok\n", "error 5\n", "error 16\n"))

    def test_url_waits(self):
        """A url that is being connected holds up nobody either."""
        os.mkdir(self.at("elements/slow"))
        proc = subprocess.Popen([sys.executable, "-c", WRITER, self.at("elements/slow/url"),
                                 "iscsi://192.0.2.1:9/iqn.2026-11.org.example:none/1"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.end, proc)
        proc.stdout.readline()
        began = time.monotonic()
        self.m.read("elements/slow/state")
        os.listdir(self.at("elements/slow"))
        self.m.read("status.json")
        self.assertLess(time.monotonic() - began, 5 * SLOWER)

    # interrupts

    def test_interrupt(self):
        fd = self.write_fd(WAIT)
        self.interrupted_write(fd, b"Synchronized timeout=60")
        self.assertEqual(self.m.read(self.job + "/job_state"), "Running")

    def test_killed(self):
        """A process that waits can be killed at once."""
        proc = self.writer(WAIT, "Synchronized timeout=600")
        began = time.monotonic()
        proc.kill()
        self.assertEqual(proc.wait(LIMIT), -signal.SIGKILL)
        self.assertLess(time.monotonic() - began, 5 * SLOWER)
        self.assertEqual(self.m.read(self.job + "/job_state"), "Running")

    def test_rejoin(self):
        fd = self.write_fd(OPERATION)
        request = b"ResyncReplica wait_for_copy_state=Synchronized timeout=60\n"
        self.m.write(OPERATION, "Suspend wait_for_copy_state=Suspended timeout=30")
        request = b"Resume wait_for_copy_state=Synchronized timeout=60\n"
        self.interrupted_write(fd, request)
        self.m.wait_for(lambda: self.m.read("relationships/db/copy_state") != "Suspended", LIMIT, "the resumed copy")
        self.interrupted_write(fd, request)
        timer = threading.Timer(0.2, self.faster)
        timer.start()
        self.assertEqual(os.write(fd, request), len(request))
        timer.join()
        self.assertEqual(pairs(self.read_all(fd))["return_value"], "0")
        self.assertEqual(self.m.read("relationships/db/copy_state"), "Synchronized")

    def test_outcome_once(self):
        """What ended while nobody waited is told once to who asks the same again; then it is a new request."""
        fd = self.write_fd(OPERATION)
        self.m.write(OPERATION, "Suspend wait_for_copy_state=Suspended timeout=30")
        request = b"Resume wait_for_copy_state=Synchronized timeout=60\n"
        self.interrupted_write(fd, request)
        self.faster()
        self.m.wait_for(lambda: self.m.read("relationships/db/copy_state") == "Synchronized", LIMIT, "Synchronized")
        self.m.wait_for(lambda: b"return_value=0" in os.read(fd, 4096), LIMIT, "the reply")
        self.assertEqual(os.write(fd, request), len(request))
        with self.assertRaises(OSError) as caught:
            os.write(fd, request)
        self.assertEqual(caught.exception.errno, errno.EBUSY)
        self.assertEqual(pairs(self.read_all(fd))["return_value"], "32768")

    def test_different_bytes(self):
        fd = self.write_fd(WAIT)
        self.interrupted_write(fd, b"Synchronized timeout=60")
        status = self.refused(errno.EBUSY, os.write, fd, b"Synchronized timeout=61")
        self.assertEqual(status["return_value"], "4099")
        self.faster()
        self.assertEqual(os.write(fd, b"Synchronized timeout=60"), 23)
        os.write(fd, b"Synchronized timeout=61")

    def test_python_resends(self):
        """Python writes again after a handled signal (PEP 475), without knowing of any of this."""
        seen = []
        old = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        timer = threading.Timer(0.7, self.faster)
        timer.start()
        try:
            self.assertEqual(self.m.call(WAIT, "Synchronized timeout=60")["return_value"], "0")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
            timer.join()
        self.assertGreater(len(seen), 2)

    def test_storm(self):
        """Signals without end against answers that come at once: every write has an outcome."""
        seen = []
        old = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        fd = self.write_fd("service/get_replication_relationships")
        try:
            for _ in range(1000):
                self.assertEqual(os.write(fd, b"all=1\n"), 6)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        self.assertIn("return_value=0", self.read_all(fd))

    def test_close_gives_up(self):
        """Closing the file gives up the wait and nothing else."""
        for _ in range(20):
            fd = os.open(self.at(WAIT), os.O_RDWR)
            self.interrupted_write(fd, b"Synchronized timeout=600", 0.02)
            os.close(fd)
        self.assertEqual(self.m.read(self.job + "/job_state"), "Running")

    # the end

    def test_stop(self):
        """Who waits when the daemon ends gets an error, and the daemon does end."""
        procs = [self.writer(WAIT, "Synchronized timeout=600") for _ in range(3)]
        began = time.monotonic()
        self.m.stop()
        self.assertLess(time.monotonic() - began, 15 * SLOWER)
        for proc in procs:
            self.assertRegex(proc.stdout.readline(), r"^error 5\n$")
        self.m.start()

    def test_stop_with_rmdir_in_flight(self):
        """The kernel holds a folder's lock while a request for it is out: ending must not wait for that."""
        stop = threading.Event()

        def churn(number):
            while not stop.is_set():
                try:
                    os.mkdir(self.at("elements/churn%d" % number))
                    os.rmdir(self.at("elements/churn%d" % number))
                except OSError:
                    if stop.is_set():
                        return

        threads = [threading.Thread(target=churn, args=(i,)) for i in range(3)]
        for t in threads:
            t.start()
        self.m.wait_for(lambda: int(self.m.read("service/generation")) >= 0, LIMIT)
        stop_at = time.monotonic()
        try:
            self.m.stop()
        finally:
            stop.set()
            for t in threads:
                t.join()
        self.assertLess(time.monotonic() - stop_at, 15 * SLOWER)
        self.m.start()


if __name__ == "__main__":
    unittest.main()
