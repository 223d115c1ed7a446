# shellcheck shell=bash disable=SC2154
drill() {
    local start
    without_power() {
        desk cut kms-2 core,auth,clients,db-1,db-2
        node_power_failure kms-2
    }
    strike without_power
    detected core "$(with_id HDS-CORE-LINK-ENDED)" NODE=kms-2
    recovered
    start=$(now)
    power_returns() {
        desk heal
        node_up kms-2 || fault "kms-2 does not boot again"
    }
    mend power_returns
    proof kms-2 -u hds-kms "$(with_id HDS-READY)"
    proof core "$(with_id HDS-CORE-LINK-ACCEPTED)" NODE=kms-2
    figure bootToReadyMilliseconds $((($(now) - start) / 1000000))
    restored
}
