# shellcheck shell=bash disable=SC2154
drill() {
    local old new told start
    old=$(primary)
    new=$(other_database "$old")
    site_lost() {
        desk cut "kms-1,$old" "core,auth,clients,kms-2,kms-3,$new"
        node_power_failure kms-1
        node_power_failure "$old"
    }
    strike site_lost
    detected kms-2 -u hds-kms "$(with_id HDS-LEASE-LOST)"
    start=$(now)
    told=$(as_service kms-2 hdsctl failover promote --to "${full_name[$new]}:5432" --site b --json) ||
        fault "the promotion failed: $told"
    figure promoteMilliseconds $((($(now) - start) / 1000000))
    [[ $told == *'"proved"'* ]] || fault "it is not proved that nothing is lost: $told"
    proof kms-2 -u hds-kms "$(with_id HDS-EPOCH-RAISED)"
    recovered
    failed_back() {
        database_returns_as_standby "$old" "$new"
        node_up kms-1 || fault "kms-1 does not boot again"
        becomes 150 whole || fault "not every node is ready before the way back"
        start=$(now)
        told=$(as_service kms-2 hdsctl failover failback --to "${full_name[$old]}:5432" --site a --json) ||
            fault "the way back failed: $told"
        figure failbackMilliseconds $((($(now) - start) / 1000000))
        make_standby "$new" "$old"
        synchronous "$old"
    }
    mend failed_back
    [[ $(primary) == "$old" ]] || fault "$old is not the primary again"
    restored
}
