// Metadata and keys, as strict clients read them (P1).
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { OAuthClient, discover } from './support/clients.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';

let stack;

async function get(path, init) {
    const response = await fetch(stack.issuer + path, init);
    return { status: response.status, headers: response.headers, text: await response.text() };
}

scenario('openid-client discovers the server and validates its metadata (P1)', async () => {
    const metadata = (await discover(stack, 'photo-album')).serverMetadata();
    assert.equal(metadata.issuer, stack.issuer);
    assert.ok(metadata.supportsPKCE());
    for (const endpoint of [
        'authorization',
        'token',
        'revocation',
        'introspection',
        'userinfo',
        'device_authorization',
        'end_session',
    ])
        assert.equal(new URL(metadata[`${endpoint}_endpoint`]).origin, stack.issuer, endpoint);
});

scenario('oauth4webapi discovers the server and validates its metadata (P1)', async () => {
    const { server } = await OAuthClient.discover(stack, 'pocket-notes');
    assert.equal(server.issuer, stack.issuer);
    assert.ok(server.grant_types_supported.includes('refresh_token'));
    assert.ok(server.scopes_supported.includes('offline_access'));
    assert.ok(server.dpop_signing_alg_values_supported.includes('ES256'));
    assert.equal(server.backchannel_logout_session_supported, true);
    assert.equal(server.authorization_response_iss_parameter_supported, true);
});

scenario('RFC 8414 and OpenID Connect Discovery say the same (P1)', async () => {
    const openid = await get('/.well-known/openid-configuration');
    const oauth = await get('/.well-known/oauth-authorization-server');
    assert.equal(openid.status, 200);
    assert.match(openid.headers.get('content-type'), /^application\/json/);
    assert.deepEqual(JSON.parse(oauth.text), JSON.parse(openid.text));
});

scenario('the JWKS has public keys only, and may be cached and read by any origin (K1, K2)', async () => {
    const jwks = await get('/jwks');
    assert.equal(jwks.status, 200);
    assert.match(jwks.headers.get('cache-control'), /public/);
    assert.equal(jwks.headers.get('access-control-allow-origin'), '*');
    const { keys } = JSON.parse(jwks.text);
    assert.ok(keys.length >= 1);
    for (const key of keys) {
        assert.equal(key.d, undefined);
        assert.equal(key.k, undefined);
        assert.equal(key.use, 'sig');
        assert.ok(key.kid);
    }
});

scenario('an unknown path is 404, a wrong method 405 with Allow, a body beyond 64 KiB 413 (P2)', async () => {
    assert.equal((await get('/nowhere')).status, 404);
    const wrong = await get('/token');
    assert.equal(wrong.status, 405);
    assert.match(wrong.headers.get('allow'), /POST/);
    const long = await get('/token', {
        method: 'POST',
        body: `token=${'x'.repeat(70000)}`,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    assert.equal(long.status, 413);
});

runScenarios(async () => (stack = await Stack.start()));
