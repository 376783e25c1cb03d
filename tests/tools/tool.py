"""What the tests of the command share: a folder of their own for each, the command and what it answers, a host that
issues and refreshes meanwhile, and a terminal.

    check_*.py COMMAND HOST     the paths of offlinetok, and of what host.c makes
"""

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from fcntl import ioctl

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bindings"))
import check  # noqa: E402  (the run that ends with the summary of Check)

DONE, NONE, USAGE, TROUBLE, DECLINED, INTERRUPTED = 0, 1, 2, 3, 4, 130
REFUSED = (NONE, USAGE, TROUBLE)  # one of them
REALM = "https://id.example.org"
PATIENCE_S = 60
command, host_program = None, None


class Host:
    """An identity server that has the store open. What it hands out is never to be seen in an answer of the command."""

    handed_out = set()

    def __init__(self, folder, realm=REALM):
        self.process = subprocess.Popen(
            [host_program, str(folder), realm], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.line() == ["ready"]

    def line(self):
        return self.process.stdout.readline().rstrip("\n").split("\t")

    def say(self, *words):
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()

    def issue(self, subject="alice", client="phone", label="-", kind="offline", count=1):
        """[(session id, token)] of new sessions."""
        self.say("issue", subject, client, label, kind, str(count))
        made = [tuple(self.line()) for _ in range(count)]
        assert all(len(token) == 85 for _, token in made), made
        self.handed_out.update(token for _, token in made)
        return made

    def refresh(self, token, client="phone"):
        """("OTOK_OK", the token that comes back), or (a code, "")."""
        self.say("refresh", client, token)
        code, back = self.line()
        if back:
            self.handed_out.add(back)
        return code, back

    def consent(self, subject, client, scope):
        self.say("consent", subject, client, scope)
        assert self.line() == ["OTOK_OK"]

    def close(self):
        if self.process.poll() is None:
            self.say("end")
            self.process.wait(PATIENCE_S)
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Answer:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        """Of JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="offlinetok-tool-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.store = self.folder / "id"
        self.env = {k: v for k, v in os.environ.items() if k not in ("OFFLINETOK_STORE", "COLUMNS", "LINES")}

    def arguments(self, words, store):
        store = self.store if store is None else store
        where = ["--store", store if isinstance(store, str) else f"lmdb:{store}"] if store else []
        return [command, *where, *map(str, words)]

    def seen(self, answer):
        """Nothing that the command says holds a token, or makes a terminal do anything."""
        for text in (answer.out, answer.err):
            for token in Host.handed_out:
                self.assertNotIn(token[5:], text)
            odd = [c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]
            self.assertEqual(odd, [], text)
        return answer

    def run_it(self, *words, store=None, given="", expect=DONE, env=None):
        """Runs it without a terminal, and checks what it exits with."""
        done = subprocess.run(
            self.arguments(words, store),
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={**self.env, **(env or {})},
            start_new_session=True,
        )
        answer = self.seen(Answer(done.returncode, done.stdout, done.stderr))
        codes = expect if isinstance(expect, tuple) else (expect,)
        self.assertIn(answer.code, codes, f"{words}\n{answer.out}{answer.err}")
        return answer

    def json_of(self, *words, **how):
        return self.run_it(*words, "--json", **how).json

    def host(self, folder=None, realm=REALM):
        host = Host(folder or self.store, realm)
        self.addCleanup(host.close)
        return host

    def terminal(self, *words, answer=None, width=80, expect=DONE, interrupt_at=None, store=None):
        """Runs it in a terminal; types `answer` when it is asked, or Ctrl-C when `interrupt_at` is on the screen. What
        was on the screen, with what a terminal acts upon."""
        pid, fd = pty.fork()
        if pid == 0:  # which sets the size: it may be the first to run for long
            ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
            os.execve(command, self.arguments(words, store), self.env)
        screen, status = self.converse(pid, fd, answer, interrupt_at)
        os.close(fd)
        code = os.waitstatus_to_exitcode(status)
        self.assertEqual(code, expect, screen)
        for token in Host.handed_out:
            self.assertNotIn(token[5:], screen)
        return screen

    def converse(self, pid, fd, answer, interrupt_at):
        screen, ends = b"", time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    piece = os.read(fd, 65536)
                except OSError:  # the other side is closed
                    piece = b""
                if not piece:
                    break
                screen += piece
            if answer is not None and b"[y/N]" in screen:
                os.write(fd, answer.encode() + b"\n")
                answer = None
            if interrupt_at is not None and interrupt_at.encode() in screen:
                os.write(fd, b"\x03")
                interrupt_at = None
        else:
            os.kill(pid, signal.SIGKILL)
        return screen.decode().replace("\r\n", "\n"), os.waitpid(pid, 0)[1]


def run():
    """The tests of the script that is run; the exit status."""
    global command, host_program
    command, host_program = map(os.path.abspath, sys.argv[1:3])
    return check.run(sys.modules["__main__"])
