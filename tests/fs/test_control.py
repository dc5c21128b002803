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
        for offset in (0, 7, 1 << 40):
            fd = self.write_fd("elements/a/username")
            self.assertEqual(os.pwrite(fd, b"at %d\n" % offset, offset), len("at %d\n" % offset))
            self.assertEqual(self.m.read("elements/a/username"), "at %d" % offset)
        os.ftruncate(fd, 0)
        os.truncate(self.at("elements/a/username"), 0)
        self.assertEqual(self.m.read("elements/a/username"), "at %d" % (1 << 40))
        self.refused(errno.EINVAL, os.ftruncate, fd, 5)
        os.ftruncate(fd, len("at %d\n" % (1 << 40)))  # to what was written, as rsync --inplace does
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

    def test_one_value_per_open(self):
        """bash writes line by line: an empty line after the value is no request to reset it, another value none at all."""
        self.element("a")
        for command, value in (("printf 'one\\n\\n'", "one"), ("{ echo two; echo; echo; }", "two"),
                               ("{ echo three; echo three; }", "three"), ("echo", "")):
            got = self.run_in("bash", "-c", command + " > elements/a/username")
            self.assertEqual((got.returncode, got.stderr), (0, ""), command)
            self.assertEqual(self.m.read("elements/a/username"), value)
        self.write("elements/a/username", b"before\n")
        got = self.run_in("bash", "-c", "printf 'x\\0y\\n\\n' > elements/a/username")  # refused: the empty line is not taken
        self.assertNotEqual(got.returncode, 0)
        self.assertEqual(self.m.read("elements/a/username"), "before")
        fd = self.write_fd("elements/a/password")
        os.write(fd, b"hunter2hunter2\n")
        self.assertEqual(os.write(fd, b"\n"), 1)
        self.refused(errno.EINVAL, os.write, fd, b"other2other2\n", words=["one value per open; the value was already written"])
        self.assertNotIn("other2", self.m.read("last_status"))
        os.write(fd, b"hunter2hunter2")
        self.assertEqual(self.last_status()["errno"], "0")
        fd = self.write_fd(QUERY)
        os.write(fd, b"all=1\n")
        self.refused(errno.EINVAL, os.write, fd, b"\n")  # methods are asked as often as one likes

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
        self.assertEqual(os.pread(fd, 6, 6), b"_value")
        self.assertEqual(os.pread(fd, 6, 0), b"return")
        self.assertEqual(os.pread(fd, 6, 100), b"")

    def test_reply_offsets(self):
        """Wherever the first read stands the reply begins; from there on offsets count."""
        fd = self.write_fd(QUERY)
        os.write(fd, b"all=1\n")
        for _ in range(2):
            self.assertEqual(os.lseek(fd, 0, os.SEEK_SET), 0)
            self.assertEqual(self.read_all(fd, 4), "return_value=0\n")
        for start in (7, 0, 1 << 33):
            os.write(fd, b"all=1\n")
            self.assertEqual(os.pread(fd, 6, start), b"return")
            self.assertEqual(os.pread(fd, 100, start + 13), b"0\n")
            self.assertEqual(os.pread(fd, 100, start + 6), b"_value=0\n")
            self.assertEqual(os.pread(fd, 6, start), b"return")
        os.write(fd, b"all=1\n")
        os.read(fd, 10)
        os.lseek(fd, -4, os.SEEK_CUR)
        self.assertEqual(self.read_all(fd), "_value=0\n")
        os.write(fd, b"all=1\n")  # without having sought anywhere
        self.assertEqual(self.read_all(fd), "return_value=0\n")

    def test_shell_reads(self):
        """bash reads ahead and seeks back."""
        self.two_elements()
        got = self.run_in("bash", "-c", "exec 3<>service/attach_replica; echo 'source=a target=b copy_type=Sync name=db "
                          "wait_for_copy_state=Synchronized timeout=60' >&3; "
                          "while IFS='=' read -r k v <&3; do echo \"$k: $v\"; done; "
                          "echo 'source=nowhere target=b copy_type=Sync' >&3; while read -r line <&3; do echo \"$line\"; done; "
                          "exec 4<>" + QUERY + "; for i in 1 2 3; do echo all=1 >&4; read -r one <&4; read -r two <&4; "
                          "echo \"$one $two\"; done; echo all=1 >&4; cat <&4")
        lines = got.stdout.splitlines()
        self.assertEqual(lines[0], "return_value: 0", got)
        self.assertIn("synchronization: relationships/db", lines)
        self.assertTrue(any(line.startswith("job: jobs/") for line in lines), got)
        self.assertIn("return_value=8", lines)
        self.assertTrue(any(line.startswith("message=") and "nowhere" in line for line in lines), got)
        self.assertEqual(lines[-5:], 3 * ["return_value=0 synchronizations=relationships/db"] +
                         ["return_value=0", "synchronizations=relationships/db"])

    def test_tools_byte_by_byte(self):
        got = self.run_in("bash", "-c", "exec 3<>" + QUERY + "; for tool in 'dd bs=1 status=none' 'od -An -c -w1' 'head -c 100' "
                          "'tail -c 100' 'cat'; do echo all=1 >&3; $tool <&3 | tr -d ' \n'; echo; done")
        self.assertEqual(got.stdout.split(), ["return_value=0", "return_value=0\\n"] + 3 * ["return_value=0"], got)

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
        """A request that may hold a secret is not repeated where it was not understood, nor are its words."""
        self.element("a")
        hidden = "(not shown: it may hold a secret)"
        for request in ("password=hunter2 bogus=1", "Password=hunter2", "PASSWORD=hunter2", "pasword=hunter2", "password hunter2",
                        "hunter2", "password= hunter2==", "password= hunter2=x", "password: hunter2", "password =hunter2",
                        "password=x hunter2", 'password="hunter2', "hunter2=\"x\"y", "password='it s' hunter2' x=1",
                        "it's'hunter2'=1", "x'hunter2 hunter2' hunter2=1", "password=a password=hunter2",
                        "hunter2" * 30 + "=1", "hunter2" * 30):
            with self.subTest(request=request):
                fd = self.write_fd("elements/a/set")
                status = self.refused(errno.EINVAL, os.write, fd, request.encode())
                self.assertEqual(status["request"], hidden)
                self.assertNotIn("hunter2", self.read_all(fd))
                self.assertNotIn("hunter2", self.m.read("last_status"))
                os.close(fd)
                with open(self.at("elements/a/.set"), "w", encoding="ascii") as f:
                    f.write(request)
                self.refused(errno.EINVAL, os.rename, self.at("elements/a/.set"), self.at("elements/a/set"))
                self.assertNotIn("hunter2", self.m.read("last_status"))
        status = self.refused(errno.EINVAL, self.m.write, "elements/a/set", "Pasword=hunter2", words=["Pasword"])
        status = self.refused(errno.EINVAL, self.m.write, "service/attach_replica", 'x=1 Password="hunter 2" y=2')
        self.assertEqual(status["request"].count("***"), 1)
        self.assertNotIn("hunter", self.m.read("last_status"))
        self.m.write("elements/a/set", "username=u password=hunter2hunter2")
        self.assertIn("password=***", self.last_status()["request"])
        self.assertNotIn("hunter2", self.m.read("events"))


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
