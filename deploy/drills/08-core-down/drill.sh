# shellcheck shell=bash disable=SC2154
drill() {
    local in_all in_a_second
    core_down() {
        desk cut core kms-1,kms-2,kms-3,clients,auth
        node_power_failure core
    }
    strike core_down
    detected kms-1 -u hds-kms "$(with_id HDS-LINK-DOWN)"
    proof kms-1 -u hds-kms "$(with_id HDS-CLOUD-UNREACHABLE)"
    hold 16
    core_back() {
        node_up core || fault "the core does not boot again"
        desk heal
    }
    mend core_back
    proof core -u hds-core "$(with_id HDS-READY)"
    proof kms-1 -u hds-kms "$(with_id HDS-LINK-UP)"
    recovered
    restored
    desk openings core
    read -r _ in_all in_a_second <<<"$answer"
    figure connectionsOfANode "$in_all"
    figure connectionsOfANodeInASecond "$in_a_second"
    ((in_all <= 40 && in_a_second <= 8)) || fault "the nodes storm the core: $answer"
}
