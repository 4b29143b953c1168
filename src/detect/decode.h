/* SPDX-License-Identifier: MIT */
/* What frameworks do to the text of an error before it reaches a body, undone: HTML entities, JSON
 * and source escapes, percent encoding. Pure, any thread. */
#pragma once

#include <stddef.h>

/* JSON in JSON, or JSON in HTML in JSON: nobody escapes more often than this. */
enum { DECODE_PASSES = 3 };

/* Undoes all escapes in `text`, in place (no escape is shorter than what it stands for), layer by
 * layer, and returns the new length. What is no escape stays as it is; an escaped NUL becomes a
 * line end, which ends a name as well. No NUL is put behind the text. */
size_t decode_escapes(char *text, size_t length);
