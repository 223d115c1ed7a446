# shellcheck shell=bash disable=SC2154
drill() {
    strike desk cut kms-1 core
    detected core "$(with_id HDS-CORE-LINK-ENDED)" NODE=kms-1
    proof kms-1 -u hds-kms "$(with_id HDS-LINK-DOWN)"
    recovered
    mend desk heal
    proof kms-1 -u hds-kms "$(with_id HDS-LINK-UP)"
    restored
}
