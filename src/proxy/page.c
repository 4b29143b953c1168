/* SPDX-License-Identifier: MIT */
/* Our own answers. */
#include "proxy/page.h"

#include <stdio.h>

static const struct {
    unsigned status;
    const char *phrase;
} phrases[] = {
    {400, "Bad Request"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {417, "Expectation Failed"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

bool page_send(struct transport *transport, unsigned status, const char *reason, bool head_only,
               bool close, struct slice proxy_error)
{
    const char *phrase = "Error";
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        if (phrases[i].status == status)
            phrase = phrases[i].phrase;
    }
    char head[512], body[256];
    int body_length = snprintf(body, sizeof body, "%u %s: %s\n", status, phrase, reason);
    if (body_length >= (int)sizeof body)
        body_length = sizeof body - 1;
    int head_length = snprintf(
        head, sizeof head,
        "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
        "%s%s%.*s%s%s\r\n",
        status, phrase, body_length, status == 503 ? "Retry-After: 1\r\n" : "",
        proxy_error.length ? "Proxy-Status: automigrate; error=" : "", (int)proxy_error.length,
        proxy_error.data, proxy_error.length ? "\r\n" : "", close ? "Connection: close\r\n" : "");
    struct iovec slices[2] = {{head, (size_t)head_length},
                              {body, head_only ? 0 : (size_t)body_length}};
    return transport_send(transport, slices, 2);
}
