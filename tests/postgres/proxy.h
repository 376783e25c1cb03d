/*
 * proxy.h - between library and server: it knows where PostgreSQL's messages begin and end, and does to one of them what a network, a
 * pooler or a dying server may do.
 *
 * Messages are counted from when a plan is made, each direction by itself, over all connections.  The plan is carried out once; what
 * comes on other connections, and before and after, passes.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef TEST_PROXY_H
#define TEST_PROXY_H

#include <stdbool.h>
#include <stddef.h>

typedef enum proxy_way { PROXY_TO_SERVER, PROXY_TO_CLIENT, PROXY_WAYS } proxy_way;

typedef enum proxy_deed {
    PROXY_CUT_BEFORE, /* both connections end, and the message is lost */
    PROXY_CUT_HALF,   /* half of it passed */
    PROXY_CUT_AFTER,  /* it passed */
    PROXY_HOLD,       /* it, and what follows, arrives late: see proxy_release() */
    PROXY_FATAL,    /* to the client only: an error of the class 08 in its place, as of a pooler that lost its server */
    PROXY_ERROR,    /* as that, but not FATAL, as Odyssey says it */
    PROXY_SHUTDOWN, /* to the client only: 57P01 */
    PROXY_DEEDS
} proxy_deed;

typedef struct proxy_plan {
    proxy_way way;
    proxy_deed deed;
    size_t nth; /* from 1; 0: nothing is done, messages are counted */
} proxy_plan;

typedef struct proxy proxy;

/* Listens in `folder` as a server does, and connects to the one in `server`: folders of sockets.  NULL: it cannot. */
proxy *proxy_open(const char *folder, const char *server);
void proxy_close(proxy *p);

/* Begins to count. */
void proxy_plan_make(proxy *p, const proxy_plan *plan);

/* Counts no more; how many messages there were.  False: the plan's was not among them, and nothing was done. */
bool proxy_plan_end(proxy *p, size_t counts[PROXY_WAYS]);

/*
 * What is held for the server goes there, whether or not its client is still there; what is held for a client, to it if it is.  Returns
 * when the servers of clients that are gone have ended too: nothing that was sent is still to be done.
 */
void proxy_release(proxy *p);

/* Ends every connection. */
void proxy_drop(proxy *p);

const char *proxy_deed_name(proxy_deed deed);

#endif
