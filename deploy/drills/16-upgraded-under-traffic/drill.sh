# shellcheck shell=bash disable=SC2154
drill() {
    local host unit old
    newer_packages "$scratch/newer"
    for host in "${kms_nodes[@]}" auth; do
        rm -rf "$nodes/$host/root/srv/newer"
        cp -r "$scratch/newer" "$nodes/$host/root/srv/newer"
        cp "$nodes/$host/root/etc/hds"/hds-*.yaml "$scratch/before-$host"
    done
    strike
    for host in "${kms_nodes[@]}" auth; do
        unit=hds-kms
        [[ $host != auth ]] || unit=hds-auth
        old=$(main_pid "$host" "$unit")
        node "$host" sh -c 'dpkg -i /srv/newer/*.deb' >"$scratch/upgrade-$host.log" 2>&1 ||
            fault "the upgrade of $host failed: $(tail -n 3 "$scratch/upgrade-$host.log")"
        becomes 150 new_process "$host" "$unit" "$old" || fault "the upgrade of $host did not start $unit again"
        [[ $host == auth ]] || becomes 150 ready "$host" || fault "$host is not ready after its upgrade"
        cmp "$nodes/$host/root/etc/hds/$unit.yaml" "$scratch/before-$host" || fault "the upgrade of $host changed $unit.yaml"
    done
    detected kms-1 -u hds-kms "$(with_id HDS-STOPPING)"
    proof kms-1 -u hds-kms "$(with_id HDS-STOPPED)"
    proof kms-1 -u hds-kms "$(with_id HDS-READY)"
    recovered
    mend
    restored
}
