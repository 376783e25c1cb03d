#!/usr/bin/python3
"""offlinetok list, show, count, revoke, cutoff, consents, subject, erase: beside a host that has the store open (B6)."""

import sys
import time

import tool
from tool import DECLINED, NONE, REALM, REFUSED, TROUBLE, USAGE


class Sessions(tool.Case):
    def setUp(self):
        super().setUp()
        self.server = self.host()

    def test_a_list_shows_what_was_issued(self):
        made = self.server.issue(label="Alice's phone") + self.server.issue("bob", "tv", count=2)
        listed = self.json_of("list")
        self.assertEqual({s["session_id"] for s in listed["sessions"]}, {id for id, _ in made})
        alice = next(s for s in listed["sessions"] if s["subject"] == "alice")
        self.assertEqual(alice["label"], "Alice's phone")
        self.assertEqual((alice["client_id"], alice["state"], alice["kind"]), ("phone", "live", "offline"))
        self.assertEqual(alice["scope"], "offline_access files.read")
        self.assertLess(abs(alice["started_us"] / 1e6 - time.time()), 60)
        self.assertIsNone(listed["next_cursor"])
        table = self.run_it("list").out.splitlines()
        self.assertEqual(len([line for line in table if "bob" in line.split()]), 2)  # a word: ids are random

    def test_filters(self):
        self.server.issue("alice", "phone", count=2)
        self.server.issue("alice", "tv")
        self.server.issue("bob", "phone", kind="login")
        rows = [
            (("--subject", "alice"), 3),
            (("--client", "phone"), 3),
            (("--subject", "alice", "--client", "phone"), 2),
            (("--sid", "sso-1"), 1),
            (("--whole-realm",), 4),
            ((), 4),
            (("--subject", "nobody"), 0),
        ]
        for words, n in rows:
            with self.subTest(words=words):
                self.assertEqual(len(self.json_of("list", *words)["sessions"]), n)
                self.assertEqual(self.json_of("count", *words)["records"], n)
                self.assertEqual(self.json_of("count", "--live", *words)["live"], n)
                self.assertEqual(self.run_it("count", *words).out.strip(), str(n))

    def test_pages_are_all_of_it_once_each(self):
        made = {id for id, _ in self.server.issue(count=25)}
        for order in ("newest", "oldest"):
            seen, cursor, pages = [], None, 0
            while pages == 0 or cursor:
                page = self.json_of("list", "--limit", 10, "--order", order, *(["--cursor", cursor] if cursor else []))
                seen += [s["session_id"] for s in page["sessions"]]
                cursor, pages = page["next_cursor"], pages + 1
            self.assertEqual((len(seen), set(seen)), (25, made))
            whole = [s["session_id"] for s in self.run_it("list", "--all", "--json", "--order", order).lines]
            self.assertEqual(whole, seen)
        self.assertEqual(len(set(seen)), 25)
        first = self.run_it("list", "--limit", 10).out
        self.assertIn("--cursor", first.splitlines()[-1])
        self.run_it("list", "--cursor", "nonsense", expect=USAGE)

    def test_show(self):
        ((id, token),) = self.server.issue()
        self.assertEqual(self.server.refresh(token)[0], "OTOK_OK")
        shown = self.json_of("show", id)
        self.assertEqual((shown["session_id"], shown["realm"], shown["subject"]), (id, REALM, "alice"))
        self.assertEqual(shown["max_expires_us"], str(2**63 - 1))  # beyond 2^53: a text
        words = self.run_it("show", id).out
        self.assertIn(id, words)
        self.assertRegex(words, r"20\d\d-\d\d-\d\d")  # absolute, and
        self.assertRegex(words, r"ago|just now|now")  # relative
        self.run_it("show", "AAAAAAAAAAAAAAAAAAAAAA", expect=NONE)
        self.run_it("show", "not-an-id", expect=REFUSED)
        self.run_it("show", expect=USAGE)

    def test_revoking_ends_what_was_named_and_nothing_else(self):
        sessions = self.server.issue(count=3)
        said = self.json_of("revoke", sessions[0][0])
        self.assertEqual((said["revoked"], said["not_found"]), ([sessions[0][0]], []))
        self.assertEqual(self.server.refresh(sessions[0][1])[0], "OTOK_E_TOKEN_UNKNOWN")
        self.assertEqual(self.server.refresh(sessions[1][1])[0], "OTOK_OK")
        self.run_it("revoke", sessions[0][0], expect=NONE)
        self.run_it("revoke", sessions[1][0], sessions[2][0], expect=DECLINED)  # no terminal to ask on
        self.assertEqual(self.server.refresh(sessions[2][1])[0], "OTOK_OK")
        self.run_it("revoke", sessions[1][0], "AAAAAAAAAAAAAAAAAAAAAA", sessions[2][0], "--yes", expect=NONE)
        self.assertEqual(self.json_of("count", "-r", REALM)["records"], 0)

    def test_revoking_by_filter_asks_unless_it_is_one(self):
        alice, bob = self.server.issue("alice", count=3), self.server.issue("bob")
        self.run_it("revoke", "--subject", "alice", expect=DECLINED)
        for _, token in alice:
            self.assertEqual(self.server.refresh(token)[0], "OTOK_OK")
        self.assertEqual(self.json_of("revoke", "--subject", "bob")["revoked"], 1)
        self.assertEqual(self.json_of("revoke", "--subject", "alice", "--yes")["revoked"], 3)
        self.assertNotEqual(self.server.refresh(bob[0][1])[0], "OTOK_OK")
        self.assertEqual(self.json_of("revoke", "--subject", "alice", "--yes", "-r", REALM)["revoked"], 0)
        self.run_it("revoke", expect=USAGE)
        self.run_it("revoke", "--subject", "x", "AAAAAAAAAAAAAAAAAAAAAA", expect=USAGE)
        self.run_it("revoke", "--sid", "s", "--client", "c", expect=USAGE)

    def test_questions_on_a_terminal(self):
        self.server.issue(count=3)
        for answer in ("n", "", "no", "yes please", "nyy"):
            screen = self.terminal("revoke", "--subject", "alice", answer=answer, expect=DECLINED)
            self.assertIn("3 sessions", screen)
            self.assertIn("nothing was done", screen)
        self.assertEqual(self.json_of("count")["records"], 3)
        self.terminal("revoke", "--subject", "alice", answer="y")
        self.assertEqual(self.json_of("count", "-r", REALM)["records"], 0)
        self.server.issue(count=2)
        self.assertNotIn("[y/N]", self.terminal("revoke", "--subject", "alice", "--yes"))
        self.server.issue()
        self.assertNotIn("[y/N]", self.terminal("revoke", "--subject", "alice"))  # it is one

    def test_cutoffs(self):
        ((_, token),) = self.server.issue("alice")
        self.server.issue("bob")
        self.assertIsNone(self.json_of("cutoff", "--subject", "alice", expect=NONE)["effective_us"])
        before = time.time()
        said = self.json_of("cutoff", "--subject", "alice", "--at", "now")["effective_us"]
        self.assertGreaterEqual(said, int(before * 1e6) - 1000000)
        self.assertEqual(self.json_of("cutoff", "--subject", "alice")["effective_us"], said)
        self.assertEqual(self.server.refresh(token)[0], "OTOK_E_TOKEN_REVOKED")
        self.assertEqual(self.json_of("cutoff", "--client", "tv", "--at", "-3d")["effective_us"] // 86400000000,
                         int((time.time() - 3 * 86400) // 86400))
        at = self.json_of("cutoff", "--client", "x", "--at", "2026-01-02T03:04:05Z")["effective_us"]
        self.assertEqual(at, 1767323045000000)
        at = self.json_of("cutoff", "--client", "y", "--at", "@1700000000")["effective_us"]
        self.assertEqual(at, 1700000000000000)
        for wrong in ("tomorrow", "2026-13-01T00:00:00Z", "3d", "-3", "@x", "2026-02-30", "@99999999999999999999"):
            self.run_it("cutoff", "--client", "x", "--at", wrong, expect=USAGE)
        self.run_it("cutoff", "--at", "now", expect=USAGE)  # of whom?
        self.run_it("cutoff", "--client", "x", "--at", "2999-01-01T00:00:00Z", expect=USAGE)

    def test_consents(self):
        self.server.consent("alice", "phone", "openid files.read")
        self.server.consent("bob", "phone", "openid")
        self.server.issue("alice")
        listed = self.json_of("consents")["consents"]
        self.assertEqual({(c["subject"], c["client_id"], c["scope"]) for c in listed},
                         {("alice", "phone", "openid files.read"), ("bob", "phone", "openid")})
        self.assertEqual(len(self.json_of("consents", "--subject", "alice")["consents"]), 1)
        self.assertEqual(len(self.json_of("consents", "--subject", "alice", "--client", "tv")["consents"]), 0)
        self.assertIn("files.read", self.run_it("consents").out)
        self.run_it("consents", "revoke", "--subject", "alice", expect=USAGE)
        said = self.json_of("consents", "revoke", "--subject", "alice", "--client", "phone")
        self.assertEqual(said["revoked"], 1)
        self.assertEqual(len(self.json_of("consents", "-r", REALM)["consents"]), 1)

    def test_everything_about_a_subject_and_its_erasure(self):
        self.server.consent("alice", "phone", "openid")
        self.server.issue("alice", count=2)
        ((_, token),) = self.server.issue("bob")
        held = self.run_it("subject", "alice").json
        self.assertEqual(len(held["sessions"]), 2)
        self.run_it("erase", "--subject", "alice", expect=DECLINED)
        self.assertEqual(len(self.run_it("subject", "alice").json["sessions"]), 2)
        self.assertGreaterEqual(self.json_of("erase", "--subject", "alice", "--yes")["erased"], 3)
        self.assertEqual(self.run_it("subject", "alice", "-r", REALM).json["sessions"], [])
        self.assertEqual(self.server.refresh(token)[0], "OTOK_OK")
        self.run_it("erase", expect=USAGE)
        self.run_it("erase", "--subject", "a", "--client", "b", expect=USAGE)
        self.terminal("erase", "--client", "phone", answer="y")
        self.assertEqual(self.json_of("count", "-r", REALM)["records"], 0)

    def test_policies_decide_what_lives(self):
        self.server.issue()
        policy = self.folder / "policy.json"
        policy.write_text('{"default":{"idle_timeout_s":1},"clients":{"tv":{"idle_timeout_s":1000}}}')
        self.server.issue(client="tv")
        time_out = time.monotonic() + 20
        while self.json_of("count", "--live", "--policy", policy)["live"] != 1 and time.monotonic() < time_out:
            pass
        self.assertEqual(self.json_of("count", "--live", "--policy", policy)["live"], 1)
        self.assertEqual(self.json_of("count", "--live")["live"], 2)  # by those of the library
        for wrong in ("{", "[]", '{"default":{"idle_timeout":1}}', '{"default":{"idle_timeout_s":-1}}',
                      '{"default":{"idle_timeout_s":"1"}}', '{"more":{}}'):
            policy.write_text(wrong)
            self.assertIn("policy", self.run_it("count", "--live", "--policy", policy, expect=TROUBLE).err)
        self.run_it("count", "--policy", self.folder / "nowhere", expect=TROUBLE)


class Escapes(tool.Case):
    """What comes from records does nothing to a terminal: Case.seen() looks at every answer."""

    names = ["\u202egnp.exe", "\u200b", "\u2028", "a\u0301\u0327", "\U0001f511\U0001f511", "\u4f60\u597d",
             "'; rm -rf /", "%s%n", "-x", "\u2066x", "\ufeff"]

    def test_labels_and_names(self):
        server = self.host()
        for name in self.names:
            server.issue(subject=name, label=name)
        listed = self.json_of("list", "--limit", 100)["sessions"]
        self.assertEqual({s["label"] for s in listed}, set(self.names))
        self.assertEqual({s["subject"] for s in listed}, set(self.names))
        name = self.names[0]
        for words in (("list",), ("stats",), ("count", "--subject", name), ("list", "--subject", name)):
            said = self.run_it(*words)
            for character in "\u202e\u2028\u2066":
                self.assertNotIn(character, said.out + said.err)
        for session in listed:
            said = self.run_it("show", session["session_id"]).out
            for character in "\u202e\u2028\u2066":
                self.assertNotIn(character, said)
            self.assertNotIn("\u202e", self.terminal("show", session["session_id"]))

    def test_what_is_wrong_on_the_command_line_is_escaped_too(self):
        for words in (("\x1b[31m",), ("list", "--order=\x1b[31m"), ("show", "\x1b[31m"), ("import", "\x1b[2J"),
                      ("keys", "\x1b[31m"), ("list", "--order", "\x1b[31m")):
            self.run_it(*words, expect=REFUSED)

    def test_tables_fit_the_terminal(self):
        server = self.host()
        server.issue(subject="a" * 200, client="c" * 200, label="l" * 300, count=3)
        for width in (40, 80, 200):
            for line in self.terminal("list", width=width).splitlines():
                if "--cursor" not in line:
                    self.assertLessEqual(len(line), width, line)
        self.assertIn("a" * 200, self.run_it("list").out)  # never cut when it is no terminal


class Realms(tool.Case):
    def test_several_realms_are_named_and_apart(self):
        server = self.host()
        server.issue("alice")
        self.assertEqual(self.json_of("list")["realm"], REALM)
        server.close()
        with tool.Host(self.store, "https://other.example.org") as other:
            ((id, _),) = other.issue("alice", count=1)
            said = self.run_it("list", expect=USAGE)
            self.assertIn(REALM, said.err)
            self.assertIn("https://other.example.org", said.err)
            listed = self.json_of("list", "--realm", "https://other.example.org")["sessions"]
            self.assertEqual([s["session_id"] for s in listed], [id])
            self.assertEqual(len(self.json_of("list", "-r", REALM)["sessions"]), 1)
            self.assertEqual(len(self.json_of("list", "-r", "https://nowhere.example.org")["sessions"]), 0)
            self.run_it("show", id, "-r", REALM, expect=NONE)
            self.run_it("revoke", id, "-r", REALM, expect=NONE)
            self.assertEqual(self.json_of("check")["findings"], 0)

    def test_a_store_without_sessions_has_no_realm(self):
        self.run_it("init")
        self.assertIn("--realm", self.run_it("list", expect=NONE).err)
        self.assertEqual(self.json_of("list", "-r", REALM)["sessions"], [])


if __name__ == "__main__":
    sys.exit(tool.run())
