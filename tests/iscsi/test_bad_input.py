# SPDX-License-Identifier: Apache-2.0
# time-limit: 240
"""What bad input gets, as far as it is about LUNs and state folders: a clear errno, a message that names the object and
what would work, and nothing changed."""

import errno
import os
import socket
import subprocess
import unittest

from scenario import MIB, Scenario, free_port

SIZE = 64 * MIB


class BadUrl(Scenario):
    """A url that cannot be reached is refused and not stored."""

    def setUp(self):
        super().setUp()
        self.lun = self.random_file("lun", SIZE)
        self.t = self.target(self.lun)
        self.mount()
        os.mkdir(os.path.join(self.m.path, "elements/a"))

    def refused_url(self, url, number, *words):
        message = self.refused(number, ("elements?[ /]a",) + words, self.write, "elements/a/url", url)
        self.assertEqual(self.read("elements/a/url"), "")
        self.assertEqual(self.read("elements/a/state"), "Unconfigured")
        self.assertEqual(self.read("elements/a/last_error"), message)
        self.write("elements/a/url", self.t.url())  # and the element is as good as new
        self.assertEqual(self.read("elements/a/state"), "Online")

    def with_port(self, port):
        return self.t.url().replace(":%d/" % self.t.port, ":%d/" % port)

    def test_portal_refuses(self):
        self.refused_url(self.with_port(free_port()), errno.EIO, "127.0.0.1", "refused", "port")

    def test_portal_is_silent(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            self.refused_url(self.with_port(silent.getsockname()[1]), errno.ETIMEDOUT, "127.0.0.1")

    def test_portal_speaks_something_else(self):
        script = ("import socket\ns = socket.create_server(('127.0.0.1', %d))\nprint('x', flush=True)\n"
                  "while True:\n c, _ = s.accept()\n c.sendall(b'HTTP/1.1 400 Bad Request' + b' ' * 200)\n c.close()\n")
        port = free_port()
        other = subprocess.Popen(["python3", "-c", script % port], stdout=subprocess.PIPE)
        self.addCleanup(other.stdout.close)
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        other.stdout.read(1)
        self.refused_url(self.with_port(port), errno.EIO, "127.0.0.1")

    def test_wrong_iqn(self):
        self.refused_url(self.t.url().replace(self.t.name, "nobody"), errno.ENOENT, "nobody")

    def test_wrong_lun(self):
        self.refused_url(self.t.url(17), errno.ENOENT, "17")

    def test_lun_that_is_no_disk(self):
        self.refused_url(self.t.url(0), errno.EIO, "disk")

    def test_not_a_url(self):
        for url in ("nonsense", "http://127.0.0.1/x/1", "iscsi://127.0.0.1", "iscsi://127.0.0.1/iqn.2026-01.org:x",
                    "iscsi://127.0.0.1/iqn.2026-01.org:x/one", "file:relative"):
            with self.subTest(url=url):
                self.refused(errno.EINVAL, ["elements/a|iscsi://|file:/"], self.write, "elements/a/url", url)
        self.assertEqual(self.read("elements/a/url"), "")

    def test_credentials_in_the_url(self):
        url = self.t.url().replace("iscsi://", "iscsi://user%topsecret9@")
        message = self.refused(errno.EINVAL, ["password"], self.write, "elements/a/url", url)
        self.assertNotIn("topsecret9", message + self.read("events"))

    def test_lun_that_is_an_element_already(self):
        self.write("elements/a/url", self.t.url())
        os.mkdir(os.path.join(self.m.path, "elements/twin"))
        self.refused(errno.EBUSY, ["elements/a"], self.write, "elements/twin/url", self.t.url())
        self.assertEqual(self.read("elements/twin/url"), "")


class BadPair(Scenario):
    """Two LUNs that do not go together: refused, nothing changed, and the target's bytes are what they were."""

    def pair(self, target, **lun):
        self.source_file = self.random_file("source", SIZE)
        self.target_file = target
        self.mount()
        self.add("a", self.target(self.source_file).url())
        self.dest = self.target(target, **lun)
        self.add("b", self.dest.url())
        with open(target, "rb") as f:
            self.before = f.read()

    def refused_attach(self, number, *words, extra="", source="a", target="b"):
        objects = self.objects()
        self.refused(number, words, self.attach, extra, source, target)
        self.assertEqual(self.objects(), objects)
        with open(self.target_file, "rb") as f:
            self.assertEqual(f.read(), self.before, "the target was touched")

    def test_source_is_target(self):
        self.pair(self.blank_file("target", SIZE))
        self.refused_attach(errno.EINVAL, "elements/a", target="a")

    def test_unknown_element(self):
        self.pair(self.blank_file("target", SIZE))
        self.refused_attach(errno.ENOENT, "elements/nobody", target="nobody")
        self.refused_attach(errno.ENOENT, "elements/nobody", source="nobody")

    def test_smaller_target(self):
        self.pair(self.blank_file("target", SIZE - 512))
        self.refused_attach(errno.EINVAL, "elements/b", str(SIZE), str(SIZE - 512), extra="force=1")

    def test_other_block_size(self):
        self.pair(self.blank_file("target", SIZE), block_size=4096)
        self.refused_attach(errno.EINVAL, "elements/b", "512", "4096", extra="force=1")

    def test_file_system_on_the_target(self):
        self.pair(self.ext4_file("target", SIZE))
        self.refused_attach(errno.EPERM, "elements/b", "ext4", "force=1")
        self.attach("force=1 wait_for_copy_state=Synchronized timeout=60")
        self.assert_copied(self.source_file, self.target_file)

    def test_partition_table_on_the_target(self):
        target = self.blank_file("target", SIZE)
        subprocess.run(["sfdisk", "-q", target], input="label: gpt\n,\n", text=True, check=True, timeout=30)
        self.pair(target)
        self.refused_attach(errno.EPERM, "elements/b", "gpt", "force=1")

    def test_element_in_use(self):
        self.pair(self.blank_file("target", SIZE))
        self.attach("wait_for_copy_state=Synchronized timeout=60")
        with open(self.target_file, "rb") as f:
            self.before = f.read()
        self.add("c", self.target(self.blank_file("third", SIZE)).url())
        self.refused_attach(errno.EBUSY, "elements/b", "relationships/db", source="c", extra="force=1")
        self.refused_attach(errno.EBUSY, "relationships/db", source="b", target="a", extra="force=1")
        with self.assertRaises(OSError) as caught:
            os.rmdir(os.path.join(self.m.path, "elements/b"))
        self.assertEqual(caught.exception.errno, errno.EBUSY)
        self.assertIn("relationships/db", self.message())

    def test_unknown_copy_type_and_setting(self):
        self.pair(self.blank_file("target", SIZE))
        self.refused_attach(errno.EINVAL, "colour", extra="setting.colour=blue")
        objects = self.objects()
        self.refused(errno.EINVAL, ["Sync", "copy_type"], self.attach, "", "a", "b", "Quickly")
        self.assertEqual(self.objects(), objects)

    def test_target_that_is_write_protected(self):
        self.pair(self.blank_file("target", SIZE))
        self.dest.update_lun(1, "readonly=1")
        try:
            reply = self.attach()
        except OSError as err:
            self.assertEqual(err.errno, errno.EACCES)
            self.assertRegex(self.message(), "elements/b")
            return
        self.await_state("Broken")
        self.assertRegex(self.relationship("last_error"), "(?i)protect|read.only")
        self.assertEqual(self.read(self.job_of(reply) + "/job_state"), "Exception")


class LunChanges(Scenario):
    """A LUN that turns into something else in mid-copy."""

    def begin(self):
        self.source_file = self.random_file("source", 4 * SIZE)
        self.target_file = self.blank_file("target", 4 * SIZE)
        self.source, self.dest = self.target(self.source_file), self.target(self.target_file)
        self.mount()
        self.add("a", self.source.url())
        self.add("b", self.dest.url())
        self.job = self.job_of(self.attach("setting.rate_limit=%d" % (64 * MIB)))
        self.await_percent(self.job, 10)

    def test_target_turns_read_only(self):
        self.begin()
        self.dest.update_lun(1, "readonly=1")
        self.await_state("Broken")
        self.assertRegex(self.relationship("last_error"), "(?i)protect|read.only")
        self.assertRegex(self.relationship("last_error"), "elements/b")
        self.await_that("the job's end", lambda: self.read(self.job + "/job_state") == "Exception", 5)
        self.assertRegex(self.read(self.job + "/error_description"), "(?i)protect|read.only")
        self.assertLess(self.percent(self.job), 100)
        # the remedy: make it writable, resynchronise
        self.dest.update_lun(1, "readonly=0")
        self.write("relationships/db/settings/rate_limit", "0")
        self.call("relationships/db/operation", "ResyncReplica wait_for_copy_state=Synchronized timeout=60")
        self.assert_copied(self.source_file, self.target_file)

    def shrink(self, target, path):
        target.kill()
        os.truncate(path, SIZE)
        target.start()

    def test_target_shrinks(self):
        self.begin()
        self.shrink(self.dest, self.target_file)
        self.await_that("elements/b Refused", lambda: self.read("elements/b/state") == "Refused", 30)
        self.assertRegex(self.read("elements/b/last_error"), str(SIZE))
        self.await_state("Broken", "Partitioned")
        self.assertNotEqual(self.relationship("last_error"), "")

    def test_another_lun_under_the_same_url(self):
        """A target that comes back with other storage behind the same name is not written to."""
        self.begin()
        self.dest.kill()
        # tgtd makes a LUN's identity from target and LUN numbers: so the other storage shows in its block size
        other = self.random_file("other", 4 * SIZE)
        with open(other, "rb") as f:
            before = f.read()
        self.dest.luns[1] = {"path": other, "thin": False, "block_size": 4096}
        self.dest.start()
        self.await_that("elements/b Refused", lambda: self.read("elements/b/state") == "Refused", 30)
        with open(other, "rb") as f:
            self.assertEqual(f.read(), before, "a LUN that is not the element was written")


class StateFolder(Scenario):
    def elements(self):
        self.source_file = self.random_file("source", SIZE)
        self.target_file = self.blank_file("target", SIZE)
        self.add("a", self.target(self.source_file).url())
        self.add("b", self.target(self.target_file).url())

    def tmpfs(self, size):
        folder = self.path("state")
        os.mkdir(folder, 0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d,mode=0700" % size, "tmpfs", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=False)
        return folder

    def fill(self, folder):
        path = os.path.join(folder, "ballast")
        with open(path, "wb", buffering=0) as f:
            for piece in (65536, 4096):
                try:
                    while True:
                        f.write(b"x" * piece)
                except OSError:
                    pass
        return path

    def test_full(self):
        folder = self.tmpfs(4 * MIB)
        self.mount()
        self.elements()
        ballast = self.fill(folder)
        objects = self.objects()
        self.refused(errno.ENOSPC, [folder], self.attach)
        self.assertEqual(self.objects(), objects)
        os.unlink(ballast)
        self.attach("wait_for_copy_state=Synchronized timeout=60")
        self.assert_copied(self.source_file, self.target_file)

    def test_read_only(self):
        folder = self.path("state")
        os.mkdir(folder, 0o700)
        subprocess.run(["mount", "--bind", "-o", "ro", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=False)
        os.makedirs(self.path("mnt"), exist_ok=True)
        got = self.run_program("--state-dir=" + folder, self.path("mnt"))
        self.assertNotEqual(got.returncode, 0)
        self.assertIn(folder, got.stderr)
        self.assertFalse(os.path.ismount(self.path("mnt")))

    def run_program(self, *args):
        return subprocess.run([os.environ.get("REPLICAFS_BIN", "build/replicafs"), *args], capture_output=True,
                              text=True, timeout=60, check=False)

    def test_second_daemon(self):
        self.mount()
        self.elements()
        os.mkdir(self.path("other"))
        got = self.run_program("--state-dir=" + self.path("state"), self.path("other"))
        self.assertNotEqual(got.returncode, 0)
        self.assertIn(self.path("state"), got.stderr)
        self.assertFalse(os.path.ismount(self.path("other")))
        self.attach("wait_for_copy_state=Synchronized timeout=60")
        self.assert_copied(self.source_file, self.target_file)


if __name__ == "__main__":
    unittest.main()
