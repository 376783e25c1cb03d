#!/bin/bash
# Takes the C examples (B5) out of README.md (the first ```c block) and the man pages (each literal block with an #include
# in the EXAMPLES section) into DIR, and prints for each the line that tests/run.sh needs. CC and LIBS say how.
#
#   examples.sh DIR
set -u

dir=$1
case $dir in /*) root= ;; *) root=$PWD/ ;; esac
rm -rf "$dir"
mkdir -p "$dir"

if [ -f README.md ]; then
    awk '/^```c$/ { in_block = 1; next } in_block && /^```/ { exit } in_block' README.md >"$dir/readme.c"
    if [ -s "$dir/readme.c" ]; then
        echo "exit README.md $CC -o $dir/readme $dir/readme.c $LIBS && cd \"\$TMPDIR\" && $root$dir/readme"
    fi
fi

# mandoc's escapes that occur in C: \e \(rs \& \- \(aq \(dq \(ti \(ha, and the doubled backslash of careful authors.
unescape() {
    sed -E -e 's/\\&//g' -e 's/\\-/-/g' -e "s/\\\\\\(aq/'/g" -e 's/\\\(dq/"/g' -e 's/\\\(ti/~/g' -e 's/\\\(ha/^/g' \
        -e 's/\\e|\\\(rs|\\\\/\\/g'
}

for page in man/*.[37]; do
    [ -f "$page" ] || continue
    name=$(basename "$page")
    awk -v out="$dir/$name" '
        /^\.Sh/ { in_examples = /EXAMPLE/ }
        in_examples && /^\.Bd.* -literal/ { in_block = 1; file = out "." ++n ".c"; next }
        /^\.Ed/ { in_block = 0 }
        in_block { print >file }' "$page"
    for file in "$dir/$name".*.c; do
        [ -f "$file" ] || continue
        if grep -q '#include' "$file"; then
            unescape <"$file" >"$file.new" && mv "$file.new" "$file"
            echo "exit ${file#"$dir"/} $CC -Werror -c -o ${file%.c}.o $file"
        fi
    done
done
