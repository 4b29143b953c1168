/* SPDX-License-Identifier: MIT */
/* Field names: one table of the names that the proxy knows with what it does about them, and its
 * index. Pure, any thread, owns nothing. */
#include "http/name.h"

static const struct {
    struct slice text;
    unsigned flags;
} names[FIELD_NAME_COUNT] = {
#define X(name, text, letter, flags) [name] = {{text, sizeof(text) - 1}, flags},
    NAME_TABLE(X)
#undef X
};

/* Two names in one slot would be an initialiser that overrides another: the compiler says so. */
const uint8_t http_name_slots[NAME_SLOTS] = {
#define X(name, text, letter, flags) [NAME_SLOT(sizeof(text) - 1, letter)] = name,
    NAME_TABLE(X)
#undef X
};

unsigned http_field_flags(enum http_field_name name)
{
    return names[name].flags;
}

enum match { MATCH_NONE, MATCH_EXACT, MATCH_LOOKALIKE };

/* Whether `at` reads as `text`, which is letters and '-' only. Among token bytes, | 0x20 brings
 * nothing but the upper-case letter to a letter. */
static enum match compare(const char *at, struct slice text)
{
    enum match match = MATCH_EXACT;
    for (size_t i = 0; i < text.length; i++) {
        if ((at[i] | 0x20) == text.data[i])
            continue;
        if (at[i] != '_' || text.data[i] != '-')
            return MATCH_NONE;
        match = MATCH_LOOKALIKE;
    }
    return match;
}

enum http_field_name http_name_confirm(struct slice name, enum http_field_name candidate)
{
    enum match match = MATCH_NONE;
    if (candidate != FIELD_OTHER)
        match = compare(name.data, names[candidate].text);
    if (match == MATCH_NONE && name.length >= NAME_PREFIX_LENGTH) {
        candidate = FIELD_X_AUTOMIGRATE;
        match = compare(name.data, names[candidate].text);
    }
    if (match == MATCH_EXACT)
        return candidate;
    if (match == MATCH_LOOKALIKE && (names[candidate].flags & FIELD_OURS))
        return FIELD_LOOKALIKE;
    return FIELD_OTHER;
}
