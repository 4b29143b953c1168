/* SPDX-License-Identifier: MIT */
/* Our own answers: a refusal or a 502, 503, 504, as a short text with the reason in it. Worker's
 * thread. */
#pragma once

#include <stdbool.h>

#include "base/slice.h"
#include "proxy/transport.h"

/* Hands a whole answer to the transport. `head_only` for HEAD; `close` says Connection: close;
 * `proxy_error` is an error token of RFC 9209, 2.3, for a Proxy-Status field, or empty. False: the
 * stream is broken. */
[[gnu::warn_unused_result]] bool page_send(struct transport *transport, unsigned status,
                                           const char *reason, bool head_only, bool close,
                                           struct slice proxy_error);
