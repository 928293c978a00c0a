-- Idempotency: the key is taken first and its answer stored last, in the change's own transaction.

-- No row: the key is free and now taken (or there is none). A row: the answer that was given under it. Waits for a change
-- under way with the same key. A key lives 24 hours.
create or replace function once_take(actor_ bigint, path_ text, key_ text, body_hash_ text)
returns table (status integer, answer text) language plpgsql as $$
declare
    found_ idempotency_keys;
begin
    if key_ is null then
        return;
    end if;
    -- What is there is locked, also when its time is not over: nobody takes it away meanwhile.
    insert into idempotency_keys as k (user_id, path, key, body_hash) values (actor_, path_, key_, body_hash_)
    on conflict (user_id, path, key) do update set body_hash = excluded.body_hash, status = null, answer = null, created_at = now()
    where k.created_at < now() - interval '24 hours';
    if found then
        return;
    end if;
    select * into found_ from idempotency_keys k where k.user_id = actor_ and k.path = path_ and k.key = key_;
    if found_.body_hash <> body_hash_ then
        perform refuse(422, 'this Idempotency-Key was used with another body', '{"code":"idempotency_key_reused"}');
    end if;
    return query select found_.status, found_.answer;
end
$$;

create or replace function once_store(actor_ bigint, path_ text, key_ text, status_ integer, answer_ text) returns void
language sql as $$
update idempotency_keys set status = status_, answer = answer_ where user_id = actor_ and path = path_ and key = key_ and key_ is not null
$$;
