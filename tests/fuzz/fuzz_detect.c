/* SPDX-License-Identifier: MIT */
/* Detection over arbitrary bytes. The first line is a name that some migration provides, the rest
 * is the body. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "detect/detect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct detect *detect;
    static struct detect_scratch *scratch;
    if (!detect)
        detect = detect_new(NULL);
    if (detect && !scratch)
        scratch = detect_scratch_new(detect);
    if (!scratch)
        abort();

    struct slice body = slice_make((const char *)data, size);
    char *name = slice_to_string(slice_split(&body, '\n'));
    struct schema_error errors[SCHEMA_ERRORS_MAX];
    size_t count = detect_find(detect, scratch, body, errors);
    if (!name || count > SCHEMA_ERRORS_MAX)
        abort();
    for (size_t i = 0; i < count; i++) {
        /* What detection says of its own window must hold. */
        bool has_name = detect_names_object(&errors[i], name);
        if (errors[i].object[0] == '\0' || errors[i].text[0] == '\0' || (has_name && !name[0]))
            abort();
        if (errors[i].table[0] == '\0' && !detect_names_table(&errors[i], name))
            abort();
    }
    free(name);
    return 0;
}
