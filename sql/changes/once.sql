-- Idempotency: the key is taken first and its answer stored last, in the change's own transaction.

-- No row: the key is free and now taken (or there is none). A row: the answer that was given under it. Waits for a change
-- under way with the same key. A key lives 24 hours. One that was taken before stays unlocked: who deletes what its answer
-- shows holds the feeds, and must not wait for whoever asks again.
create or replace function once_take(actor_ bigint, path_ text, key_ text, body_hash_ text)
returns table (status integer, answer text) language plpgsql as $$
declare
    found_ idempotency_keys;
begin
    if key_ is null then
        return;
    end if;
    loop
        insert into idempotency_keys (user_id, path, key, body_hash) values (actor_, path_, key_, body_hash_) on conflict do nothing;
        if found then
            return;
        end if;
        select * into found_ from idempotency_keys k
        where k.user_id = actor_ and k.path = path_ and k.key = key_ and k.created_at >= now() - interval '24 hours';
        exit when found;
        delete from idempotency_keys k
        where k.user_id = actor_ and k.path = path_ and k.key = key_ and k.created_at < now() - interval '24 hours';
    end loop;
    if found_.body_hash <> body_hash_ then
        perform refuse(422, 'this Idempotency-Key was used with another body', '{"code":"idempotency_key_reused"}');
    end if;
    return query select found_.status, found_.answer;
end
$$;

-- `about_`: the channels and entities that the answer is about, and those above them.
drop function if exists once_store(bigint, text, text, integer, text);
create or replace function once_store(actor_ bigint, path_ text, key_ text, status_ integer, answer_ text, about_ text[] default null)
returns void language sql as $$
update idempotency_keys set status = status_, answer = answer_, about = about_
where user_id = actor_ and path = path_ and key = key_ and key_ is not null
$$;

-- What was erased is told no more to who asks again: the answers about it, and about what stands below it, are a refusal from
-- now on. All that told of it did so before, because the caller holds its feed. The addition leaves the plan no index but
-- that of `about`. Planned like its caller, write_events.
create or replace function erase_answers(events_ new_event[]) returns void language plpgsql as $$
begin
    update idempotency_keys k set status = 410, answer = '{"error":"what was made with this key is deleted","code":"deleted"}'
    from unnest(events_) e
    where erases(e.type) and k.about @> array[e.channel || ' ' || e.entity]
        and k.status < 300 and k.created_at + interval '24 hours' > now();
end
$$;
