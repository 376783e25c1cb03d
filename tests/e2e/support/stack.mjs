// The identity server under test, with a data folder and ports of its own, and beside it, where a test asks for them,
// the example programs that use it, and a proxy that loses responses.
// SPDX-License-Identifier: MIT

import './node.mjs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Program, answers, freePort } from './process.mjs';
import { LossyProxy } from './proxy.mjs';

const source = process.env.OTOK_E2E_SOURCE;
const binary = process.env.OTOK_E2E_SERVER;
const python = process.env.OTOK_E2E_PYTHON;

export const secrets = {
    'photo-album': 'photo-album-demo-secret',
    'nightly-backup': 'nightly-backup-demo-secret',
    'files-api': 'files-api-demo-secret',
};

export const passwordOf = (user) => `${user.startsWith('guest') ? 'alice' : user}-demo`;

/** The demo's users and clients, with the ports of this run, and more users, who are like Alice. */
async function writeDirectory(file, ports, guests) {
    const text = await readFile(path.join(source, 'examples/identity-server/demo.json'), 'utf8');
    const directory = JSON.parse(text.replaceAll('localhost:8081', `localhost:${ports.web}`));
    const alice = directory.users.find((user) => user.id === 'alice');
    for (let n = 1; n <= guests; n++)
        directory.users.push({ ...alice, id: `guest${n}`, name: `Guest ${n}`, email: `guest${n}@example.org` });
    await writeFile(file, JSON.stringify(directory));
}

export class Stack {
    programs = [];

    /** options: web, files: the example programs; guests: more users; proxy: requests go through a LossyProxy. */
    static async start(options = {}) {
        const stack = new Stack();
        try {
            await stack.#start(options);
        } catch (error) {
            error.message += `\n${stack.log()}`;
            await stack.#end();
            throw error;
        }
        return stack;
    }

    async #start(options) {
        this.folder = await mkdtemp(path.join(os.tmpdir(), 'offlinetok-e2e-'));
        this.directory = path.join(this.folder, 'directory.json');
        this.ports = { web: await freePort(), files: await freePort() };
        await writeDirectory(this.directory, this.ports, options.guests ?? 0);
        if (options.proxy) {
            this.proxy = await LossyProxy.listen();
            this.issuer = `http://localhost:${this.proxy.port}`;
            this.proxy.target = this.port = await freePort();
        }
        await this.startServer();
        if (options.web) this.web = await this.#startExample('web.py', this.ports.web);
        if (options.files) this.files = await this.#startExample('files_api.py', this.ports.files);
    }

    /** The server: at a free port, which it tells, or at the one it had. */
    async startServer() {
        this.server = await this.#startServer(this.port ?? 0, this.proxy ? ['--issuer', this.issuer] : []);
        [this.issuer] = this.server.output.match(/(?<=^listening on )\S+$/m);
        this.port ??= Number(new URL(this.issuer).port);
    }

    async #startServer(port, more) {
        const server = new Program('identity-server', binary, [
            '--listen',
            `127.0.0.1:${port}`,
            '--data',
            path.join(this.folder, 'data'),
            '--directory',
            this.directory,
            ...more,
        ]);
        this.programs.push(server);
        await server.until((output) => /^listening on \S+$/m.test(output));
        return server;
    }

    /**
     * Another server of the same issuer, with the same store: where it answers, to be used as a stack for plain
     * requests.
     */
    async startSibling() {
        const port = await freePort();
        await this.#startServer(port, ['--issuer', this.issuer]);
        return { issuer: `http://localhost:${port}`, ports: this.ports };
    }

    /** As the machine does when it runs out of memory: no handler, no flush, no goodbye. */
    async killServer() {
        return this.server.stop('SIGKILL');
    }

    /** What the example programs are told by their environment. */
    environment() {
        return {
            ...process.env,
            ISSUER: this.issuer,
            WEB_URL: `http://localhost:${this.ports.web}`,
            FILES_API: `http://localhost:${this.ports.files}`,
            CLIENTS_STATE: path.join(this.folder, 'state'),
            PYTHONDONTWRITEBYTECODE: '1',
        };
    }

    async #startExample(file, port) {
        const url = `http://localhost:${port}`;
        const program = new Program(file, python, [path.join(source, 'examples/clients', file)], {
            cwd: this.folder,
            env: this.environment(),
        });
        this.programs.push(program);
        await program.until(() => answers(`${url}/`));
        return url;
    }

    log() {
        return this.programs.map((program) => program.log()).join('\n');
    }

    async #end() {
        const statuses = await Promise.all(this.programs.map((program) => program.stop()));
        await this.proxy?.close();
        await rm(this.folder, { recursive: true, force: true });
        return statuses;
    }

    /** Stops all of it. The server has to end well: with status 0, which under a sanitizer says that nothing leaked. */
    async stop() {
        const index = this.programs.indexOf(this.server);
        const status = (await this.#end())[index];
        if (status !== 0) throw new Error(`the server ended with ${status}\n${this.log()}`);
    }
}
