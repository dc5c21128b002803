# SPDX-License-Identifier: Apache-2.0
"""Real iSCSI targets on loopback for Python tests: tgtd and istgt, each process with a folder, port and control socket
of its own, so that targets of the system are neither used nor disturbed.

    with Tgtd() as t:
        lun = t.add_lun("/path/of/backing/file")
        t.url(lun)
        t.kill(); t.start()            # the same port, LUNs and accounts: a target that crashed and came back
"""

import os
import random
import signal
import socket
import subprocess
import tempfile
import time

IQN = "iqn.2026-01.org.replicafs:"

_claims = []


def free_port():
    """A loopback port that nobody listens on and that no other test was given (each is claimed by an abstract socket,
    which goes with the process). Below the ephemeral range, where a client's socket could take it, or connect to
    itself, while the target is away."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind("\0replicafs-test-port-%d" % port)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port


def random_file(path, size):
    """A file of data that cannot be compressed, deduplicated or taken for zero; fast enough for gigabytes."""
    block = os.urandom(1 << 20)
    with open(path, "wb") as out:
        for i in range(0, size, len(block)):
            stamped = i.to_bytes(8, "little") + block[8:]
            out.write(stamped[: size - i])
    return path


def blank_file(path, size):
    with open(path, "wb") as out:
        out.truncate(size)
    return path


def same_content(a, b):
    return subprocess.run(["cmp", a, b], stdout=subprocess.DEVNULL, timeout=120, check=False).returncode == 0


class Target:
    """What both have in common. self.proc is None while it does not run."""

    first_lun = 0

    def __init__(self, name=None, folder=None, port=None):
        self.name = name or "t%d" % random.SystemRandom().randrange(10**9)
        # a control socket's path has room for 107 bytes
        self.folder = folder or tempfile.mkdtemp(prefix="tgt-")
        self.port = port or free_port()
        self.log = os.path.join(self.folder, self.name + ".log")
        self.luns = {}
        self.account = None
        self.proc = None

    def url(self, lun=None):
        lun = self.first_lun if lun is None else lun
        return "iscsi://127.0.0.1:%d/%s%s/%d" % (self.port, IQN, self.name, lun)

    def add_lun(self, path, thin=False, block_size=512):
        lun = self.first_lun + len(self.luns)
        self.luns[lun] = {"path": path, "thin": thin, "block_size": block_size}
        if self.proc:
            self._bring_up(lun)
        return lun

    def chap(self, user, password, mutual_user=None, mutual_password=None):
        """Asks initiators for an account; before start(). With the mutual one the target proves itself too."""
        self.account = (user, password, mutual_user, mutual_password)

    def _spawn(self, argv, env=None):
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env={**os.environ, **(env or {})}, start_new_session=True)

    def _await(self, ready, seconds=10):
        end = time.monotonic() + seconds
        while not ready():
            if self.proc.poll() is not None or time.monotonic() > end:
                with open(self.log, errors="replace") as log:
                    raise RuntimeError("%s does not start: %s" % (self.argv0, log.read()[-800:]))
            time.sleep(0.02)

    def listening(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def kill(self):
        """As a crash of the storage: SIGKILL. What it had acknowledged is in the page cache and stays."""
        if self.proc:
            self.proc.kill()
            self.proc.wait()
            self.proc = None

    stop = kill  # nothing would be gained by a gentler end, and istgt takes a second for it

    def restart(self):
        self.kill()
        self.start()

    def pause(self):
        """A portal that accepts and never answers: the process is stopped."""
        self.proc.send_signal(signal.SIGSTOP)

    def resume(self):
        self.proc.send_signal(signal.SIGCONT)

    def wchar(self):
        """Bytes that the process has written by now, to its backing files and (much less) to its sockets."""
        with open("/proc/%d/io" % self.proc.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith("wchar:"))

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()


class Tgtd(Target):
    argv0 = "tgtd"
    first_lun = 1  # LUN 0 is tgtd's controller

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.number = random.SystemRandom().randrange(1, 30000)
        self.ipc = os.path.join(self.folder, "ipc")
        self.bound_accounts = set()

    def adm(self, *args, check=True):
        done = subprocess.run(["tgtadm", "-C", str(self.number), "--lld", "iscsi", *args], text=True, timeout=20,
                              env={**os.environ, "TGT_IPC_SOCKET": self.ipc}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if check and done.returncode:
            raise RuntimeError("tgtadm %s: %s" % (" ".join(args), done.stdout))
        return done.returncode == 0

    def start(self):
        with open(self.log, "w"):
            pass
        self._spawn(["tgtd", "-f", "-C", str(self.number), "--iscsi", "portal=127.0.0.1:%d" % self.port],
                    {"TGT_IPC_SOCKET": self.ipc})
        self._await(lambda: self.adm("--op", "show", "--mode", "target", check=False))
        with open(self.log) as log:
            if "unable to bind" in log.read():
                self.kill()
                raise RuntimeError("port %d is taken" % self.port)
        self.adm("--op", "new", "--mode", "target", "--tid", "1", "-T", IQN + self.name)
        for lun in self.luns:
            self._bring_up(lun)
        self._bring_up_account()
        # last, so that nobody sees a target with some of its LUNs
        self.adm("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
        return self

    def _bring_up(self, lun):
        spec = self.luns[lun]
        self.adm("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", str(lun), "-b", spec["path"],
                 "--blocksize", str(spec["block_size"]))
        if spec["thin"]:
            self.update_lun(lun, "thin_provisioning=1")

    def _bring_up_account(self):
        if not self.account:
            return
        user, password, mutual_user, mutual_password = self.account
        self.adm("--op", "new", "--mode", "account", "--user", user, "--password", password)
        self.adm("--op", "bind", "--mode", "account", "--tid", "1", "--user", user)
        if mutual_user:
            self.adm("--op", "new", "--mode", "account", "--user", mutual_user, "--password", mutual_password)
            self.adm("--op", "bind", "--mode", "account", "--tid", "1", "--user", mutual_user, "--outgoing")

    def update_lun(self, lun, params):
        self.adm("--op", "update", "--mode", "logicalunit", "--tid", "1", "--lun", str(lun), "--params", params)

    def remove_lun(self, lun):
        self.adm("--op", "delete", "--mode", "logicalunit", "--tid", "1", "--lun", str(lun))
        return self.luns.pop(lun)


ISTGT_CONF = """[Global]
  NodeBase "iqn.2026-01.org.replicafs"
  PidFile {folder}/pid
  AuthFile {folder}/auth
  MediaDirectory {folder}
  LogFacility "local7"
  Timeout 30
  NopInInterval 20
  DiscoveryAuthMethod None
  MaxSessions 32
  MaxConnections 4
  MaxR2T 32
  MaxOutstandingR2T 16
  DefaultTime2Wait 2
  DefaultTime2Retain 60
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
  InitialR2T Yes
  ImmediateData Yes
  DataPDUInOrder Yes
  DataSequenceInOrder Yes
  ErrorRecoveryLevel 0
[UnitControl]
  AuthMethod None
  Portal UC1 127.0.0.1:{control}
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 127.0.0.1:{port}
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask 127.0.0.0/8
[LogicalUnit1]
  TargetName {name}
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod {auth}
  AuthGroup {group}
  UseDigest Auto
  UnitType Disk
  UnitInquiry "replicafs" "istgt" "0" "{name}"
  QueueDepth 64
  BlockLength {block_size}
"""


class Istgt(Target):
    """Its LUNs are given before start()."""

    argv0 = "istgt"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.control = free_port()

    def _bring_up(self, lun):
        raise RuntimeError("istgt takes LUNs before it starts")

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            f.write(text)
        return path

    def start(self):
        auth = ""
        if self.account:
            auth = "[AuthGroup1]\n  Auth %s\n" % " ".join('"%s"' % part for part in self.account if part)
        self._write("auth", auth)
        method = "None" if not self.account else "CHAP Mutual" if self.account[2] else "CHAP"
        block_size = next(iter(self.luns.values()))["block_size"] if self.luns else 512
        conf = ISTGT_CONF.format(folder=self.folder, control=self.control, port=self.port, name=self.name,
                                 auth=method, group="AuthGroup1" if self.account else "None", block_size=block_size)
        conf += "".join("  LUN%d Storage %s Auto\n" % (lun, spec["path"]) for lun, spec in self.luns.items())
        self._spawn(["istgt", "-D", "-c", self._write("conf", conf)])
        self._await(self.listening)
        return self


class Proxy:
    """A portal in front of another one. hole() makes it swallow what comes from then on in both directions and still
    accept connections (a network that drops packets); open() lets new connections through, cut() ends the present
    ones."""

    def __init__(self, port):
        self.upstream, self.port = port, free_port()
        self.script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "proxy.py")
        self.proc = None

    def start(self):
        self.proc = subprocess.Popen(["python3", self.script, str(self.port), str(self.upstream)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        assert self.proc.stdout.readline().strip() == "ready"
        return self

    def _say(self, word):
        self.proc.stdin.write(word + "\n")
        assert self.proc.stdout.readline().strip() == word

    def hole(self):
        self._say("hole")

    def open(self):
        self._say("open")

    def cut(self):
        self._say("cut")

    def stop(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.stop()
