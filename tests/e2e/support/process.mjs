// Programs that tests start: their output is kept, and none outlives the test.
// SPDX-License-Identifier: MIT

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';

const running = new Set();

function killAll() {
    for (const child of running) child.kill('SIGKILL');
}

process.on('exit', killAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

/** Asks again, about ten times a second, until the answer is true; that answer. */
export async function poll(what, question, seconds = 10) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
        const answer = await question();
        if (answer) return answer;
        if (Date.now() > end) throw new Error(`${what}: not within ${seconds} seconds`);
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

/** A port that nobody listens at just now. */
export async function freePort() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

export class Program {
    constructor(name, command, args, options = {}) {
        this.name = name;
        this.output = '';
        this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
        this.ended = new Promise((resolve) => {
            this.child.on('error', (error) => resolve(`cannot be started: ${error.message}`));
            this.child.on('exit', (code, signal) => resolve(signal ?? code));
        }).then((status) => {
            running.delete(this.child);
            return (this.status = status);
        });
        running.add(this.child);
        for (const stream of [this.child.stdout, this.child.stderr])
            stream.setEncoding('utf8').on('data', (text) => (this.output += text));
    }

    /** Waits until `ready` is true, asked again and again. */
    async until(ready, seconds = 20) {
        await poll(
            `${this.name} to be ready`,
            async () => {
                if (this.status !== undefined)
                    throw new Error(`${this.name} has ended: ${this.status}\n${this.output}`);
                return ready(this.output);
            },
            seconds,
        );
    }

    /** Sends a signal and waits for the end: its exit status, or the name of the signal that it died of. */
    async stop(signal = 'SIGTERM', seconds = 10) {
        this.child.kill(signal);
        const late = setTimeout(() => this.child.kill('SIGKILL'), seconds * 1000);
        const status = await this.ended;
        clearTimeout(late);
        return status;
    }

    log() {
        return `---- ${this.name} ----\n${this.output.slice(-20000)}`;
    }
}

/** Whether an HTTP server answers there, whatever it answers. */
export async function answers(url) {
    return fetch(url, { redirect: 'manual' }).then(
        (response) => response.arrayBuffer().then(() => true),
        () => false,
    );
}
