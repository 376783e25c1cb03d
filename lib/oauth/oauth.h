/*
 * oauth/oauth.h - what OAuth and OpenID Connect say about requests, above sessions.
 *
 * decide.c decides, over values, without I/O.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef OTOK_OAUTH_H
#define OTOK_OAUTH_H

#include "session/session.h"

/* The scope that asks for an offline token (OpenID Connect Core section 11). */
#define OTOK_OFFLINE_ACCESS "offline_access"

#endif
