# shellcheck shell=bash disable=SC2034
# What the scripts in deploy/ say and how: plain lines, steps with numbers, colours only on a terminal.
# Sourced, not run.

if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' yellow=$'\e[33m' plain=$'\e[0m'
else
    bold='' dim='' green='' red='' yellow='' plain=''
fi

step_number=0
step_total=${step_total:-0}

# step TEXT: the next numbered step.
step() {
    step_number=$((step_number + 1))
    printf '\n%s[%d/%d] %s%s\n' "$bold" "$step_number" "$step_total" "$1" "$plain"
}

say() { printf '      %s\n' "$*"; }
note() { printf '      %s%s%s\n' "$dim" "$*" "$plain"; }
good() { printf '   %sok%s %s\n' "$green" "$plain" "$*"; }
warn() { printf '   %s!!%s %s\n' "$yellow" "$plain" "$*" >&2; }

# die TEXT [HINT...]: ends the script with $die_status; each hint is a line that says what to do.
die_status=1
die() {
    printf '\n%serror:%s %s\n' "$red" "$plain" "$1" >&2
    shift
    local hint
    for hint in "$@"; do printf '       %s\n' "$hint" >&2; done
    exit "$die_status"
}

# seconds_since START: whole seconds since a value of SECONDS, as "7 s" or "2 min 05 s".
seconds_since() {
    local count=$((SECONDS - $1))
    if ((count < 60)); then printf '%d s' "$count"; else printf '%d min %02d s' $((count / 60)) $((count % 60)); fi
}

# logged LOG COMMAND...: runs a long command with its output in LOG and shows that it lives: on a terminal its last line
# with the time, otherwise a line every half minute. Returns the command's status.
logged() {
    local log=$1 start=$SECONDS told=$SECONDS status=0 pid
    shift
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    logged_process=$pid
    while kill -0 "$pid" 2>/dev/null; do
        if [[ -t 1 ]]; then
            printf '\r\e[K      %s%4d s  %s%s' "$dim" $((SECONDS - start)) \
                "$(tail -c 300 "$log" | tr '\r' '\n' | grep -v '^$' | tail -n 1 | cut -c 1-90)" "$plain"
        elif ((SECONDS - told >= 30)); then
            told=$SECONDS
            note "$((SECONDS - start)) s: $(tail -c 300 "$log" | tr '\r' '\n' | grep -v '^$' | tail -n 1 | cut -c 1-100)"
        fi
        sleep 0.5
    done
    wait "$pid" || status=$?
    logged_process=
    [[ -t 1 ]] && printf '\r\e[K'
    return "$status"
}
logged_process=

# json_text TEXT: as it stands between the quotes of a JSON string. in_json NAME: the first text of that name in the JSON on
# the standard input; nothing when there is none.
json_text() { printf '%s' "$1" | tr '\n\t' '  ' | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g'; }
in_json() { grep -o "\"$1\" *: *\"[^\"]*\"" | sed -n 1p | cut -d '"' -f 4 || true; }
