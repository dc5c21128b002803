# SPDX-License-Identifier: Apache-2.0
"""What the tests of the mounted tree share: a mount of its own for each test, with volumes that are files."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))

from rfsmount import Mount, program  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
SLOWER = 5 if os.environ.get("REPLICAFS_SANITIZE") else 1
LIMIT = 60


def pairs(text):
    """key=value lines, values in quotes without them."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found[key] = " ".join(shlex.split(value)) if value.startswith('"') else value
    return found


class FsCase(unittest.TestCase):
    maxDiff = None
    options = ()

    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="f")
        self.addCleanup(shutil.rmtree, self.tmp, True)
        self.m = Mount(state_dir=os.path.join(self.tmp, "state"), mountpoint=os.path.join(self.tmp, "mnt"),
                       options=self.options)
        self.m.start()
        self.addCleanup(self.m.stop)
        self.path = self.m.path

    # what there is

    def at(self, path):
        return os.path.join(self.path, path)

    def volume(self, name, size=MIB, content=None):
        path = os.path.join(self.tmp, name + ".img")
        with open(path, "wb") as f:
            f.write(content or b"")
            f.truncate(size)
        return path

    def element(self, name, size=MIB, content=None):
        path = self.volume(name, size, content)
        os.mkdir(self.at("elements/" + name))
        self.m.write("elements/%s/url" % name, "file:" + path)
        return path

    def two_elements(self, size=MIB):
        return self.element("a", size, os.urandom(min(size, MIB))), self.element("b", size)

    def attach(self, extra="wait_for_copy_state=Synchronized timeout=60"):
        return self.m.call("service/attach_replica",
                           "source_element=elements/a target_element=elements/b copy_type=Sync name=db " + extra)

    def slow_copy(self, size=64 * MIB):
        """A copy that will not come to its end while a test looks; returns its job's path."""
        self.two_elements(size)
        return self.attach("setting.rate_limit=%d setting.verify=none setting.detect_zeroes=0" % MIB)["job"]

    # what is asked

    def run_in(self, *argv, **more):
        return subprocess.run(argv, cwd=self.path, capture_output=True, text=True, timeout=LIMIT * SLOWER, check=False,
                              **more)

    def last_status(self):
        return pairs(self.m.read("last_status"))

    def refused(self, number, action, *args, words=()):
        """The action fails with this errno, and last_status has it with these words in its message."""
        with self.assertRaises(OSError) as caught:
            action(*args)
        status = self.last_status()
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[number], status)
        self.assertEqual(status["errno"], str(number), status)
        self.assertTrue(status["message"], status)
        for word in words:
            self.assertIn(word, status["message"])
        return status

    def write_fd(self, path, flags=os.O_RDWR):
        fd = os.open(self.at(path), flags)
        self.addCleanup(self.close, fd)
        return fd

    @staticmethod
    def close(fd):
        try:
            os.close(fd)
        except OSError:
            pass

    @staticmethod
    def read_all(fd, size=65536):
        text = b""
        while True:
            piece = os.read(fd, size)
            if not piece:
                return text.decode()
            text += piece
