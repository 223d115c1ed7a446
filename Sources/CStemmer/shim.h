// The interface of libstemmer 2.2.0 (Snowball).
#ifndef HDS_CSTEMMER_SHIM_H
#define HDS_CSTEMMER_SHIM_H

#include <libstemmer.h>

#endif
