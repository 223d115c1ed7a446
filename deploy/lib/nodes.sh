# shellcheck shell=bash disable=SC2154
# Real systemd nodes on this machine: a Debian 12 tree, and containers of it whose PID 1 is systemd (systemd-nspawn).
# Sourced; needs terminal.sh and packages.sh, root, and $nodes: a scratch folder.

# What a node has besides the smallest Debian: what the packages of the bundle depend on, so that it needs no network.
node_packages=systemd,systemd-sysv,dbus,procps,ca-certificates,openssl,xmlsec1,curl,libsystemd0,libsqlite3-0,libssl3,libp11-kit0
node_packages+=,libpq5,libldap-2.5-0,libstdc++6,libarchive13,libxml2,libseccomp2,debianutils,init-system-helpers,libnss-systemd

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

# node_layer LAYER COMMAND...: what the command, run within the base tree, adds to it, made once. Nodes that name it in
# node_layers have it. The command reaches the network of this machine and may install packages.
node_layer() {
    local layer=$nodes/layers/$1 status=0
    shift
    [[ -e $layer.made ]] && return
    rm -rf --one-file-system "$layer" "$layer.work"
    mkdir -p "$layer" "$layer.work" "$layer.root"
    mount -t overlay overlay -o "lowerdir=$nodes/base,upperdir=$layer,workdir=$layer.work" "$layer.root"
    cp /etc/resolv.conf "$layer.root/etc/resolv.conf"
    # Nothing that is installed there may start here.
    printf '#!/bin/sh\nexit 101\n' >"$layer.root/usr/sbin/policy-rc.d"
    chmod 755 "$layer.root/usr/sbin/policy-rc.d"
    unshare --mount --pid --fork --kill-child chroot "$layer.root" sh -c 'mount -t proc proc /proc && exec "$@"' sh "$@" \
        </dev/null || status=$?
    rm -f "$layer.root/usr/sbin/policy-rc.d" "$layer.root/etc/resolv.conf"
    umount -l "$layer.root"
    ((status == 0)) || return "$status"
    touch "$layer.made"
}

# What a node is made of besides the base tree, the uppermost layer first, and the network namespace that it is in; set
# before node_up. Without a namespace it has a loopback of its own and no other network.
declare -A node_layers=() node_network=()

# node_mount NAME: its disk, at $nodes/NAME/root; what the node wrote before is there.
node_mount() {
    local root=$nodes/$1/root lower=$nodes/base layer
    mkdir -p "$nodes/$1"/{upper,work,root}
    mountpoint -q "$root" && return
    for layer in $(printf '%s\n' ${node_layers[$1]:-} | tac); do lower=$nodes/layers/$layer:$lower; done
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$nodes/$1/upper,workdir=$nodes/$1/work" "$root"
}

# node_leader NAME: the process id of its PID 1, or nothing when it is off. In a file, so that every shell knows it.
node_leader() { cat "$nodes/$1/leader" 2>/dev/null || true; }

# node_up NAME: boots; what the node wrote before, it still has.
node_up() {
    local name=$1 root=$nodes/$1/root cgroup=/sys/fs/cgroup network=--private-network supervisor leader tries
    [[ -d $cgroup/unified ]] && cgroup=$cgroup/unified
    node_mount "$name"
    [[ -z ${node_network[$name]:-} ]] || network=--network-namespace-path=${node_network[$name]}
    [[ -s $nodes/$name/machine-id ]] || tr -d - </proc/sys/kernel/random/uuid >"$nodes/$name/machine-id"
    cp "$nodes/$name/machine-id" "$root/etc/machine-id"
    mkdir -p "$root/var/log/journal" "$cgroup/hds-$name"
    [[ ! -d /sys/fs/cgroup/systemd ]] || mkdir -p "/sys/fs/cgroup/systemd/hds-$name"
    (
        # A cgroup of its own, or the payloads of two nodes meet.
        echo "$BASHPID" >"$cgroup/hds-$name/cgroup.procs"
        [[ ! -d /sys/fs/cgroup/systemd ]] || echo "$BASHPID" >"/sys/fs/cgroup/systemd/hds-$name/cgroup.procs"
        # A pipe of the caller ends with the caller, and not with the node.
        for descriptor in /proc/self/fd/*; do
            descriptor=${descriptor##*/}
            ((descriptor < 3 || descriptor == 255)) || eval "exec $descriptor>&-"
        done
        exec setsid env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet -D "$root" -M "hds-$name" --boot \
            --register=no --keep-unit "$network" --resolv-conf=off --timezone=off --link-journal=no \
            --capability=CAP_BPF,CAP_PERFMON,CAP_IPC_LOCK --system-call-filter=bpf --console=read-only \
            </dev/null >"$nodes/$name/console.log" 2>&1
    ) &
    supervisor=$!
    echo "$supervisor" >"$nodes/$name/supervisor"
    for ((tries = 0; tries < 600; tries++)); do
        kill -0 "$supervisor" 2>/dev/null || break
        leader=$(pgrep -P "$supervisor" | head -n 1 || true)
        if [[ -n $leader ]]; then
            echo "$leader" >"$nodes/$name/leader"
            case $(node "$name" systemctl is-system-running 2>/dev/null || true) in
                running | degraded) return 0 ;;
            esac
        fi
        sleep 0.1
    done
    tail -n 5 "$nodes/$name/console.log" >&2
    return 1
}

# node NAME COMMAND...: in the node's namespaces.
node() {
    local leader
    leader=$(node_leader "$1")
    shift
    [[ -n $leader ]] || return 125
    nsenter -t "$leader" -m -u -i -n -p -C -r -w -- "$@" </dev/null
}

# node_power_failure NAME: everything in it is gone at once; what is on its disk stays.
node_power_failure() {
    local supervisor tries
    supervisor=$(cat "$nodes/$1/supervisor" 2>/dev/null || true)
    kill -KILL "$(node_leader "$1")" 2>/dev/null || true
    # A child of this shell, or of another one.
    for ((tries = 0; tries < 600; tries++)); do
        [[ -n $supervisor && -d /proc/$supervisor ]] || break
        wait "$supervisor" 2>/dev/null || true
        sleep 0.05
    done
    rm -f "$nodes/$1/leader" "$nodes/$1/supervisor"
}

# node_remove NAME: with all that it wrote.
node_remove() {
    local cgroup
    [[ ! -e $nodes/$1/supervisor ]] || node_power_failure "$1"
    umount -l "$nodes/$1/root" 2>/dev/null || true
    rm -rf --one-file-system "${nodes:?}/$1"
    for cgroup in /sys/fs/cgroup/unified/hds-"$1" /sys/fs/cgroup/systemd/hds-"$1" /sys/fs/cgroup/hds-"$1"; do
        [[ ! -d $cgroup ]] || find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    done
}
