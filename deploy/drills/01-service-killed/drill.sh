# shellcheck shell=bash disable=SC2154
drill() {
    local old old_auth
    old=$(main_pid kms-1 hds-kms)
    old_auth=$(main_pid auth hds-auth)
    blow_of_this() {
        node kms-1 kill -KILL "$old"
        node auth kill -KILL "$old_auth"
    }
    strike blow_of_this
    detected kms-1 -u hds-kms _PID=1 -g 'status=9/KILL'
    proof core "$(with_id HDS-CORE-LINK-ENDED)" NODE=kms-1
    recovered
    mend
    proof kms-1 -u hds-kms "$(with_id HDS-READY)"
    proof auth -u hds-auth "$(with_id HDS-READY)"
    restored
    new_process kms-1 hds-kms "$old" || fault "hds-kms is not a new process"
    new_process auth hds-auth "$old_auth" || fault "hds-auth is not a new process"
}
