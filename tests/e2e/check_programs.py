# SPDX-License-Identifier: MIT
"""The programs of examples/clients, run as their users run them, behind a proxy that loses responses (T2, R8)."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).with_name("support")))

import stack  # noqa: E402

CLIENTS = pathlib.Path(os.environ["OTOK_E2E_SOURCE"], "examples", "clients")


class Programs(stack.StackCase):
    """Each test has a home of its own for the programs."""

    options = {"files": True, "proxy": True}

    def setUp(self):
        home = self.stack.folder / self.id().rpartition(".")[2]
        home.mkdir()
        self.backups = home / "backups"
        self.state = home / "state"
        self.environment = {**self.stack.environment, "CLIENTS_STATE": str(self.state), "BACKUPS": str(self.backups)}

    def start(self, program, *arguments):
        process = subprocess.Popen([sys.executable, str(CLIENTS / program), *arguments], env=self.environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        process.stdout.close()

    def run_program(self, program, *arguments, status=0):
        """What it prints; it must end with that status."""
        process = self.start(program, *arguments)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, status, output)
        self.assertNotRegex(output, r"otr1_|[\w-]{80,}", "a token was printed")
        return output

    def use_browser(self, program, *arguments, user="alice", answer="Allow"):
        """A program that shows a URL: a browser goes there, and its user answers."""
        process = self.start(program, *arguments)
        shown = []
        for line in process.stdout:
            shown.append(line)
            found = re.search(r"https?://\S+\?\S+", line)
            if found:
                break
        else:
            self.fail("".join(shown))
        self.stack.browse(found.group(), user=user, answer=answer, robot=user)
        rest, _ = process.communicate(timeout=60)
        return process.returncode, "".join(shown) + rest

    def connect(self, **options):
        status, output = self.use_browser("backup.py", "connect", "--no-browser", **options)
        self.assertEqual(status, 0, output)

    def token(self, name):
        """What the program has on disk, which nobody else may read."""
        path = self.state / name
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        return json.loads(path.read_text(encoding="utf-8"))["refresh_token"]

    def backups_made(self):
        return sorted(self.backups.iterdir()) if self.backups.exists() else []

    def test_backup_connects_runs_and_disconnects(self):
        self.connect()
        self.run_program("backup.py", "run")
        folder, = self.backups_made()
        self.assertIn("alice", (folder / "welcome.txt").read_text(encoding="utf-8"))
        before = self.token("backup.json")
        self.run_program("backup.py", "disconnect")
        self.assertFalse((self.state / "backup.json").exists())
        self.assertNotEqual(before, "")
        self.run_program("backup.py", "run", status=os.EX_NOPERM)
        self.assertEqual(self.backups_made(), [folder])

    def test_a_user_who_refuses_leaves_the_backup_without_a_token(self):
        status, output = self.use_browser("backup.py", "connect", "--no-browser", answer="Refuse", user="bob")
        self.assertEqual(status, os.EX_NOPERM, output)
        self.assertFalse((self.state / "backup.json").exists())

    def test_two_runs_at_once_use_one_token(self):
        self.connect()
        runs = [self.start("backup.py", "run") for _ in range(2)]
        for run in runs:
            output, _ = run.communicate(timeout=60)
            self.assertEqual(run.returncode, 0, output)
        self.assertEqual(len(self.backups_made()), 2)

    def test_a_lost_response_is_harmless(self):
        """The proxy cuts the connection after the server has answered: the run asks again."""
        self.connect()
        lost = self.stack.call("lost")["lost"]
        self.stack.call("lose", count=2)
        self.run_program("backup.py", "run")
        self.assertEqual(self.stack.call("lost")["lost"], lost + 2)
        self.assertEqual(len(self.backups_made()), 1)

    def test_the_service_account_backs_up_for_itself(self):
        self.run_program("backup.py", "service")
        self.run_program("backup.py", "service")
        self.assertEqual(len(self.backups_made()), 2)
        self.assertTrue(self.token("backup-service.json"))

    def log_in_notes(self, user="alice"):
        status, output = self.use_browser("notes.py", "login", user=user)
        self.assertEqual(status, 0, output)

    def test_notes_stay_logged_in_until_logout(self):
        self.log_in_notes()
        self.assertIn("Alice Archer", self.run_program("notes.py", "whoami"))
        self.run_program("notes.py", "add", "feed the cat")
        self.assertIn("feed the cat", self.run_program("notes.py", "list"))
        self.assertIn(self.stack.issuer, self.run_program("notes.py", "status"))
        copy = self.state / "copy.json"
        shutil.copy(self.state / "notes.json", copy)
        self.run_program("notes.py", "logout")
        shutil.copy(copy, self.state / "notes.json")
        self.run_program("notes.py", "list", status=os.EX_NOPERM)

    def test_a_rotation_whose_response_is_lost_is_harmless(self):
        """A run ends when the server has rotated and the answer was lost: the next one has the old token only (T2)."""
        self.log_in_notes("bob")
        first = self.token("notes.json")

        def rotation_lost():
            before = self.stack.call("lost")
            self.stack.call("lose", count=1000)
            process = self.start("notes.py", "list")
            stack.poll(lambda: self.stack.call("lost")["lost"] > before["lost"])
            self.end(process)
            self.stack.call("lose", count=0)
            return self.stack.call("lost")["tokens"] > before["tokens"]

        stack.poll(rotation_lost)
        self.assertEqual(self.token("notes.json"), first)
        self.run_program("notes.py", "list")
        self.assertNotEqual(self.token("notes.json"), first)
        self.run_program("notes.py", "list")

    def test_many_runs_at_once_share_a_token_that_rotates(self):
        """The lock and the server see to it that a token which rotates is nobody's theft (R6, T3)."""
        self.log_in_notes()
        first = self.token("notes.json")

        def rotated():
            with concurrent.futures.ThreadPoolExecutor() as threads:
                runs = [threads.submit(self.run_program, "notes.py", "list") for _ in range(3)]
            for run in runs:
                run.result()
            return self.token("notes.json") != first

        stack.poll(rotated)
        self.run_program("notes.py", "list")


if __name__ == "__main__":
    stack.main()
