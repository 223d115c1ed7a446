// OpenSSL 3 as a system library. Definitions stand here only for what Swift can not import: macros, and functions that
// OpenSSL marks as deprecated.
#ifndef HDS_COPENSSL_SHIM_H
#define HDS_COPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/ts.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

static const unsigned long HDS_XN_FLAG_RFC2253 = XN_FLAG_RFC2253;

// SHA-256 from a state that is copied, for many short messages under one key. EVP offers the same at twenty times the cost
// of the hashing; the functions below are the ones that EVP calls, and are deprecated only as an interface.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

// The state after one block of 64 octets.
static inline void hds_sha256_first_block(SHA_LONG state[8], const unsigned char block[64]) {
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Transform(&context, block);
    for (int index = 0; index < 8; index++) state[index] = context.h[index];
    OPENSSL_cleanse(&context, sizeof context);
}

static inline void hds_sha256_resume(SHA256_CTX *context, const SHA_LONG state[8]) {
    for (int index = 0; index < 8; index++) context->h[index] = state[index];
    context->Nl = 512;
    context->Nh = 0;
    context->num = 0;
    context->md_len = SHA256_DIGEST_LENGTH;
}

// HMAC: the message behind the inner state, its digest behind the outer one.
static inline void hds_sha256_two_passes(
    const SHA_LONG inner[8], const SHA_LONG outer[8], const void *message, size_t count, unsigned char tag[32]) {
    SHA256_CTX context;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    hds_sha256_resume(&context, inner);
    SHA256_Update(&context, message, count);
    SHA256_Final(digest, &context);
    hds_sha256_resume(&context, outer);
    SHA256_Update(&context, digest, sizeof digest);
    SHA256_Final(tag, &context);
}

#pragma GCC diagnostic pop

#endif
