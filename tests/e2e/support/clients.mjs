// The clients of the demo, as openid-client and oauth4webapi have them, and as plain requests where a test looks at the
// bytes.
// SPDX-License-Identifier: MIT

import './node.mjs';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { Robot } from './robot.mjs';
import { passwordOf, secrets } from './stack.mjs';

export { oauth, openid };

const LOOPBACK = 'http://127.0.0.1:51234/callback'; // nobody listens there: the robot stops before it

export const redirectOf = (stack, id) =>
    id === 'photo-album' ? `http://localhost:${stack.ports.web}/callback` : LOOPBACK;

/** The configuration of openid-client, by discovery. */
export async function discover(stack, id, metadata = {}) {
    const secret = secrets[id];
    return openid.discovery(
        new URL(stack.issuer),
        id,
        { client_secret: secret, ...metadata },
        secret ? openid.ClientSecretBasic(secret) : openid.None(),
        { execute: [openid.allowInsecureRequests] },
    );
}

/**
 * An authorization request by openid-client, answered by a robot; the redirect's URL and what has to be checked of it.
 */
export async function authorize(stack, id, { user, answer, robot = new Robot(), config, ...parameters } = {}) {
    config ??= await discover(stack, id);
    const pkceCodeVerifier = openid.randomPKCECodeVerifier();
    const expected = { pkceCodeVerifier, expectedState: openid.randomState(), expectedNonce: openid.randomNonce() };
    const request = {
        redirect_uri: redirectOf(stack, id),
        scope: 'openid offline_access',
        prompt: 'consent',
        state: expected.expectedState,
        nonce: expected.expectedNonce,
        code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier),
        code_challenge_method: 'S256',
        ...parameters, // undefined: left out
    };
    const given = Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
    const url = await robot.authorize(openid.buildAuthorizationUrl(config, given), { user, answer });
    return { config, expected, url };
}

/** The same, and the code's exchange: {config, tokens}. */
export async function logIn(stack, id, { DPoP, ...options } = {}) {
    const { config, expected, url } = await authorize(stack, id, options);
    return { config, tokens: await openid.authorizationCodeGrant(config, url, expected, undefined, { DPoP }) };
}

/** A plain POST of a form: {status, headers, body}. `secret` by HTTP Basic; `headers`: more of them. */
export async function post(stack, path, form, { id, secret = secrets[id], headers = {} } = {}) {
    if (secret) headers = { ...headers, authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` };
    else if (id) form = { ...form, client_id: id };
    const body = typeof form === 'string' ? form : new URLSearchParams(Object.entries(form)).toString();
    const response = await fetch(stack.issuer + path, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, body: text ? JSON.parse(text) : undefined };
}

export const refresh = (stack, id, refresh_token, more = {}, options = {}) =>
    post(stack, '/token', { grant_type: 'refresh_token', refresh_token, ...more }, { id, ...options });

/** A token by the password grant, for tests that are about something else: no browser, no page. */
export async function byPassword(stack, user = 'alice', scope = 'openid offline_access files.read', headers = {}) {
    const { body } = await post(
        stack,
        '/token',
        { grant_type: 'password', username: user, password: passwordOf(user), scope },
        { id: 'nightly-backup', headers },
    );
    if (!body.refresh_token) throw new Error(`no token: ${JSON.stringify(body.error ?? Object.keys(body))}`);
    return body;
}

/** What introspection says of a token, asked by a client. */
export async function introspect(stack, token, id = 'nightly-backup') {
    return (await post(stack, '/introspect', { token }, { id })).body;
}

const http = { [oauth.allowInsecureRequests]: true };

/** The same client as oauth4webapi has it. */
export class OAuthClient {
    static async discover(stack, id) {
        const issuer = new URL(stack.issuer);
        const self = new OAuthClient();
        self.server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, http));
        self.client = { client_id: id };
        self.authentication = secrets[id] ? oauth.ClientSecretBasic(secrets[id]) : oauth.None();
        self.redirect = redirectOf(stack, id);
        return self;
    }

    /** Authorization code and PKCE: the token response. */
    async logIn({ scope = 'openid offline_access', robot = new Robot(), user, DPoP } = {}) {
        const verifier = oauth.generateRandomCodeVerifier(),
            state = oauth.generateRandomState(),
            nonce = oauth.generateRandomNonce();
        const url = new URL(this.server.authorization_endpoint);
        url.search = new URLSearchParams({
            client_id: this.client.client_id,
            redirect_uri: this.redirect,
            scope,
            state,
            nonce,
            response_type: 'code',
            prompt: 'consent',
            code_challenge_method: 'S256',
            code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        });
        const callback = oauth.validateAuthResponse(
            this.server,
            this.client,
            await robot.authorize(url, { user }),
            state,
        );
        const response = await oauth.authorizationCodeGrantRequest(
            this.server,
            this.client,
            this.authentication,
            callback,
            this.redirect,
            verifier,
            { ...http, DPoP },
        );
        return oauth.processAuthorizationCodeResponse(this.server, this.client, response, {
            expectedNonce: nonce,
            requireIdToken: true,
        });
    }

    async refresh(token, { DPoP, ...additionalParameters } = {}) {
        const response = await oauth.refreshTokenGrantRequest(this.server, this.client, this.authentication, token, {
            ...http,
            DPoP,
            additionalParameters,
        });
        return oauth.processRefreshTokenResponse(this.server, this.client, response);
    }

    async revoke(token) {
        return oauth.processRevocationResponse(
            await oauth.revocationRequest(this.server, this.client, this.authentication, token, http),
        );
    }

    async introspect(token) {
        return oauth.processIntrospectionResponse(
            this.server,
            this.client,
            await oauth.introspectionRequest(this.server, this.client, this.authentication, token, http),
        );
    }

    async userInfo(tokens, { DPoP, subject = oauth.getValidatedIdTokenClaims(tokens).sub } = {}) {
        return oauth.processUserInfoResponse(
            this.server,
            this.client,
            subject,
            await oauth.userInfoRequest(this.server, this.client, tokens.access_token, { ...http, DPoP }),
        );
    }

    async startDevice(scope) {
        return oauth.processDeviceAuthorizationResponse(
            this.server,
            this.client,
            await oauth.deviceAuthorizationRequest(this.server, this.client, this.authentication, { scope }, http),
        );
    }

    async askDevice(code) {
        return oauth.processDeviceCodeResponse(
            this.server,
            this.client,
            await oauth.deviceCodeGrantRequest(this.server, this.client, this.authentication, code, http),
        );
    }
}
