// Authorization code with PKCE: real clients, codes that come back, and who may not have an offline token.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { OAuthClient, authorize, discover, logIn, openid, post, redirectOf, refresh } from './support/clients.mjs';
import { Robot } from './support/robot.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as jose from 'jose';

let stack;

/** A code of pocket-notes and the form that it is exchanged with. */
async function newCode(more = {}) {
    const { url, expected } = await authorize(stack, 'pocket-notes', more);
    return {
        grant_type: 'authorization_code',
        code: url.searchParams.get('code'),
        redirect_uri: redirectOf(stack, 'pocket-notes'),
        code_verifier: expected.pkceCodeVerifier,
    };
}

const exchange = (form, options) => post(stack, '/token', form, { id: 'pocket-notes', ...options });

scenario('openid-client logs in with code and PKCE and gets an offline token (I1, I5)', async () => {
    for (const id of ['photo-album', 'pocket-notes']) {
        const { config, tokens } = await logIn(stack, id, { scope: 'openid profile offline_access files.read' });
        assert.ok(tokens.refresh_token, id);
        assert.equal(tokens.claims().sub, 'alice');
        assert.deepEqual(
            new Set(tokens.scope.split(' ')),
            new Set(['openid', 'profile', 'offline_access', 'files.read']),
        );
        const info = await openid.fetchUserInfo(config, tokens.access_token, 'alice');
        assert.equal(info.name, 'Alice Archer');
        assert.equal(info.email, undefined, 'the scope email was not asked for');
    }
});

scenario('oauth4webapi logs in with code and PKCE and gets an offline token (I1, I5)', async () => {
    for (const id of ['photo-album', 'pocket-notes']) {
        const client = await OAuthClient.discover(stack, id);
        const tokens = await client.logIn({ scope: 'openid email offline_access', user: 'bob' });
        assert.ok(tokens.refresh_token, id);
        const info = await client.userInfo(tokens);
        assert.equal(info.email, 'bob@example.org');
        assert.equal(info.name, undefined, 'the scope profile was not asked for');
    }
});

scenario('jose verifies access token and ID token from the JWKS (I5)', async () => {
    const robot = new Robot();
    const { config, tokens, nonce } = await withNonce(robot);
    const keys = jose.createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
    const id = await jose.jwtVerify(tokens.id_token, keys, { issuer: stack.issuer, audience: 'pocket-notes' });
    assert.equal(id.payload.nonce, nonce);
    assert.equal(id.payload.sub, 'alice');
    assert.ok(id.payload.sid);
    assert.ok(Math.abs(id.payload.auth_time - Date.now() / 1000) < 60);
    const digest = createHash('sha256').update(tokens.access_token).digest();
    assert.equal(id.protectedHeader.alg, 'ES256');
    assert.equal(id.payload.at_hash, digest.subarray(0, 16).toString('base64url'));

    const access = await jose.jwtVerify(tokens.access_token, keys, {
        issuer: stack.issuer,
        audience: 'files-api',
        typ: 'at+jwt',
    });
    assert.equal(access.payload.client_id, 'pocket-notes');
    assert.equal(access.payload.sub, 'alice');
    assert.ok(access.payload.jti);
    assert.ok(access.payload.exp - access.payload.iat <= 300);
});

async function withNonce(robot) {
    const { config, expected, url } = await authorize(stack, 'pocket-notes', {
        robot,
        scope: 'openid offline_access files.read',
    });
    return {
        config,
        nonce: expected.expectedNonce,
        tokens: await openid.authorizationCodeGrant(config, url, expected),
    };
}

scenario('without offline_access the session ends with the login, and no offline token is given (I1, I7)', async () => {
    const { tokens } = await logIn(stack, 'pocket-notes', { scope: 'openid profile', prompt: undefined });
    assert.ok(!tokens.scope.split(' ').includes('offline_access'));
});

scenario(
    'offline_access without prompt=consent is ignored where nothing was saved (I1, OpenID Connect Core section 11)',
    async () => {
        const { tokens } = await logIn(stack, 'pocket-notes', { user: 'root', prompt: undefined });
        assert.ok(!tokens.scope.split(' ').includes('offline_access'));
    },
);

scenario('carol, who lacks the role, is refused an offline token, and may log in without (I1)', async () => {
    const { url } = await authorize(stack, 'pocket-notes', { user: 'carol' });
    assert.equal(url.searchParams.get('error'), 'invalid_scope');
    assert.equal(url.searchParams.get('iss'), stack.issuer);
    const { tokens } = await logIn(stack, 'pocket-notes', { user: 'carol', scope: 'openid' });
    assert.equal(tokens.claims().sub, 'carol');
});

scenario('a user who refuses sends access_denied, state and iss to the client', async () => {
    const { url, expected } = await authorize(stack, 'photo-album', { answer: 'Refuse' });
    assert.equal(url.searchParams.get('error'), 'access_denied');
    assert.equal(url.searchParams.get('state'), expected.expectedState);
    assert.equal(url.searchParams.get('iss'), stack.issuer);
    assert.equal(url.searchParams.get('code'), null);
});

scenario('a lost response to the code: the same request gets the same offline token (I8)', async () => {
    const form = await newCode();
    const first = await exchange(form),
        again = await exchange(form);
    assert.equal(first.status, 200);
    assert.equal(again.status, 200);
    assert.equal(again.body.refresh_token, first.body.refresh_token);
});

scenario('twenty exchanges of one code at once give one session (I8)', async () => {
    const form = await newCode();
    const answers = await Promise.all(Array.from({ length: 20 }, () => exchange(form)));
    const good = answers.filter(({ status }) => status === 200);
    assert.ok(good.length > 0);
    assert.equal(new Set(good.map(({ body }) => body.refresh_token)).size, 1);
    assert.ok(
        answers.every(({ status }) => status === 200 || status === 503),
        'trouble is never invalid_grant (R8)',
    );
});

scenario('a code with another verifier, redirect or client is refused, and good afterwards (R2)', async () => {
    const form = await newCode();
    for (const wrong of [
        { code_verifier: 'x'.repeat(43) },
        { redirect_uri: 'http://127.0.0.1:51234/other' },
        { code: 'nonsense' },
    ]) {
        const { status, body } = await exchange({ ...form, ...wrong });
        assert.equal(status, 400);
        assert.equal(body.error, 'invalid_grant', JSON.stringify(wrong));
    }
    const other = await post(stack, '/token', form, { id: 'nightly-backup' });
    assert.equal(other.body.error, 'invalid_grant');
    assert.equal((await exchange(form)).status, 200);
});

scenario(
    'what is wrong before the redirect is known good is a page, never a redirect (RFC 9700 section 4.11)',
    async () => {
        const config = await discover(stack, 'pocket-notes');
        const good = {
            redirect_uri: redirectOf(stack, 'pocket-notes'),
            scope: 'openid',
            code_challenge: 'x'.repeat(43),
            code_challenge_method: 'S256',
        };
        for (const wrong of [
            { redirect_uri: 'https://evil.example/' },
            { redirect_uri: 'http://127.0.0.1:1/callback/../x' },
            { client_id: 'nobody' },
            { client_id: 'files-api' },
        ]) {
            const url = openid.buildAuthorizationUrl(config, { ...good, ...wrong });
            const page = await new Robot().open(url);
            assert.equal(page.status, 400, JSON.stringify(wrong));
            assert.match(page.headers.get('content-type'), /^text\/html/);
        }
    },
);

scenario('errors of the authorization request come back with state and iss', async () => {
    const config = await discover(stack, 'pocket-notes');
    const good = {
        redirect_uri: redirectOf(stack, 'pocket-notes'),
        scope: 'openid',
        state: 'a state',
        code_challenge: 'x'.repeat(43),
        code_challenge_method: 'S256',
    };
    for (const [wrong, error] of [
        [{ response_type: 'token' }, 'unsupported_response_type'],
        [{ code_challenge_method: 'plain' }, 'invalid_request'],
        [{ prompt: 'none' }, 'login_required'],
        [{ prompt: 'none login' }, 'invalid_request'],
        [{ resource: 'https://unknown.example/' }, 'invalid_target'],
        [{ request: 'e30.e30.' }, 'request_not_supported'],
        [{ request_uri: 'urn:x' }, 'request_uri_not_supported'],
    ]) {
        const url = await new Robot().authorize(openid.buildAuthorizationUrl(config, { ...good, ...wrong }));
        assert.equal(url.searchParams.get('error'), error, JSON.stringify(wrong));
        assert.equal(url.searchParams.get('state'), 'a state');
        assert.equal(url.searchParams.get('iss'), stack.issuer);
    }
});

scenario(
    'one login for all: no page with prompt=none once all is allowed, and another login when it is asked for',
    async () => {
        const robot = new Robot();
        const first = await logIn(stack, 'photo-album', { robot, scope: 'openid profile' });
        const silent = await logIn(stack, 'photo-album', { robot, scope: 'openid profile', prompt: 'none' });
        assert.equal(silent.tokens.claims().auth_time, first.tokens.claims().auth_time);
        assert.equal(silent.tokens.claims().sid, first.tokens.claims().sid);
        const { url } = await authorize(stack, 'photo-album', { robot, scope: 'openid email', prompt: 'none' });
        assert.equal(url.searchParams.get('error'), 'consent_required', 'email was not allowed yet');
        const config = await discover(stack, 'photo-album');
        for (const asks of [{ prompt: 'login' }, { max_age: '0' }]) {
            const page = await robot.open(
                openid.buildAuthorizationUrl(config, {
                    redirect_uri: redirectOf(stack, 'photo-album'),
                    scope: 'openid profile',
                    code_challenge: 'x'.repeat(43),
                    code_challenge_method: 'S256',
                    ...asks,
                }),
                undefined,
                (to) => to.origin !== stack.issuer,
            );
            assert.match(page.text ?? `sent to ${page.left.origin}`, /Password/, JSON.stringify(asks));
        }
    },
);

scenario('a code that comes back late is refused and ends the session (I8, RFC 6749 section 4.1.2)', async () => {
    const form = await newCode();
    const first = await exchange(form);
    assert.equal((await refresh(stack, 'pocket-notes', first.body.refresh_token)).status, 200);
    // The server forgives a repetition for ten seconds; the first answer that is another is the one to look at.
    const end = Date.now() + 20000;
    let late = await exchange(form);
    while (late.status === 200 && Date.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, 500));
        late = await exchange(form);
    }
    assert.equal(late.status, 400);
    assert.equal(late.body.error, 'invalid_grant');
    const after = await refresh(stack, 'pocket-notes', first.body.refresh_token);
    assert.equal(after.body.error, 'invalid_grant');
});

runScenarios(async () => (stack = await Stack.start()));
