# SPDX-License-Identifier: Apache-2.0
# time-limit: 240
"""docs/using.md is true: every ```sh block is run, in order, in one shell, and must succeed; a plain block behind one is
what it prints ("…" stands for anything within a line). Nothing of the machine changes: the folders that the commands
name are mounted over in a mount namespace of the test's own (the installation goes to DESTDIR). The LUNs' urls, and
nothing else, are replaced: by files."""

import errno
import filecmp
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from fsbase import LIMIT, MIB, SLOWER, program

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUIDE = os.path.join(TOP, "docs", "using.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
URL = re.compile(r"iscsi://[0-9.:]+/iqn[^/]*:(\w+)/\d+")
MARK = "===== block %d ====="

# Each command of a block is one of `set -e`; what fails shows its line and why the tree refused it.
HEAD = """set -eE
trap 'cd /; umount -l /mnt/replica 2>/dev/null || true' EXIT
trap 'echo "failed: $BASH_COMMAND" >&2; cat /mnt/replica/last_status >&2' ERR
"""


class Block:
    def __init__(self, number, command, printed):
        self.number, self.command, self.printed = number, command, printed


def blocks():
    with open(GUIDE, encoding="utf-8") as f:
        text = f.read()
    found, last_end = [], -1
    for match in BLOCK.finditer(text):
        if match.group(1) == "sh":
            found.append(Block(len(found), match.group(2), ""))
        elif match.start() == last_end + 1:
            found[-1].printed = match.group(2)
        else:
            raise AssertionError("a block that no command stands above: " + match.group(2))
        last_end = match.end()
    return found


class Guide(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.tmp = tempfile.mkdtemp(prefix="f")
        self.addCleanup(shutil.rmtree, self.tmp, True)
        self.blocks = blocks()

    def folder(self, name):
        path = os.path.join(self.tmp, name)
        os.makedirs(path)
        return path

    def run_there(self, script, binds):
        """The script, where each path of `binds` shows what is ours."""
        lines = ["set -e"] + ["mount --bind '%s' '%s'" % (ours, there) for there, ours in binds.items()]
        path = os.path.join(self.tmp, "script")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n" + HEAD + script)
        return self.bash(["unshare", "-m", "bash", path], self.tmp)

    def bash(self, argv, cwd, **environment):
        try:
            return subprocess.run(argv, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True,
                                  timeout=3 * LIMIT * SLOWER, check=False)
        except subprocess.TimeoutExpired as err:
            self.fail("did not end; so far: %s %s" % (err.stdout, err.stderr))

    def test_install(self):
        clone, root = self.folder("clone"), self.folder("root")
        for name in ("fs", "replica", "tests", "meson.build", "meson_options.txt"):
            there, here = os.path.join(TOP, name), os.path.join(clone, name)
            if os.path.isdir(there):
                shutil.copytree(there, here)
            else:
                shutil.copy(there, here)
        got = self.bash(["bash", "-ec", self.blocks[0].command], clone, DESTDIR=root)
        self.assertEqual(got.returncode, 0, got.stdout[-2000:] + got.stderr)
        installed = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
        self.assertEqual(installed, [root + "/usr/local/bin/replicafs"])
        got = self.bash([installed[0], "--version"], clone)
        self.assertTrue(got.stdout.startswith("replicafs "), got.stdout)

    def lun(self, name):
        """A LUN of the guide as a file; one that is offline there is none."""
        path = os.path.join(self.tmp, "luns", name)
        if name != "later" and not os.path.exists(path):
            with open(path, "wb") as f:
                if name == "db":
                    f.write(os.urandom(16 * MIB))
                f.truncate(16 * MIB)
        return "file:" + path

    def printed_as_said(self, printed):
        for block in self.blocks[1:]:
            got = printed.split(MARK % block.number + "\n")[1].split("=====")[0]
            wanted = "".join(".*" if piece == "…" else re.escape(piece) for piece in re.split("(…)", block.printed))
            if not re.fullmatch(wanted, got):
                self.assertEqual(got, block.printed, "block: " + block.command)

    def test_use(self):
        binds = {"/usr/local/bin": self.folder("bin"), "/mnt": self.folder("mnt"), "/var/lib": self.folder("lib"),
                 "/root": self.folder("root"), "/etc/fstab": os.path.join(self.tmp, "fstab")}
        with open(binds["/etc/fstab"], "w", encoding="ascii"):
            pass
        self.folder("luns")
        shutil.copy(program(), binds["/usr/local/bin"])
        script = "".join("echo '%s'\n%s" % (MARK % block.number, block.command) for block in self.blocks[1:])
        script = URL.sub(lambda match: self.lun(match.group(1)), script)
        self.assertNotIn("iscsi:", script)
        got = self.run_there(script, binds)
        self.assertEqual((got.returncode, got.stderr), (0, self.refusals(got.stderr)), got.stdout)
        self.printed_as_said(got.stdout)
        self.assertTrue(filecmp.cmp(*(os.path.join(self.tmp, "luns", name) for name in ("db", "copy")), shallow=False))
        self.assertEqual(os.stat(os.path.join(binds["/var/lib"], "replicafs")).st_mode & 0o777, 0o700)

    @staticmethod
    def refusals(stderr):
        """Only what the guide itself has refused (behind a `||`) may have been said."""
        return "".join(line for line in stderr.splitlines(True) if os.strerror(errno.EBUSY) in line)


class Words(unittest.TestCase):
    def test_return_values(self):
        """The table has every return value, with its text and errno."""
        with open(GUIDE, encoding="utf-8") as f:
            rows = [line.split("|")[1:4] for line in f if re.match(r"\| [\d, ]+ \|", line)]
        table = {number.strip(): (text, code.strip()) for numbers, text, code in rows for number in numbers.split(",")}
        with open(os.path.join(TOP, "replica", "base", "rv.def"), encoding="utf-8") as f:
            values = re.findall(r'^RV\(\w+, (\d+), (\w+), "(.*)"\)$', f.read(), re.M)
        self.assertEqual(sorted(table), sorted(number for number, _, _ in values))
        for number, code, text in values:
            self.assertIn(text, table[number][0])
            self.assertEqual(code if code != "0" else "none", table[number][1], number)

    def test_length(self):
        with open(GUIDE, encoding="utf-8") as f:
            lines = f.read().splitlines()
        self.assertLessEqual(len(lines), 280)


if __name__ == "__main__":
    unittest.main()
