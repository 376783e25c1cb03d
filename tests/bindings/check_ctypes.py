#!/usr/bin/python3
"""The library from Python's ctypes alone: neither C compiler nor header when it runs (B2).

    check_ctypes.py HEADERS LIBRARY LAYOUT    HEADERS: not looked at. LIBRARY: libofflinetok.so. LAYOUT: as below
    check_ctypes.py HEADERS                   prints the C program whose output is LAYOUT
"""

import ctypes
import json
import sys
import tempfile
import threading
import unittest
from ctypes import POINTER, byref, c_int64, c_uint64, c_void_p, pointer, sizeof

import check
import layout
import offlinetok as c

DAY_US = 86400 * 1000000
library = None
printed = {}


class Failed(Exception):
    """A function did not return OTOK_OK."""

    def __init__(self, code, error):
        super().__init__(f"{library.otok_error_name(code).decode()}: {error.message.decode()}")
        self.code, self.error = code, error


def call(name, *arguments):
    """Calls a function whose last parameter is an otok_error, and raises what it returns."""
    error = c.otok_error()
    code = getattr(library, name)(*arguments, byref(error))
    if code != c.OTOK_OK:
        raise Failed(code, error)


def make(struct, **members):
    """A struct that goes in, by its init function."""
    value = struct()
    getattr(library, f"{struct.__name__}_init")(byref(value), sizeof(value))
    for name, member in members.items():
        setattr(value, name, member)
    return value


class Owned:
    """A struct or object that the library allocated, freed at the end of `with`, or by free()."""

    def __init__(self, struct, free):
        self.pointer, self._free = POINTER(struct)(), free

    def __enter__(self):
        return self.pointer.contents

    def __exit__(self, *exception):
        self.free()

    def free(self):
        getattr(library, self._free)(self.pointer)
        self.pointer = type(self.pointer)()


def out(struct, free, name, *arguments):
    """What a function hands out through its parameter before the last."""
    owned = Owned(struct, free)
    call(name, *arguments, byref(owned.pointer))
    assert owned.pointer, f"{name} returned OTOK_OK and nothing"
    return owned


def text_of(pointer):
    """Text that the library handed out, which is freed."""
    text = ctypes.string_at(pointer.value).decode()
    library.otok_string_free(pointer)
    return text


class Host:
    """A server: its clock, its callbacks, and what it was told. An exception must not leave a callback that is asked
    something: ctypes prints it and returns what was in memory, where 0 would be consent. It is turned into a failure
    here."""

    def __init__(self, open_store, **config):
        self.clock_us = 1_700_000_000 * 1000000
        self.events, self.users = [], []
        self.authorize = lambda use, answer: c.OTOK_OK
        self.client_policy = lambda client_id, policy: None
        # Kept for as long as the service: C holds function pointers into them, and Python does not know.
        self.callbacks = make(
            c.otok_callbacks,
            now=c.now_function(self._now),
            client_policy=c.client_policy_function(self._client_policy),
            event=c.event_function(self._event),
            authorize=c.use_function(self._authorize),
        )
        self.store = open_store()
        self.keyring = out(c.otok_keyring, "otok_keyring_free", "otok_keyring_generate", c.OTOK_ALG_ES256)
        self.config = make(
            c.otok_config,
            issuer=b"https://id.example.org",
            callbacks=ctypes.pointer(self.callbacks),
            user=42,
            outbox_limit=100,
            **config,
        )
        self.service = out(
            c.otok_service,
            "otok_service_close",
            "otok_service_open",
            byref(self.config),
            self.store.pointer,
            self.keyring.pointer,
        )

    def close(self):
        self.service.free()
        self.keyring.free()
        self.store.free()

    def _now(self, user):
        self.users.append(user)
        return self.clock_us

    def _event(self, user, event):
        event = event.contents
        self.events.append((event.type, event.subject, event.distance))

    def _client_policy(self, user, client_id, policy):
        try:
            self.client_policy(client_id, policy.contents)
            return 0
        except Exception:
            return -1

    def _authorize(self, user, use, answer):
        try:
            return self.authorize(use.contents, answer)
        except Exception:
            return -1

    def seen(self, kind):
        return [event for event in self.events if event[0] == kind]

    def issue(self, grant=None, **members):
        grant = grant or make(c.otok_grant, subject=b"alice", client_id=b"photos", client_type=c.OTOK_CLIENT_PUBLIC,
                              scope=b"openid offline_access read write")
        for name, member in members.items():
            setattr(grant, name, member)
        return out(c.otok_tokens, "otok_tokens_free", "otok_issue", self.service.pointer, byref(grant))

    def refresh(self, token, **members):
        request = make(
            c.otok_refresh_request, token=token, client_id=b"photos", client_type=c.OTOK_CLIENT_PUBLIC, **members
        )
        return out(c.otok_tokens, "otok_tokens_free", "otok_refresh", self.service.pointer, byref(request))

    def stats(self):
        stats = make(c.otok_stats)
        call("otok_stats_get", self.service.pointer, byref(stats))
        return stats

    def filter(self, **members):
        return make(c.otok_filter, **members)


def open_memory():
    return out(c.otok_store, "otok_store_close", "otok_store_open_memory")


def open_lmdb(folder):
    options = make(c.otok_lmdb_options, map_size=1 << 20, no_sync=1)
    return out(c.otok_store, "otok_store_close", "otok_store_open_lmdb", folder.encode(), byref(options))


class Declarations(unittest.TestCase):
    def test_structs_are_laid_out_as_the_compiler_does(self):
        for struct in c.STRUCTS:
            name = struct.__name__
            self.assertEqual(printed[name], (sizeof(struct),), name)
            for member, *_ in struct._fields_:
                place = getattr(struct, member)
                self.assertEqual(printed[f"{name}.{member}"], (place.offset, place.size), f"{name}.{member}")

    def test_constants_have_the_header_s_values(self):
        for name, value in c.CONSTANTS.items():
            self.assertEqual(printed[name], (value,), name)

    def test_error_is_512_bytes(self):
        self.assertEqual(sizeof(c.otok_error), 512)

    def test_static_text(self):
        self.assertRegex(library.otok_version().decode(), r"^\d+\.\d+\.\d+$")
        self.assertEqual(library.otok_error_name(c.OTOK_E_TOKEN_REUSED), b"OTOK_E_TOKEN_REUSED")
        self.assertEqual(library.otok_error_oauth(c.OTOK_E_TOKEN_REUSED), b"invalid_grant")
        self.assertIsNone(library.otok_error_oauth(c.OTOK_OK))
        self.assertEqual(library.otok_error_http(c.OTOK_E_CALLBACK), 500)


class Story:
    """What a server does, whatever its store."""

    def setUp(self):
        self.host = Host(self.open_store)
        self.addCleanup(self.host.close)

    def assertFails(self, code, function, *arguments, **members):
        with self.assertRaises(Failed) as caught:
            function(*arguments, **members)
        self.assertEqual(caught.exception.code, code, str(caught.exception))
        self.assertEqual(caught.exception.error.code, code)
        return caught.exception.error

    def pass_seconds(self, seconds):
        self.host.clock_us += seconds * 1000000

    def test_issue_refresh_retry_and_reuse(self):
        host = self.host
        with host.issue(label="Alices Gerät".encode()) as first:
            self.assertEqual((first.size, first.outcome), (sizeof(c.otok_tokens), c.OTOK_OUTCOME_ISSUED))
            self.assertEqual((len(first.offline_token), len(first.session_id)), (85, 22))
            response = json.loads(first.response_json)
            self.assertEqual(response["refresh_token"].encode(), first.offline_token)
            self.assertEqual(response["id_token"].encode(), first.id_token)
            self.assertEqual(first.access_expires_in_s, 300)
            token = first.offline_token

        self.pass_seconds(60)
        with host.refresh(token) as second, host.refresh(token) as retry:
            self.assertEqual((second.outcome, second.generation), (c.OTOK_OUTCOME_ADVANCED, 1))
            self.assertEqual((retry.outcome, retry.generation), (c.OTOK_OUTCOME_RETRIED, 1))
            self.assertNotEqual(second.offline_token, token)
            self.assertEqual(second.offline_token, retry.offline_token)
            successor = second.offline_token

        self.pass_seconds(3600)
        error = self.assertFails(c.OTOK_E_TOKEN_REUSED, host.refresh, token)
        self.assertTrue(error.message)
        self.assertNotIn(token, error.message)
        self.assertEqual(host.seen(c.OTOK_EVENT_REUSE), [(c.OTOK_EVENT_REUSE, b"alice", 1)])
        with self.assertRaises(Failed):
            host.refresh(successor)
        kinds = [kind for kind, *_ in host.events]
        self.assertEqual(kinds[:3], [c.OTOK_EVENT_ISSUED, c.OTOK_EVENT_REFRESHED, c.OTOK_EVENT_RETRIED])
        self.assertEqual(set(host.users), {42}, "`user` comes back as it was handed in")

    def test_refreshes_in_one_call(self):
        texts = []
        for _ in range(3):
            with self.host.issue() as tokens:
                texts.append(tokens.offline_token)
        texts.append(b"no token")
        self.pass_seconds(60)
        requests = [
            make(c.otok_refresh_request, token=text, client_id=b"photos", client_type=c.OTOK_CLIENT_PUBLIC)
            for text in texts
        ]
        asked = (POINTER(c.otok_refresh_request) * 4)(*map(pointer, requests))
        answers, errors = (POINTER(c.otok_tokens) * 4)(), (c.otok_error * 4)()
        call("otok_refresh_many", self.host.service.pointer, asked, 4, answers, errors)
        self.assertEqual([e.code for e in errors], [c.OTOK_OK] * 3 + [c.OTOK_E_TOKEN_INVALID])
        self.assertEqual([a.contents.outcome for a in answers[:3]], [c.OTOK_OUTCOME_ADVANCED] * 3)
        self.assertFalse(answers[3])
        for answer in answers:
            library.otok_tokens_free(answer)

    def test_authorize_narrows_the_scope_and_adds_claims(self):
        asked = []

        def authorize(use, answer):
            asked.append((use.purpose, use.session.contents.subject, use.scope, use.audience_count,
                          [use.audience[i] for i in range(use.audience_count)], bool(use.peer)))
            if use.purpose != c.OTOK_PURPOSE_REFRESH:
                return c.OTOK_OK
            return (library.otok_answer_set_access_claims(answer, b'{"roles":["reader"]}')
                    or library.otok_answer_set_scope(answer, b"openid read"))

        self.host.authorize = authorize
        with self.host.issue() as tokens:
            token = tokens.offline_token
        self.pass_seconds(60)
        with self.host.refresh(token) as tokens:
            self.assertEqual(tokens.scope, b"openid read")
        self.assertEqual(asked[-1], (c.OTOK_PURPOSE_REFRESH, b"alice", b"openid offline_access read write", 1,
                                     [b"https://id.example.org"], True))

    def test_authorize_refuses(self):
        with self.host.issue() as tokens:
            token = tokens.offline_token
        self.host.authorize = lambda use, answer: library.otok_answer_refuse(answer, c.OTOK_E_DENIED, b"on holiday")
        error = self.assertFails(c.OTOK_E_DENIED, self.host.refresh, token)
        self.assertIn(b"on holiday", error.message)

    def test_exception_in_a_callback_consents_to_nothing(self):
        def authorize(use, answer):
            raise LookupError(use.session.contents.subject)

        with self.host.issue() as tokens:
            token = tokens.offline_token
        self.host.authorize = authorize
        self.assertFails(c.OTOK_E_CALLBACK, self.host.refresh, token)
        self.host.authorize = lambda use, answer: c.OTOK_OK
        self.host.refresh(token).free()

    def test_client_policy_changes_what_the_library_owns(self):
        def client_policy(client_id, policy):
            self.assertEqual(policy.size, sizeof(c.otok_policy))
            policy.max_lifetime_s = 7200 if client_id == b"photos" else 60

        self.host.client_policy = client_policy
        with self.host.issue() as tokens:
            self.assertEqual(tokens.offline_expires_in_s, 7200)
        with self.host.issue(client_id=b"backup") as tokens:
            self.assertEqual(tokens.offline_expires_in_s, 60)

    def test_list_goes_through_pages(self):
        for label in (b"phone", b"tablet", b"laptop"):
            self.host.issue(label=label).free()
            self.pass_seconds(1)
        wanted = self.host.filter(subject=b"alice")
        cursor, labels = None, []
        while True:
            request = make(c.otok_list_request, filter=ctypes.pointer(wanted), cursor=cursor, limit=2)
            with out(c.otok_page, "otok_page_free", "otok_list", self.host.service.pointer, byref(request)) as page:
                for session in (page.sessions[i].contents for i in range(page.count)):
                    labels.append(session.label)
                    self.assertEqual((session.state, session.max_expires_us), (c.OTOK_OK, c.OTOK_UNLIMITED))
                cursor = page.next_cursor
            if cursor is None:
                break
        self.assertEqual(labels, [b"laptop", b"tablet", b"phone"])

    def test_introspect(self):
        def introspect(token):
            request = make(c.otok_introspect_request, token=token, client_id=b"photos",
                           client_type=c.OTOK_CLIENT_PUBLIC)
            return out(c.otok_introspection, "otok_introspection_free", "otok_introspect", self.host.service.pointer,
                       byref(request))

        with self.host.issue() as tokens, introspect(tokens.offline_token) as told:
            self.assertEqual((told.active, told.token, told.subject), (1, c.OTOK_TOKEN_OFFLINE, b"alice"))
            self.assertEqual(told.session_id, tokens.session_id)
            self.assertIs(json.loads(told.response_json)["active"], True)
        with introspect(b"nonsense") as told:
            self.assertEqual((told.active, told.subject), (0, None))
            self.assertEqual(json.loads(told.response_json), {"active": False})

    def test_consent_is_saved_and_revoked(self):
        service = self.host.service.pointer

        def get():
            return out(c.otok_consent, "otok_consent_free", "otok_consent_get", service, b"alice", b"photos")

        self.host.client_policy = lambda client_id, policy: setattr(policy, "consent", c.OTOK_ON)
        call("otok_consent_put", service, b"alice", b"photos", b"openid offline_access read write")
        with get() as consent:
            self.assertEqual((consent.subject, consent.scope), (b"alice", b"openid offline_access read write"))
            self.assertEqual(consent.granted_us, self.host.clock_us)
        with self.host.issue() as tokens:
            token = tokens.offline_token
        self.pass_seconds(60)
        with self.host.refresh(token) as tokens:
            token = tokens.offline_token
        revoked = c_uint64()
        call("otok_consent_revoke", service, b"alice", b"photos", byref(revoked))
        self.assertEqual(revoked.value, 1)
        self.assertFails(c.OTOK_E_NOT_FOUND, get)
        with self.assertRaises(Failed):
            self.host.refresh(token)

    def test_logout_ends_what_is_bound_to_the_login(self):
        with self.host.issue(sid=b"sso-1", kind=c.OTOK_SESSION_LOGIN) as login:
            with self.host.issue(sid=b"sso-1") as offline:
                tokens = login.offline_token, offline.offline_token
        self.pass_seconds(60)
        ended = c_uint64()
        call("otok_logout", self.host.service.pointer, byref(self.host.filter(sid=b"sso-1")), 0, byref(ended))
        self.assertEqual(ended.value, 1)
        with self.assertRaises(Failed):
            self.host.refresh(tokens[0])
        self.host.refresh(tokens[1]).free()

    def test_outbox_is_read_and_acknowledged(self):
        def read():
            return out(c.otok_outbox_batch, "otok_outbox_batch_free", "otok_outbox_read", self.host.service.pointer, 0)

        self.host.issue().free()
        batch = read()
        events = [batch.pointer.contents.events[i].contents for i in range(batch.pointer.contents.count)]
        self.assertEqual([(event.type, event.subject) for event in events], [(c.OTOK_EVENT_ISSUED, b"alice")])
        self.assertTrue(events[0].event_id)
        call("otok_outbox_acknowledge", self.host.service.pointer, batch.pointer)
        batch.free()
        with read() as batch:
            self.assertEqual(batch.count, 0)

    def test_counters_and_their_text(self):
        self.host.issue().free()
        stats = self.host.stats()
        self.assertEqual((stats.issued, stats.refreshed), (1, 0))
        services = (POINTER(c.otok_service) * 1)(self.host.service.pointer)
        text = c_void_p()
        call("otok_stats_openmetrics", services, 1, byref(text))
        text = text_of(text)
        self.assertRegex(text, r'issued_total\{realm="https://id\.example\.org"\} 1\n')
        self.assertTrue(text.endswith("# EOF\n"))

    def test_error_names_the_member(self):
        grant = make(c.otok_grant, client_id=b"photos", scope=b"openid")
        error = self.assertFails(c.OTOK_E_INVALID, self.host.issue, grant)
        self.assertIn(b"subject", error.message)
        self.assertEqual(error.system_errno, 0)
        tokens = POINTER(c.otok_tokens)()
        code = library.otok_issue(self.host.service.pointer, byref(grant), byref(tokens), None)
        self.assertEqual((code, bool(tokens)), (c.OTOK_E_INVALID, False), "the error may be NULL")

    def test_text_and_lists_of_text_go_in(self):
        texts = (ctypes.c_char_p * 2)(b"https://api.example.org", b"https://other.example.org")
        peer = make(c.otok_peer, ip=b"192.0.2.1", user_agent="Kamera – 1".encode())
        with self.host.issue(audience=texts, audience_count=2, peer=ctypes.pointer(peer)) as tokens:
            token = tokens.offline_token
        self.pass_seconds(60)
        one = (ctypes.c_char_p * 1)(b"https://other.example.org")
        asked = []
        self.host.authorize = lambda use, answer: asked.extend(use.audience[: use.audience_count]) or c.OTOK_OK
        self.host.refresh(token, resource=one, resource_count=1).free()
        self.assertEqual(asked, [b"https://other.example.org"])

    def test_threads_get_one_successor(self):
        """ctypes gives up the interpreter's lock during a call, and takes it again for a callback."""
        with self.host.issue() as tokens:
            token = tokens.offline_token
        self.pass_seconds(60)
        answers = []

        def refresh():
            with self.host.refresh(token) as tokens:
                answers.append((tokens.offline_token, tokens.generation))

        threads = [threading.Thread(target=refresh) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(answers), len(set(answers))), (8, 1))
        self.assertEqual(answers[0][1], 1)


class OnMemory(Story, unittest.TestCase):
    open_store = staticmethod(open_memory)


class OnLmdb(Story, unittest.TestCase):
    def open_store(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        try:
            return open_lmdb(folder.name)
        except Failed as failed:
            if failed.code == c.OTOK_E_UNSUPPORTED:
                self.skipTest("built without LMDB")
            raise


class Versions(unittest.TestCase):
    """Structs of a binding that was written for another version of the header."""

    def setUp(self):
        self.host = Host(open_memory)
        self.addCleanup(self.host.close)

    def grant_of(self, struct):
        grant = struct()
        library.otok_grant_init(ctypes.cast(byref(grant), POINTER(c.otok_grant)), sizeof(grant))
        self.assertEqual(grant.size, sizeof(struct))
        grant.subject, grant.client_id, grant.scope = b"alice", b"photos", b"openid offline_access"
        grant.client_type = c.OTOK_CLIENT_PUBLIC
        return grant

    def issue(self, grant):
        return self.host.issue(ctypes.cast(byref(grant), POINTER(c.otok_grant)).contents)

    def test_older_struct_is_not_looked_at_beyond_its_end(self):
        class OlderGrant(ctypes.Structure):
            _fields_ = c.otok_grant._fields_[: 1 + [name for name, _ in c.otok_grant._fields_].index("peer")]

        class Surrounded(ctypes.Structure):
            _fields_ = [("grant", OlderGrant), ("behind", ctypes.c_char * 256)]

        surrounded = Surrounded(behind=b"\xff" * 256)
        grant = surrounded.grant
        library.otok_grant_init(ctypes.cast(byref(grant), POINTER(c.otok_grant)), sizeof(grant))
        self.assertEqual(surrounded.behind, b"\xff" * 256, "init writes no more than its size")
        grant.subject, grant.client_id, grant.scope = b"alice", b"photos", b"openid offline_access"
        with self.issue(grant) as tokens:
            self.assertEqual(tokens.outcome, c.OTOK_OUTCOME_ISSUED)

    def test_older_struct_is_not_written_beyond_its_end(self):
        class OlderStats(ctypes.Structure):
            _fields_ = c.otok_stats._fields_[:4]

        class Surrounded(ctypes.Structure):
            _fields_ = [("stats", OlderStats), ("behind", ctypes.c_char * 256)]

        self.host.issue().free()
        surrounded = Surrounded(behind=b"\xff" * 256)
        stats = ctypes.cast(byref(surrounded), POINTER(c.otok_stats))
        library.otok_stats_init(stats, sizeof(OlderStats))
        call("otok_stats_get", self.host.service.pointer, stats)
        self.assertEqual((surrounded.stats.size, surrounded.stats.issued), (sizeof(OlderStats), 1))
        self.assertEqual(surrounded.behind, b"\xff" * 256)

    def test_newer_struct_is_accepted_while_its_tail_is_zero(self):
        class NewerGrant(ctypes.Structure):
            _fields_ = [*c.otok_grant._fields_, ("later", c_void_p), ("latest", c_int64)]

        grant = self.grant_of(NewerGrant)
        self.assertEqual((grant.later, grant.latest), (None, 0), "init clears what it does not know")
        with self.issue(grant) as tokens:
            self.assertEqual(tokens.outcome, c.OTOK_OUTCOME_ISSUED)
        grant.latest = 1
        with self.assertRaises(Failed) as caught:
            self.issue(grant)
        self.assertEqual(caught.exception.code, c.OTOK_E_INVALID)
        self.assertIn(b"otok_grant", caught.exception.error.message)

    def test_newer_struct_that_is_filled_keeps_its_tail(self):
        class NewerStats(ctypes.Structure):
            _fields_ = [*c.otok_stats._fields_, ("later", c_uint64)]

        self.host.issue().free()
        newer = NewerStats()
        stats = ctypes.cast(byref(newer), POINTER(c.otok_stats))
        library.otok_stats_init(stats, sizeof(newer))
        call("otok_stats_get", self.host.service.pointer, stats)
        self.assertEqual((newer.size, newer.issued, newer.later), (sizeof(newer), 1, 0))

    def test_struct_without_init_is_refused(self):
        with self.assertRaises(Failed) as caught:
            self.host.issue(c.otok_grant(subject=b"alice", client_id=b"photos", scope=b"openid"))
        self.assertEqual(caught.exception.code, c.OTOK_E_INVALID)
        self.assertIn(b"otok_grant_init", caught.exception.error.message)


def main():
    global library
    if len(sys.argv) == 2:
        structs = {struct.__name__: [member for member, *_ in struct._fields_] for struct in c.STRUCTS}
        print(layout.program(structs, c.CONSTANTS))
        return 0
    library = c.load(sys.argv[2])
    printed.update(layout.read(sys.argv[3]))
    return check.run(sys.modules[__name__])


if __name__ == "__main__":
    sys.exit(main())
