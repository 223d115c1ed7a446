// libsystemd: service notification and the journal.
#ifndef HDS_CSYSTEMD_SHIM_H
#define HDS_CSYSTEMD_SHIM_H

#include <sys/prctl.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

// prctl is variadic, which Swift can not call. Returns 0, or -1 with errno set.
static inline int hds_forbid_dumps(void) {
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

#endif
