#!/bin/bash
# Dependencies point down only: checks every #include in lib/ against the table below.
set -u

# A folder may include its own header and those of the folders before it.
order=(base crypto format keys store session oauth)

# Foreign headers, and the only files that may include them.
foreign='
openssl/*    lib/crypto/*
cjson/*      lib/format/json.c
cJSON.h      lib/format/json.c
lmdb.h       lib/store/lmdb*
libpq-fe.h   lib/postgres/*
'

errors=0
complain() {
    echo "$1"
    errors=1
}

# may_include FOLDER OTHER: is OTHER the folder itself or one below it?
may_include() {
    local folder
    [ "$1" != postgres ] || { # a library of its own: a user of the public headers
        [ "$2" = postgres ]
        return
    }
    for folder in "${order[@]}"; do
        [ "$folder" = "$2" ] && return 0
        [ "$folder" = "$1" ] && return 1
    done
    return 1
}

check_include() {
    local file=$1 line=$2 header=$3 folder other pattern allowed
    folder=${file#lib/} folder=${folder%%/*}
    while read -r pattern allowed; do
        # shellcheck disable=SC2053 # both are patterns on purpose
        if [ -n "$pattern" ] && [[ $header == $pattern && $file != $allowed ]]; then
            complain "$file:$line: <$header> belongs in $allowed only"
        fi
    done <<<"$foreign"
    case $header in
    */*)
        # Another folder of ours, known by its header; any further header of a folder is for its own files.
        other=${header%%/*}
        if [ -d "lib/$other" ] && ! may_include "$folder" "$other"; then
            complain "$file:$line: $folder may not include \"$header\": it is above"
        elif [ -d "lib/$other" ] && [ "$folder" != "$other" ] && [ "$header" != "$other/$other.h" ]; then
            complain "$file:$line: \"$header\" is for the files of lib/$other only"
        fi ;;
    esac
}

for folder in lib/*/; do
    folder=${folder#lib/} folder=${folder%/}
    may_include "$folder" "$folder" || complain "lib/$folder: not in the table of tests/lint/layers.sh"
    [ -f "lib/$folder/$folder.h" ] || complain "lib/$folder: its header, $folder/$folder.h, is missing"
done

while IFS=: read -r file line text; do
    header=$(sed -E 's/^[^<"]*[<"]([^>"]*)[>"].*/\1/' <<<"$text")
    check_include "$file" "$line" "$header"
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' --include='*.[ch]' lib)

exit $errors
