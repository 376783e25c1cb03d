// The identity server under test, with a data folder and ports of its own, and beside it, where a test asks for them,
// the example programs that use it, a proxy that loses responses, and more servers behind one that asks each in turn.
// SPDX-License-Identifier: MIT

import './node.mjs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Balancer } from './balancer.mjs';
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
    nodes = []; // behind the balancer: each can be used as a stack for plain requests to that server

    /**
     * options: web, files: the example programs; guests: more users; proxy: requests go through a LossyProxy; store:
     * for --store; servers: so many behind a Balancer, each with its own copy of the keys.
     */
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
        this.store = options.store;
        if (options.servers) {
            this.balancer = await Balancer.listen();
            this.issuer = `http://localhost:${this.balancer.port}`;
        }
        if (options.proxy) {
            this.proxy = await LossyProxy.listen();
            this.issuer = `http://localhost:${this.proxy.port}`;
            this.proxy.target = this.port = await freePort();
        }
        if (options.servers) await this.#startNodes(options.servers);
        else await this.startServer();
        if (options.web) this.web = await this.#startExample('web.py', this.ports.web);
        if (options.files) this.files = await this.#startExample('files_api.py', this.ports.files);
    }

    /** The server: at a free port, which it tells, or at the one it had. */
    async startServer() {
        this.server = await this.#startServer(this.port ?? 0, this.proxy ? ['--issuer', this.issuer] : []);
        [this.issuer] = this.server.output.match(/(?<=^listening on )\S+$/m);
        this.port ??= Number(new URL(this.issuer).port);
    }

    /** The first makes the keys, and the others are given them. */
    async #startNodes(count) {
        for (let n = 0; n < count; n++) {
            const port = await freePort();
            const node = { issuer: `http://localhost:${port}`, ports: this.ports, port, data: this.dataFolder(n) };
            if (n > 0) await cp(this.dataFolder(0), node.data, { recursive: true });
            this.nodes.push(node);
            await this.startNode(node);
        }
    }

    async startNode(node) {
        const more = ['--issuer', this.issuer, '--behind-proxy'];
        node.server = await this.#startServer(node.port, more, node.data);
        if (!this.balancer.targets.includes(node.port)) this.balancer.targets.push(node.port);
    }

    dataFolder(n = 0) {
        return path.join(this.folder, n ? `data-${n}` : 'data');
    }

    async #startServer(port, more, data = this.dataFolder()) {
        const where = ['--listen', `127.0.0.1:${port}`, '--data', data, '--directory', this.directory];
        const store = this.store ? ['--store', this.store] : [];
        const server = new Program('identity-server', binary, [...where, ...store, ...more]);
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
        await this.balancer?.close();
        await rm(this.folder, { recursive: true, force: true });
        return statuses;
    }

    /** Stops all of it. Servers have to end well: with status 0, which under a sanitizer says that nothing leaked. */
    async stop() {
        const servers = [this.server, ...this.nodes.map((node) => node.server)].filter(Boolean);
        const indexes = servers.map((server) => this.programs.indexOf(server));
        const statuses = await this.#end();
        for (const index of indexes)
            if (statuses[index] !== 0) throw new Error(`the server ended with ${statuses[index]}\n${this.log()}`);
    }
}
