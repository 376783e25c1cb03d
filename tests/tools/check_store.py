#!/usr/bin/python3
"""offlinetok init, sweep, stats, check, outbox, keys, inspect (B6)."""

import os
import re
import subprocess
import sys
import time

import tool
from tool import DECLINED, NONE, REALM, REFUSED, TROUBLE, USAGE


class Stores(tool.Case):
    def test_init_makes_what_a_server_opens(self):
        made = self.json_of("init", "--algorithm", "EdDSA")
        self.assertEqual(made["store"], str(self.store / "store"))
        self.assertEqual(made["keyring"], str(self.store / "keyring.json"))
        self.assertEqual((self.store / "keyring.json").stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.store.stat().st_mode & 0o777, 0o700)
        server = self.host()
        self.assertEqual(server.refresh(server.issue()[0][1])[0], "OTOK_OK")
        algorithms = {k["algorithm"] for k in self.json_of("keys")["keys"] if k["use"] == "signing"}
        self.assertEqual(algorithms, {"EdDSA"})
        before = (self.store / "keyring.json").read_bytes()
        self.run_it("init", expect=TROUBLE)
        self.assertEqual((self.store / "keyring.json").read_bytes(), before)
        self.run_it("init", "--algorithm", "HS256", store=self.folder / "x", expect=USAGE)
        self.assertFalse((self.folder / "x").exists())
        self.run_it("init", store="memory:", expect=USAGE)

    def test_a_store_that_is_not_there_is_not_made(self):
        for words in (("list",), ("check",), ("stats",), ("export",), ("revoke", "--whole-realm", "--yes"),
                      ("sweep", "--default-policy"), ("backup", self.folder / "b"), ("inspect", "x")):
            self.run_it(*words, expect=TROUBLE)
            self.assertFalse(self.store.exists())
        for store in ("", "postgres", "lmdb:", "sqlite:x"):
            self.run_it("list", store=store, expect=USAGE)
        self.run_it("init")
        self.run_it("list", "-r", REALM, store="", env={"OFFLINETOK_STORE": f"lmdb:{self.store}"})

    def test_a_keyring_that_others_can_read_is_refused(self):
        self.host().issue()
        (self.store / "keyring.json").chmod(0o644)
        self.assertIn("keyring", self.run_it("list", expect=TROUBLE).err)
        (self.store / "keyring.json").unlink()
        self.run_it("list", expect=TROUBLE)
        self.assertGreater(self.json_of("check")["records"], 0)  # of that which needs no keys

    def test_sweep_says_by_which_policies(self):
        server = self.host()
        server.issue("alice", count=30)
        (_, token), = server.issue("bob")
        self.run_it("cutoff", "--subject", "alice", "--at", "now", "--yes")
        self.run_it("sweep", expect=USAGE)
        policy = self.folder / "policy.json"
        policy.write_text("{}")
        self.run_it("sweep", "--policy", policy, "--default-policy", expect=USAGE)
        ends, removed = time.monotonic() + 60, 0
        while removed < 30 and time.monotonic() < ends:
            removed += self.json_of("sweep", "--default-policy")["cut_off"]
        self.assertEqual(removed, 30)
        self.assertEqual(self.json_of("count")["records"], 1)
        self.assertEqual(server.refresh(token)[0], "OTOK_OK")
        self.assertIn("behind a cutoff", self.run_it("sweep", "--policy", policy).out)

    def test_stats(self):
        server = self.host()
        server.issue("alice", "phone", count=3)
        server.issue("bob", "tv", count=2)
        self.run_it("cutoff", "--subject", "bob", "--at", "now", "--yes")
        stats = self.json_of("stats")
        self.assertGreater(stats["bytes"], 0)
        clients = {c["client_id"]: c for c in stats["clients"]}
        self.assertEqual(clients["phone"]["live"], 3)
        self.assertEqual((clients["tv"]["sessions"], clients["tv"]["live"], clients["tv"]["revoked"]), (2, 0, 2))
        self.assertIn("phone", self.run_it("stats").out)

    def spoil(self):
        """The format of one record, in the file: see store/lmdb.h."""
        data = self.store / "store" / "data.mdb"
        content = bytearray(data.read_bytes())
        places = [m.start() for m in re.finditer(rb"\x01\x01[\x04-\x06][\x02-\x04]\x18", content)]
        self.assertTrue(places)
        for place in places:
            content[place] = 9
        data.write_bytes(content)

    def test_check(self):
        server = self.host()
        server.issue(count=10)
        whole = self.json_of("check")
        self.assertEqual((whole["findings"], whole["sessions"], whole["realms"]), (0, 10, 1))
        self.assertGreater(whole["index_entries"], 10)
        self.assertIn("The store is whole", self.run_it("check").out)
        self.assertEqual(self.json_of("check", "--repair")["mended"], 0)
        server.close()
        subprocess.run([tool.host_program, "--damage", self.store / "store"], check=True)
        found = self.json_of("check", expect=NONE)
        self.assertEqual((found["findings"], found["mended"]), (whole["index_entries"], 0))
        self.assertEqual(len(found["found"]), found["findings"])
        self.assertIn("--repair", self.run_it("check", expect=NONE).err)
        mended = self.json_of("check", "--repair")
        self.assertEqual(mended["mended"], whole["index_entries"])
        self.assertEqual(self.json_of("check")["findings"], 0)
        self.assertEqual(self.json_of("count")["records"], 10)
        self.spoil()
        found = self.run_it("check", expect=(NONE, TROUBLE))
        self.assertIn("cannot be read", found.out)

    def test_the_outbox_is_read_and_acknowledged(self):
        ids = {id for id, _ in self.host().issue(count=3)}
        events = self.run_it("outbox").lines
        self.assertEqual([e["type"] for e in events], ["issued"] * 3)
        self.assertEqual({e["session_id"] for e in events}, ids)
        self.assertEqual(self.run_it("outbox", "--limit", 1, "--acknowledge").lines, events[:1])
        self.assertEqual(self.run_it("outbox", "--acknowledge").lines, events[1:])
        self.assertEqual(self.run_it("outbox").out, "")

    # ---- Keys ----

    def keys(self, use, *words):
        return [k for k in self.json_of("keys", "list", *words)["keys"] if k["use"] == use]

    def test_keys_rotate_without_a_log_out(self):
        server = self.host()
        ((_, token),) = server.issue()
        (old,) = self.keys("token", "--usage")
        self.assertEqual((old["state"], old["sessions"]), ("active", 1))
        self.run_it("keys", "add", "--use", "token")
        self.run_it("keys", "activate", "--use", "token")
        self.assertEqual(server.refresh(token)[0], "OTOK_OK")
        states = {k["kid"]: k for k in self.keys("token", "--usage")}
        self.assertEqual(states[old["kid"]]["state"], "retired")
        self.assertEqual(states[old["kid"]]["sessions"], 1)
        self.run_it("keys", "drop", "--", old["kid"], expect=DECLINED)
        self.assertIn("1 session", self.terminal("keys", "drop", "--", old["kid"], answer="n", expect=DECLINED))
        self.terminal("keys", "drop", "--", old["kid"], answer="y")
        self.assertEqual(len(self.keys("token")), 1)
        self.run_it("keys", "drop", "--yes", "--", old["kid"], expect=NONE)
        server.close()
        self.assertEqual(self.host().refresh(token)[0], "OTOK_E_TOKEN_INVALID")
        self.assertEqual(self.json_of("check", expect=NONE)["findings"], 1)

    def test_signing_keys(self):
        self.run_it("init")
        self.run_it("keys", "add", "--use", "signing", "--algorithm", "RS256")
        jwks = self.run_it("keys", "jwks").json
        self.assertEqual({k["alg"] for k in jwks["keys"]}, {"ES256", "RS256"})
        for key in jwks["keys"]:
            self.assertFalse({"d", "p", "q", "k"} & key.keys())
        active = next(k for k in self.keys("signing") if k["state"] == "active")
        self.run_it("keys", "drop", "--yes", "--", active["kid"], expect=REFUSED)
        self.assertEqual(len(self.keys("signing")), 2)
        self.run_it("keys", "activate", "--use", "signing")
        self.run_it("keys", "drop", "--", active["kid"])
        self.assertEqual(len(self.keys("signing")), 1)

    def test_keys_apart_from_a_store(self):
        file, apart = self.folder / "keys.json", self.folder / "mac.json"
        self.run_it("keys", "generate", file, "--token-keys", apart, store="")
        self.assertEqual({p.stat().st_mode & 0o777 for p in (file, apart)}, {0o600})
        self.run_it("keys", "generate", file, store="", expect=TROUBLE)
        listed = self.json_of("keys", "--keyring", file, "--token-keys", apart, store="")["keys"]
        self.assertEqual({k["use"] for k in listed}, {"signing", "token"})
        secret = re.search(r'"k": ?"([^"]+)"', apart.read_text()).group(1)
        for words in (("list",), ("jwks",), ("list", "--json")):
            self.assertNotIn(secret, self.run_it("keys", *words, "-k", file, "--token-keys", apart, store="").out)
        for words in ((), ("generate",), ("add",), ("add", "--use", "both"), ("nonsense",), ("drop",), ("list", "x")):
            self.run_it("keys", *words, store="", expect=USAGE)
        self.run_it("keys", "add", "--use", "token", "--algorithm", "ES256", "-k", file, store="", expect=USAGE)
        before = apart.read_bytes()
        file.unlink()  # lost: its MAC keys are what everybody's tokens are under
        self.run_it("init", "-k", file, "--token-keys", apart, expect=TROUBLE)
        self.assertEqual(apart.read_bytes(), before)

    # ---- A token ----

    def test_inspect_never_shows_the_token(self):
        server = self.host()
        ((id, token),) = server.issue()
        said = self.json_of("inspect", "-", given=token + "\n")
        self.assertTrue(said["genuine"])
        self.assertEqual((said["session_id"], said["generation"], said["key_state"]), (id, 0, "active"))
        self.assertEqual(said["session"]["subject"], "alice")
        self.assertIn("alice", self.run_it("inspect", token).out)
        forged = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]
        said = self.json_of("inspect", "-", given=forged, expect=NONE)
        self.assertFalse(said["genuine"])
        self.assertIsNone(said["session"])
        self.run_it("revoke", id)
        said = self.json_of("inspect", "-", "-r", REALM, given=token, expect=NONE)
        self.assertTrue(said["genuine"])
        for wrong in ("nonsense", "otok_AAAA", "x" * 10000, token + "A"):
            self.run_it("inspect", "-", "-r", REALM, given=wrong, expect=NONE)
        self.run_it("inspect", "-", "-r", REALM, given="", expect=USAGE)


class Usage(tool.Case):
    commands = ("init list show count revoke cutoff consents subject erase sweep stats check outbox backup restore "
                "export import keys inspect").split()

    def test_help(self):
        every = self.run_it("help", store="").out
        self.assertEqual(self.run_it("--help", store="").out, every)
        for name in self.commands:
            self.assertRegex(every, rf"(?m)^  {name} ")
            one = self.run_it("help", name, store="").out
            self.assertIn(f"offlinetok {name}", one)
            self.assertEqual(self.run_it(name, "--help", store="").out, one)
        self.assertRegex(self.run_it("--version", store="").out, r"^offlinetok \d+\.\d+\.\d+\n$")
        for line in every.splitlines():
            self.assertLessEqual(len(line), 80, line)

    def test_command_lines_that_are_wrong(self):
        self.run_it("init")
        for words in ((), ("nonsense",), ("list", "--nonsense"), ("list", "x"), ("list", "--limit"), ("show", "a", "b"),
                      ("list", "--limit", "ten"), ("list", "--limit", "-1"), ("list", "--limit", "1001"),
                      ("list", "--order", "best"), ("list", "--repair"), ("check", "--limit", "1"), ("export", "x"),
                      ("import",), ("backup",), ("restore",), ("subject",), ("inspect",), ("help", "nonsense"),
                      ("list", "--subject", ""), ("outbox", "--limit", "100000"), ("consents", "drop")):
            said = self.run_it(*words, "-r", REALM, expect=USAGE)
            self.assertEqual(said.out, "")
            self.assertTrue(said.err)

    def test_options_may_be_anywhere(self):
        self.host().issue()
        name = f"lmdb:{self.store}"
        lines = ("list", "--json", "-s", name), ("-s", name, "list", "-j"), ("--json", "list", f"--store={name}")
        for words in lines:
            self.assertEqual(len(self.run_it(*words, store="").json["sessions"]), 1)

    def test_the_completion_knows_every_command_and_option(self):
        words = self.run_it("--words", store="").out.split()
        self.assertTrue(set(self.commands) <= set(words))
        self.assertIn("--repair", self.run_it("--words", "check", store="").out.split())
        self.assertNotIn("--repair", self.run_it("--words", "list", store="").out.split())

    def test_a_reader_that_goes_away_is_no_trouble(self):
        self.host().issue(count=200)
        pipe = os.popen(f"'{tool.command}' -s 'lmdb:{self.store}' list --all | head -1")
        self.assertTrue(pipe.read())
        self.assertIsNone(pipe.close())


if __name__ == "__main__":
    sys.exit(tool.run())
