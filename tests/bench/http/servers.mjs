// The two servers under load: each with its sessions, their refresh tokens, and what the system tells of its process.
// SPDX-License-Identifier: MIT

import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Program, freePort } from '../../e2e/support/process.mjs';

const client = 'nightly-backup';
const secret = 'nightly-backup-demo-secret';
const issuer = 'http://localhost:8080';
const users = 100;
const source = fileURLToPath(new URL('../../../examples/identity-server', import.meta.url));
const ticks = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** client_secret_basic, the same for both. */
export const basic = Buffer.from(`${client}:${secret}`).toString('base64');

function shuffle(list) {
    for (let n = list.length - 1; n > 0; n--) {
        const other = randomInt(n + 1);
        [list[n], list[other]] = [list[other], list[n]];
    }
    return list;
}

class Server {
    /** about: name, durability, url. The command writes "listening on URL"; by then there are its tokens. */
    static async start(about, command, args, tokens) {
        const server = Object.assign(new Server(), about);
        server.program = new Program(about.name, command, args, { env: { ...process.env, NODE_ENV: 'production' } });
        await server.program.until((output) => /^listening on \S+$/m.test(output), 300);
        server.url ??= server.program.output.match(/(?<=^listening on )\S+$/m)[0];
        server.tokens = shuffle(readFileSync(tokens, 'utf8').trim().split('\n'));
        return server;
    }

    proc(file) {
        return readFileSync(`/proc/${this.program.child.pid}/${file}`, 'utf8');
    }

    /** Seconds of processor time of all its threads. */
    spent() {
        const fields = this.proc('stat').replace(/^.*\) /s, '').split(' ');
        return (Number(fields[11]) + Number(fields[12])) / ticks;
    }

    /** Resident memory in KiB: all of it, and what is not a file's, such as the store. */
    memory() {
        const status = this.proc('status');
        const kib = (name) => Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm'))[1]);
        return { rss: kib('VmRSS'), anonymous: kib('RssAnon') };
    }

    /** How many tokens it has rotated, in its own words. */
    async rotations() {
        const text = await (await fetch(`${this.url}/metrics`)).text();
        return Number(text.match(/^\w*refreshes_rotated_total(?:{.*})? (\d+)$/m)[1]);
    }

    /** Tokens of sessions from all over the store, which were not refreshed yet. */
    take(count) {
        const taken = this.tokens.splice(0, count);
        if (taken.length < count) throw new Error(`${this.name}: too few sessions`);
        return taken;
    }

    async stop() {
        const status = await this.program.stop();
        if (status !== 0) throw new Error(`${this.name} ended with ${status}\n${this.program.log()}`);
    }
}

/** The demo's users and clients, and more users, who are like Alice. */
function writeDirectory(file) {
    const directory = JSON.parse(readFileSync(path.join(source, 'demo.json'), 'utf8'));
    const alice = directory.users.find((user) => user.id === 'alice');
    for (let n = 1; n <= users; n++) directory.users.push({ ...alice, id: `guest${n}` });
    writeFileSync(file, JSON.stringify(directory));
}

function mint(binary, store, count, tokens) {
    const out = openSync(tokens, 'w');
    execFileSync(binary, [store, issuer, client, count, users], { stdio: ['ignore', out, 'inherit'] });
    closeSync(out);
}

export async function startOurs(build, folder, { sessions, server }) {
    const directory = path.join(folder, 'directory.json');
    const data = path.join(folder, 'data');
    const tokens = path.join(folder, 'our-tokens.txt');
    const listen = `127.0.0.1:${await freePort()}`;
    mkdirSync(data, { mode: 0o700 });
    writeDirectory(directory);
    mint(path.join(build, 'mint'), path.join(data, 'sessions'), sessions, tokens);
    const args = Object.entries({ listen, issuer, data, directory }).flatMap(([name, value]) => [`--${name}`, value]);
    const about = { name: 'identity-server', durability: 'LMDB, synced before it answers', url: `http://${listen}` };
    return Server.start(about, path.join(build, 'identity-server'), [...args, ...server], tokens);
}

export async function startTheirs(build, folder, { sessions }) {
    const tokens = path.join(folder, 'their-tokens.txt');
    const args = [path.join(build, 'provider.mjs'), issuer, client, secret, sessions, users, tokens];
    return Server.start({ name: 'oidc-provider', durability: 'none' }, process.execPath, args, tokens);
}
