// A native application: it sends a browser to the server and gets it back at a port of this machine (RFC 8252 section
// 7.3).
// SPDX-License-Identifier: MIT

import { once } from 'node:events';
import http from 'node:http';
import { discover, openid } from './clients.mjs';

const PAGE = '<!doctype html><html lang="en"><title>Pocket Notes</title><main>You can close this window.</main></html>';

export class NativeApp {
    static async start(stack, id = 'pocket-notes') {
        const app = new NativeApp();
        app.config = await discover(stack, id);
        app.server = http
            .createServer((request, response) => {
                if (request.url.startsWith('/callback?'))
                    // and not for an icon
                    app.back = new URL(request.url, app.redirect);
                response.writeHead(200, { 'content-type': 'text/html', connection: 'close' }).end(PAGE);
            })
            .listen(0, '127.0.0.1');
        await once(app.server, 'listening');
        app.redirect = `http://127.0.0.1:${app.server.address().port}/callback`;
        return app;
    }

    /** Where it sends the browser. */
    async begin(parameters = {}) {
        this.expected = { pkceCodeVerifier: openid.randomPKCECodeVerifier(), expectedState: openid.randomState() };
        return openid.buildAuthorizationUrl(this.config, {
            redirect_uri: this.redirect,
            scope: 'openid offline_access notes.write',
            prompt: 'consent',
            state: this.expected.expectedState,
            code_challenge_method: 'S256',
            code_challenge: await openid.calculatePKCECodeChallenge(this.expected.pkceCodeVerifier),
            ...parameters,
        }).href;
    }

    /** What the browser brought back, for tokens. */
    async finish() {
        this.tokens = await openid.authorizationCodeGrant(this.config, this.back, this.expected);
    }

    async refresh() {
        this.tokens = { ...this.tokens, ...(await openid.refreshTokenGrant(this.config, this.tokens.refresh_token)) };
        return this.tokens;
    }

    stop() {
        this.server.closeAllConnections?.();
        this.server.close();
    }
}
