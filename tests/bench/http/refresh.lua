-- refresh.lua - a script for wrk: takes a refresh token from a pool, sends it, and puts the one that comes back there.
--
--     wrk -t1 -cN -dTIME -s refresh.lua URL -- TOKENS AUTHORIZATION [FORM]
--
-- TOKENS is a file with a token in each line, more of them than there are connections. FORM is more of the form, such
-- as client_id=app. What is not 200 is counted, and so is a token that was seen before: then there was no rotation. The
-- last line that is written is JSON.
--
-- SPDX-License-Identifier: MIT

local pool, first, last, seen = {}, 1, 0, {}
local head, more
local thread_of_run

refused, unchanged, answered = 0, 0, 0

function setup(thread)
    thread_of_run = thread
end

local function push(token)
    last = last + 1
    pool[last] = token
    seen[token] = true
end

local function pop()
    local token = pool[first]
    assert(token, 'there are too few tokens')
    pool[first] = nil
    first = first + 1
    return token
end

function init(args)
    for token in io.lines(args[1]) do push(token) end
    more = args[3] and '&' .. args[3] or ''
    head = 'POST ' .. wrk.path .. ' HTTP/1.1\r\nHost: ' .. wrk.host .. ':' .. wrk.port ..
        '\r\nAuthorization: Basic ' .. args[2] ..
        '\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: '
end

function request()
    local body = 'grant_type=refresh_token&refresh_token=' .. pop() .. more
    return head .. #body .. '\r\n\r\n' .. body
end

function response(status, headers, body)
    local token = status == 200 and body:match('"refresh_token":"([^"]+)"')
    answered = answered + 1
    if not token then
        if refused == 0 then io.stderr:write(status, ' ', body, '\n') end
        refused = refused + 1
        return
    end
    if seen[token] then unchanged = unchanged + 1 end
    push(token)
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format(
        '{"requests":%d,"answered":%d,"refused":%d,"unchanged":%d,"errors":%d,"us":%d,"p50":%d,"p99":%d,"max":%d}',
        summary.requests, thread_of_run:get('answered'), thread_of_run:get('refused'), thread_of_run:get('unchanged'),
        errors.connect + errors.read + errors.write + errors.timeout, summary.duration, latency:percentile(50),
        latency:percentile(99), latency.max))
end
