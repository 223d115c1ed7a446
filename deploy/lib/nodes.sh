# shellcheck shell=bash disable=SC2154
# Real systemd nodes on this machine: a Debian 12 tree, and containers of it whose PID 1 is systemd (systemd-nspawn).
# Sourced; needs terminal.sh and packages.sh, root, and $nodes: a scratch folder.

# What a node has besides the smallest Debian: what the packages of the bundle depend on, so that it needs no network.
node_packages=systemd,systemd-sysv,dbus,procps,ca-certificates,openssl,curl,libsystemd0,libsqlite3-0,libssl3,libp11-kit0
node_packages+=,libpq5,libstdc++6,debianutils,init-system-helpers,libnss-systemd

# nodes_missing: the reason why no node can be booted here, or nothing.
nodes_missing() {
    if ((EUID != 0)); then
        echo "this is not root"
    elif ! unshare --mount --pid --fork --mount-proc true 2>/dev/null; then
        echo "namespaces can not be made here"
    elif [[ ! -d /sys/fs/cgroup/unified && ! -e /sys/fs/cgroup/cgroup.controllers ]]; then
        echo "there is no unified cgroup hierarchy"
    fi
}

# node_base: the tree that all nodes start from, made once.
node_base() {
    [[ -e $nodes/base/etc/os-release ]] && return
    rm -rf --one-file-system "$nodes/base.new"
    mmdebstrap --quiet --variant=minbase --include="$node_packages" \
        --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$nodes/base.new" \
        /etc/apt/sources.list.d/debian.sources || return
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$nodes/base.new/etc/hosts"
    mv "$nodes/base.new" "$nodes/base"
}

declare -A node_supervisor=() node_leader=()

# node_up NAME: boots; what the node wrote before, it still has. It has a loopback of its own and no other network.
node_up() {
    local name=$1 root=$nodes/$1/root cgroup=/sys/fs/cgroup tries
    [[ -d $cgroup/unified ]] && cgroup=$cgroup/unified
    mkdir -p "$nodes/$name"/{upper,work,root}
    mountpoint -q "$root" ||
        mount -t overlay overlay -o "lowerdir=$nodes/base,upperdir=$nodes/$name/upper,workdir=$nodes/$name/work" "$root"
    [[ -s $nodes/$name/machine-id ]] || tr -d - </proc/sys/kernel/random/uuid >"$nodes/$name/machine-id"
    cp "$nodes/$name/machine-id" "$root/etc/machine-id"
    mkdir -p "$root/var/log/journal" "$cgroup/hds-$name"
    [[ ! -d /sys/fs/cgroup/systemd ]] || mkdir -p "/sys/fs/cgroup/systemd/hds-$name"
    (
        # A cgroup of its own, or the payloads of two nodes meet.
        echo "$BASHPID" >"$cgroup/hds-$name/cgroup.procs"
        [[ ! -d /sys/fs/cgroup/systemd ]] || echo "$BASHPID" >"/sys/fs/cgroup/systemd/hds-$name/cgroup.procs"
        exec setsid env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet -D "$root" -M "hds-$name" --boot \
            --register=no --keep-unit --private-network --resolv-conf=off --timezone=off --link-journal=no \
            --capability=CAP_BPF,CAP_PERFMON,CAP_IPC_LOCK --system-call-filter=bpf --console=read-only \
            </dev/null >"$nodes/$name/console.log" 2>&1
    ) &
    node_supervisor[$name]=$!
    for ((tries = 0; tries < 600; tries++)); do
        kill -0 "${node_supervisor[$name]}" 2>/dev/null || break
        node_leader[$name]=$(pgrep -P "${node_supervisor[$name]}" | head -n 1 || true)
        case $([[ -z ${node_leader[$name]} ]] || node "$name" systemctl is-system-running 2>/dev/null || true) in
            running | degraded) return 0 ;;
        esac
        sleep 0.1
    done
    tail -n 5 "$nodes/$name/console.log" >&2
    return 1
}

# node NAME COMMAND...: in the node's namespaces.
node() {
    local name=$1
    shift
    nsenter -t "${node_leader[$name]}" -m -u -i -n -p -C -r -w -- "$@" </dev/null
}

# node_power_failure NAME: everything in it is gone at once; what is on its disk stays.
node_power_failure() {
    kill -KILL "${node_leader[$1]}" 2>/dev/null || true
    wait "${node_supervisor[$1]}" 2>/dev/null || true
    unset "node_leader[$1]" "node_supervisor[$1]"
}

# node_remove NAME: with all that it wrote.
node_remove() {
    local cgroup
    [[ -z ${node_leader[$1]:-} ]] || node_power_failure "$1"
    umount -l "$nodes/$1/root" 2>/dev/null || true
    rm -rf --one-file-system "${nodes:?}/$1"
    for cgroup in /sys/fs/cgroup/unified/hds-"$1" /sys/fs/cgroup/systemd/hds-"$1" /sys/fs/cgroup/hds-"$1"; do
        [[ ! -d $cgroup ]] || find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
}
