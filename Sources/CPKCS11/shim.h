// The interface of PKCS#11 2.40 as p11-kit's header has it; the module of a token is loaded when the program runs.
#ifndef HDS_CPKCS11_SHIM_H
#define HDS_CPKCS11_SHIM_H

#include <dlfcn.h>
#include <p11-kit/pkcs11.h>

#endif
