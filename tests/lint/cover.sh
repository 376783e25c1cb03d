#!/bin/bash
# Prints line and branch coverage, in percent, of each library file. With COVER_STRICT=1 it fails when a file that is
# promised to be covered to the last branch is not.
#
#   cover.sh OBJECT_DIRECTORY SOURCE...
set -u

objects=$1
shift
promised='lib/session/rotation.c lib/session/lifetime.c lib/session/policy.c lib/session/scope.c lib/oauth/decide.c
          lib/format/token.c lib/format/record.c lib/format/mark.c lib/format/once.c lib/format/fields.c
          lib/format/event.c lib/format/jws.c lib/format/base64url.c lib/format/json_scan.c lib/format/json_write.c'

for source in "$@"; do
    # gcov reports on each file that the object was made of; only its own source is wanted.
    gcov -b -n -o "$objects/$(dirname "$source")" "$source" 2>/dev/null | awk -v file="$source" '
        $0 == "File \047" file "\047"           { mine = 1; next }
        /^File/                                 { mine = 0 }
        mine && /^Lines executed/               { split($0, a, /[:%]| of /); line = a[2]; lines = a[4] }
        mine && /^Taken at least once/          { split($0, a, /[:%]| of /); branch = a[2]; branches = a[4] }
        END { printf "%s %.2f %d %s %d\n", file, line, lines, branches ? branch : "100.00", branches }'
done | awk -v strict="${COVER_STRICT:-0}" -v promised=" ${promised//$'\n'/ } " '
    BEGIN { printf "%-40s %9s %9s\n", "", "lines %", "branches %" }
    {
        note = ""
        if (index(promised, " " $1 " ") && $4 < 100) { note = "  100 promised"; bad = 1 }
        printf "%-40s %9.2f %9.2f%s\n", $1, $2, $4, note
        l += $2 * $3; ln += $3; b += $4 * $5; bn += $5
    }
    END {
        printf "%-40s %9.2f %9.2f\n", "all", ln ? l / ln : 0, bn ? b / bn : 0
        exit strict == 1 && bad
    }'
