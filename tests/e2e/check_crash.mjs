// The server is killed while clients refresh, and started again: every token works, and browsers are still logged in
// (I6, R7, R8).
// SPDX-License-Identifier: MIT

import { scenario, runScenarios } from './support/scenario.mjs';
import { authorize, byPassword, logIn, post, redirectOf, refresh } from './support/clients.mjs';
import { poll } from './support/process.mjs';
import { Refresher, whileRefreshing } from './support/refresher.mjs';
import { Robot } from './support/robot.mjs';
import { Stack } from './support/stack.mjs';
import assert from 'node:assert/strict';

const KILLS = 10; // at least, and until every token that rotates has done so
const ANSWERS = 10; // that each client gets between two kills

let stack;

/** Kills the server while all of them refresh, and starts it again. */
async function killAmidst(clients) {
    const goals = clients.map(({ answered }) => answered + ANSWERS);
    await whileRefreshing(clients, async () => {
        await poll('answers', () => clients.every(({ answered }, i) => answered >= goals[i]));
        assert.equal(await stack.killServer(), 'SIGKILL');
        await stack.startServer();
    });
}

scenario(
    'killed while clients refresh, and started again: every token works, every browser is logged in (I6, R7)',
    async () => {
        const browser = new Robot();
        const clients = [];
        for (const user of ['alice', 'bob']) {
            const { refresh_token } = await byPassword(stack, user);
            clients.push(new Refresher(stack, 'nightly-backup', refresh_token));
        }
        for (const robot of [browser, new Robot(), new Robot()]) {
            const { tokens } = await logIn(stack, 'pocket-notes', { robot });
            clients.push(new Refresher(stack, 'pocket-notes', tokens.refresh_token));
        }
        const isYoung = ({ id, rotated }) => id === 'pocket-notes' && rotated === 0;
        for (let kills = 0; kills < KILLS || clients.some(isYoung); kills++) {
            await killAmidst(clients);
            for (const client of clients) {
                const { answered } = client;
                await client.once();
                assert.equal(client.answered, answered + 1);
            }
        }
        const page = await browser.open(`${stack.issuer}/account`);
        assert.equal(page.status, 200);
        assert.match(page.text, /Pocket Notes/);
    },
);

scenario('a server that ends by itself loses nothing either (I6)', async () => {
    const { refresh_token } = await byPassword(stack);
    assert.equal(await stack.server.stop('SIGTERM'), 0);
    await stack.startServer();
    assert.equal((await refresh(stack, 'nightly-backup', refresh_token)).status, 200);
});

scenario(
    'two servers with one store: what one issues the other refreshes, what one revokes the other refuses (V5, S4)',
    async () => {
        const sibling = await stack.startSibling();
        const { refresh_token } = await byPassword(stack);
        assert.equal((await refresh(sibling, 'nightly-backup', refresh_token)).status, 200);
        const { url, expected } = await authorize(stack, 'pocket-notes');
        const form = {
            grant_type: 'authorization_code',
            code: url.searchParams.get('code'),
            code_verifier: expected.pkceCodeVerifier,
            redirect_uri: redirectOf(stack, 'pocket-notes'),
        };
        const there = await post(sibling, '/token', form, { id: 'pocket-notes' });
        assert.equal(there.status, 200);
        assert.equal(
            (await post(stack, '/token', form, { id: 'pocket-notes' })).body.refresh_token,
            there.body.refresh_token,
        );
        assert.equal((await post(sibling, '/revoke', { token: refresh_token }, { id: 'nightly-backup' })).status, 200);
        assert.equal((await refresh(stack, 'nightly-backup', refresh_token)).body.error, 'invalid_grant');
    },
);

runScenarios(async () => (stack = await Stack.start()));
