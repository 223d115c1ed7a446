# shellcheck shell=bash
# Searches files for secrets as they are, in hexadecimal and in base64. Sourced.
#
# Everything is compared in hexadecimal, so that binary secrets and binary files need no care. A needle becomes nine
# patterns: its bytes; its hexadecimal text in both cases; its base64 and base64url text at the three positions that it
# can have in a longer text, without the outer characters that depend on the neighbours.

# hexadecimal FILE...: their bytes, one line.
hexadecimal() { cat "$@" | od -An -v -tx1 | tr -d ' \n'; }

# text_needles FILE: pieces of its lines (one a line, in hexadecimal) that would look the same inside JSON or SQL:
# printable ASCII without quotes, slashes and backslashes, 16 to 48 characters.
text_needles() {
    LC_ALL=C awk '
        BEGIN { for (i = 1; i < 256; i++) code[sprintf("%c", i)] = sprintf("%02x", i) }
        {
            count = split($0, pieces, /[^ !#-.0-[\]-~]+/)
            for (p = 1; p <= count; p++) {
                piece = substr(pieces[p], 1, 48)
                sub(/^ +/, "", piece); sub(/ +$/, "", piece)
                if (length(piece) < 16 || piece in seen) continue
                seen[piece] = 1
                line = ""
                for (i = 1; i <= length(piece); i++) line = line code[substr(piece, i, 1)]
                print line
            }
        }' "$1"
}

# word_needles WORD...: each as it is (at least 12 characters).
word_needles() {
    local word
    for word in "$@"; do
        ((${#word} >= 12)) && printf '%s' "$word" | od -An -v -tx1 | tr -d ' \n' && echo
    done
}

# block_needles FILE COUNT: blocks of 48 bytes from all over the file that are mixed enough to be its own.
block_needles() {
    local size offset block found=0
    size=$(stat -c %s "$1")
    for offset in $(seq 0 $((size / ($2 * 40) + 1)) $((size > 48 ? size - 48 : 0))); do
        block=$(od -An -v -tx1 -j "$offset" -N 48 "$1" | tr -d '\n')
        (($(tr ' ' '\n' <<<"$block" | sort -u | wc -l) >= 30)) || continue
        tr -d ' ' <<<"$block"
        found=$((found + 1))
        ((found < $2)) || break
    done
}

# patterns: needles on the standard input to all their patterns.
patterns() {
    LC_ALL=C awk '
        function text(string,   i, line) {
            line = ""
            for (i = 1; i <= length(string); i++) line = line code[substr(string, i, 1)]
            return line
        }
        function base64(bytes, count, alphabet,   i, line, a, b, c) {
            line = ""
            for (i = 0; i < count; i += 3) {
                a = bytes[i]; b = i + 1 < count ? bytes[i + 1] : 0; c = i + 2 < count ? bytes[i + 2] : 0
                line = line substr(alphabet, int(a / 4) + 1, 1) substr(alphabet, (a % 4) * 16 + int(b / 16) + 1, 1)
                if (i + 1 < count) line = line substr(alphabet, (b % 16) * 4 + int(c / 64) + 1, 1)
                if (i + 2 < count) line = line substr(alphabet, c % 64 + 1, 1)
            }
            return line
        }
        BEGIN {
            for (i = 1; i < 256; i++) code[sprintf("%c", i)] = sprintf("%02x", i)
            for (i = 0; i < 16; i++) value[substr("0123456789abcdef", i + 1, 1)] = i
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
            skipped[0] = 0; skipped[1] = 2; skipped[2] = 3
        }
        {
            print $0
            print text($0)
            if (toupper($0) != $0) print text(toupper($0))
            for (before = 0; before < 3; before++) {
                for (i = 0; i < before; i++) bytes[i] = 0
                for (i = 0; i < length($0) / 2; i++)
                    bytes[before + i] = value[substr($0, 2 * i + 1, 1)] * 16 + value[substr($0, 2 * i + 2, 1)]
                count = before + length($0) / 2
                for (kind = 0; kind < 2; kind++) {
                    line = base64(bytes, count, letters (kind ? "-_" : "+/"))
                    line = substr(line, skipped[before] + 1, length(line) - skipped[before] - (count % 3 ? 1 : 0))
                    if (!kind || line != last) print text(line)
                    last = line
                }
            }
        }'
}

# occurrences PATTERNS FILE...: the names of the files that hold one of the patterns, with how many. Fails when a file can
# not be read: what was not searched is not clean.
occurrences() {
    local list=$1 file count
    shift
    for file in "$@"; do
        [[ -r $file ]] || return 1
        count=$(hexadecimal "$file" | LC_ALL=C grep -o -F -f "$list" | wc -l || true)
        ((count == 0)) || printf '%s: %d\n' "$file" "$count"
    done
}

# missing_needles NEEDLES FILE: how many of the needles are not in the file as they are.
missing_needles() {
    hexadecimal "$2" | awk -v list="$1" '
        { all = $0 }
        END { while ((getline needle < list) > 0) if (!index(all, needle)) missing++; print missing + 0 }'
}
