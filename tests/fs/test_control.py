# SPDX-License-Identifier: Apache-2.0
"""Rules 1 to 3: one write is one request, the errno and its reason, the answer on the same descriptor."""

import errno
import os
import subprocess
import sys
import threading
import unittest

from fsbase import FsCase, MIB, pairs

QUERY = "service/get_replication_relationships"


class Requests(FsCase):
    def write(self, path, data, flags=os.O_WRONLY):
        fd = os.open(self.at(path), flags)
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)

    def test_whole_line(self):
        self.assertEqual(self.write(QUERY, b"all=1\n"), 6)
        self.assertEqual(self.write(QUERY, b"all=1"), 5)
        self.assertEqual(self.write(QUERY, b'  all="1"  \n'), 12)

    def test_bad_lines(self):
        for data in (b"\n", b"   \n", b"#all=1\n", b"# usage\n", b"all=1\nall=1\n", b"\nall=1", b"all=1\n\n", b"nonsense\n",
                     b"all=1 all=1\n", b"unknown=1\n", b'all="1\n', b"all=\x001\n", b"all=2\n", b"\xff\xfe=\xfd\n"):
            with self.subTest(data=data):
                status = self.refused(errno.EINVAL, self.write, QUERY, data)
                self.assertEqual(status["return_value"], "5")
                self.assertEqual(status["path"], QUERY)
                self.assertEqual(status["operation"], "write")

    def test_too_long(self):
        for size in (65537, 100000, MIB, MIB + 4096, 5 * MIB):
            with self.subTest(size=size):
                self.refused(errno.E2BIG, self.write, QUERY, b"all=1 " + b" " * (size - 6))
        self.assertEqual(self.write(QUERY, b"all=1 " + b" " * (65536 - 6)), 65536)
        self.element("a")
        self.refused(errno.E2BIG, self.write, "elements/a/username", b"x" * 65537)

    def test_offsets_and_truncation(self):
        self.element("a")
        for flags in (os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_TRUNC, os.O_WRONLY | os.O_CREAT):
            self.write("elements/a/username", b"one\n", flags)
            self.assertEqual(self.m.read("elements/a/username"), "one")
        fd = self.write_fd("elements/a/username")
        for offset in (0, 7, 1 << 40):
            self.assertEqual(os.pwrite(fd, b"at %d\n" % offset, offset), len("at %d\n" % offset))
            self.assertEqual(self.m.read("elements/a/username"), "at %d" % offset)
        os.ftruncate(fd, 0)
        os.truncate(self.at("elements/a/username"), 0)
        self.assertEqual(self.m.read("elements/a/username"), "at %d" % (1 << 40))
        self.refused(errno.EINVAL, os.ftruncate, fd, 5)
        self.refused(errno.EINVAL, os.truncate, self.at("service/attach_replica"), 1)

    def test_attribute(self):
        self.element("a")
        self.write("elements/a/username", b" spaces \"and\" quotes \n")
        self.assertEqual(self.m.read("elements/a/username"), ' spaces "and" quotes ')
        self.refused(errno.EINVAL, self.write, "elements/a/username", b"two\nlines\n")
        self.refused(errno.EINVAL, self.write, "elements/a/username", b"two\n\n")
        self.refused(errno.EINVAL, self.write, "elements/a/username", b"ze\0ro")
        self.assertEqual(self.m.read("elements/a/username"), ' spaces "and" quotes ')
        self.write("elements/a/username", b"\n")
        self.assertEqual(self.m.read("elements/a/username"), "")
        with open(self.at("elements/a/username"), "rb") as f:
            self.assertEqual(f.read(), b"\n")

    def test_shell(self):
        self.element("a")
        got = self.run_in("bash", "-c", "echo fred > elements/a/username && cat elements/a/username && "
                          "printf 'x\\ny\\n' > elements/a/username; cat elements/a/username last_status; echo bad > " + QUERY)
        self.assertIn("fred", got.stdout)
        self.assertIn("Invalid argument", got.stderr)

    def test_credentials_in_url(self):
        self.element("a")
        status = self.refused(errno.EINVAL, self.write, "elements/a/url", b"iscsi://user%secret1@127.0.0.1:9/iqn.x:y/1\n")
        self.assertNotIn("secret1", str(status))
        self.assertNotIn("secret1", self.m.read("events"))


class Replies(FsCase):
    def test_usage(self):
        for name in ("service/attach_replica", QUERY):
            lines = self.m.read(name).splitlines()
            self.assertTrue(all(line.startswith("#") for line in lines), name)
            self.assertIn("# Example:", lines)

    def test_reply(self):
        self.two_elements()
        reply = self.attach()
        self.assertEqual(reply["return_value"], "0")
        self.assertEqual(reply["synchronization"], "relationships/db")
        self.assertRegex(reply["job"], r"^jobs/\d+$")

    def test_byte_by_byte(self):
        fd = self.write_fd(QUERY)
        usage = self.read_all(fd, 1)
        self.assertIn("# Example", usage)
        for _ in range(3):
            os.write(fd, b"all=1\n")
            self.assertEqual(self.read_all(fd, 1), "return_value=0\n")
            self.assertEqual(os.read(fd, 10), b"")
        os.write(fd, b"all=1\n")
        self.assertEqual(os.pread(fd, 6, 0), b"return")
        self.assertEqual(os.pread(fd, 6, 100), b"_value")

    def test_python_buffered(self):
        with open(self.at(QUERY), "r+b", buffering=0) as f:
            f.write(b"all=1\n")
            self.assertEqual(f.read(), b"return_value=0\n")

    def test_reply_after_failure(self):
        fd = self.write_fd(QUERY)
        with self.assertRaises(OSError):
            os.write(fd, b"sync_type=Nonsense\n")
        reply = pairs(self.read_all(fd))
        self.assertEqual(reply["return_value"], "5")
        self.assertIn("Nonsense", reply["message"])
        os.write(fd, b"all=1\n")
        self.assertEqual(self.read_all(fd), "return_value=0\n")

    def test_model_failure(self):
        fd = self.write_fd("service/attach_replica")
        with self.assertRaises(OSError) as caught:
            os.write(fd, b"source=elements/x target=elements/y copy_type=Sync\n")
        self.assertEqual(caught.exception.errno, errno.ENOENT)
        reply = pairs(self.read_all(fd))
        self.assertEqual(reply["return_value"], "8")
        self.assertIn("elements/x", reply["message"])

    def test_many_callers(self):
        """Everybody gets the answer to what he himself asked."""
        failures = []

        def ask(number):
            fd = os.open(self.at(QUERY), os.O_RDWR)
            try:
                for _ in range(50):
                    bad = b"x%d=1\n" % number
                    try:
                        os.write(fd, bad)
                        failures.append("no error")
                    except OSError:
                        pass
                    text = self.read_all(fd, 7)
                    if "x%d" % number not in text:
                        failures.append(text)
            finally:
                os.close(fd)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(failures, [])

    def test_operation(self):
        self.two_elements()
        self.attach()
        legal = self.m.read("relationships/db/operation").split("\n")
        self.assertIn("Suspend", [line.split(" ")[0] for line in legal])
        fd = self.write_fd("relationships/db/operation")
        with self.assertRaises(OSError):
            os.write(fd, b"Resume\n")
        self.assertEqual(pairs(self.read_all(fd))["return_value"], "32768")


ASK = """
import os, sys
os.setsid()
try:
    fd = os.open(sys.argv[1], os.O_WRONLY)
    os.write(fd, sys.argv[2].encode())
except OSError:
    pass
print(open(sys.argv[3]).read())
"""


class LastStatus(FsCase):
    def in_session(self, request):
        got = subprocess.run([sys.executable, "-c", ASK, self.at(QUERY), request, self.at("last_status")],
                             capture_output=True, text=True, timeout=60, check=True)
        return pairs(got.stdout)

    def test_success_and_failure(self):
        self.m.write(QUERY, "all=1")
        status = self.last_status()
        self.assertEqual((status["errno"], status["return_value"], status["request"]), ("0", "0", "all=1"))
        self.assertRegex(status["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.refused(errno.EINVAL, self.m.write, QUERY, "all=nonsense", words=["nonsense"])

    def test_sessions(self):
        """Each session reads its own, whatever the others did meanwhile."""
        self.m.write(QUERY, "all=1")
        other = self.in_session("mine=1")
        self.assertIn("mine", other["message"])
        self.assertEqual(self.last_status()["errno"], "0")

    def test_many_sessions(self):
        """Bounded; the user's own latest stays."""
        status = self.in_session("first=1")
        self.assertIn("first", status["message"])
        self.m.write(QUERY, "all=1")
        self.assertEqual(self.last_status()["request"], "all=1")

    def test_masked(self):
        self.element("a")
        self.refused(errno.EINVAL, self.m.write, "elements/a/set", "password=hunter2 bogus=1")
        self.assertNotIn("hunter2", self.m.read("last_status"))
        self.assertIn("password=***", self.last_status()["request"])


class Names(FsCase):
    def test_mkdir(self):
        os.mkdir(self.at("elements/ok.name-1_x"))
        self.assertEqual(self.last_status()["operation"], "mkdir")
        os.mkdir(self.at("elements/" + "n" * 200))
        self.refused(errno.ENAMETOOLONG, os.mkdir, self.at("elements/" + "n" * 201))
        self.refused(errno.ENAMETOOLONG, os.mkdir, self.at("elements/" + "n" * 300))
        for name in (b"-dash", b".dot", b"with space", b"semi;colon", b"new\nline", b"\xff\xfe", "ü".encode(), b"a=b", b'"'):
            with self.subTest(name=name):
                self.refused(errno.EINVAL, os.mkdir, os.path.join(self.at("elements").encode(), name))
        with self.assertRaises(FileExistsError):
            os.mkdir(self.at("elements/ok.name-1_x"))
        self.assertEqual(len(os.listdir(self.at("elements"))), 2)

    def test_long_lookup(self):
        self.assertFalse(os.path.exists(self.at("elements/" + "n" * 300)))
        self.assertFalse(os.path.exists(os.path.join(self.at("elements").encode(), b"\xff\xfe")))

    def test_slash(self):
        self.two_elements()
        self.refused(errno.EINVAL, self.attach, "name=a/b")
        self.refused(errno.EINVAL, self.m.call, "service/attach_replica",
                     "source=elements/a/url target=elements/b copy_type=Sync")
        self.refused(errno.EINVAL, self.m.call, "service/attach_replica", 'source=elements/a target=elements/b '
                     'copy_type=Sync name="../x"')
        reply = self.m.call("service/attach_replica", "source=%s target=b copy_type=Sync" % self.at("elements/a"))
        self.assertEqual(reply["synchronization"], "relationships/a-b")

    def test_fixed_parts(self):
        self.two_elements()
        job = self.attach()["job"]
        at = self.at
        for number, action, args in (
                (errno.EPERM, os.mkdir, (at("new"),)), (errno.EPERM, os.mkdir, (at("jobs/7"),)),
                (errno.EPERM, os.mkdir, (at("relationships/x"),)), (errno.EPERM, os.mkdir, (at("elements/a/x"),)),
                (errno.EPERM, os.rmdir, (at("service"),)), (errno.EPERM, os.rmdir, (at("elements"),)),
                (errno.EPERM, os.rmdir, (at("relationships/db"),)), (errno.EPERM, os.rmdir, (at("elements/a/relationships"),)),
                (errno.EBUSY, os.rmdir, (at("elements/a"),)), (errno.EPERM, os.unlink, (at("README"),)),
                (errno.EPERM, os.unlink, (at("elements/a/url"),)), (errno.EPERM, os.unlink, (at("relationships/db/source"),)),
                (errno.EPERM, os.symlink, ("x", at("elements/l"))), (errno.EPERM, os.link, (at("README"), at("elements/l"))),
                (errno.EPERM, os.mkfifo, (at("elements/fifo"),)), (errno.EPERM, os.rename, (at("README"), at("R"))),
                (errno.EPERM, os.rename, (at("elements/a"), at("elements/c"))),
                (errno.EPERM, os.chmod, (at("README"), 0o777)), (errno.EPERM, os.chmod, (at("elements"), 0o700)),
                (errno.EPERM, os.chown, (at("elements/a/url"), 1, 1))):
            with self.subTest(action=action.__name__, args=args):
                self.refused(number, action, *args)
        os.chmod(at("README"), 0o444)
        os.chmod(at("elements/a/url"), 0o644)
        os.chown(at("elements/a/url"), os.geteuid(), os.getegid())
        os.utime(at("elements/a/url"), (1, 1))
        os.utime(at("elements"))
        os.rmdir(at(job))
        self.assertEqual(self.last_status()["errno"], "0")
        with self.assertRaises(FileExistsError):
            os.open(at("README"), os.O_CREAT | os.O_EXCL | os.O_WRONLY)

    def test_state(self):
        """An operation that is not legal now: EBUSY, 32768, and the message lists what is."""
        self.two_elements()
        self.attach()
        status = self.refused(errno.EBUSY, self.m.write, "relationships/db/operation", "Resume\n")
        self.assertEqual(status["return_value"], "32768")
        self.assertIn("Suspend", status["message"])


if __name__ == "__main__":
    unittest.main()
