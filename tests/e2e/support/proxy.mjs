// A proxy that can lose the response to a request that the server has answered.
// SPDX-License-Identifier: MIT

import { once } from 'node:events';
import http from 'node:http';
import { text } from 'node:stream/consumers';

export class LossyProxy {
    #lose = 0;
    lost = 0; // how many responses were
    lostTokens = 0; // how many of these had another refresh token than the request

    static async listen() {
        const proxy = new LossyProxy();
        proxy.server = http.createServer((request, response) => proxy.#pass(request, response));
        proxy.server.listen(0, '127.0.0.1');
        await once(proxy.server, 'listening');
        proxy.port = proxy.server.address().port;
        return proxy;
    }

    /** The next `count` responses to POST /token are read to their end, and the connection is cut instead. */
    loseResponses(count) {
        this.#lose = count;
    }

    #pass(request, response) {
        const lose = this.#lose > 0 && request.method === 'POST' && request.url === '/token';
        this.#lose -= lose ? 1 : 0;
        const upstream = http.request({
            host: '127.0.0.1',
            port: this.target,
            method: request.method,
            path: request.url,
            headers: request.headers,
            agent: false,
        });
        upstream.on('error', () => response.destroy());
        const asked = lose && text(request);
        upstream.on('response', async (answer) => {
            if (lose) {
                this.#count(await asked, await text(answer));
                response.destroy();
                return;
            }
            response.writeHead(answer.statusCode, answer.rawHeaders);
            answer.pipe(response);
        });
        request.pipe(upstream);
    }

    #count(asked, answered) {
        const before = new URLSearchParams(asked).get('refresh_token'),
            { refresh_token: after } = JSON.parse(answered);
        this.lostTokens += before && after && before !== after ? 1 : 0;
        this.lost++;
    }

    async close() {
        this.server.closeAllConnections?.();
        this.server.close();
        await once(this.server, 'close');
    }
}
