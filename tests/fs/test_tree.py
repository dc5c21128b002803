# SPDX-License-Identifier: Apache-2.0
"""The tree as others walk it: names, modes, inodes, sizes, links; find, grep, cp and tar over it."""

import errno
import os
import stat
import subprocess
import tarfile
import unittest

from fsbase import FsCase, MIB, program

ATTRIBUTE_MODES = (0o444, 0o644, 0o200, 0o600, 0o666)


class Tree(FsCase):
    def all_paths(self):
        found = []
        for folder, folders, files in os.walk(self.path):
            found.extend(os.path.join(folder, name) for name in folders + files)
        return found

    def content(self, path):
        with open(path, "rb") as f:
            return f.read()

    def test_root(self):
        self.assertEqual(sorted(os.listdir(self.path)), ["README", "elements", "events", "jobs", "last_status",
                                                         "relationships", "service", "status", "status.json", "version"])
        version = self.m.read("version")
        self.assertIn("tree=1", version.splitlines())
        self.assertRegex(version, r"(?m)^program=[0-9.]+$")
        readme = self.m.read("README")
        self.assertLessEqual(len(readme.splitlines()), 45)
        for name in os.listdir(self.path) + ["path= and time="]:
            self.assertIn(name, readme)

    def test_modes(self):
        self.two_elements()
        self.attach()
        for path in self.all_paths():
            st = os.lstat(path)
            if stat.S_ISDIR(st.st_mode):
                self.assertEqual(stat.S_IMODE(st.st_mode), 0o755, path)
            elif stat.S_ISREG(st.st_mode):
                self.assertIn(stat.S_IMODE(st.st_mode), ATTRIBUTE_MODES, path)
            self.assertEqual((st.st_uid, st.st_gid), (os.geteuid(), os.getegid()), path)
        for secret in ("password", "target_password"):
            self.assertEqual(stat.S_IMODE(os.stat(self.at("elements/a/" + secret)).st_mode), 0o200)
        self.assertEqual(stat.S_IMODE(os.stat(self.at("service/attach_replica")).st_mode), 0o600)

    def test_inodes(self):
        self.two_elements()
        self.attach()
        inodes = {path: os.lstat(path).st_ino for path in self.all_paths()}
        self.assertEqual(len(set(inodes.values())), len(inodes))
        self.assertEqual(os.stat(self.path).st_ino, 1)
        for folder, _, _ in os.walk(self.path):
            with os.scandir(folder) as entries:
                for entry in entries:
                    self.assertEqual(entry.inode(), inodes[entry.path])
        self.m.stop()
        self.m.start()
        for path, inode in inodes.items():
            self.assertEqual(os.lstat(path).st_ino, inode, path)

    def test_sizes(self):
        """st_size is what a reader gets."""
        self.two_elements()
        self.attach()
        for path in self.all_paths():
            st = os.lstat(path)
            if not stat.S_ISREG(st.st_mode) or not st.st_mode & 0o444 or path.endswith(("uptime", "status.json")):
                continue
            if path.endswith("/status"):
                continue  # has the uptime too
            self.assertEqual(st.st_size, len(self.content(path)), path)
        for _ in range(5):  # once in a second it is rendered anew in between
            size = os.stat(self.at("status.json")).st_size
            if size == len(self.content(self.at("status.json"))):
                break
        else:
            self.fail("status.json has another size than stat says")

    def test_links(self):
        self.two_elements()
        job = self.attach()["job"]
        for link, target in (("relationships/db/source", "../../elements/a"), ("relationships/db/target", "../../elements/b"),
                             ("relationships/db/job", "../../" + job),
                             ("elements/a/relationships/db", "../../../relationships/db"),
                             ("elements/b/relationships/db", "../../../relationships/db"),
                             (job + "/affected_elements/elements/a", "../../../../elements/a"),
                             (job + "/affected_elements/elements/b", "../../../../elements/b"),
                             (job + "/affected_elements/relationships/db", "../../../../relationships/db")):
            self.assertEqual(os.readlink(self.at(link)), target)
            self.assertEqual(os.path.realpath(self.at(link)), os.path.realpath(self.at(target.lstrip("./"))))
            self.assertTrue(os.path.isdir(self.at(link)), link)
        os.rmdir(self.at(job))
        self.assertFalse(os.path.lexists(self.at("relationships/db/job")))
        self.assertNotIn("job", os.listdir(self.at("relationships/db")))
        self.assertEqual(self.m.read("relationships/db/last_job_state"), "Completed")

    def test_gone(self):
        """What was removed is gone at once, also for who had it open or stood in it."""
        self.element("a")
        folder = os.open(self.at("elements/a"), os.O_RDONLY)
        fd = os.open(self.at("elements/a/state"), os.O_RDONLY)
        try:
            first = os.stat("state", dir_fd=folder).st_ino
            os.read(fd, 100)
            os.rmdir(self.at("elements/a"))
            self.assertFalse(os.path.exists(self.at("elements/a")))
            with self.assertRaises(FileNotFoundError):
                os.stat("state", dir_fd=folder)
            with self.assertRaises(FileNotFoundError):
                os.pread(fd, 100, 0)
            os.mkdir(self.at("elements/a"))
            self.assertNotEqual(os.stat(self.at("elements/a/state")).st_ino, first)
        finally:
            os.close(fd)
            os.close(folder)

    def test_removed_by_the_daemon(self):
        """A job that goes by itself takes its cached entries along."""
        self.two_elements()
        job = self.attach()["job"]
        os.listdir(self.at(job))
        os.stat(self.at(job + "/job_state"))
        self.m.write(job + "/time_before_removal", "0")
        self.m.wait_for(lambda: not os.path.exists(self.at(job)), 20, job + " gone")
        self.assertEqual(os.listdir(self.at("jobs")), [])

    def test_many(self):
        names = ["e%03d" % i for i in range(300)]
        for name in names:
            os.mkdir(self.at("elements/" + name))
        self.assertEqual(sorted(os.listdir(self.at("elements"))), names)
        with os.scandir(self.at("elements")) as entries:
            seen = []
            for entry in entries:  # removing while listing skips nothing and shows nothing twice
                seen.append(entry.name)
                os.rmdir(entry.path)
        self.assertEqual(sorted(seen), names)
        self.assertEqual(os.listdir(self.at("elements")), [])

    def test_walkers(self):
        """They end, do no harm, and fail only at what nobody may read."""
        self.two_elements()
        self.attach()
        before = {name: self.m.read(name) for name in ("relationships/db/copy_state", "elements/a/url", "elements/b/url")}
        events = os.stat(self.at("events")).st_size
        got = self.run_in("find", ".", "-ls")
        self.assertEqual((got.returncode, got.stderr), (0, ""))
        got = self.run_in("grep", "-r", "no such text anywhere, x")
        for line in got.stderr.splitlines():
            self.assertRegex(line, r"/(target_password|password|set|wait): Permission denied$")
        copy = os.path.join(self.tmp, "copy")
        got = subprocess.run(["cp", "-r", self.path, copy], capture_output=True, text=True, timeout=60, check=False)
        for line in got.stderr.splitlines():
            self.assertRegex(line, r"(password|set|wait)' for reading: Permission denied$")
        self.assertIn("# Example", self.content(copy + "/service/attach_replica").decode())
        archive = os.path.join(self.tmp, "tree.tar")
        got = subprocess.run(["tar", "-C", self.tmp, "-cf", archive, "--exclude=password", "--exclude=target_password",
                              "--exclude=set", "--exclude=wait", "--exclude=uptime", "--exclude=status",
                              "--exclude=status.json", "mnt"], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((got.returncode, got.stderr), (0, ""))
        with tarfile.open(archive) as tar:
            self.assertIn("mnt/elements/a/url", tar.getnames())
        got = subprocess.run(["du", "-s", self.path], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(got.returncode, 0)
        for name, text in before.items():
            self.assertEqual(self.m.read(name), text)
        self.assertEqual(os.stat(self.at("events")).st_size, events)

    def test_copied_back(self):
        """cp of a method's file onto itself elsewhere runs nothing: usage texts are refused."""
        usage = self.content(self.at("service/attach_replica"))
        status = self.refused(errno.EINVAL, self.m.write, "service/attach_replica", usage.decode())
        self.assertEqual(status["return_value"], "5")
        self.assertEqual(os.listdir(self.at("relationships")), [])

    def test_small_calls(self):
        st = os.statvfs(self.path)
        self.assertEqual((st.f_blocks, st.f_namemax), (0, 255))
        with self.assertRaises(OSError) as caught:
            os.getxattr(self.at("README"), "user.x")
        self.assertIn(caught.exception.errno, (errno.EOPNOTSUPP, errno.ENODATA))
        fd = os.open(self.at("README"), os.O_RDONLY)
        try:
            os.fsync(fd)
            size = os.lseek(fd, 0, os.SEEK_END)
            self.assertEqual(size, os.fstat(fd).st_size)
            os.lseek(fd, 5, os.SEEK_SET)
            self.assertEqual(os.read(fd, 4), self.content(self.at("README"))[5:9])
        finally:
            os.close(fd)
        folder = os.open(self.at("elements"), os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)

    def test_times(self):
        self.element("a")
        before = os.stat(self.at("elements/a/url")).st_mtime
        self.m.write("elements/a/url", "")
        self.assertGreaterEqual(os.stat(self.at("elements/a/url")).st_mtime, before)
        self.assertGreater(before, 1.6e9)

    def test_print_tree(self):
        """The table that docs/ shows has every name that is there, and no other."""
        self.two_elements()
        self.attach()
        text = subprocess.run([program(), "--print-tree"], capture_output=True, text=True, timeout=60, check=True).stdout
        self.assertEqual(text, subprocess.run([program(), "--print-tree"], capture_output=True, text=True, timeout=60,
                                              check=True).stdout)
        documented = {line.split("`")[1].rstrip("/") for line in text.splitlines() if line.startswith("| `") and
                      line.count("|") == 5 and "`" in line and line.split("|")[2].strip().isdigit()}
        there = set()
        for path in self.all_paths():
            parts = os.path.relpath(path, self.path).split("/")
            if parts[0] in ("elements", "relationships") and len(parts) > 1:
                parts[1] = "NAME"
            if parts[0] == "jobs" and len(parts) > 1:
                parts[1] = "N"
            if len(parts) > 3 and os.path.islink(path):
                parts[-1] = "NAME"
            there.add("/".join(parts))
        self.assertEqual(there, documented)


class Owners(FsCase):
    options = ("-o", "uid=1234,gid=2345,umask=0077")

    def test_owner(self):
        st = os.stat(self.at("service/get_replication_relationships"))
        self.assertEqual((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)), (1234, 2345, 0o600))
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o700)


class OtherUsers(FsCase):
    def as_nobody(self, script):
        return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", script],
                              cwd="/", capture_output=True, text=True, timeout=60, check=False)

    def setUp(self):
        super().setUp()
        os.chmod(self.tmp, 0o755)

    def test_nobody(self):
        self.element("a")
        got = self.as_nobody("cat %s/elements/a/state" % self.path)
        self.assertEqual((got.stdout, got.returncode), ("Online\n", 0), got.stderr)
        got = self.as_nobody("exec 3<>%s/service/get_replication_relationships; echo all=1 >&3; cat <&3" % self.path)
        self.assertIn("return_value=0", got.stdout)
        for command in ("echo x > %s/elements/a/url", "mkdir %s/elements/c", "rmdir %s/elements/a", "cat %s/elements/a/password",
                        "echo x > %s/service/attach_replica", "touch %s/elements/a/new"):
            got = self.as_nobody(command % self.path)
            self.assertNotEqual(got.returncode, 0)
            self.assertIn("Permission denied", got.stderr)

    def test_secrets(self):
        """Not for root either: the daemon itself says no."""
        self.element("a")
        self.m.write("elements/a/password", "sesame")
        path = self.at("elements/a/password")
        with self.assertRaises(PermissionError):
            os.open(path, os.O_RDONLY)
        fd = self.write_fd("elements/a/password")
        os.write(fd, b"sesame2")
        with self.assertRaises(PermissionError):
            os.read(fd, 100)
        self.assertEqual(self.last_status()["request"], "***")
        for name in ("status.json", "events", "last_status", "status", "elements/a/statistics"):
            self.assertNotIn("sesame", self.m.read(name))
        fd = self.write_fd("elements/a/wait")
        with self.assertRaises(PermissionError):
            os.read(fd, 100)

    def test_read_only_files(self):
        self.element("a")
        for name in ("README", "status.json", "elements/a/state", "events"):
            self.refused(errno.EACCES, os.open, self.at(name), os.O_WRONLY)
            self.refused(errno.EACCES, os.truncate, self.at(name), 0)


if __name__ == "__main__":
    unittest.main()
