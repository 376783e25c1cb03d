/*
 * console.h - what the account and the administrator's pages share: how a session is shown, tables, notices, pages of a list.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef IDENTITY_SERVER_CONSOLE_H
#define IDENTITY_SERVER_CONSOLE_H

#include "server.h"

/* ------------------------------------------------------------------------------------------------- names and words */

/* What people call it; its id when the directory does not know it (any more). */
const char *client_title(const request *r, const char *id);
void html_user_title(const request *r, const char *id, text *out);

/* "Firefox on Linux": the session's label, or what its user agent tells, which is kept in `room`. */
const char *session_device(const otok_session *s, char room[AGENT_NAME]);

/* A number with its thousands apart, in `room`. */
enum { NUMBER_ROOM = 32 };
const char *number_words(uint64_t n, char room[NUMBER_ROOM]);

/* ---------------------------------------------------------------------------------------------------------- blocks */

/* The notice of what was just done, which the query names in `done`, and nobody can put words of his own on our pages. */
void html_done(const request *r, text *out);

/* Sends the browser on to a path of ours, with that notice; frees the path. */
void answer_done(request *r, text *path, const char *done);

/* <form method="post"> with what it needs; to be closed by the caller. */
void html_post(const request *r, const char *action, text *out);

/*
 * A table, which is cards on phones: there the label of a cell stands before it.  Roles are written out because some browsers forget
 * what a table is when its display is not that of a table.  Headings end with NULL; "" is that of buttons.
 */
void html_table(text *out, const char *caption, const char *const *headings);
void html_row(text *out);                                        /* and its first cell, which is the row's heading */
void html_cell(text *out, const char *label, const char *class); /* the next; `class` may be NULL */
void html_table_end(text *out);

/* -------------------------------------------------------------------------------------------------------- sessions */

enum { SESSIONS_A_PAGE = 50, ANY_KIND = -1 };

/* The page of sessions that the query's cursor and order ask for; from the start, and `*restarted`, when that cursor is none. */
int sessions_read(const request *r, const otok_filter *filter, otok_page **out, bool *restarted, otok_error *err);

/* The links below it; `path` is that of the page.  Also what is to be said when the page was read from the start. */
void html_pager(const request *r, const char *path, const otok_page *page, text *out);
void html_restarted(bool restarted, text *out);

/* Which sessions of a page, and what of them. */
typedef struct session_table {
    const char *caption;
    const char *client_id;   /* only of this one; NULL: of all, and the table says whose */
    int kind;                /* OTOK_SESSION_..., or ANY_KIND */
    bool with_browsers;      /* also the logins of browsers, when it is of all clients */
    bool for_administrators; /* with users and technical details, and links */
    bool with_users;         /* says which user's */
    const char *action;      /* where a POST ends one: "/account/sessions/" */
    const char *verb;        /* what the button says: "Revoke" */
    const char *from;        /* the page that it is on, for the way back; NULL: there is only one */
    const char *current;     /* the id of this browser's own; NULL */
} session_table;

/* How many there are; 0: nothing is shown. */
size_t html_sessions(const request *r, const otok_page *page, const session_table *table, text *out);

/* For administrators: the sessions of a filter, page by page, at this path; how many are kept, and where the cutoff is. */
int html_session_list(const request *r, const otok_filter *filter, const session_table *table, const text *path,
                      text *out, otok_error *err);
int html_kept(const request *r, const otok_filter *filter, uint64_t kept, text *out, otok_error *err);

#endif
