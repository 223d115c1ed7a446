// libarchive: the parts of an office document.
#ifndef HDS_CARCHIVE_SHIM_H
#define HDS_CARCHIVE_SHIM_H

#include <archive.h>
#include <archive_entry.h>

#endif
