#!/bin/bash
# Throw-away PostgreSQL clusters for tests: from Debian's packages, as an ordinary user, on Unix sockets only, with fsync.
#
#   cluster.sh run COMMAND...     COMMAND with OTOK_TEST_POSTGRES, the conninfo of a new primary, and CLUSTER, see below
#   CLUSTER=... cluster.sh FUNCTION ARGUMENT...    one of the functions, from whatever is not a shell
#
# or `source` it, and call
#
#   cluster_begin                 makes CLUSTER, a folder for all of them, which goes when this shell does, whatever ends it
#   cluster_primary NAME [LINE]   makes and starts one; LINEs go to its postgresql.conf
#   cluster_standby NAME OF       makes and starts a synchronous standby of the primary OF, and waits until it is that
#   cluster_promote NAME          makes a primary of a standby, which waits for no other
#   cluster_start NAME            starts one that was stopped or killed
#   cluster_stop NAME [MODE]      fast, immediate or smart
#   cluster_kill NAME             SIGKILL to all of its processes
#   cluster_pause NAME            SIGSTOP to all of its processes; cluster_resume NAME lets them go on
#   cluster_remove NAME           ends it, and removes what it has
#   cluster_conninfo NAME...      prints a conninfo with those hosts
#   cluster_psql NAME SQL         prints what SQL gives, without decoration
set -u

# The newest that is installed.
cluster_bin() {
    local bin
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin/pg_ctl | sort -V | tail -n 1)
    [ -x "$bin" ] || bin=$(command -v pg_ctl) || {
        echo 'PostgreSQL is missing: make deps check-postgres' >&2
        return 1
    }
    dirname "$(readlink -f "$bin")"
}

# A server refuses to run as root: as whoever runs this, or as nobody.
cluster_as_user() {
    if [ "$(id -u)" -eq 0 ]; then
        (cd / && exec setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$CLUSTER" "$@")
    else
        "$@"
    fi
}

cluster_tool() {
    local tool=$1
    shift
    cluster_as_user "$(cluster_bin)/$tool" "$@"
}

cluster_begin() {
    cluster_bin >/dev/null || return 1
    # The path of a socket has a bound of 107 bytes.
    CLUSTER=$(mktemp -d "/tmp/otok-postgres.XXXXXX") || return 1
    export CLUSTER
    if [ "$(id -u)" -eq 0 ]; then chown nobody:nogroup "$CLUSTER"; fi
    trap cluster_end EXIT
    trap 'exit 130' INT TERM HUP
    # A shell that is killed runs no trap: this one is there for that.
    (
        trap '' INT TERM HUP
        tail --pid=$$ -f /dev/null
        cluster_end
    ) >/dev/null 2>&1 </dev/null &
}

cluster_end() {
    local folder
    [ -d "${CLUSTER:-}" ] || return 0
    for folder in "$CLUSTER"/*/; do
        [ -d "$folder" ] && cluster_remove "$(basename "$folder")"
    done
    rm -rf "${CLUSTER:?}"
}

cluster_settings() {
    cat <<END
listen_addresses = ''
unix_socket_directories = '$CLUSTER/$1'
max_connections = 100
max_wal_senders = 10
max_prepared_transactions = 10
dynamic_shared_memory_type = mmap
fsync = on
synchronous_commit = on
synchronous_standby_names = ''
wal_retrieve_retry_interval = 100ms # by default a promotion may sleep for 5 s, when it is asked for as the primary goes
log_min_messages = warning
log_min_error_statement = panic
END
}

cluster_primary() {
    local name=$1
    shift
    cluster_as_user mkdir "$CLUSTER/$name" &&
        cluster_tool initdb -D "$CLUSTER/$name/data" -U postgres -A trust -E UTF8 --no-locale -N >/dev/null || return 1
    {
        cluster_settings "$name"
        printf '%s\n' "$@"
    } >>"$CLUSTER/$name/data/postgresql.conf"
    cluster_start "$name"
}

cluster_standby() {
    local name=$1 of=$2 data=$CLUSTER/$1/data
    cluster_as_user mkdir "$CLUSTER/$name" &&
        cluster_tool pg_basebackup -D "$data" -d "$(cluster_conninfo "$of")" -X stream -c fast -N || return 1
    # Behind what it has of the primary: the last setting counts.
    cluster_settings "$name" >>"$data/postgresql.conf"
    rm -f "$data/postgresql.auto.conf"
    cluster_as_user touch "$data/postgresql.auto.conf" "$data/standby.signal"
    echo "primary_conninfo = '$(cluster_conninfo "$of") application_name=$name'" >>"$data/postgresql.conf"
    cluster_start "$name" && cluster_psql "$of" "ALTER SYSTEM SET synchronous_standby_names = '\"$name\"'" &&
        cluster_psql "$of" "SELECT pg_reload_conf()" >/dev/null &&
        cluster_wait "$of" "SELECT 1 FROM pg_stat_replication WHERE application_name = '$name' AND sync_state = 'sync'"
}

# Until SQL gives something.
cluster_wait() {
    local deadline=$((SECONDS + 60))
    until [ -n "$(cluster_psql "$1" "$2")" ]; do
        if [ $SECONDS -ge $deadline ]; then
            echo "$1: waited in vain: $2" >&2
            return 1
        fi
        sleep 0.05
    done
}

cluster_promote() {
    cluster_tool pg_ctl promote -w -t 60 -D "$CLUSTER/$1/data" >/dev/null
}

cluster_start() {
    cluster_tool pg_ctl start -w -t 60 -D "$CLUSTER/$1/data" -l "$CLUSTER/$1/log" >/dev/null || {
        tail -n 20 "$CLUSTER/$1/log" >&2
        return 1
    }
}

cluster_stop() {
    cluster_tool pg_ctl stop -w -t 60 -m "${2:-fast}" -D "$CLUSTER/$1/data" >/dev/null
}

# The postmaster, and its children. A pid may be somebody else's by now: a server's working directory is its data.
cluster_pids() {
    local pid data=$CLUSTER/$1/data
    pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) || return 0
    [ "$(readlink "/proc/$pid/cwd")" = "$data" ] || return 0
    echo "$pid" "$(cat "/proc/$pid/task/$pid/children")"
}

# The postmaster is stopped first: it would start what its children's deaths ask for.
cluster_signal() {
    local pids
    read -ra pids < <(cluster_pids "$2")
    [ ${#pids[@]} -gt 0 ] || return 0
    kill "-$1" "${pids[@]}" 2>/dev/null
}

cluster_pause() { cluster_signal STOP "$1"; }
cluster_resume() { cluster_signal CONT "$1"; }

cluster_kill() {
    local pids deadline=$((SECONDS + 30)) pid
    cluster_pause "$1"
    read -ra pids < <(cluster_pids "$1")
    [ ${#pids[@]} -gt 0 ] || return 0
    kill -KILL "${pids[@]}" 2>/dev/null
    for pid in "${pids[@]}"; do
        while [ -d "/proc/$pid" ] && [ "$(awk '/^State/ { print $2 }' "/proc/$pid/status" 2>/dev/null)" != Z ]; do
            [ $SECONDS -lt $deadline ] || return 1
            sleep 0.01
        done
    done
}

# Line 7 of postmaster.pid names the System V segment that a server holds to be alone, and which a killed one leaves behind.
cluster_remove() {
    local segment
    cluster_kill "$1"
    segment=$(awk 'NR == 7 { print $2 }' "$CLUSTER/$1/data/postmaster.pid" 2>/dev/null)
    [ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null
    rm -rf "${CLUSTER:?}/$1"
}

cluster_conninfo() {
    local name hosts=
    for name in "$@"; do
        hosts=$hosts${hosts:+,}$CLUSTER/$name
    done
    echo "host=$hosts dbname=postgres user=postgres"
}

cluster_psql() {
    cluster_tool psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$(cluster_conninfo "$1")" -c "$2"
}

cluster_run() {
    cluster_begin && cluster_primary primary || return 1
    OTOK_TEST_POSTGRES=$(cluster_conninfo primary) "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    function=cluster_$1
    shift
    "$function" "$@"
fi
