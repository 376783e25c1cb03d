// Revocation and introspection (RFC 7009, RFC 7662), by openid-client, oauth4webapi and a resource server.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { OAuthClient, byPassword, discover, introspect, logIn, openid, post, refresh } from './support/clients.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';

let stack;

async function assertEnded(id, token) {
    const { status, body } = await refresh(stack, id, token);
    assert.equal(status, 400);
    assert.equal(body.error, 'invalid_grant');
}

scenario('openid-client revokes an offline token, and its access token is inactive at once (V1, V6)', async () => {
    const { config, tokens } = await logIn(stack, 'photo-album', { scope: 'openid offline_access files.read' });
    assert.equal((await openid.tokenIntrospection(config, tokens.refresh_token)).active, true);
    assert.equal((await openid.tokenIntrospection(config, tokens.access_token)).active, true);
    await openid.tokenRevocation(config, tokens.refresh_token);
    assert.equal((await openid.tokenIntrospection(config, tokens.refresh_token)).active, false);
    assert.deepEqual(await introspect(stack, tokens.access_token, 'photo-album'), { active: false });
    await assertEnded('photo-album', tokens.refresh_token);
});

scenario('oauth4webapi introspects and revokes (V1, P1)', async () => {
    const client = await OAuthClient.discover(stack, 'nightly-backup');
    const { refresh_token } = await byPassword(stack, 'bob');
    const found = await client.introspect(refresh_token);
    assert.equal(found.active, true);
    assert.equal(found.client_id, 'nightly-backup');
    assert.equal(found.sub, 'bob');
    await client.revoke(refresh_token);
    assert.equal((await client.introspect(refresh_token)).active, false);
    await assertEnded('nightly-backup', refresh_token);
});

scenario('a public client revokes its own token, without a secret (V1)', async () => {
    const client = await OAuthClient.discover(stack, 'pocket-notes');
    const tokens = await client.logIn();
    await client.revoke(tokens.refresh_token);
    await assertEnded('pocket-notes', tokens.refresh_token);
});

scenario('an access token that is revoked ends its session (V1)', async () => {
    const { access_token, refresh_token } = await byPassword(stack);
    const answer = await post(
        stack,
        '/revoke',
        { token: access_token, token_type_hint: 'refresh_token' },
        { id: 'nightly-backup' },
    );
    assert.equal(answer.status, 200, 'a hint is only a hint');
    assert.deepEqual(answer.body, {});
    await assertEnded('nightly-backup', refresh_token);
});

scenario("a string that is no token is revoked with success; another client's token is not (V1)", async () => {
    const { refresh_token } = await byPassword(stack);
    const unknown = await post(stack, '/revoke', { token: 'nonsense' }, { id: 'photo-album' });
    assert.equal(unknown.status, 200);
    assert.match(unknown.headers.get('cache-control'), /no-store/);
    const others = await post(stack, '/revoke', { token: refresh_token }, { id: 'photo-album' });
    assert.equal(others.status, 400);
    assert.equal(others.body.error, 'unauthorized_client');
    const wrong = await post(stack, '/revoke', { token: refresh_token }, { id: 'nightly-backup', secret: 'wrong' });
    assert.equal(wrong.status, 401);
    assert.equal(wrong.body.error, 'invalid_client');
    assert.equal((await refresh(stack, 'nightly-backup', refresh_token)).status, 200);
});

scenario('a resource server introspects access tokens that are for it, and learns nothing of others (P1)', async () => {
    const forIt = await byPassword(stack, 'alice', 'openid offline_access files.read');
    const found = await introspect(stack, forIt.access_token, 'files-api');
    assert.equal(found.active, true);
    assert.equal(found.sub, 'alice');
    assert.equal(found.client_id, 'nightly-backup');
    assert.ok(found.scope.split(' ').includes('files.read'));
    assert.ok(found.exp > Date.now() / 1000);

    const inactive = { active: false };
    const notForIt = await byPassword(stack, 'alice', 'openid offline_access');
    assert.deepEqual(await introspect(stack, notForIt.access_token, 'files-api'), inactive, 'another audience');
    assert.deepEqual(
        await introspect(stack, forIt.refresh_token, 'files-api'),
        inactive,
        "an offline token is its client's",
    );
    assert.deepEqual(await introspect(stack, forIt.refresh_token, 'photo-album'), inactive, 'another client');
    assert.deepEqual(
        await introspect(stack, forIt.id_token, 'nightly-backup'),
        inactive,
        'an ID token is no access token',
    );
    assert.deepEqual(await introspect(stack, 'nonsense', 'files-api'), inactive);
});

scenario('introspection is for those who have authenticated, and no-store (P1, P2)', async () => {
    const { access_token } = await byPassword(stack);
    for (const options of [{}, { id: 'pocket-notes' }, { id: 'files-api', secret: 'wrong' }]) {
        const { status, body } = await post(stack, '/introspect', { token: access_token }, options);
        assert.equal(status, 401, JSON.stringify(options));
        assert.equal(body.error, 'invalid_client');
    }
    const { headers } = await post(stack, '/introspect', { token: access_token }, { id: 'files-api' });
    assert.match(headers.get('cache-control'), /no-store/);
    const config = await discover(stack, 'files-api');
    assert.equal((await openid.tokenIntrospection(config, access_token)).active, true);
});

runScenarios(async () => (stack = await Stack.start()));
