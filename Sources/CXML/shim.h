// libxml2: a streaming reader for XML and a forgiving parser for HTML.
#ifndef HDS_CXML_SHIM_H
#define HDS_CXML_SHIM_H

#include <libxml/HTMLparser.h>
#include <stdlib.h>
#include <string.h>
#include <libxml/xmlerror.h>
#include <libxml/xmlreader.h>

static inline void hds_ignore_xml_error(void *context, const char *message, ...) {
    (void)context;
    (void)message;
}

// The parsers go on after most failures to get memory, with less of the document: this tells.
static int *hds_xml_shortage(void) {
    static int shortage = 0;
    return &shortage;
}
static void *hds_xml_malloc(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL) *hds_xml_shortage() = 1;
    return memory;
}
static void *hds_xml_realloc(void *before, size_t size) {
    void *memory = realloc(before, size);
    if (memory == NULL) *hds_xml_shortage() = 1;
    return memory;
}
static char *hds_xml_strdup(const char *text) {
    char *copy = strdup(text);
    if (copy == NULL) *hds_xml_shortage() = 1;
    return copy;
}

// Before the library is used for the first time. What a document is blamed for goes nowhere: it would be said on the
// standard error, with text of the document.
static inline void hds_prepare_xml(void) {
    xmlSetGenericErrorFunc(NULL, hds_ignore_xml_error);
    xmlMemSetup(free, hds_xml_malloc, hds_xml_realloc, hds_xml_strdup);
}
static inline int hds_xml_was_short_of_memory(void) {
    return *hds_xml_shortage();
}

#endif
