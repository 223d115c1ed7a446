// libpq: the client library of PostgreSQL.
#ifndef HDS_CPOSTGRESQL_SHIM_H
#define HDS_CPOSTGRESQL_SHIM_H

#include <libpq-fe.h>

#endif
