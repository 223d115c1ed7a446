# shellcheck shell=bash disable=SC2034,SC2154
# Starts services on loopback, waits until they are ready, ends them by their process id. Sourced; needs terminal.sh.

declare -A service_pid=() service_log=() service_health=()
ports_taken=' '

# free_port VARIABLE: a port of this machine that nobody listens on, outside the range of outgoing connections.
free_port() {
    local candidate hexadecimal
    for _ in {1..200}; do
        candidate=$((20000 + RANDOM % 12000))
        [[ $ports_taken == *" $candidate "* ]] && continue
        printf -v hexadecimal '%04X' "$candidate"
        awk -v port=":$hexadecimal" '$2 ~ port "$" { found = 1 } END { exit found }' /proc/net/tcp /proc/net/tcp6 \
            2>/dev/null || continue
        ports_taken+="$candidate "
        printf -v "$1" '%s' "$candidate"
        return
    done
    die "no free port between 20000 and 32000"
}

# http_status PORT PATH: the status of a GET on 127.0.0.1, or nothing when there is no answer.
http_status() (
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 0
    printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "$2" >&3
    IFS=' ' read -r -t 2 _ status _ <&3 || exit 0
    printf '%s' "$status"
) 2>/dev/null

# http_body PORT PATH: the body of the answer to a GET on 127.0.0.1.
http_body() (
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 0
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' "$2" >&3
    timeout 3 cat <&3 | sed '1,/^\r*$/d'
) 2>/dev/null

# start_service NAME HEALTH-PORT LOG COMMAND...
start_service() {
    local name=$1 port=$2 log=$3
    shift 3
    SWIFT_BACKTRACE=enable=no "$@" >>"$log" 2>&1 </dev/null &
    service_pid[$name]=$!
    service_log[$name]=$log
    service_health[$name]=$port
}

# wait_ready NAME SECONDS: until /readyz says 200. Ends the script with the log's tail when the service ends or the time
# is over.
wait_ready() {
    local name=$1 deadline=$((SECONDS + $2))
    until [[ $(http_status "${service_health[$name]}" /readyz) == 200 ]]; do
        kill -0 "${service_pid[$name]}" 2>/dev/null || service_failed "$name" "$name ended before it was ready"
        ((SECONDS < deadline)) || service_failed "$name" "$name was not ready after $2 s" \
            "its checks: $(http_body "${service_health[$name]}" /readyz | head -c 600)"
        sleep 0.1
    done
}

# service_failed NAME TEXT [HINT...]
service_failed() {
    local name=$1
    shift
    printf '\n%s--- the last lines of %s%s\n' "$dim" "${service_log[$name]}" "$plain" >&2
    tail -n 25 "${service_log[$name]}" >&2 || true
    printf '%s---%s\n' "$dim" "$plain" >&2
    die "$@" "the whole log: ${service_log[$name]}"
}

# stop_services: SIGTERM to each, then SIGKILL to what is still there after 15 s. Returns 1 if one had to be killed.
stop_services() {
    local name deadline=$((SECONDS + 15)) status=0
    for name in "${!service_pid[@]}"; do kill -TERM "${service_pid[$name]}" 2>/dev/null || true; done
    for name in "${!service_pid[@]}"; do
        while kill -0 "${service_pid[$name]}" 2>/dev/null && ((SECONDS < deadline)); do sleep 0.05; done
        if kill -KILL "${service_pid[$name]}" 2>/dev/null; then
            warn "$name did not end by itself"
            status=1
        fi
        wait "${service_pid[$name]}" 2>/dev/null || true
        unset "service_pid[$name]"
    done
    return "$status"
}

# write_stop_script DIR PID...: DIR/stop ends these processes, if they still are the ones that use DIR, and removes DIR.
write_stop_script() {
    local dir=$1
    shift
    cat >"$dir/stop" <<END
#!/bin/bash
# Ends the services of this trial and removes its folder.
for process in $*; do
    grep -qs -F '$dir/' "/proc/\$process/cmdline" || continue
    kill "\$process"
    for _ in {1..200}; do kill -0 "\$process" 2>/dev/null || continue 2; sleep 0.1; done
    kill -KILL "\$process"
done
rm -rf '$dir'
END
    chmod 700 "$dir/stop"
}
