// A Stack for programs in other languages: what it is told as JSON comes on stdin, a line for each command, and the
// answer goes to stdout. The first line is the options of Stack.start(). It stops when stdin ends, and its status says
// whether all ended well.
// SPDX-License-Identifier: MIT

import readline from 'node:readline';
import { Robot } from './robot.mjs';
import { Stack } from './stack.mjs';

const robots = new Map(); // by name: browsers of different people

function robotOf(name = '') {
    if (!robots.has(name)) robots.set(name, new Robot());
    return robots.get(name);
}

const commands = {
    async start(options) {
        globalThis.stack = await Stack.start(options);
        return { issuer: stack.issuer, environment: stack.environment(), folder: stack.folder };
    },
    /** Goes to a URL, and answers what the server asks; until the browser is sent to one that begins with `stop`. */
    async browse({ url, robot, stop, ...options }) {
        const leaves = stop && ((to) => to.href.startsWith(stop));
        const page = await robotOf(robot).answer(url, { ...options, leaves });
        return page.left ? { left: page.left } : { url: page.url, status: page.status, text: page.text };
    },
    async lose({ count }) {
        stack.proxy.loseResponses(count);
        return {};
    },
    async lost() {
        return { lost: stack.proxy.lost, tokens: stack.proxy.lostTokens };
    },
    async log() {
        return { log: stack.log() };
    },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
    const { command, ...options } = JSON.parse(line);
    try {
        console.log(JSON.stringify(await commands[command](options)));
    } catch (error) {
        console.log(JSON.stringify({ error: error.message }));
    }
}
await globalThis.stack?.stop();
process.exit(0);
