// A proxy in front of several servers, each of which gets a request in turn, as nginx with `upstream` does: it reads a
// request whole, tells in X-Forwarded-For where it came from, and tries the next server where one does not listen.
// SPDX-License-Identifier: MIT

import { once } from 'node:events';
import http from 'node:http';
import { buffer } from 'node:stream/consumers';

const BAD_GATEWAY = 502;

export class Balancer {
    targets = []; // ports
    asked = []; // {method, path, port} of every request that a server has answered
    #turn = 0;

    static async listen() {
        const balancer = new Balancer();
        balancer.server = http.createServer((request, response) => balancer.#pass(request, response));
        balancer.server.listen(0, '127.0.0.1');
        await once(balancer.server, 'listening');
        balancer.port = balancer.server.address().port;
        return balancer;
    }

    async #pass(request, response) {
        const body = await buffer(request).catch(() => undefined);
        if (!body) return; // who asked has gone
        for (let tries = 0; tries < this.targets.length; tries++) {
            const port = this.targets[this.#turn++ % this.targets.length];
            const answer = await this.#ask(port, request, body).catch((error) => error);
            if (answer.code === 'ECONNREFUSED') continue;
            if (answer instanceof Error) break; // perhaps it has done what it was asked for: not once more by itself
            answer.on('error', () => response.destroy());
            answer.pipe(response.writeHead(answer.statusCode, answer.rawHeaders));
            return;
        }
        response.writeHead(BAD_GATEWAY, { 'content-type': 'text/plain' }).end();
    }

    async #ask(port, request, body) {
        const headers = { ...request.headers, host: `127.0.0.1:${port}`, connection: 'close' };
        const from = [headers['x-forwarded-for'], request.socket.remoteAddress].filter(Boolean).join(', ');
        const upstream = http.request({
            host: '127.0.0.1',
            port,
            method: request.method,
            path: request.url,
            headers: { ...headers, 'x-forwarded-for': from },
            agent: false,
        });
        upstream.end(body);
        const [answer] = await once(upstream, 'response');
        this.asked.push({ method: request.method, path: request.url, port });
        return answer;
    }

    async close() {
        this.server.closeAllConnections?.();
        this.server.close();
        await once(this.server, 'close');
    }
}
