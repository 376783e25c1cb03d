#!/usr/bin/python3
"""offlinetok export, import, backup, restore: nobody is logged out, damaged files change nothing, and what is ended
midway leaves nothing behind (S3, S4)."""

import base64
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import tool
from tool import DECLINED, INTERRUPTED, REALM, REFUSED, TROUBLE, USAGE


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def many_records(n):
    """A file of so many records of one kind, which no server wrote: what moves them does not look inside."""
    lines = ['{"format":"offlinetok-records","version":1}\n']
    for i in range(n):
        record = {"id": base64url(i.to_bytes(16, "big")), "kind": 4, "version": "1", "created_us": str(i)}
        record |= {"sweep_us": "0", "keys": [f"1 {base64url(bytes(16))}"], "links": [], "realm": REALM}
        record |= {"subject": "", "client": "", "head": "", "body": base64url(bytes(40))}
        lines.append(json.dumps(record, separators=(",", ":")) + "\n")
    text = "".join(lines).encode()
    return text + f'{{"records":{n},"sha256":"{hashlib.sha256(text).hexdigest()}"}}\n'.encode()


class Moves(tool.Case):
    def setUp(self):
        super().setUp()
        self.file = self.folder / "records.jsonl"
        self.other = self.folder / "other"

    def give_keyring(self, folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        shutil.copy2(self.store / "keyring.json", folder / "keyring.json")

    def test_from_a_store_in_use_to_a_file_to_another_store_with_every_token(self):
        server = self.host()
        tokens = [token for _, token in server.issue(count=40)]
        ((revoked, dead),) = server.issue("bob")
        self.run_it("revoke", revoked)
        server.consent("alice", "phone", "openid")
        records = self.json_of("export", "--output", self.file)["records"]
        self.assertGreater(records, 40)
        self.assertEqual(len(self.file.read_text().splitlines()), records + 2)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.json_of("import", self.file, store=self.other)["inserted"], records)
        self.give_keyring(self.other)
        moved = self.host(self.other)
        for token in tokens:
            self.assertEqual(moved.refresh(token)[0], "OTOK_OK")
        self.assertEqual(moved.refresh(dead)[0], "OTOK_E_TOKEN_UNKNOWN")
        self.assertEqual(self.json_of("check", store=self.other)["findings"], 0)
        moved.close()

        # and back, over a pipe, with what has changed meanwhile
        lines = self.run_it("export", store=self.other).out
        server.close()
        said = self.json_of("import", "-", "--mode", "mirror", "--yes", given=lines)
        self.assertEqual(said["records"], said["inserted"] + said["replaced"] + said["same"])
        again = self.host()
        for token in tokens:
            self.assertEqual(again.refresh(token)[0], "OTOK_OK")

    def test_an_export_of_what_was_imported_is_the_same(self):
        self.host().issue(count=300)
        first = self.run_it("export").out
        self.run_it("import", "-", store=self.other, given=first)
        self.assertEqual(self.run_it("export", store=self.other).out, first)
        self.run_it("export", "-o", self.file)
        self.assertEqual(self.file.read_text(), first)

    def test_two_exports_to_one_file_do_not_name_each_others_halves(self):
        self.host().issue(count=20)
        beside = self.folder / (self.file.name + ".offlinetok")
        with beside.open("w") as other:  # as another export has it
            other.write("half")
            other.flush()
            fcntl.flock(other, fcntl.LOCK_EX)
            self.assertIn("another", self.run_it("export", "-o", self.file, expect=TROUBLE).err)
            self.assertFalse(self.file.exists())
            self.assertEqual(beside.read_text(), "half")
        self.run_it("export", "-o", self.file)  # that one was killed
        self.assertFalse(beside.exists())
        self.run_it("import", "-n", self.file, store=self.other)

    def test_an_export_takes_the_place_of_files_only(self):
        self.host().issue(count=2)
        link, pipe, real = (self.folder / name for name in ("link", "pipe", "real"))
        real.write_text("mine")
        link.symlink_to(real)
        os.mkfifo(pipe)
        for path in (link, pipe):
            self.assertIn("no file", self.run_it("export", "-o", path, expect=TROUBLE).err)
        self.assertTrue(link.is_symlink() and pipe.is_fifo())
        self.assertEqual(real.read_text(), "mine")

    def test_of_two_restores_into_one_folder_the_second_waits_for_nobody(self):
        self.host().issue(count=2)
        self.run_it("backup", self.folder / "copy")
        self.give_keyring(self.other)
        folder = os.open(self.other, os.O_RDONLY)  # as another restore has it
        fcntl.flock(folder, fcntl.LOCK_EX)
        said = self.run_it("restore", self.folder / "copy", "--yes", store=self.other, expect=TROUBLE).err
        self.assertIn("another restore", said)
        os.close(folder)
        self.run_it("restore", self.folder / "copy", "--yes", store=self.other)

    def test_modes(self):
        server = self.host()
        server.issue(count=5)
        self.run_it("cutoff", "--client", "tv", "--at", "-3d")
        self.run_it("export", "--output", self.file)
        self.run_it("import", self.file, store=self.other)
        (late,) = server.issue("bob")
        gone = self.json_of("list", "--subject", "alice")["sessions"][0]["session_id"]
        self.run_it("revoke", gone)
        self.run_it("cutoff", "--client", "tv", "--at", "-2d")
        self.run_it("export", "--output", self.file)
        before = self.run_it("export", store=self.other).out
        dry = self.json_of("import", self.file, "--mode", "mirror", "--dry-run", store=self.other)
        self.assertTrue(dry["dry_run"])
        self.assertEqual((dry["replaced"], dry["removed"]), (1, 1))
        self.assertEqual(self.run_it("export", store=self.other).out, before)
        self.run_it("import", self.file, "--mode", "mirror", store=self.other, expect=DECLINED)
        self.assertEqual(self.run_it("export", store=self.other).out, before)
        self.run_it("import", self.file, store=self.other, expect=TROUBLE)  # add: some are there otherwise
        done = self.json_of("import", self.file, "--mode", "mirror", "--yes", store=self.other)
        for count in ("records", "inserted", "replaced", "removed", "same"):
            self.assertEqual(done[count], dry[count], count)
        self.assertEqual(self.json_of("count", "--subject", "bob", store=self.other, *self.keys())["records"], 1)
        self.run_it("import", self.file, "--mode", "merge", expect=USAGE)
        self.assertEqual(len(late), 2)

    def keys(self):
        return ("--keyring", str(self.store / "keyring.json"))

    def test_a_question_before_records_are_replaced(self):
        server = self.host()
        server.issue(count=5)
        self.run_it("export", "--output", self.file)
        self.run_it("revoke", "--whole-realm", "--yes")
        screen = self.terminal("import", self.file, "--mode", "mirror", answer="n", expect=DECLINED)
        self.assertIn("replaces", screen)
        self.terminal("import", self.file, "--mode", "mirror", answer="y")
        self.assertEqual(self.json_of("count")["records"], 5)

    def test_a_damaged_file_changes_nothing(self):
        self.host().issue(count=20)
        self.run_it("export", "--output", self.file)
        whole = self.file.read_bytes()
        lines = whole.splitlines(keepends=True)
        damages = {
            "cut off": (whole[: len(whole) // 2], "line"),
            "no last line": (b"".join(lines[:-1]), "line"),
            "two lines swapped": (b"".join(lines[:5] + [lines[6], lines[5]] + lines[7:]), "line 7"),
            "a line less": (b"".join(lines[:5] + lines[6:]), "records"),
            "a bit": (whole.replace(b'"created_us":"1', b'"created_us":"2', 1), "SHA-256"),
            "carriage returns": (whole.replace(b"\n", b"\r\n"), "line 1"),
            "more behind": (whole + b"\n", "follows"),
            "something else": (b"hello\n", "line 1"),
            "nothing": (b"", "line 0"),
        }
        for name, (data, said) in damages.items():
            with self.subTest(name):
                self.file.write_bytes(data)
                self.assertIn(said, self.run_it("import", self.file, store=self.other, expect=TROUBLE).err)
                self.assertFalse((self.other / "store").exists(), "a store was made")
        self.run_it("import", self.folder / "nowhere", store=self.other, expect=TROUBLE)
        self.assertFalse(self.other.exists())
        self.run_it("import", self.folder, store=self.other, expect=TROUBLE)

    def test_what_cannot_be_written_leaves_nothing(self):
        self.host().issue(count=200)
        self.run_it("export", "--output", self.folder / "nowhere" / "file", expect=TROUBLE)
        self.file.mkdir()
        self.run_it("export", "--output", self.file, expect=TROUBLE)
        self.assertEqual([p.name for p in self.folder.iterdir() if ".offlinetok" in p.name], [])
        with open("/dev/full", "w") as full:
            done = subprocess.run(self.arguments(["export"], None), stdout=full, stderr=subprocess.PIPE, env=self.env)
        self.assertEqual(done.returncode, TROUBLE)
        self.assertIn("No space", done.stderr.decode())
        self.assertIn("pipe", self.terminal("export", expect=USAGE))  # not onto a terminal

    def test_an_export_touches_no_file_of_others(self):
        self.host().issue()
        others = [self.folder / name for name in ("records.jsonl.new", "records.jsonl~", "records.jsonl.tmp")]
        for path in others:
            path.write_text("mine\n")
        self.run_it("export", "--output", self.file)
        self.assertEqual([path.read_text() for path in others], ["mine\n"] * len(others))

    def test_an_export_replaces_its_file_only_when_it_is_whole(self):
        self.host().issue(count=3000)
        self.file.write_text("the one before\n")
        process = subprocess.Popen(self.arguments(["export", "--output", self.file], None), env=self.env,
                                   stderr=subprocess.PIPE)
        new = self.folder / "records.jsonl.offlinetok"
        ends = time.monotonic() + 30
        while not new.exists() and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.0005)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1].decode()
        if process.returncode == INTERRUPTED:  # it may have been faster
            self.assertIn("interrupted", error)
            self.assertEqual(self.file.read_text(), "the one before\n")
        else:  # even so much that the signal met it on its way out
            self.assertIn(process.returncode, (0, -signal.SIGINT), error)
            self.run_it("import", self.file, "--dry-run")
        self.assertFalse(new.exists())

    def test_an_import_that_is_interrupted_is_begun_again(self):
        self.host().issue(count=3000)
        self.run_it("export", "--output", self.file)
        lines = self.file.read_text()
        process = subprocess.Popen(self.arguments(["import", "-"], self.other), env=self.env, stdin=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        half = lines.index("\n", len(lines) * 3 // 4) + 1
        process.stdin.write(lines[:half])
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        error = process.stderr.read()
        process.stderr.close()
        self.assertIn(process.wait(60), (INTERRUPTED, TROUBLE, -signal.SIGINT), error)
        done = self.json_of("import", self.file, store=self.other)
        self.assertEqual(done["records"], done["inserted"] + done["same"])
        self.assertEqual(self.run_it("export", store=self.other).out, lines)

    def test_progress_on_a_terminal_and_ctrl_c(self):
        self.file.write_bytes(many_records(250000))  # nothing is said of work of a third of a second
        screen = self.terminal("import", self.file, store=self.other, interrupt_at="importing", expect=INTERRUPTED)
        self.assertIn("%", screen)
        self.assertIn("interrupted", screen)
        left = self.json_of("check", store=self.other)
        self.assertEqual(left["findings"], 0)
        self.assertLess(left["records"], 250000)
        self.assertIn("reading", self.terminal("import", self.file, "--dry-run", store=self.other))
        quiet = self.terminal("import", self.file, "--dry-run", "--quiet", store=self.other)
        self.assertNotIn("reading", quiet)

    def test_what_is_killed_is_begun_again(self):
        self.file.write_bytes(many_records(6000))
        for after_s in (0.01, 0.05, 0.1, 0.2, 0.4):
            process = subprocess.Popen(self.arguments(["import", self.file], self.other), env=self.env,
                                       stdout=subprocess.DEVNULL)
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if (self.other / "store" / "data.mdb").exists():
                self.assertEqual(self.json_of("check", store=self.other)["findings"], 0)
        done = self.json_of("import", self.file, store=self.other)
        self.assertEqual((done["records"], done["inserted"] + done["same"]), (6000, 6000))

    # ---- Backup and restore ----

    def test_a_backup_of_a_store_in_use_is_restored(self):
        server = self.host()
        kept, ended = server.issue(count=2)
        backup = self.folder / "backup"
        self.assertEqual(self.json_of("backup", backup)["directory"], str(backup))
        self.assertEqual(backup.stat().st_mode & 0o777, 0o700)
        self.run_it("revoke", ended[0])
        self.run_it("backup", backup, expect=REFUSED)  # it is there
        self.assertEqual(self.json_of("check", store=backup, *self.keys())["findings"], 0)

        self.give_keyring(self.other)
        self.run_it("restore", backup, store=self.other, expect=DECLINED)
        self.assertFalse((self.other / "store").exists())
        screen = self.terminal("restore", backup, answer="y", store=self.other)
        self.assertIn("--end-all", screen)
        restored = self.host(self.other)
        self.assertEqual(restored.refresh(kept[1])[0], "OTOK_OK")
        self.assertEqual(restored.refresh(ended[1])[0], "OTOK_OK")  # what it was asked about
        self.run_it("restore", backup, "--yes", store=self.other, expect=TROUBLE)  # there is a store

    def test_a_restore_can_end_all(self):
        server = self.host()
        sessions = server.issue(count=3)
        backup = self.folder / "backup"
        self.run_it("backup", backup)
        self.run_it("restore", backup, "--end-all", "--yes", store=self.other, expect=TROUBLE)  # without a keyring
        self.assertFalse((self.other / "store").exists())
        self.give_keyring(self.other)
        said = self.json_of("restore", backup, "--end-all", "--yes", store=self.other)
        self.assertEqual((said["sessions"], said["ended"]), (3, True))
        restored = self.host(self.other)
        for _, token in sessions:
            self.assertEqual(restored.refresh(token)[0], "OTOK_E_TOKEN_REVOKED")
        self.assertEqual(restored.refresh(restored.issue()[0][1])[0], "OTOK_OK")

    def test_a_restore_ends_all_in_every_realm(self):
        realms = (REALM, "https://other.example.org")
        tokens = []
        for realm in realms:
            with tool.Host(self.store, realm) as server:
                tokens.append(server.issue()[0][1])
        self.run_it("backup", self.folder / "backup")
        self.give_keyring(self.other)
        self.run_it("restore", self.folder / "backup", "--end-all", "--yes", store=self.other)
        for realm, token in zip(realms, tokens):
            with tool.Host(self.other, realm) as server:
                self.assertEqual(server.refresh(token)[0], "OTOK_E_TOKEN_REVOKED")

    def test_a_backup_where_a_restore_is_made_is_left_alone(self):
        server = self.host()
        _, token = server.issue()[0]
        backup = self.other / "store.restored"
        self.give_keyring(self.other)
        self.run_it("backup", backup)
        self.assertIn("another name", self.run_it("restore", backup, "--yes", store=self.other, expect=TROUBLE).err)
        named = self.folder / "named"
        backup.rename(named)
        self.run_it("restore", named, "--yes", store=self.other)
        self.assertEqual(self.host(self.other).refresh(token)[0], "OTOK_OK")

    def test_what_is_no_backup_is_not_restored(self):
        for folder in (self.folder / "nowhere", self.folder):
            self.run_it("restore", folder, "--yes", store=self.other, expect=TROUBLE)
            self.assertFalse((self.other / "store").exists())
        self.run_it("restore", self.folder, "--yes", store="memory:", expect=USAGE)


if __name__ == "__main__":
    sys.exit(tool.run())
