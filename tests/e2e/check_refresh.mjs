// Refreshing with real clients: rotation, lost responses, reuse, narrowing. All at once, since a token is not rotated
// before it is as old as the retry window, ten seconds for a public client: the tests ask again until it is.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { OAuthClient, byPassword, discover, introspect, logIn, openid, post, refresh } from './support/clients.mjs';
import { poll } from './support/process.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as jose from 'jose';

let stack;

const notes = (token, more) => refresh(stack, 'pocket-notes', token, more);
const backup = (token, more) => refresh(stack, 'nightly-backup', token, more);
const jwtOf = jose.decodeJwt;

/** Refreshes with one token until it has been rotated: the answer with its successor. */
async function rotate(token, refreshOnce = notes) {
    return poll(
        'a rotation',
        async () => {
            const { status, body } = await refreshOnce(token);
            assert.equal(status, 200, JSON.stringify(body));
            return body.refresh_token !== token && body;
        },
        30,
    );
}

async function newToken(options = {}) {
    const { tokens } = await logIn(stack, 'pocket-notes', {
        scope: 'openid profile offline_access files.read notes.write',
        ...options,
    });
    return tokens;
}

scenario('openid-client refreshes a public client, whose token rotates (T1)', async () => {
    const { config, tokens } = await logIn(stack, 'pocket-notes');
    const next = await poll(
        'a rotation',
        async () => {
            const answer = await openid.refreshTokenGrant(config, tokens.refresh_token);
            return answer.refresh_token !== tokens.refresh_token && answer;
        },
        30,
    );
    const after = await openid.refreshTokenGrant(config, next.refresh_token);
    assert.equal(after.refresh_token, next.refresh_token, 'younger than the retry window: it comes back unchanged');
});

scenario('oauth4webapi refreshes a public client, whose token rotates (T1)', async () => {
    const client = await OAuthClient.discover(stack, 'pocket-notes');
    const tokens = await client.logIn();
    const next = await poll(
        'a rotation',
        async () => {
            const answer = await client.refresh(tokens.refresh_token);
            return answer.refresh_token !== tokens.refresh_token && answer;
        },
        30,
    );
    assert.equal((await client.userInfo(next, { subject: 'alice' })).sub, 'alice');
});

scenario('a confidential client keeps its token, by either library (T1)', async () => {
    const { refresh_token } = await byPassword(stack);
    const config = await discover(stack, 'nightly-backup'),
        client = await OAuthClient.discover(stack, 'nightly-backup');
    for (let i = 0; i < 3; i++) {
        assert.equal(
            (await openid.refreshTokenGrant(config, refresh_token)).refresh_token ?? refresh_token,
            refresh_token,
        );
        assert.equal((await client.refresh(refresh_token)).refresh_token ?? refresh_token, refresh_token);
    }
});

scenario('after a lost response the old token gets the same successor, not another (T2)', async () => {
    const { refresh_token } = await newToken();
    const first = await rotate(refresh_token);
    for (let i = 0; i < 3; i++) {
        const again = await notes(refresh_token);
        assert.equal(again.body.refresh_token, first.refresh_token);
    }
    assert.equal((await notes(first.refresh_token)).status, 200);
});

scenario('thirty refreshes of one token at once move the session by one generation (R6)', async () => {
    const { refresh_token } = await newToken();
    const { refresh_token: second } = await rotate(refresh_token);
    const seen = new Set();
    await poll(
        'a rotation',
        async () => {
            const answers = await Promise.all(Array.from({ length: 30 }, () => notes(second)));
            for (const { status, body } of answers) {
                assert.equal(status, 200, JSON.stringify(body));
                seen.add(body.refresh_token);
            }
            return seen.size > 1;
        },
        30,
    );
    seen.delete(second);
    assert.equal(seen.size, 1, 'one successor for all');
});

scenario('an older token that comes back ends the session, and no other (T3)', async () => {
    const { refresh_token: first } = await newToken(),
        { refresh_token: other } = await newToken();
    const { refresh_token: second } = await rotate(first);
    const { refresh_token: third } = await rotate(second);
    const reused = await notes(first);
    assert.equal(reused.status, 400);
    assert.equal(reused.body.error, 'invalid_grant');
    for (const token of [second, third]) assert.equal((await notes(token)).body.error, 'invalid_grant');
    assert.equal((await notes(other)).status, 200);
});

scenario('scope narrows the access token and never the offline token; widening is invalid_scope (R2, R3)', async () => {
    const { refresh_token } = await byPassword(stack, 'alice', 'openid offline_access files.read');
    const narrow = await backup(refresh_token, { scope: 'files.read' });
    assert.equal(narrow.status, 200);
    assert.equal(narrow.body.scope, 'files.read');
    assert.equal(narrow.body.id_token, undefined, 'openid was narrowed away');
    const wide = await backup(refresh_token, { scope: 'openid profile' });
    assert.equal(wide.status, 400);
    assert.equal(wide.body.error, 'invalid_scope');
    const whole = await backup(refresh_token);
    assert.deepEqual(new Set(whole.body.scope.split(' ')), new Set(['openid', 'offline_access', 'files.read']));
});

scenario('openid-client and oauth4webapi narrow the scope (R3)', async () => {
    const { refresh_token } = await byPassword(stack);
    const config = await discover(stack, 'nightly-backup'),
        client = await OAuthClient.discover(stack, 'nightly-backup');
    assert.equal((await openid.refreshTokenGrant(config, refresh_token, { scope: 'files.read' })).scope, 'files.read');
    assert.equal((await client.refresh(refresh_token, { scope: 'openid' })).scope, 'openid');
    await assert.rejects(client.refresh(refresh_token, { scope: 'email' }), { error: 'invalid_scope' });
    await assert.rejects(openid.refreshTokenGrant(config, refresh_token, { scope: 'notes.write' }), {
        error: 'invalid_scope',
    });
});

scenario('resource narrows the audience; an unknown one is invalid_target (R3, RFC 8707)', async () => {
    const { refresh_token } = await byPassword(stack);
    const { body } = await backup(refresh_token, { resource: 'files-api' });
    assert.equal([jwtOf(body.access_token).aud].flat().join(), 'files-api');
    const { status, body: wrong } = await backup(refresh_token, { resource: 'https://elsewhere.example/' });
    assert.equal(status, 400);
    assert.equal(wrong.error, 'invalid_target');
});

scenario('a refreshed ID token is of the same login: auth_time and sid stay, nonce is gone (R4)', async () => {
    const tokens = await newToken();
    const before = jwtOf(tokens.id_token);
    const { body } = await notes(tokens.refresh_token);
    const keys = jose.createRemoteJWKSet(new URL(`${stack.issuer}/jwks`));
    const { payload: after } = await jose.jwtVerify(body.id_token, keys, {
        issuer: stack.issuer,
        audience: 'pocket-notes',
    });
    for (const claim of ['iss', 'sub', 'aud', 'sid', 'auth_time', 'azp'])
        assert.deepEqual(after[claim], before[claim], claim);
    assert.equal(after.nonce, undefined);
    assert.ok(before.nonce);
    const digest = createHash('sha256').update(body.access_token).digest();
    assert.equal(after.at_hash, digest.subarray(0, 16).toString('base64url'));
    await jose.jwtVerify(body.access_token, keys, { issuer: stack.issuer, audience: 'files-api', typ: 'at+jwt' });
});

scenario(
    'a request by the wrong client, and a forged token, are invalid_grant and consume nothing (R1, R2)',
    async () => {
        const { refresh_token } = await newToken();
        const forged = `${refresh_token.slice(0, -4)}${refresh_token.endsWith('AAAA') ? 'BBBB' : 'AAAA'}`;
        for (const [id, token] of [
            ['notes-cli', refresh_token],
            ['nightly-backup', refresh_token],
            ['pocket-notes', forged],
        ]) {
            const { status, body } = await refresh(stack, id, token);
            assert.equal(status, 400);
            assert.equal(body.error, 'invalid_grant');
        }
        assert.equal((await notes(refresh_token)).status, 200);
    },
);

scenario('every answer of the token endpoint is JSON and no-store, with the exact status (P2)', async () => {
    const { refresh_token } = await byPassword(stack);
    const good = { grant_type: 'refresh_token', refresh_token };
    const id = 'nightly-backup';
    const cases = [
        [good, { id }, 200],
        [{ grant_type: 'refresh_token' }, { id }, 400, 'invalid_request'],
        [{ ...good, grant_type: 'nonsense' }, { id }, 400, 'unsupported_grant_type'],
        [{ grant_type: 'client_credentials' }, { id: 'pocket-notes' }, 400, 'unauthorized_client'],
        [good, { id, secret: 'wrong' }, 401, 'invalid_client'],
        [good, { id: 'nobody', secret: 'x' }, 401, 'invalid_client'],
        [{ ...good, client_id: id }, {}, 401, 'invalid_client'],
        [{ ...good, client_id: 'photo-album' }, { id }, 400, 'invalid_request'],
        [{ ...good, client_id: id, client_secret: 'nightly-backup-demo-secret' }, { id }, 400, 'invalid_request'],
        ['grant_type=refresh_token&grant_type=refresh_token&refresh_token=x', { id }, 400, 'invalid_request'],
        ['grant_type=refresh_token&refresh_token=%zz', { id }, 400, 'invalid_request'],
        ['grant_type=refresh_token&refresh_token=%00', { id }, 400, 'invalid_request'],
        ['grant_type=refresh_token&refresh_token=%ff', { id }, 400, 'invalid_request'],
        [good, { id, headers: { 'content-type': 'application/json' } }, 400, 'invalid_request'],
    ];
    for (const [form, options, status, error] of cases) {
        const answer = await post(stack, '/token', form, options);
        const what = JSON.stringify([options, error]);
        assert.equal(answer.status, status, what);
        assert.equal(answer.body.error, error, what);
        assert.match(answer.headers.get('content-type'), /^application\/json/, what);
        assert.match(answer.headers.get('cache-control'), /no-store/, what);
        assert.equal(answer.headers.has('www-authenticate'), status === 401, what);
    }
});

scenario('client_secret_post is as good as client_secret_basic', async () => {
    const { refresh_token } = await byPassword(stack);
    const config = await openid.discovery(
        new URL(stack.issuer),
        'nightly-backup',
        undefined,
        openid.ClientSecretPost('nightly-backup-demo-secret'),
        { execute: [openid.allowInsecureRequests] },
    );
    assert.ok((await openid.refreshTokenGrant(config, refresh_token)).access_token);
    assert.equal((await introspect(stack, refresh_token)).active, true);
});

runScenarios(async () => (stack = await Stack.start()), { atOnce: true, seconds: 90 });
