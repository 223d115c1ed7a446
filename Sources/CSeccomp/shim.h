// libseccomp and Landlock: what a process gives up before it looks at a file of a stranger. The functions here are those
// that Swift can not call itself: variadic ones, system calls without a wrapper in the C library, and macros.
#ifndef HDS_CSECCOMP_SHIM_H
#define HDS_CSECCOMP_SHIM_H

#include <errno.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// Each returns 0 (or what it says), or -1 with errno set.
static inline int hds_no_new_privileges(void) {
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// A file in memory without a name. Returns its descriptor.
static inline int hds_memory_file(void) {
    return (int)syscall(SYS_memfd_create, "document", 0);
}

// Closes every descriptor but the standard ones.
static inline int hds_close_descriptors(void) {
    return (int)syscall(SYS_close_range, 3, ~0U, 0);
}

// The version of Landlock that the kernel speaks, at least 1.
static inline int hds_landlock_version(void) {
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

// All that version 1 knows of the file system is refused unless a rule allows it. Returns the rule set's descriptor.
static inline int hds_landlock_refuse_all(void) {
    struct landlock_ruleset_attr attributes = {0};
    attributes.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    return (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes.handled_access_fs, 0);
}

static inline int hds_landlock_allow_reading(int rules, int folder) {
    struct landlock_path_beneath_attr beneath = {0};
    beneath.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE;
    beneath.parent_fd = folder;
    return (int)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
}

static inline int hds_landlock_enforce(int rules) {
    return (int)syscall(SYS_landlock_restrict_self, rules, 0);
}

// A filter that answers EPERM to every system call that is not allowed.
static inline scmp_filter_ctx hds_filter(void) {
    return seccomp_init(SCMP_ACT_ERRNO(EPERM));
}

// Returns 0, or a negative errno. A name that this architecture does not have is no error.
static inline int hds_filter_allow(scmp_filter_ctx filter, const char *name) {
    int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) return 0;
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 0, NULL);
}

#endif
