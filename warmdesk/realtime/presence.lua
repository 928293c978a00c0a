-- One turn of one process: renew its leases, let some run out soon, take away what ran out, and tell who is there.
-- ARGV[1]: {"names": how the keys begin, "process", "takes": whether it takes a turn, "first": for the first time, "lease", "most", "turn" and "late" in ms, "rooms": [{"channel", "known", "renew": [user…], "lower": [[user, ms]…], "look", "newest": so many alone, or absent}…]}
-- Gives {"run", "clock", "late": whether another process is late with its turn, asked for at the first call, "rooms": [{"channel", "version", "gone", "soon": ms or absent, "users": "7,9,…" or absent, "count": with the newest}…]}. Times are Redis' own.
local asked = cjson.decode(ARGV[1])
local names = asked.names .. 'presence:'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local run = redis.call('GET', names .. 'run')
local function begin_anew()
    run = string.format('%s-%.0f', asked.process, now)
    redis.call('SET', names .. 'run', run)
end
if not run then
    begin_anew()
end
local turns = names .. 'turns'
local late = false
if asked.first then
    local taken = redis.call('HGETALL', turns)
    for each = 1, #taken, 2 do
        local ago = now - tonumber(taken[each + 1])
        if ago > asked.lease then
            redis.call('HDEL', turns, taken[each])
        elseif ago > asked.late then
            late = true
        end
    end
end
if asked.takes then
    redis.call('HSET', turns, asked.process, string.format('%.0f', now))
    redis.call('PEXPIRE', turns, 86400000)
end
local answers = {}
-- Leases renewed by one call: Lua's stack has no room for many thousand arguments.
local together = 1000
for place, room in ipairs(asked.rooms) do
    local leases = names .. 'leases:' .. room.channel
    local counts = names .. 'counts:' .. room.channel
    local since = names .. 'since:' .. room.channel
    -- Goes with the rest when nobody came for a day: it counts on from the time of day, so none comes twice.
    local versions = names .. 'version:' .. room.channel
    local version = redis.call('GET', versions)
    local kept = redis.call('EXISTS', leases, counts, since)
    if kept > 0 and (kept < 3 or not version) then
        -- A Redis that is short of memory dropped a part: the rest would count wrongly for ever.
        redis.call('DEL', leases, counts, since)
        begin_anew()
    end
    version = tonumber(version or '0')
    local changed = false
    for first = 1, #room.renew, together do
        local members = {}
        for each = first, math.min(first + together - 1, #room.renew) do
            members[#members + 1] = now + asked.lease
            members[#members + 1] = room.renew[each] .. '@' .. asked.process
        end
        -- Nearly always all are there already, and one call is all; else each is looked at.
        if redis.call('ZADD', leases, 'XX', 'CH', unpack(members)) < #members / 2 then
            for each = 2, #members, 2 do
                if redis.call('ZADD', leases, members[each - 1], members[each]) == 1 then
                    local user = room.renew[first + each / 2 - 1]
                    if redis.call('HINCRBY', counts, user, 1) == 1 then
                        redis.call('ZADD', since, 'NX', now, user)
                        changed = true
                    end
                end
            end
        end
    end
    for _, pair in ipairs(room.lower) do
        redis.call('ZADD', leases, 'XX', now + pair[2], pair[1] .. '@' .. asked.process)
    end
    -- The clock was set back: nobody's lease may last as long as that.
    for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, now + asked.most, '+inf')) do
        redis.call('ZADD', leases, now + asked.lease, lease)
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
    if changed then
        version = math.max(version + 1, now)
        redis.call('SET', versions, string.format('%.0f', version))
    end
    if changed or #room.renew > 0 then
        for _, key in ipairs({leases, counts, since, versions}) do
            redis.call('PEXPIRE', key, 86400000)
        end
    end
    local answer = {channel = room.channel, version = version, gone = gone}
    if room.look then
        local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
        if first and tonumber(first) - now < asked.turn then
            answer.soon = tonumber(first) - now
        end
        if room.newest then
            answer.count = redis.call('ZCARD', since)
            answer.users = table.concat(redis.call('ZREVRANGE', since, 0, room.newest - 1), ',')
        elseif version ~= room.known then
            answer.users = table.concat(redis.call('ZRANGE', since, 0, -1), ',')
        end
    end
    answers[place] = answer
end
return cjson.encode({run = run, clock = now, late = late, rooms = answers})
