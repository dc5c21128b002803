# SPDX-License-Identifier: Apache-2.0
"""Rule 7: temporary files, and putting them in place as Ansible, Puppet, cp and editors do."""

import ctypes
import errno
import os
import stat
import subprocess
import tempfile
import unittest

from fsbase import FsCase, MIB

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2


def renameat2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), new)


class Temporary(FsCase):
    def temp(self, path, data=b"", flags=os.O_CREAT | os.O_EXCL | os.O_RDWR):
        fd = os.open(self.at(path), flags, 0o644)
        os.write(fd, data)
        return fd

    def test_everywhere(self):
        self.two_elements()
        self.attach()
        for folder in (".", "service", "elements", "elements/a", "elements/a/relationships", "relationships",
                       "relationships/db", "relationships/db/settings", "jobs", "jobs/1"):
            path = folder + "/.tmp-x~"
            os.close(self.temp(path, b"content"))
            self.assertIn(".tmp-x~", os.listdir(self.at(folder)))
            st = os.stat(self.at(path))
            self.assertEqual((stat.S_IMODE(st.st_mode), st.st_size, st.st_uid), (0o600, 7, os.geteuid()))
            self.assertEqual(self.m.read(path), "content")
            os.unlink(self.at(path))
            self.assertNotIn(".tmp-x~", os.listdir(self.at(folder)))

    def test_file_work(self):
        fd = self.temp(".t", b"hello")
        os.pwrite(fd, b"J", 0)
        self.assertEqual(os.pread(fd, 10, 0), b"Jello")
        os.ftruncate(fd, 2)
        os.pwrite(fd, b"x", 4)
        self.assertEqual(os.pread(fd, 10, 0), b"Je\0\0x")
        os.fsync(fd)
        os.fchmod(fd, 0o640)
        os.fchown(fd, 12, 34)
        os.utime(self.at(".t"), (1000, 2000))
        st = os.fstat(fd)
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_atime, st.st_mtime, st.st_size),
                         (0o640, 12, 34, 1000, 2000, 5))
        os.close(fd)
        with open(self.at(".t"), "ab") as f:
            f.write(b"more")
        self.assertEqual(os.stat(self.at(".t")).st_size, 9)
        os.close(os.open(self.at(".t"), os.O_WRONLY | os.O_TRUNC))
        self.assertEqual(os.stat(self.at(".t")).st_size, 0)

    def test_limits(self):
        fd = self.temp(".t")
        self.assertEqual(os.write(fd, b"x" * 65536), 65536)
        self.refused(errno.EFBIG, os.write, fd, b"x", words=["65536"])
        self.refused(errno.EFBIG, os.ftruncate, fd, 65537)
        self.refused(errno.EFBIG, os.pwrite, fd, b"x" * 70000, 0)
        os.close(fd)
        made = 1
        try:
            while made < 1000:
                os.close(self.temp(".t%d" % made))
                made += 1
        except OSError as err:
            self.assertEqual(err.errno, errno.ENOSPC)
        self.assertEqual(made, 256)
        self.assertEqual(self.last_status()["error"], "ENOSPC")
        for i in range(1, made):
            os.unlink(self.at(".t%d" % i))

    def test_unlinked_while_open(self):
        fd = self.temp(".t", b"still here")
        os.unlink(self.at(".t"))
        self.assertEqual(os.pread(fd, 100, 0), b"still here")
        self.assertEqual(os.fstat(fd).st_nlink, 0)
        os.close(fd)

    def test_names(self):
        self.element("a")
        with self.assertRaises(FileExistsError):
            self.temp("README")
        self.refused(errno.ENAMETOOLONG, self.temp, "." + "n" * 255)
        os.close(self.temp("." + "n" * 254))
        name = os.path.join(self.path.encode(), b".\xff\xfe\xfd")
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
        self.assertIn(b".\xff\xfe\xfd", os.listdir(self.path.encode()))
        os.unlink(name)

    def test_mistyped(self):
        """A request for a file that is not there must not vanish into a temporary one."""
        self.two_elements()
        self.attach()
        plain = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        for path, message in (
                ("relationships/db/operaton", "relationships/db has no file operaton; did you mean operation?"),
                ("relationships/db/OPERATION", "did you mean operation?"),
                ("relationships/db/settings/rate_limt", "relationships/db/settings has no file rate_limt; did you mean "
                 "rate_limit?"),
                ("elements/a/pasword", "did you mean password?"), ("service/atach_replca", "did you mean attach_replica?"),
                ("elements/a/" + "n" * 100, "ls elements/a lists its files"),
                ("relationships/db/nonsense", "relationships/db has no file nonsense; ls relationships/db lists its files"),
                ("statsu", "the top of the mount has no file statsu; did you mean status?"),
                ("elements/new", "elements/new does not exist; make it with mkdir elements/new"),
                ("elements/a/relationships/x", "elements/a/relationships/x does not exist"),
                ("relationships/x", "relationships/x does not exist; write a request to service/attach_replica instead"),
                ("jobs/77", "jobs/77 does not exist")):
            with self.subTest(path=path):
                status = self.refused(errno.EPERM, self.temp, path, b"", plain, words=[message])
                self.assertEqual((status["operation"], status["path"]), ("create", path))
                self.assertFalse(os.path.lexists(self.at(path)))
        self.refused(errno.EPERM, self.temp, os.fsdecode(b"elements/a/\xff\xfe"), b"", plain, words=["\\xff\\xfe"])
        for path in ("README2", "service/x", "elements/b2", "relationships/x", "jobs/x", "statsu"):
            self.refused(errno.EPERM, self.temp, path)  # O_EXCL is not enough here
        for path in ("service/x.tmp", "elements/x~", "jobs/x.part"):
            self.refused(errno.EPERM, self.temp, path, b"", plain)  # nor the looks
            os.close(self.temp(path))
        for path in ("elements/a/x", "relationships/db/sedJkLmNo", "relationships/db/settings/anything"):
            os.close(self.temp(path))
        for name in (".x", "x~", "x.tmp", "x.new", "x.bak", "x.swp", "x.part", "4913", "49136"):
            os.close(self.temp("relationships/db/" + name, b"", plain))

    def test_mistyped_in_shell(self):
        self.two_elements()
        self.attach()
        got = self.run_in("bash", "-c", "echo Suspend > relationships/db/operaton || cat last_status")
        self.assertIn("Operation not permitted", got.stderr)
        self.assertIn("did you mean operation?", got.stdout)
        self.refused(errno.EPERM, os.mknod, self.at("elements/new"))

    def test_mistyped_rename(self):
        self.two_elements()
        self.attach()
        os.close(self.temp("relationships/db/.new", b"Suspend\n"))
        self.refused(errno.EPERM, os.rename, self.at("relationships/db/.new"), self.at("relationships/db/operaton"),
                     words=["did you mean operation?"])
        self.refused(errno.EPERM, os.rename, self.at("relationships/db/.new"), self.at("elements/c"),
                     words=["mkdir elements/c"])
        self.assertEqual(self.m.read("relationships/db/.new"), "Suspend")

    # renames

    def test_rename_temp(self):
        os.close(self.temp(".t", b"1"))
        os.close(self.temp(".u", b"2"))
        with self.assertRaises(FileExistsError):
            renameat2(self.at(".t"), self.at(".u"), NOREPLACE)
        renameat2(self.at(".t"), self.at(".v"), NOREPLACE)
        os.rename(self.at(".v"), self.at(".u"))
        self.assertEqual(self.m.read(".u"), "1")
        os.rename(self.at(".u"), self.at("elements/.u"))
        self.assertEqual(self.m.read("elements/.u"), "1")
        self.assertFalse(os.path.exists(self.at(".u")))

    def test_put_in_place(self):
        self.element("a")
        os.close(self.temp("elements/a/.new", b"fred\n"))
        os.rename(self.at("elements/a/.new"), self.at("elements/a/username"))
        self.assertEqual(self.m.read("elements/a/username"), "fred")
        self.assertEqual(self.last_status()["operation"], "rename")
        self.assertFalse(os.path.exists(self.at("elements/a/.new")))
        os.close(self.temp("elements/a/.new", b""))
        os.rename(self.at("elements/a/.new"), self.at("elements/a/username"))
        self.assertEqual(self.m.read("elements/a/username"), "")

    def test_refused_content(self):
        """The errno is that of the write, the reason too, and the file is still there."""
        self.element("a")
        os.close(self.temp("elements/a/.new", b"two\nlines\n"))
        self.refused(errno.EINVAL, os.rename, self.at("elements/a/.new"), self.at("elements/a/username"))
        self.assertEqual(self.m.read("elements/a/.new"), "two\nlines")
        self.assertEqual(self.m.read("elements/a/username"), "")
        os.close(self.temp("elements/a/.url", b"file:/no/such/volume\n"))
        with self.assertRaises(OSError):
            os.rename(self.at("elements/a/.url"), self.at("elements/a/url"))
        self.assertIn("/no/such/volume", self.last_status()["message"])

    def test_request_in_place(self):
        self.two_elements()
        os.close(self.temp(".req", b"source=a target=b copy_type=Sync name=db wait_for_copy_state=Synchronized timeout=60\n"))
        os.rename(self.at(".req"), self.at("service/attach_replica"))
        self.assertEqual(self.m.read("relationships/db/copy_state"), "Synchronized")

    def test_refused_renames(self):
        self.element("a")
        os.close(self.temp(".t", b"x"))
        at = self.at
        for number, old, new, flags in ((errno.EPERM, ".t", "README", 0), (errno.EPERM, ".t", "elements/a/state", 0),
                                        (errno.EEXIST, ".t", "elements/a/url", NOREPLACE),
                                        (errno.EINVAL, ".t", "elements/a/url", EXCHANGE),
                                        (errno.EPERM, "README", ".t", 0), (errno.EPERM, "elements/a/url", "elements/a/u", 0)):
            with self.subTest(old=old, new=new):
                if number == errno.EEXIST:  # the kernel itself says so
                    with self.assertRaises(FileExistsError):
                        renameat2(at(old), at(new), flags)
                else:
                    self.refused(number, renameat2, at(old), at(new), flags)
        for folder in ("elements", "elements/a"):
            with self.assertRaises(OSError):
                os.rename(at(".t"), at(folder))
        self.assertEqual(self.m.read(".t"), "x")

    def test_open_while_put_in_place(self):
        self.element("a")
        fd = self.temp("elements/a/.new", b"fred\n")
        os.rename(self.at("elements/a/.new"), self.at("elements/a/username"))
        self.assertEqual(os.pread(fd, 10, 0), b"fred\n")
        os.close(fd)
        self.assertEqual(self.m.read("elements/a/username"), "fred")
        self.assertNotEqual(stat.S_IMODE(os.stat(self.at("elements/a/username")).st_mode), 0o600)

    # programs

    def test_ansible(self):
        """What its atomic_move does: mkstemp beside the file, write, copy owner and mode of what is there, rename."""
        self.element("a")
        dest = self.at("elements/a/username")
        fd, name = tempfile.mkstemp(prefix=".ansible_tmp", suffix="username", dir=os.path.dirname(dest))
        os.write(fd, b"from ansible\n")
        os.close(fd)
        st = os.stat(dest)
        os.chmod(name, stat.S_IMODE(st.st_mode))
        os.chown(name, st.st_uid, st.st_gid)
        os.utime(name, (st.st_atime, st.st_mtime))
        os.rename(name, dest)
        os.chmod(dest, 0o644)
        os.chown(dest, st.st_uid, st.st_gid)
        self.assertEqual(self.m.read("elements/a/username"), "from ansible")

    def test_tools(self):
        self.element("a")
        source = os.path.join(self.tmp, "source")
        with open(source, "w", encoding="ascii") as f:
            f.write("by cp\n")
        os.chmod(source, 0o644)
        dest = self.at("elements/a/username")
        for command, text in ((["cp", source, dest], "by cp"), (["cp", "-p", source, dest], "by cp"),
                              (["bash", "-c", "echo by tee | tee '%s'" % dest], "by tee"),
                              (["bash", "-c", "echo by cat | cat > '%s'" % dest], "by cat"),
                              (["dd", "status=none", "if=" + source, "of=" + dest], "by cp"),
                              (["sed", "-i", "s/by/made by/", dest], "made by cp"),
                              (["truncate", "-s", "0", dest], "made by cp")):
            got = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual((got.returncode, got.stderr), (0, ""), command)
            self.assertEqual(self.m.read("elements/a/username"), text, command)
        got = subprocess.run(["install", "-m", "644", source, self.at("elements/a/.installed")], capture_output=True, text=True,
                             timeout=60, check=False)
        self.assertEqual(got.returncode, 0, got.stderr)
        got = subprocess.run(["mv", self.at("elements/a/.installed"), dest], capture_output=True, text=True, timeout=60,
                             check=False)
        self.assertEqual((got.returncode, got.stderr), (0, ""))
        self.assertEqual(self.m.read("elements/a/username"), "by cp")


if __name__ == "__main__":
    unittest.main()
