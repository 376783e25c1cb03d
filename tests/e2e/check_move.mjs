// The store is moved, from LMDB to PostgreSQL and back, under clients that go on refreshing: what lives goes on there,
// and what has ended has ended (S3). PostgreSQL is that of OTOK_TEST_POSTGRES.
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { logIn, post, refresh } from './support/clients.mjs';
import { poll } from './support/process.mjs';
import { Refresher, whileRefreshing } from './support/refresher.mjs';
import { Robot } from './support/robot.mjs';
import { Stack } from './support/stack.mjs';
import { copyRecords, offlinetok } from './support/tool.mjs';
import assert from 'node:assert/strict';
import path from 'node:path';
import * as jose from 'jose';

const CLIENTS = 28; // of three users, each of which may have twenty
const USERS = ['alice', 'bob', 'root'];
const PAUSE_MS = 300; // between two refreshes of a client
const ID = 'pocket-notes'; // whose tokens rotate

const postgres = `postgres:${process.env.OTOK_TEST_POSTGRES}`;
let stack, lmdb, keyring;
const clients = [],
    browsers = new Map(),
    dead = [];

/** Sessions of a user, by one login of his browser. */
async function begin(count) {
    for (let n = 0; n < count; n++) {
        const user = USERS[n % USERS.length];
        if (!browsers.has(user)) browsers.set(user, new Robot());
        const { tokens } = await logIn(stack, ID, { user, robot: browsers.get(user) });
        const client = new Refresher(stack, ID, tokens.refresh_token);
        [client.session] = jose.decodeJwt(tokens.access_token).jti.split('.');
        clients.push(client);
    }
}

/** One by its client, and one by the administrator. */
async function end([byClient, byAdministrator], where) {
    assert.equal((await post(stack, '/revoke', { token: byClient.token }, { id: ID })).status, 200);
    await offlinetok(where, 'revoke', byAdministrator.session, '--keyring', keyring);
    dead.push(byClient, byAdministrator);
}

/** Until each of them has another token than now. */
async function untilRotated() {
    const before = clients.map(({ rotated }) => rotated);
    await poll('rotations', () => clients.every(({ rotated }, i) => rotated > before[i]), 30);
}

/** A first pass while the server runs, and the second, of what has changed, when it has been stopped. */
async function move(from, to, store) {
    const pass = () => copyRecords(from, to, '--mode', 'mirror', '--yes');
    const [early, late] = [clients.splice(0, 2), clients.splice(0, 2)]; // who will refresh no more
    await end(early, from);
    const all = async () => {
        await pass();
        await end(late, from);
        await untilRotated();
        assert.equal(await stack.server.stop(), 0);
        const { replaced, removed } = await pass();
        assert.ok(replaced >= clients.length, `${replaced} records of tokens that were rotated meanwhile`);
        assert.ok(removed >= late.length, `${removed} records of those that ended meanwhile`);
        stack.store = store;
        await stack.startServer();
    };
    await whileRefreshing(clients, all, { answers: 2, pause: PAUSE_MS });
}

async function assertAllIsAsItWas() {
    for (const client of clients) {
        const { answered } = client;
        await client.once();
        assert.equal(client.answered, answered + 1);
    }
    for (const { token } of dead) {
        const { status, body } = await refresh(stack, ID, token);
        assert.deepEqual([status, body.error], [400, 'invalid_grant']);
    }
    for (const browser of browsers.values()) {
        const page = await browser.open(`${stack.issuer}/account`);
        assert.match(page.text, /Pocket Notes/);
    }
}

scenario('from LMDB to PostgreSQL under clients: nobody is logged out, and nothing comes back (S3)', async () => {
    await begin(CLIENTS);
    await move(lmdb, postgres, postgres);
    await assertAllIsAsItWas();
});

scenario('and back, into the store that was left behind (S3)', async () => {
    await begin(3);
    await move(postgres, lmdb, undefined);
    await assertAllIsAsItWas();
    const { findings } = await offlinetok(lmdb, 'check');
    assert.equal(findings, 0);
});

async function start() {
    stack = await Stack.start();
    lmdb = `lmdb:${path.join(stack.dataFolder(), 'sessions')}`;
    keyring = path.join(stack.dataFolder(), 'sessions', 'keyring.json');
    await offlinetok(postgres, 'migrate');
    return stack;
}

runScenarios(start, { seconds: 80 }); // a token has to be ten seconds old before it is rotated
