// Three servers with one database behind a proxy that asks each in turn: the requests of one login land at different
// ones, and no client can tell (S2, V5, R6). PostgreSQL is that of OTOK_TEST_POSTGRES.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { OAuthClient, authorize, byPassword, discover, introspect, logIn, openid } from './support/clients.mjs';
import { post, redirectOf, refresh } from './support/clients.mjs';
import { Refresher, whileRefreshing } from './support/refresher.mjs';
import { Robot } from './support/robot.mjs';
import { Stack } from './support/stack.mjs';
import { offlinetok } from './support/tool.mjs';
import assert from 'node:assert/strict';
import path from 'node:path';
import * as jose from 'jose';

const SERVERS = 3;
const AT_ONCE = 50;
const ROTATES_AFTER_MS = 10_000; // the retry window of a public client
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';
const SCOPE = 'openid offline_access notes.write';
const store = `postgres:${process.env.OTOK_TEST_POSTGRES}`;

let stack, old; // old: tokens to be rotated, as soon as they are old enough

const invalidGrant = { error: 'invalid_grant' };
const askDevice = (node, device_code) =>
    post(node, '/token', { grant_type: DEVICE_GRANT, device_code }, { id: 'notes-cli' });

/** Nobody refreshes with it any more, wherever he asks. */
async function assertDead(id, token) {
    for (const node of stack.nodes) {
        const { status, body } = await refresh(node, id, token);
        assert.deepEqual([status, body.error], [400, 'invalid_grant'], node.issuer);
    }
}

scenario(
    'openid-client: login, UserInfo, refresh, introspection, logout, and each request at another server (I6, I7)',
    async () => {
        const { asked } = stack.balancer,
            before = asked.length;
        const robot = new Robot();
        const { config, tokens } = await logIn(stack, 'pocket-notes', { robot });
        assert.equal((await openid.fetchUserInfo(config, tokens.access_token, 'alice')).sub, 'alice');
        assert.ok((await openid.refreshTokenGrant(config, tokens.refresh_token)).access_token);
        const login = await logIn(stack, 'pocket-notes', { robot, config, scope: 'openid files.read' });
        const api = await discover(stack, 'files-api');
        assert.equal((await openid.tokenIntrospection(api, login.tokens.access_token)).active, true);
        const account = await robot.open(`${stack.issuer}/account`);
        assert.match(account.text, /Pocket Notes/);
        assert.equal(account.status, 200);
        const out = await robot.press(await robot.open(`${stack.issuer}/logout`), 'Log out');
        assert.match(out.text, /logged out/i);
        assert.equal((await openid.tokenIntrospection(api, login.tokens.access_token)).active, false);
        await assertDead('pocket-notes', login.tokens.refresh_token);
        assert.equal(new URL((await robot.open(`${stack.issuer}/account`)).url).pathname, '/login');
        const again = await openid.refreshTokenGrant(config, tokens.refresh_token);
        assert.ok(again.access_token, 'offline access stays');
        const ports = asked.slice(before).map(({ port }) => port);
        assert.ok(ports.every((port, i) => port !== ports[i - 1]) && new Set(ports).size === SERVERS, ports.join());
    },
);

scenario('a nonce for DPoP, and what is bound to a key, of one server is good at the others (P3)', async () => {
    const config = await discover(stack, 'photo-album'); // its proofs need a nonce
    const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair());
    const { tokens } = await logIn(stack, 'photo-album', { config, DPoP });
    for (let i = 0; i < SERVERS; i++) {
        const next = await openid.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
        assert.equal((await openid.fetchUserInfo(config, next.access_token, 'alice', { DPoP })).sub, 'alice');
    }
});

scenario('what one server revokes is refused by the others at once (V1, V5, V6)', async () => {
    for (let i = 0; i < SERVERS; i++) {
        const [here, there] = [stack.nodes[i], stack.nodes[(i + 1) % SERVERS]];
        const { refresh_token, access_token } = await byPassword(here, 'bob');
        assert.equal((await introspect(there, access_token)).active, true);
        assert.equal((await post(here, '/revoke', { token: refresh_token }, { id: 'nightly-backup' })).status, 200);
        await assertDead('nightly-backup', refresh_token);
        for (const node of stack.nodes) assert.equal((await introspect(node, access_token)).active, false);
    }
});

scenario('what a user revokes in the account page ends at all servers at once (V2, V4)', async () => {
    const robot = new Robot();
    const { config, tokens } = await logIn(stack, 'photo-album', { user: 'bob', robot });
    const page = await robot.open(`${stack.issuer}/account`);
    assert.equal((await robot.press(page, 'Revoke everything for Photo Album')).status, 200);
    await assertDead('photo-album', tokens.refresh_token);
    await assert.rejects(openid.refreshTokenGrant(config, tokens.refresh_token), invalidGrant);
});

scenario('one code is good for one session, wherever it is redeemed (I8)', async () => {
    const { url, expected } = await authorize(stack, 'pocket-notes');
    const form = {
        grant_type: 'authorization_code',
        code: url.searchParams.get('code'),
        code_verifier: expected.pkceCodeVerifier,
        redirect_uri: redirectOf(stack, 'pocket-notes'),
    };
    const answers = await Promise.all(stack.nodes.map((node) => post(node, '/token', form, { id: 'pocket-notes' })));
    for (const { status } of answers) assert.equal(status, 200);
    assert.equal(new Set(answers.map(({ body }) => body.refresh_token)).size, 1);
});

scenario('a device asks one server, its user answers another, and a third gives the tokens (I2)', async () => {
    const config = await discover(stack, 'notes-cli');
    const started = await openid.initiateDeviceAuthorization(config, { scope: SCOPE });
    const robot = new Robot();
    assert.equal((await robot.answer(started.verification_uri_complete)).status, 200);
    const account = await robot.open(`${stack.issuer}/account`);
    assert.doesNotMatch(account.text, /Waiting device/, 'what waits is not listed as an application');
    const tokens = await openid.pollDeviceAuthorizationGrant(config, { ...started, interval: 1 });
    assert.equal(tokens.claims().sub, 'alice');
    const again = await Promise.all(stack.nodes.map((node) => askDevice(node, started.device_code)));
    for (const { body } of again) assert.equal(body.refresh_token, tokens.refresh_token, 'a lost response (I8)');
    for (const node of stack.nodes)
        assert.equal((await askDevice(node, 'guessed')).body.error, 'invalid_grant');
});

scenario('a device that polls too fast is told so by whichever server it asks (RFC 8628)', async () => {
    const client = await OAuthClient.discover(stack, 'notes-cli');
    const { device_code } = await client.startDevice(SCOPE);
    const said = [];
    for (const node of stack.nodes) said.push((await askDevice(node, device_code)).body.error);
    assert.deepEqual(said, ['authorization_pending', 'slow_down', 'slow_down']);
});

scenario('two people answer one device at two servers at once: one of them has, and the other is told', async () => {
    const client = await OAuthClient.discover(stack, 'notes-cli');
    for (const answers of [['Allow', 'Refuse'], ['Refuse', 'Allow'], ['Allow', 'Allow']]) {
        const { device_code, verification_uri_complete } = await client.startDevice(SCOPE);
        const people = ['alice', 'bob'].map((user) => ({ user, robot: new Robot() }));
        for (const one of people)
            one.page = await one.robot.answer(verification_uri_complete, { user: one.user, answer: 'as far as here' });
        const after = await Promise.all(people.map(({ robot, page }, i) => robot.press(page, answers[i])));
        const first = after.findIndex(({ status }) => status === 200);
        assert.deepEqual(after.map(({ status }) => status).sort(), [200, 400]);
        assert.match(after[1 - first].text, /used a moment ago|no device with this code/);
        for (const node of stack.nodes) {
            const { body } = await askDevice(node, device_code);
            if (answers[first] === 'Allow') assert.equal(jose.decodeJwt(body.id_token).sub, people[first].user);
            else assert.equal(body.error, 'access_denied');
        }
    }
});

scenario(`${AT_ONCE} refreshes with one token, over all servers, move the session by one generation (R6)`, async () => {
    const { refresh_token, access_token } = old;
    await new Promise((resolve) => setTimeout(resolve, old.since + ROTATES_AFTER_MS + 100 - Date.now()));
    const all = Array.from({ length: AT_ONCE }, () => refresh(stack, 'pocket-notes', refresh_token));
    const answers = await Promise.all(all);
    for (const { status, body } of answers) assert.equal(status, 200, JSON.stringify(body));
    const successors = new Set(answers.map(({ body }) => body.refresh_token));
    assert.equal(successors.size, 1, 'the same answer for all');
    assert.ok(!successors.has(refresh_token), 'it has been rotated');
    const [session] = jose.decodeJwt(access_token).jti.split('.');
    const keyring = path.join(stack.dataFolder(), 'sessions', 'keyring.json');
    assert.equal((await offlinetok(store, 'show', session, '--keyring', keyring)).generation, 1);
});

scenario('a server is killed: nobody is logged out, and what it began goes on (I6, R8)', async () => {
    const browser = new Robot();
    const clients = [];
    for (const user of ['alice', 'bob', 'root']) {
        const { refresh_token } = await byPassword(stack, user);
        clients.push(new Refresher(stack, 'nightly-backup', refresh_token));
        const robot = user === 'alice' ? browser : new Robot();
        const { tokens } = await logIn(stack, 'pocket-notes', { user, robot });
        clients.push(new Refresher(stack, 'pocket-notes', tokens.refresh_token));
    }
    const [, victim] = stack.nodes;
    const device = (await post(victim, '/device_authorization', { scope: SCOPE }, { id: 'notes-cli' })).body;
    const code = await authorize(stack, 'pocket-notes', { robot: browser });
    await whileRefreshing(
        clients,
        async () => {
            assert.equal(await victim.server.stop('SIGKILL'), 'SIGKILL');
        },
        { answers: 10 },
    );
    for (const client of clients) await client.once();
    const tokens = await openid.authorizationCodeGrant(code.config, code.url, code.expected);
    assert.equal(tokens.claims().sub, 'alice');
    const page = await browser.answer(device.verification_uri_complete);
    assert.equal(page.status, 200);
    assert.equal((await askDevice(stack, device.device_code)).status, 200);
    assert.match((await browser.open(`${stack.issuer}/account`)).text, /Pocket Notes/);
    await stack.startNode(victim);
    for (const { id, token } of clients) assert.equal((await refresh(victim, id, token)).status, 200);
});

runScenarios(async () => {
    await offlinetok(store, 'migrate');
    stack = await Stack.start({ servers: SERVERS, store });
    ({ tokens: old } = await logIn(stack, 'pocket-notes'));
    old.since = Date.now();
    return stack;
});
