# shellcheck shell=bash disable=SC2154
drill() {
    strike desk loss 30 kms-1,kms-2,kms-3 core
    recovered
    hold 20
    if_any core "$(with_id HDS-CORE-LINK-ENDED)"
    mend desk heal
    restored
}
