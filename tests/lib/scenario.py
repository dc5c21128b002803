# SPDX-License-Identifier: Apache-2.0
"""What the scenarios of tests/iscsi and tests/crash share: two real targets, a mounted daemon, elements and a
relationship, and the questions asked of them. One Scenario is one test case; everything it starts ends with it."""

import errno
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from rfsmount import Mount
from targets import Istgt, Tgtd, blank_file, free_port, random_file, same_content

MIB = 1 << 20
GIB = 1 << 30
SANITIZED = bool(os.environ.get("REPLICAFS_SANITIZE"))
SLOWER = 5 if SANITIZED else 1


def scaled(size):
    """A sanitizer build copies an eighth: the same ways are gone, several times slower."""
    return size // 8 if SANITIZED else size


class Scenario(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="s")
        self.addCleanup(shutil.rmtree, self.tmp, True)
        self.seed = random.SystemRandom().randrange(1 << 32)
        self.random = random.Random(self.seed)
        print("seed %d" % self.seed)

    # what there is

    def path(self, name):
        return os.path.join(self.tmp, name)

    def random_file(self, name, size):
        return random_file(self.path(name), size)

    def blank_file(self, name, size):
        return blank_file(self.path(name), size)

    def ext4_file(self, name, size):
        path = self.blank_file(name, size)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "precious", path], check=True, timeout=60)
        return path

    def start_target(self, target):
        target.start()
        self.addCleanup(target.stop)
        return target

    def target(self, *files, kind=Tgtd, **lun):
        """One target process with these backing files as its LUNs, in order."""
        target = kind(folder=tempfile.mkdtemp(prefix="t", dir=self.tmp))
        for path in files:
            target.add_lun(path, **lun)
        return self.start_target(target)

    def mount(self, state="state", name="mnt", **options):
        mount = Mount(state_dir=self.path(state), mountpoint=self.path(name), **options)
        mount.start()
        self.addCleanup(mount.stop)
        self.m = mount
        return mount

    # what is asked

    def read(self, path):
        return self.m.read(path)

    def write(self, path, text):
        self.m.write(path, text)

    def call(self, path, request):
        return self.m.call(path, request)

    def message(self):
        """What last_status says to the user, without the echo of the request."""
        line = next(line for line in self.read("last_status").splitlines() if line.startswith("message="))
        return line[len("message="):].strip('"').replace('\\"', '"')

    def add(self, name, url, **attributes):
        os.mkdir(os.path.join(self.m.path, "elements", name))
        for key, value in attributes.items():
            self.write("elements/%s/%s" % (name, key), value)
        self.write("elements/%s/url" % name, url)

    def attach(self, extra="", source="a", target="b", copy_type="Sync", name="db"):
        """Returns the reply as a dictionary."""
        return self.call("service/attach_replica", "source_element=elements/%s target_element=elements/%s copy_type=%s "
                         "name=%s %s" % (source, target, copy_type, name, extra))

    def relationship(self, prop, name="db"):
        return self.read("relationships/%s/%s" % (name, prop))

    def job_of(self, reply):
        self.assertRegex(reply["job"], r"^jobs/[0-9]+$")
        return reply["job"]

    def percent(self, job):
        value = int(self.read(job + "/percent_complete"))
        self.assertLessEqual(value, 100)
        return value

    def await_that(self, what, test, seconds=60):
        """Polls until test() is true; `what` says in the failure what did not come."""
        end = time.monotonic() + seconds * SLOWER
        while not test():
            if time.monotonic() > end:
                self.fail("did not come within %d s: %s\n%s" % (seconds * SLOWER, what, self.picture()))
            time.sleep(0.01)

    def await_state(self, *states, name="db", seconds=60):
        self.await_that("copy_state %s of %s" % (" or ".join(states), name),
                        lambda: self.relationship("copy_state", name) in states, seconds)

    def await_percent(self, job, percent, seconds=60):
        self.await_that("%d %% of %s" % (percent, job), lambda: self.percent(job) >= percent, seconds)

    def picture(self):
        try:
            return self.read("status") + "\n" + self.read("events")[-4000:]
        except OSError as err:
            return "the mount does not answer: %s" % err

    # what must be so

    def refused(self, number, words, action, *args):
        """The action fails with this errno, and the message matches each of the words. Returns the message."""
        with self.assertRaises(OSError) as caught:
            action(*args)
        message = self.message()
        self.assertEqual(errno.errorcode[caught.exception.errno], errno.errorcode[number], message)
        for word in words:
            self.assertRegex(message, re.compile(word, re.I))
        return message

    def assert_copied(self, source, target):
        self.assertTrue(same_content(source, target), "the copy differs from its source\n" + self.picture())

    def assert_job_complete(self, job):
        self.assertEqual(self.read(job + "/job_state"), "Completed")
        self.assertEqual(self.read(job + "/percent_complete"), "100")
        self.assertEqual(self.read(job + "/bytes_done"), self.read(job + "/bytes_total"))
        self.assertIn(self.read(job + "/error_code"), ("", "0"))

    def objects(self):
        """Names of all elements, relationships and jobs: what a refused request must not change."""
        return {folder: sorted(os.listdir(os.path.join(self.m.path, folder)))
                for folder in ("elements", "relationships", "jobs")}


class Copy(Scenario):
    """Two target processes with one LUN each, mounted, added as elements a and b."""

    kind = Tgtd

    def prepare(self, size, thin=False, target_size=None, mount=None, **lun):
        self.source_file = self.random_file("source", size)
        self.target_file = self.blank_file("target", target_size or size)
        self.source = self.target(self.source_file, kind=self.kind, thin=thin, **lun)
        self.dest = self.target(self.target_file, kind=self.kind, **lun)
        self.mount(**(mount or {}))
        self.add("a", self.source.url())
        self.add("b", self.dest.url())

    def assert_right(self, job=None):
        self.await_state("Synchronized", seconds=120)
        self.assert_copied(self.source_file, self.target_file)
        if job:
            self.await_that(job + " Completed", lambda: self.read(job + "/job_state") == "Completed", 5)
            self.assert_job_complete(job)
