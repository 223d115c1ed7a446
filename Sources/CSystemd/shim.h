// libsystemd: service notification and the journal.
#ifndef HDS_CSYSTEMD_SHIM_H
#define HDS_CSYSTEMD_SHIM_H

#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#endif
