#!/bin/bash
# Starts the identity server, and two programs that use it: a web application and a files API. Ctrl-C stops them all.
#
#   demo.sh IDENTITY-SERVER    the program. What it keeps is in demo-data beside it, and there when it is started again
#
# SPDX-License-Identifier: MIT
set -u

python=${PYTHON:-/usr/bin/python3}
seconds_to_start=20

die() {
    echo "demo.sh: $1" >&2
    exit 1
}

answers() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

check_needs() { # SERVER
    local port
    [ -x "$1" ] || die "$1 is not a program: make identity-server"
    "$python" -c 'import authlib, flask, requests' 2>/dev/null ||
        die "$python lacks Authlib, Flask or requests: make deps demo-server"
    for port in 8080 8081 8082; do
        ! answers "$port" || die "port $port is in use: end what listens there (ss -ltnp shows it), and try again"
    done
}

# start NAME PORT COMMAND...: in the background; returns when it answers.
start() {
    local name=$1 port=$2 end=$((SECONDS + seconds_to_start)) pid
    shift 2
    "$@" >"$data/$name.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    until answers "$port"; do
        if ! kill -0 "$pid" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
            cat "$data/$name.log" >&2
            die "$name does not start"
        fi
        sleep 0.1
    done
}

# shellcheck disable=SC2317 # a trap calls it
stop_all() {
    trap - EXIT
    [ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null
    wait
}

print_guide() {
    cat <<END

  Open   http://localhost:8080/   the identity server: the account page of each user, the pages of the administrator
         http://localhost:8081/   Photo Album, a web application that uses it

  Log in as alice (password alice-demo), bob (bob-demo), carol (carol-demo; she may not have offline access), or
  root (root-demo; the administrator).

  In another terminal, in $clients:

         ./backup.py connect      then, as often as you like:  ./backup.py run
         ./notes.py login         then:  ./notes.py add "Buy milk",  ./notes.py list,  ./notes.py whoami

  See each of them in http://localhost:8080/account, and revoke it there: its next run says so.

  What is kept, and what the programs have to say (*.log), is in $data.
  Ctrl-C stops them; start again, and everybody is still connected.

END
}

[ $# -eq 1 ] || die "usage: demo.sh IDENTITY-SERVER"
check_needs "$1"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
clients=$(cd "$here/../clients" && pwd) || exit 1
data=$(cd "$(dirname "$1")" && pwd)/demo-data || exit 1
umask 077
mkdir -p "$data" || exit 1
export PYTHONDONTWRITEBYTECODE=1
export ISSUER=http://localhost:8080 WEB_URL=http://localhost:8081 FILES_API=http://localhost:8082

pids=()
trap stop_all EXIT
trap 'exit 0' INT TERM
start identity-server 8080 "$1" --listen 127.0.0.1:8080 --data "$data" --directory "$here/demo.json"
start files-api 8082 "$python" "$clients/files_api.py"
start photo-album 8081 "$python" "$clients/web.py"
print_guide
wait -n
die "one of the programs has ended: see $data/*.log"
