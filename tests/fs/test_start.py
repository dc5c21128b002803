# SPDX-License-Identifier: Apache-2.0
"""The program: options, start in the background, what is refused, dead mounts, and every way to end."""

import os
import shutil
import signal
import subprocess
import tempfile
import unittest

from fsbase import LIMIT, SLOWER, Mount, program


class Start(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="f")
        self.addCleanup(shutil.rmtree, self.tmp, True)
        self.state, self.mnt = os.path.join(self.tmp, "state"), os.path.join(self.tmp, "mnt")
        os.mkdir(self.mnt)
        self.addCleanup(subprocess.run, ["umount", "-l", self.mnt], stderr=subprocess.DEVNULL, check=False)

    def run_it(self, *args):
        return subprocess.run([program(), *args], capture_output=True, text=True, timeout=LIMIT * SLOWER, check=False)

    def mount(self, *args):
        return self.run_it("--state-dir=" + self.state, *args)

    def daemons(self):
        """Processes that have our state folder on their command line."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid, encoding="utf-8") as f:
                    words = f.read().split("\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == "replicafs" and self.state in " ".join(words):
                found.append(int(pid))
        return found

    def await_end(self):
        Mount.wait_for(lambda: not self.daemons(), LIMIT, "the daemon's end")
        self.assertFalse(os.path.ismount(self.mnt))

    def refused(self, got, *words, status=1):
        self.assertEqual(got.returncode, status, got.stderr)
        self.assertTrue(got.stderr.startswith("replicafs: "), got.stderr)
        for word in words:
            self.assertIn(word, got.stderr)
        self.assertEqual(self.daemons(), [])

    def test_background(self):
        """When the command returns, the mount answers; its output is not held open."""
        for _ in range(3):
            got = self.mount(self.mnt)
            self.assertEqual((got.returncode, got.stdout, got.stderr), (0, "", ""))
            self.assertTrue(os.path.exists(self.mnt + "/version"))
            self.assertEqual(len(self.daemons()), 1)
            subprocess.run(["umount", self.mnt], check=True, timeout=LIMIT)
            self.await_end()

    def test_fusermount(self):
        self.mount(self.mnt)
        subprocess.run(["fusermount3", "-u", self.mnt], check=True, timeout=LIMIT)
        self.await_end()

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            mount = Mount(state_dir=self.state, mountpoint=self.mnt).start()
            proc = mount.proc
            proc.send_signal(number)
            self.assertEqual(proc.wait(LIMIT), 0)
            self.assertFalse(os.path.ismount(self.mnt))

    def test_lazy_umount_while_used(self):
        mount = Mount(state_dir=self.state, mountpoint=self.mnt).start()
        fd = os.open(self.mnt + "/version", os.O_RDONLY)
        proc = mount.proc
        subprocess.run(["umount", "-l", self.mnt], check=True, timeout=LIMIT)
        self.assertIn(b"tree=1", os.read(fd, 100))
        os.close(fd)
        self.assertEqual(proc.wait(LIMIT), 0)

    def test_information(self):
        got = self.run_it("--version")
        self.assertRegex(got.stdout, r"^replicafs [0-9.]+\n$")
        got = self.run_it("--help")
        self.assertEqual(got.returncode, 0)
        for option in ("--state-dir", "--workers", "--foreground", "--print-tree", "-o"):
            self.assertIn(option, got.stdout)

    def test_usage(self):
        for args, word in (((), "mount point"), (("--nonsense", self.mnt), "--nonsense"), (("-o", "bogus", self.mnt), "bogus"),
                           (("--workers=0", self.mnt), "workers"), (("--workers=x", self.mnt), "workers"),
                           (("-o", "uid=nobody-at-all", self.mnt), "uid"), (("-o", "umask=9", self.mnt), "umask"),
                           (("a", "b", "c"), "too many"), (("/etc/replicafs.conf", self.mnt), "later version"),
                           (("-o",), "missing")):
            with self.subTest(args=args):
                self.refused(self.run_it(*args), word, status=2)

    def test_mountpoint(self):
        file = os.path.join(self.tmp, "file")
        with open(file, "w", encoding="ascii"):
            pass
        self.refused(self.mount(os.path.join(self.tmp, "none")), os.path.join(self.tmp, "none"))
        self.refused(self.mount(file), "no folder")
        self.refused(self.run_it("--state-dir=" + self.mnt + "/state", self.mnt), "below the mount point")
        self.refused(self.run_it("--state-dir=" + self.mnt, self.mnt), "below the mount point")

    def test_state_dir(self):
        file = os.path.join(self.tmp, "file")
        with open(file, "w", encoding="ascii"):
            pass
        self.refused(self.run_it("--state-dir=" + file, self.mnt), file)
        self.assertFalse(os.path.ismount(self.mnt))
        self.assertEqual(self.mount(self.mnt).returncode, 0)
        self.assertEqual(os.stat(self.state).st_mode & 0o777, 0o700)

    def test_no_device(self):
        got = subprocess.run(["unshare", "-m", "bash", "-c", "mount --bind /dev/null /dev/fuse; exec '%s' --state-dir='%s' '%s'"
                              % (program(), self.state, self.mnt)], capture_output=True, text=True, timeout=LIMIT, check=False)
        self.assertEqual(got.returncode, 1, got.stderr)
        self.assertIn("/dev/fuse", got.stderr)

    def test_living_mount(self):
        self.mount(self.mnt)
        got = self.run_it("--state-dir=" + self.state + "2", self.mnt)
        self.assertEqual(got.returncode, 1)
        self.assertIn("another replicafs", got.stderr)
        self.assertTrue(os.path.exists(self.mnt + "/version"))

    def test_dead_mounts(self):
        """What SIGKILL leaves behind is cleared away at the next start."""
        for _ in range(2):
            mount = Mount(state_dir=self.state, mountpoint=self.mnt).start()
            mount.sigkill()
            with self.assertRaises(OSError):
                os.stat(self.mnt + "/version")
        got = self.mount(self.mnt)
        self.assertEqual((got.returncode, got.stderr), (0, ""))
        self.assertTrue(os.path.exists(self.mnt + "/version"))

    def test_fstab(self):
        """The way mount.fuse3 calls a helper, with all that fstab may contain."""
        for source in ("none", "replicafs", "-"):
            got = self.run_it(source, self.mnt, "-o", "rw,nosuid,nodev,noexec,relatime,auto,nofail,_netdev,defaults,x-systemd."
                              "requires=network.target,user,comment=hello,workers=1,state_dir=" + self.state)
            self.assertEqual((got.returncode, got.stderr), (0, ""))
            with open("/proc/self/mounts", encoding="utf-8") as f:
                line = [words for words in map(str.split, f) if words[1] == self.mnt][0]
            self.assertEqual(line[:1] + line[2:3], ["replicafs", "fuse.replicafs"])
            for option in ("nosuid", "nodev", "noexec", "default_permissions", "allow_other"):
                self.assertIn(option, line[3].split(","))
            subprocess.run(["umount", self.mnt], check=True, timeout=LIMIT)
            self.await_end()

    def test_read_only_mount(self):
        self.assertEqual(self.mount("-o", "ro", self.mnt).returncode, 0)
        with self.assertRaises(OSError) as caught:
            os.mkdir(self.mnt + "/elements/a")
        self.assertEqual(caught.exception.errno, 30)

    def test_relative_paths(self):
        got = subprocess.run([os.path.abspath(program()), "--state-dir=state", "mnt/"], cwd=self.tmp, capture_output=True,
                             text=True, timeout=LIMIT, check=False)
        self.assertEqual((got.returncode, got.stderr), (0, ""))
        self.assertTrue(os.path.exists(self.mnt + "/version"))
        self.assertTrue(os.path.isdir(self.state))
        with open(self.mnt + "/service/state_dir", encoding="utf-8") as f:
            self.assertEqual(f.read().strip(), os.path.realpath(self.state))


if __name__ == "__main__":
    unittest.main()
