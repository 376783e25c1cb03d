#!/bin/bash
# Compares the four places where a public function is known (B3, B5): the headers, lib/NAME.syms, the shared
# library, and the NAME sections of the man pages. NAME is offlinetok, or offlinetok-postgres with a header of its own.
#
#   syms.sh check LIBRARY [NAME]   exit status 1 and a line for each difference
#   syms.sh new [NAME]             functions of the headers that the list lacks; a reviewer chooses the version they came in
set -u

name=${3:-offlinetok}
[ "$1" = check ] || name=${2:-offlinetok}
list=lib/$name.syms
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The compiler lists the prototypes itself: "/* file:line:NC */ extern int otok_issue (...);"
for header in include/offlinetok/*.h; do
    [ "$name" = offlinetok ] && [ "$header" = include/offlinetok/postgres.h ] && continue
    echo "#include <${header#include/}>"
done >"$work/all.c"
gcc -Iinclude -fsyntax-only -aux-info "$work/prototypes" "$work/all.c" || exit 1
headers='[a-z]*'
[ "$name" = offlinetok ] || headers=postgres
sed -nE "s|^/\\* include/offlinetok/$headers\\.h.*[ *](otok_[a-z0-9_]+) \\(.*|\\1|p" "$work/prototypes" | sort -u >"$work/declared"
sed -nE 's/^(otok_[a-z0-9_]+) .*/\1/p' "$list" | sort -u >"$work/listed"

if [ "$1" = new ]; then
    comm -23 "$work/declared" "$work/listed"
    exit
fi

errors=0
# differ FIRST SECOND MESSAGE: complains of each name that is in FIRST and not in SECOND.
differ() {
    local name
    while read -r name; do
        echo "$name: $3"
        errors=1
    done < <(comm -23 "$work/$1" "$work/$2")
}

# Every line is "name OFFLINETOK_x.y", in order, no name twice, no version from the future.
grep -vnE '^(#.*|otok_[a-z0-9_]+ OFFLINETOK_[0-9]+\.[0-9]+)$' "$list" && errors=1
grep -E '^otok_' "$list" | LC_ALL=C sort -c -k1,1 -u || errors=1
newest=$(sed -nE 's/.* OFFLINETOK_//p' "$list" | sort -V | tail -n 1)
if [ "$(printf '%s\n' "${newest:-0}" "$VERSION" | sort -V | tail -n 1)" != "$VERSION" ]; then
    echo "$list: OFFLINETOK_$newest is later than $VERSION"
    errors=1
fi

"${NM:-nm}" -D --defined-only "$2" | awk '$2 != "A" { sub("@.*", "", $3); print $3 }' | sort -u >"$work/exported"
awk '/^\.Sh/ { in_name = /NAME/ } in_name && /^\.Nm/ { print $2 }' man/*.3 2>/dev/null | sort -u >"$work/documented"
sed -nE 's/^\.F[no] "?([a-z_ ]+ )?(otok_[a-z0-9_]+).*/\2/p' man/*.3 2>/dev/null | sort -u >"$work/mentioned"
grep -ohE '\botok_[a-z0-9_]+' include/offlinetok/*.h | sort -u >"$work/known"

differ declared listed "in a public header, not in $list (make syms)"
differ listed declared "in $list, in no public header"
differ listed exported "in $list, not in the shared library"
differ exported listed "exported by the shared library, not in $list"
differ listed documented "in no man page's NAME section"
differ mentioned known "in a man page, in no public header"
exit $errors
