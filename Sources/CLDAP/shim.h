// libldap of OpenLDAP: the client library of LDAP.
#ifndef HDS_CLDAP_SHIM_H
#define HDS_CLDAP_SHIM_H

#include <lber.h>
#include <ldap.h>
#include <sys/time.h>

#endif
