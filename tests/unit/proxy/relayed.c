/* SPDX-License-Identifier: MIT */
/* Plain exchanges; owned by the test's process. */
#include "relayed.h"

struct scripted scripted;

void begin(enum scripted_sockets sockets)
{
    scripted_construct(&scripted, sockets);
    scripted_start(&scripted);
}

void get(struct peer *client)
{
    peer_say(client, "GET /a HTTP/1.1\r\nHost: app.test\r\n\r\n");
}

struct peer *next_request(void)
{
    struct message request;
    struct peer *peer = scripted_request(&scripted, &request);
    message_free(&request);
    return peer;
}

void answer_ok(struct peer *application)
{
    peer_say(application, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

void expect_usable(struct peer *client)
{
    get(client);
    answer_ok(next_request());
    peer_expect(client, 200, SLICE("ok"));
}
