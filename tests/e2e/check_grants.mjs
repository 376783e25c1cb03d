// The other grants: a device with a code, a user's password, a client for itself.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { OAuthClient, byPassword, discover, oauth, openid, post, refresh } from './support/clients.mjs';
import { poll } from './support/process.mjs';
import { Robot } from './support/robot.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';
import * as jose from 'jose';

const SCOPE = 'openid offline_access notes.write';

let stack;

/** What a user does with the code that the device shows: the page at the end. */
async function answerDevice({ verification_uri_complete }, answer = 'Allow', user = 'alice') {
    return new Robot().answer(verification_uri_complete, { user, answer });
}

scenario('openid-client: the device grant, and an offline token at its end (I2)', async () => {
    const config = await discover(stack, 'notes-cli');
    const started = await openid.initiateDeviceAuthorization(config, { scope: SCOPE });
    assert.match(started.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    assert.equal((await answerDevice(started)).status, 200);
    const tokens = await openid.pollDeviceAuthorizationGrant(config, { ...started, interval: 1 });
    assert.equal(tokens.claims().sub, 'alice');
    assert.ok(tokens.refresh_token);
    assert.ok((await openid.refreshTokenGrant(config, tokens.refresh_token)).access_token);
});

scenario('oauth4webapi: the device grant waits, slows down, and succeeds (I2, RFC 8628)', async () => {
    const client = await OAuthClient.discover(stack, 'notes-cli');
    const started = await client.startDevice(SCOPE);
    await assert.rejects(client.askDevice(started.device_code), { error: 'authorization_pending' });
    await assert.rejects(client.askDevice(started.device_code), { error: 'slow_down' });
    await answerDevice(started);
    const tokens = await poll(
        'the tokens',
        () =>
            client.askDevice(started.device_code).catch((error) => {
                assert.ok(['slow_down', 'authorization_pending'].includes(error.error), error.error);
            }),
        30,
    );
    assert.equal(oauth.getValidatedIdTokenClaims(tokens).sub, 'alice');
    const again = await client.askDevice(started.device_code);
    assert.equal(again.refresh_token, tokens.refresh_token, 'a lost response is harmless (I8)');
});

scenario('a device that is refused, or whose user lacks the role, is told so (I1)', async () => {
    const client = await OAuthClient.discover(stack, 'notes-cli');
    for (const [answer, user, error] of [
        ['Refuse', 'alice', 'access_denied'],
        ['Allow', 'carol', 'invalid_scope'],
    ]) {
        const started = await client.startDevice(SCOPE);
        await answerDevice(started, answer, user);
        await assert.rejects(client.askDevice(started.device_code), { error }, user);
    }
});

scenario("a device code is no other client's, and a guessed one is nothing", async () => {
    const client = await OAuthClient.discover(stack, 'notes-cli');
    const { device_code } = await client.startDevice(SCOPE);
    const grant = { grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code };
    assert.equal((await post(stack, '/token', grant, { id: 'pocket-notes' })).body.error, 'unauthorized_client');
    assert.equal(
        (await post(stack, '/token', { ...grant, device_code: 'guessed' }, { id: 'notes-cli' })).body.error,
        'invalid_grant',
    );
    const page = await new Robot().answer(`${stack.issuer}/device?user_code=BCDF-GHJK`);
    assert.doesNotMatch(page.text, /Allow/, 'no such code, so nothing to allow');
});

scenario('the password grant gives an offline token to the client that may use it, and no other (I2)', async () => {
    const config = await discover(stack, 'nightly-backup');
    const tokens = await openid.genericGrantRequest(config, 'password', {
        username: 'alice',
        password: 'alice-demo',
        scope: 'openid offline_access files.read',
    });
    assert.ok((await openid.refreshTokenGrant(config, tokens.refresh_token)).access_token);
    const form = { grant_type: 'password', username: 'alice', password: 'alice-demo', scope: 'openid' };
    assert.equal((await post(stack, '/token', form, { id: 'photo-album' })).body.error, 'unauthorized_client');
    const wrong = await post(stack, '/token', { ...form, password: 'wrong' }, { id: 'nightly-backup' });
    const nobody = await post(stack, '/token', { ...form, username: 'nobody' }, { id: 'nightly-backup' });
    assert.equal(wrong.status, 400);
    assert.equal(wrong.body.error, 'invalid_grant');
    assert.deepEqual(nobody.body, wrong.body, 'who there is, is not told');
});

scenario('carol, who lacks the role, gets no offline token for her password (I1)', async () => {
    const form = { grant_type: 'password', username: 'carol', password: 'carol-demo', scope: 'openid offline_access' };
    const { status, body } = await post(stack, '/token', form, { id: 'nightly-backup' });
    assert.equal(status, 400);
    assert.equal(body.refresh_token, undefined);
});

scenario('wrong passwords are throttled, name by name', async () => {
    const form = { grant_type: 'password', username: 'guest1', password: 'wrong', scope: 'openid' };
    for (let i = 0; i < 5; i++) assert.equal((await post(stack, '/token', form, { id: 'nightly-backup' })).status, 400);
    const right = await post(stack, '/token', { ...form, password: 'alice-demo' }, { id: 'nightly-backup' });
    assert.notEqual(right.status, 200, 'the right one, too late');
    assert.ok((await byPassword(stack, 'guest2')).refresh_token, 'others are not held up');
});

scenario('client credentials: an access token for the client itself, that ends by itself (I2)', async () => {
    const config = await discover(stack, 'nightly-backup');
    const tokens = await openid.clientCredentialsGrant(config, { scope: 'files.read' });
    assert.equal(tokens.refresh_token, undefined, 'RFC 6749 section 4.4.3');
    const keys = jose.createRemoteJWKSet(new URL(`${stack.issuer}/jwks`));
    const { payload } = await jose.jwtVerify(tokens.access_token, keys, {
        issuer: stack.issuer,
        audience: 'files-api',
        typ: 'at+jwt',
    });
    assert.equal(payload.client_id, 'nightly-backup');
    assert.equal(
        (await openid.tokenIntrospection(await discover(stack, 'files-api'), tokens.access_token)).active,
        true,
    );
    await openid.tokenRevocation(config, tokens.access_token);
    assert.equal(
        (await openid.tokenIntrospection(await discover(stack, 'files-api'), tokens.access_token)).active,
        false,
    );
});

scenario('a service account has an offline token when it asks for one (I2)', async () => {
    const { status, body } = await post(
        stack,
        '/token',
        { grant_type: 'client_credentials', scope: 'offline_access files.read' },
        { id: 'nightly-backup' },
    );
    assert.equal(status, 200);
    assert.ok(body.refresh_token);
    const next = await refresh(stack, 'nightly-backup', body.refresh_token);
    assert.equal(next.status, 200);
    assert.equal(jose.decodeJwt(next.body.access_token).sub, jose.decodeJwt(body.access_token).sub);
});

runScenarios(async () => (stack = await Stack.start({ guests: 2 })));
