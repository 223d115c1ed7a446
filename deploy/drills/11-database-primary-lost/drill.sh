# shellcheck shell=bash disable=SC2154
drill() {
    local old new told
    old=$(primary)
    new=$(other_database "$old")
    strike database_lost "$old"
    detected kms-1 -u hds-kms "$(with_id HDS-LEASE-LOST)"
    told=$(as_service kms-1 hdsctl failover promote --to "${full_name[$new]}:5432" --json) ||
        fault "the promotion failed: $told"
    [[ $told == *'"proved"'* ]] || fault "it is not proved that nothing is lost: $told"
    proof kms-1 -u hds-kms "$(with_id HDS-EPOCH-RAISED)"
    recovered
    mend database_returns_as_standby "$old" "$new"
    restored
}
