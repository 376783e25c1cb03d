#!/bin/bash
# Runs programs, JOBS at a time, each with LIMIT seconds and a TMPDIR of its own. Prints a line for each, the output of
# those that fail, and at the end the plain `N passed, N failed`.
#
#   run.sh LIST    where a line of LIST is   suite NAME COMMAND   Check's summary says how many passed and failed
#                                      or    exit NAME COMMAND    exit status 0 is one passed
set -u

list=$1
jobs=${JOBS:-2}
limit=${LIMIT:-300}
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Sums lines like "87%: Checks: 8, Failures: 1, Errors: 0" to "7 1".
check_summary() {
    awk -F '[:,] *' '/^[0-9]+%: Checks: / { bad += $5 + $7; good += $3 - $5 - $7 } END { print good + 0, bad + 0 }' "$1"
}

run() {
    local kind=$1 name=$2 command=$3 log=$work/$4.log status=0 passed=0 failed=0 start=$EPOCHREALTIME verdict=ok
    mkdir "$work/$4"
    TMPDIR=$work/$4 timeout -k 5 "$limit" bash -c "$command" >"$log" 2>&1 </dev/null || status=$?
    if [ "$kind" = suite ]; then
        read -r passed failed < <(check_summary "$log")
    fi
    # A program that dies, or that says nothing, is a failure whatever it counted before.
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
        failed=1
    elif [ $((passed + failed)) -eq 0 ]; then
        [ "$kind" = exit ] && passed=1 || failed=1
    fi
    echo "$passed $failed" >"$work/$4.count"
    if [ "$failed" -gt 0 ]; then
        verdict=FAIL
        [ "$status" -ne 124 ] || echo "(stopped after $limit seconds)" >>"$log"
        [ "$status" -le 124 ] || echo "(exit status $status)" >>"$log"
    fi
    {
        printf '%-4s %-40s %4d passed %s%6.1f s\n' "$verdict" "$name" "$passed" \
            "$([ "$failed" -eq 0 ] || echo "$failed failed ")" "$(bc_seconds "$start" "$EPOCHREALTIME")"
        [ "$verdict" = ok ] || sed 's/^/    /' "$log"
    } >"$work/$4.out"
    cat "$work/$4.out"
    rm -rf "${work:?}/$4"
}

bc_seconds() {
    local us=$((${2/[.,]/} - ${1/[.,]/}))
    printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10))
}

n=0
while read -r kind name command; do
    [ -n "$kind" ] || continue
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
        wait -n
    done
    n=$((n + 1))
    run "$kind" "$name" "$command" $n &
done <"$list"
wait

cat "$work"/*.count 2>/dev/null | awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f; exit f > 0 }'
