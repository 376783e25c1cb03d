// The server is killed while clients refresh, and started again: every token works, and browsers are still logged in (I6, R7, R8).
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { authorize, byPassword, logIn, post, redirectOf, refresh } from './support/clients.mjs';
import { Robot } from './support/robot.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';

const KILLS = 5;

let stack;

/** A client that refreshes without a pause, and keeps the newest token, as a good one does, also when nobody answers. */
class Refresher {
    answered = 0;

    constructor(id, token) {
        Object.assign(this, { id, token });
    }

    async once() {
        const { status, body } = await refresh(stack, this.id, this.token);
        if (status === 503)
            return;
        assert.equal(status, 200, JSON.stringify(body));
        this.token = body.refresh_token ?? this.token;
        this.answered++;
    }

    async run(until) {
        while (!until.over)
            await this.once().catch((error) => {
                // No connection, or a broken one, is what is expected; a refusal is not.
                if (error.name === 'AssertionError')
                    throw error;
                return new Promise((resolve) => setTimeout(resolve, 20));
            });
    }
}

scenario('killed while clients refresh, and started again: every token works, every browser is logged in (I6, R7)', async () => {
    const browser = new Robot();
    const clients = [];
    for (const user of ['alice', 'bob'])
        clients.push(new Refresher('nightly-backup', (await byPassword(stack, user)).refresh_token));
    for (let i = 0; i < 3; i++)
        clients.push(new Refresher('pocket-notes', (await logIn(stack, 'pocket-notes', { robot: i ? new Robot() : browser })).tokens.refresh_token));
    for (let kill = 0; kill < KILLS; kill++) {
        const until = { over: false };
        const before = clients.map(({ answered }) => answered);
        const all = Promise.all(clients.map((client) => client.run(until)));
        await Promise.race([all, answeredAll(clients, before)]);
        assert.equal(await stack.killServer(), 'SIGKILL');
        await stack.startServer();
        until.over = true;
        await all;
        for (const client of clients) {
            const answers = client.answered;
            await client.once();
            assert.equal(client.answered, answers + 1);
        }
    }
    const page = await browser.open(`${stack.issuer}/account`);
    assert.equal(page.status, 200);
    assert.match(page.text, /Pocket Notes/);
});

/** When every client has been answered ten times more. */
async function answeredAll(clients, before) {
    while (clients.some(({ answered }, i) => answered < before[i] + 10))
        await new Promise((resolve) => setTimeout(resolve, 5));
}

scenario('a server that ends by itself loses nothing either (I6)', async () => {
    const { refresh_token } = await byPassword(stack);
    assert.equal(await stack.server.stop('SIGTERM'), 0);
    await stack.startServer();
    assert.equal((await refresh(stack, 'nightly-backup', refresh_token)).status, 200);
});

scenario('two servers with one store: what one issues the other refreshes, what one revokes the other refuses (V5, S4)', async () => {
    const sibling = await stack.startSibling();
    const { refresh_token } = await byPassword(stack);
    assert.equal((await refresh(sibling, 'nightly-backup', refresh_token)).status, 200);
    const { url, expected } = await authorize(stack, 'pocket-notes');
    const form = { grant_type: 'authorization_code', code: url.searchParams.get('code'), code_verifier: expected.pkceCodeVerifier,
        redirect_uri: redirectOf(stack, 'pocket-notes') };
    const there = await post(sibling, '/token', form, { id: 'pocket-notes' });
    assert.equal(there.status, 200);
    assert.equal((await post(stack, '/token', form, { id: 'pocket-notes' })).body.refresh_token, there.body.refresh_token);
    assert.equal((await post(sibling, '/revoke', { token: refresh_token }, { id: 'nightly-backup' })).status, 200);
    assert.equal((await refresh(stack, 'nightly-backup', refresh_token)).body.error, 'invalid_grant');
});

runScenarios(async () => (stack = await Stack.start()));
