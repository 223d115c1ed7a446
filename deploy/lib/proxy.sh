#!/bin/bash
# A throw-away HTTP proxy for tests, on 127.0.0.1, that allows CONNECT to any port of this machine.
#
#   deploy/lib/proxy.sh FOLDER PORT tinyproxy              asks nobody
#   deploy/lib/proxy.sh FOLDER PORT tinyproxy-basic        Basic: user `kms`, password `pass-word`
#   deploy/lib/proxy.sh FOLDER PORT squid-digest           Digest (MD5): user `EXAMPLE\kms`, password `pass:word`
#   deploy/lib/proxy.sh FOLDER PORT squid-basic            Basic: user `kms`, password `pass:word`
#   ... ADDRESS                                            there instead of 127.0.0.1
#   deploy/lib/proxy.sh --find                             1 unless both programs are on this machine
#
# FOLDER is made, and deleted at the end; every user has to be able to get there. Instead of `ready` a line says why not. squid knows the name other.example
# (127.0.0.1), which nothing else on this machine can look up. Prints `ready`, and ends with its standard input, so that
# no proxy is left behind by a test that dies.
set -euo pipefail

tinyproxy=$(PATH=$PATH:/usr/sbin command -v tinyproxy || true)
squid=$(PATH=$PATH:/usr/sbin command -v squid || true)
helpers=/usr/lib/squid
if [[ ${1:-} == --find ]]; then [[ -n $tinyproxy && -n $squid ]]; exit; fi
if (($# != 3 && $# != 4)); then
    sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
folder=$1 port=$2 kind=$3 address=${4:-127.0.0.1}
server=
is_ready=
finish() {
    # One line that says why, for the folder goes.
    [[ -n $is_ready ]] || { tail -qn 3 log cache.log proxy.log 2>/dev/null || true; } | tr '\n' ' ' | cut -c 1-600
    [[ -n $server ]] && kill -TERM "$server" 2>/dev/null && wait "$server" 2>/dev/null
    cd /
    rm -rf "$folder"
}
trap finish EXIT
# Ends by its input only: a signal to the terminal's group is not for it.
trap '' INT
mkdir -p "$folder"
cd "$folder"
exec 2>>"$folder/log"
# squid gives up being root, and its user has to write here.
chmod 777 "$folder"

case $kind in
tinyproxy*)
    {
        printf 'Port %s\nListen %s\nTimeout 600\nMaxClients 50\nLogFile "%s/proxy.log"\n' "$port" "$address" "$folder"
        [[ $kind == tinyproxy ]] || printf 'BasicAuth kms pass-word\n'
    } >proxy.conf
    "$tinyproxy" -d -c proxy.conf </dev/null >>log &
    ;;
squid-*)
    printf 'kms:%s\n' "$(openssl passwd -apr1 pass:word)" >basic
    # squid drops the backslash when it asks its helper; the proof is over the name as it is.
    printf '%s:%s:%s\n' 'EXAMPLEkms' 'test proxy' \
        "$(printf '%s' 'EXAMPLE\kms:test proxy:pass:word' | openssl md5 -r | cut -d ' ' -f 1)" >digest
    printf '127.0.0.1 localhost\n127.0.0.1 other.example\n' >hosts
    chmod 644 basic digest hosts
    {
        printf 'http_port %s:%s\nvisible_hostname test-proxy\nhosts_file %s/hosts\n' "$address" "$port" "$folder"
        printf 'pid_filename none\ncache_log %s/cache.log\naccess_log none\ncache deny all\n' "$folder"
        printf 'pinger_enable off\nshutdown_lifetime 0 seconds\ncache_mem 1 MB\nmax_filedescriptors 512\n'
        if [[ $kind == squid-digest ]]; then
            printf 'auth_param digest program %s/digest_file_auth -c %s/digest\n' "$helpers" "$folder"
            printf 'auth_param digest realm test proxy\nauth_param digest children 1\n'
            # Stale after three uses, so that a test meets it.
            printf 'auth_param digest nonce_max_count 3\n'
        else
            printf 'auth_param basic program %s/basic_ncsa_auth %s/basic\n' "$helpers" "$folder"
            printf 'auth_param basic realm test proxy\nauth_param basic children 1\n'
        fi
        printf 'acl known proxy_auth REQUIRED\nacl here dst 127.0.0.0/8 ::1/128\nhttp_access allow known here\n'
        printf 'http_access deny all\n'
    } >proxy.conf
    "$squid" -N -f proxy.conf </dev/null >>log &
    ;;
*)
    exit 64
    ;;
esac
server=$!
for ((attempt = 0; attempt < 300; attempt++)); do
    kill -0 "$server" 2>/dev/null || exit 1
    if (exec 3<>"/dev/tcp/$address/$port") 2>/dev/null; then
        is_ready=yes
        echo ready
        # Until the end of the input.
        cat >/dev/null
        exit 0
    fi
    sleep 0.1
done
exit 1
