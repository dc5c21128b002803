# SPDX-License-Identifier: Apache-2.0
"""A mounted replicafs for Python tests: start, stop, SIGKILL, and requests in the manner of the tree.

    with Mount(state_dir=..., mountpoint=...) as m:
        m.write("elements/a/url", "file:/tmp/lun")            # one write(2); OSError where it is refused
        reply = m.call("service/attach_replica", "source=a target=b copy_type=Sync")     # a dictionary
        m.read("elements/a/state")                            # less its newline
"""

import os
import signal
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SLOWER = 5 if os.environ.get("REPLICAFS_SANITIZE") else 1


def program():
    build = os.environ.get("RFS_BUILD", "build")
    return os.environ.get("REPLICAFS_BIN") or os.path.join(TOP, build, "replicafs")


class Mount:
    def __init__(self, state_dir, mountpoint, workers=None, options=(), log=None):
        """`log`: an open file for what the daemon says; None = this program's stderr."""
        self.state_dir, self.path, self.log = state_dir, mountpoint, log
        self.argv = [program(), "-f", "--state-dir=" + state_dir, *options]
        if workers:
            self.argv.append("--workers=%d" % workers)
        self.argv.append(mountpoint)
        self.proc = None

    @property
    def pid(self):
        return self.proc.pid

    def start(self, seconds=20):
        try:
            os.makedirs(self.path, exist_ok=True)
        except FileExistsError:
            pass  # a dead mount: it is there, but no folder that answers
        self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stderr=self.log)
        end = time.monotonic() + seconds * SLOWER
        while not self.mounted():
            if self.proc.poll() is not None:
                raise RuntimeError("replicafs ended with status %d" % self.proc.returncode)
            if time.monotonic() > end:
                self.sigkill()
                raise RuntimeError("replicafs did not mount within %d s" % (seconds * SLOWER))
            time.sleep(0.01)
        return self

    def mounted(self):
        try:
            return os.path.ismount(self.path) and os.path.exists(os.path.join(self.path, "version"))
        except OSError:
            return False

    def stop(self, seconds=30):
        """SIGTERM, as a service manager ends it; anything but a clean end is an error."""
        if not self.proc:
            self._detach()
            return
        proc, self.proc = self.proc, None
        proc.send_signal(signal.SIGTERM)
        try:
            status = proc.wait(seconds * SLOWER)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()
            self._detach()
            raise RuntimeError("replicafs did not end within %d s of SIGTERM" % (seconds * SLOWER)) from None
        if status:
            self._detach()
            raise RuntimeError("replicafs ended with status %d" % status)
        if os.path.ismount(self.path):
            raise RuntimeError("replicafs left its mount behind")

    def sigkill(self):
        """As a crash. The dead mount stays, as it would: start() has to cope with it."""
        proc, self.proc = self.proc, None
        proc.kill()
        proc.wait()

    def _detach(self):
        subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL, check=False)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()

    # requests

    def join(self, path):
        return os.path.join(self.path, path)

    def read(self, path):
        with open(self.join(path), encoding="utf-8", errors="surrogateescape") as f:
            text = f.read()
        return text[:-1] if text.endswith("\n") else text

    def write(self, path, text):
        fd = os.open(self.join(path), os.O_WRONLY)
        try:
            os.write(fd, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(fd)

    def call(self, path, request):
        """A method call: the answer on the same descriptor, as a dictionary; a key that comes several times has a
        list. OSError where it fails, with the reply as its `reply`."""
        fd = os.open(self.join(path), os.O_RDWR)
        try:
            try:
                os.write(fd, request.encode("utf-8", "surrogateescape"))
            except OSError as err:
                err.reply = self._reply(fd)
                err.strerror = "%s: %s" % (err.strerror, err.reply.get("message", "no message"))
                raise
            return self._reply(fd)
        finally:
            os.close(fd)

    @staticmethod
    def _reply(fd):
        text = b""
        while True:
            piece = os.read(fd, 4096)
            if not piece:
                break
            text += piece
        reply = {}
        for line in text.decode("utf-8", "surrogateescape").splitlines():
            key, _, value = line.partition("=")
            if key in reply:
                reply[key] = (reply[key] if isinstance(reply[key], list) else [reply[key]]) + [value]
            else:
                reply[key] = value
        return reply

    @staticmethod
    def wait_for(test, seconds=30, what="a condition"):
        end = time.monotonic() + seconds * SLOWER
        while not test():
            if time.monotonic() > end:
                raise AssertionError("did not come within %d s: %s" % (seconds * SLOWER, what))
            time.sleep(0.01)
