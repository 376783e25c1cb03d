// A client that refreshes without a pause, whatever becomes of the server.
// SPDX-License-Identifier: MIT

import { refresh } from './clients.mjs';
import { poll } from './process.mjs';
import assert from 'node:assert/strict';

/** It keeps the newest token, also when nobody answers. */
export class Refresher {
    answered = 0;
    rotated = 0;

    constructor(stack, id, token) {
        Object.assign(this, { stack, id, token });
    }

    async once() {
        const { token } = this;
        const answer = await refresh(this.stack, this.id, token);
        const isLost = answer.status === 502 && this.stack.balancer; // a server died amidst it
        if (answer.status === 503 || isLost) return; // try again: it is not told otherwise (R8)
        assert.equal(answer.status, 200, JSON.stringify(answer.body));
        this.rotated += answer.body.refresh_token === token ? 0 : 1;
        this.token = answer.body.refresh_token;
        this.answered++;
    }

    /** Until `when.over`: no connection, or a broken one, is what is expected; a refusal is not. */
    async run(when) {
        while (!when.over) {
            try {
                await this.once();
            } catch (error) {
                if (error.name === 'AssertionError') throw error;
                await new Promise((resolve) => setTimeout(resolve, 20));
            }
            if (when.pause) await new Promise((resolve) => setTimeout(resolve, when.pause));
        }
    }
}

/**
 * Runs `body` while all of them refresh; `pause`: milliseconds between two refreshes of one. When it is done, each has
 * been answered `answers` times since.
 */
export async function whileRefreshing(clients, body, { answers = 0, pause = 0 } = {}) {
    const when = { over: false, pause };
    const runs = Promise.all(clients.map((client) => client.run(when)));
    const work = async () => {
        await body();
        const goals = clients.map(({ answered }) => answered + answers);
        await poll('answers', () => clients.every(({ answered }, i) => answered >= goals[i]), 30);
    };
    try {
        await Promise.race([runs, work()]);
    } finally {
        when.over = true;
    }
    await runs;
}
