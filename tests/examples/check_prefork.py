#!/usr/bin/python3
"""examples/prefork, driven as clients would: refreshes of several processes in batches, what is refused, connections
that are used again, and an end that cuts nothing off (R6, S4).

    check_prefork.py PROGRAM
"""

import http.client
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bindings"))
import check  # noqa: E402  (the run that ends with the summary of Check)

PATIENCE_S = 60


def form(token, **others):
    return urllib.parse.urlencode(
        {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token} | others
    )


def raw(body, ending="\r\n\r\n"):
    return f"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}{ending}{body}".encode()


class Connection(http.client.HTTPConnection):
    """One that is kept open; an answer is (status, header, JSON)."""

    def ask(self, method="POST", path="/token", body=None):
        self.request(method, path, body, {"Content-Type": "application/x-www-form-urlencoded"})
        response = self.getresponse()
        return response.status, response.headers, json.loads(response.read())

    def refresh(self, token, **others):
        return self.ask(body=form(token, **others))


class Prefork(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="offlinetok-prefork-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def issue(self, count):
        done = subprocess.run(
            [program, self.folder / "id", "--issue", str(count)],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True,
        )
        tokens = done.stdout.split()
        self.assertEqual(len(set(tokens)), count)
        return tokens

    def start(self, *options):
        self.server = subprocess.Popen(
            [program, self.folder / "id", "--port", "0", "--rotate-always", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        self.addCleanup(self.stop)
        self.port = urllib.parse.urlsplit(self.server.stdout.readline().strip()).port

    def stop(self, number=signal.SIGTERM):
        """Ends it; what it complained of."""
        if self.server.returncode is None:
            self.server.send_signal(number)
            _, self.complaints = self.server.communicate(timeout=PATIENCE_S)
        return self.complaints

    def connect(self):
        connection = Connection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self.addCleanup(connection.close)
        return connection

    def expect_error(self, answer, status, error):
        self.assertEqual((answer[0], answer[2]), (status, {"error": error}))
        self.assertEqual(answer[1]["Cache-Control"], "no-store")

    def test_a_token_is_rotated_at_each_refresh(self):
        (token,) = self.issue(1)
        for options in [], ["--one-by-one"]:
            self.start(*options)
            connection = self.connect()
            for _ in range(5):
                status, headers, tokens = connection.refresh(token)
                self.assertEqual((status, headers["Cache-Control"]), (200, "no-store"))
                self.assertNotEqual(tokens["refresh_token"], token)
                self.assertEqual(tokens["scope"], "offline_access photos.read")
                token = tokens["refresh_token"]
            narrow, whole = connection.refresh(token, scope="photos.read")[2], connection.refresh(token)[2]
            self.assertEqual(narrow["scope"], "photos.read")
            self.assertEqual(narrow["refresh_token"], whole["refresh_token"])  # of the retry
            token = whole["refresh_token"]
            self.assertEqual(self.stop(), "")
            self.assertEqual(self.server.returncode, 0)

    def test_what_is_wrong_is_refused_and_the_connection_goes_on(self):
        (token,) = self.issue(1)
        self.start()
        connection = self.connect()
        wrong = token[:-1] + ("A" if token[-1] != "A" else "B")
        self.expect_error(connection.refresh(wrong), 400, "invalid_grant")
        self.expect_error(connection.refresh(token, client_id="another"), 400, "invalid_grant")
        self.expect_error(connection.refresh(token, scope="everything"), 400, "invalid_scope")
        self.expect_error(connection.refresh(token, grant_type="password"), 400, "unsupported_grant_type")
        self.expect_error(connection.refresh(""), 400, "invalid_request")
        self.expect_error(connection.ask(body="%zz"), 400, "invalid_request")
        self.expect_error(connection.ask(body=form(token) + "&refresh_token=twice"), 400, "invalid_request")
        self.expect_error(connection.ask(body="a" * 100000), 413, "invalid_request")
        self.expect_error(connection.ask(path="/other", body=form(token)), 404, "invalid_request")
        refused = connection.ask(method="GET")
        self.expect_error(refused, 405, "invalid_request")
        self.assertEqual(refused[1]["Allow"], "POST")
        self.assertEqual(connection.refresh(token)[0], 200)
        self.assertEqual(self.stop(), "")

    def test_an_old_token_ends_its_session_alone(self):
        old, other = self.issue(2)
        self.start()
        connection = self.connect()
        token = connection.refresh(old)[2]["refresh_token"]
        token = connection.refresh(token)[2]["refresh_token"]
        self.expect_error(connection.refresh(old), 400, "invalid_grant")
        self.expect_error(connection.refresh(token), 400, "invalid_grant")
        self.assertEqual(connection.refresh(other)[0], 200)

    def test_what_is_no_http_is_answered_and_hung_up_on(self):
        self.start("--processes", "1")
        for text in b"GARBAGE\r\n\r\n", raw("a", "x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as s:
                s.sendall(text)
                answer = b"".join(iter(lambda: s.recv(4096), b""))
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
        self.expect_error(self.connect().refresh("otok_"), 400, "invalid_grant")

    def test_a_client_that_says_no_more_gets_its_answer(self):
        (token,) = self.issue(1)
        self.start()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as s:
            s.sendall(raw(form(token)))
            s.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: s.recv(4096), b""))
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer)

    def test_a_request_that_comes_byte_by_byte_is_answered(self):
        (token,) = self.issue(1)
        self.start()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in raw(form(token)):
                s.sendall(bytes([byte]))
            self.assertEqual(s.makefile("rb").readline(), b"HTTP/1.1 200 OK\r\n")

    def test_requests_that_are_sent_ahead_are_answered_in_order(self):
        tokens = self.issue(60)
        self.start()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as s:
            sender = threading.Thread(target=lambda: s.sendall(b"".join(raw(form(t)) for t in tokens)))
            sender.start()
            answers = s.makefile("rb")
            for token in tokens:
                self.assertEqual(answers.readline(), b"HTTP/1.1 200 OK\r\n")
                headers = http.client.parse_headers(answers)
                successor = json.loads(answers.read(int(headers["Content-Length"])))["refresh_token"]
                self.assertEqual(successor[14:40], token[14:40])  # when its session began, and its handle
            sender.join()

    def test_one_token_from_many_connections_has_one_successor(self):
        tokens = self.issue(8)
        self.start("--processes", "4")
        answers = {token: set() for token in tokens}
        barrier = threading.Barrier(24)

        def refresh_all(i):
            connection = self.connect()
            barrier.wait()
            for n in range(len(tokens)):
                token = tokens[(n + i // 3) % len(tokens)]
                status, _, tokens_now = connection.refresh(token)
                answers[token].add((status, tokens_now.get("refresh_token")))

        threads = [threading.Thread(target=refresh_all, args=(i,)) for i in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for token, seen in answers.items():
            self.assertEqual(len(seen), 1, seen)
            self.assertEqual(next(iter(seen))[0], 200)
        self.assertEqual(self.stop(), "")

    def test_an_end_under_load_cuts_no_answer_off(self):
        for options in [], ["--one-by-one"]:
            tokens = self.issue(16)
            self.start(*options)
            failures, answered = [], []

            def go_on(token):
                connection = self.connect()
                try:
                    while True:
                        status, headers, tokens_now = connection.refresh(token)
                        answered.append(status)
                        if status != 200:
                            failures.append(status)
                            return
                        token = tokens_now["refresh_token"]
                        if headers["Connection"] == "close":
                            return
                except (ConnectionError, http.client.RemoteDisconnected):
                    pass  # between two requests, which is what a server that ends may do
                except (http.client.IncompleteRead, ValueError) as e:
                    failures.append(e)

            threads = [threading.Thread(target=go_on, args=(token,)) for token in tokens]
            for thread in threads:
                thread.start()
            while len(answered) < 200:
                threads[0].join(0.01)
            self.assertEqual(self.stop(), "")
            self.assertEqual(self.server.returncode, 0)
            for thread in threads:
                thread.join(PATIENCE_S)
            self.assertEqual(failures, [])

    def test_a_process_that_fails_ends_the_others(self):
        (self.folder / "id").mkdir(mode=0o700)
        (self.folder / "id" / "keyring.json").write_text("no keyring")
        self.start()
        _, self.complaints = self.server.communicate(timeout=PATIENCE_S)
        self.assertNotEqual(self.server.returncode, 0)
        self.assertIn("keyring.json", self.complaints)


if __name__ == "__main__":
    program = sys.argv[1]
    sys.exit(check.run(sys.modules["__main__"]))
