-- One turn of one process: renew its leases, let some run out soon, take away what ran out, and tell who is there.
-- ARGV[1]: {"process", "lease" in ms, "run" for an empty Redis, "rooms": [{"channel", "known", "renew": [user…], "lower": [[user, ms]…], "look"}…]}
-- Gives {"run", "rooms": [{"channel", "version", "gone", "users": "7,9,…" or absent}…]}. Times are Redis' own.
local asked = cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local run = redis.call('GET', 'warmdesk:presence:run')
if not run then
    run = asked.run
    redis.call('SET', 'warmdesk:presence:run', run)
end
local answers = {}
for place, room in ipairs(asked.rooms) do
    local leases = 'warmdesk:presence:leases:' .. room.channel
    local counts = 'warmdesk:presence:counts:' .. room.channel
    local since = 'warmdesk:presence:since:' .. room.channel
    local changed = false
    for _, user in ipairs(room.renew) do
        if redis.call('ZADD', leases, now + asked.lease, user .. '@' .. asked.process) == 1 then
            if redis.call('HINCRBY', counts, user, 1) == 1 then
                redis.call('ZADD', since, 'NX', now, user)
                changed = true
            end
        end
    end
    for _, pair in ipairs(room.lower) do
        redis.call('ZADD', leases, 'XX', now + pair[2], pair[1] .. '@' .. asked.process)
    end
    local gone = 0
    for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now)) do
        redis.call('ZREM', leases, lease)
        local user = string.match(lease, '^(%d+)@')
        if redis.call('HINCRBY', counts, user, -1) <= 0 then
            redis.call('HDEL', counts, user)
            redis.call('ZREM', since, user)
            gone = gone + 1
            changed = true
        end
    end
    local versions = 'warmdesk:presence:versions'
    local version = tonumber(redis.call('HGET', versions, room.channel) or '0')
    if changed then
        version = redis.call('HINCRBY', versions, room.channel, 1)
        for _, key in ipairs({leases, counts, since}) do
            redis.call('PEXPIRE', key, 86400000)
        end
    elseif #room.renew > 0 then
        for _, key in ipairs({leases, counts, since}) do
            redis.call('PEXPIRE', key, 86400000)
        end
    end
    local answer = {channel = room.channel, version = version, gone = gone}
    if room.look and version ~= room.known then
        answer.users = table.concat(redis.call('ZRANGE', since, 0, -1), ',')
    end
    answers[place] = answer
end
return cjson.encode({run = run, rooms = answers})
