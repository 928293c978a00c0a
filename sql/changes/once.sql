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

-- How long, in milliseconds, this transaction waits for a lock; null: as long as every change.
create or replace function be_patient(patience_ integer) returns void language plpgsql as $$
begin
    if patience_ is not null then
        perform set_config('lock_timeout', patience_::text, true);
    end if;
end
$$;

-- A group of changes, given as columns in the order they came. `firsts` are the places in it of those that found their key free.
-- Planned like their callers.

-- What once_take does, for all keys at once. Gives the firsts.
create or replace function take_keys(actors_ bigint[], paths_ text[], keys_ text[], hashes_ text[]) returns bigint[]
language plpgsql as $$
declare
    is_keyed boolean := array_remove(keys_, null) <> '{}';
    firsts bigint[] := '{}';
    are_known boolean;
begin
    while is_keyed loop
        with asked as (
            select distinct on (r.actor, r.path, r.key) r.actor, r.path, r.key, r.hash, r.place
            from unnest(actors_, paths_, keys_, hashes_) with ordinality r (actor, path, key, hash, place)
            where r.key is not null
            order by r.actor, r.path, r.key, r.place
        ), taken as (
            insert into idempotency_keys as k (user_id, path, key, body_hash)
            select a.actor, a.path, a.key, a.hash from asked a where a.place <> all(firsts) order by a.actor, a.path, a.key
            on conflict do nothing
            returning k.user_id, k.path, k.key
        )
        select firsts || coalesce(array_agg(a.place) filter (where t.key is not null), '{}'), bool_or(t.key is null)
        into firsts, are_known
        from asked a left join taken t on t.user_id = a.actor and t.path = a.path and t.key = a.key
        where a.place <> all(firsts);
        exit when are_known is not true or not exists (
            select 1 from unnest(actors_, paths_, keys_) r (actor, path, key)
            where r.key is not null and not exists (
                select 1 from idempotency_keys k
                where k.user_id = r.actor and k.path = r.path and k.key = r.key and k.created_at >= now() - interval '24 hours'
            )
        );
        delete from idempotency_keys k using unnest(actors_, paths_, keys_) r (actor, path, key)
        where k.user_id = r.actor and k.path = r.path and k.key = r.key and k.created_at < now() - interval '24 hours';
    end loop;
    return firsts;
end
$$;

-- What becomes of each. Who has no key, or found it free, goes, unless `whys_` says why not. All others are given the answer under
-- their key, unless `again_` says why not; or that of their source, the first in the group with the key, when it is known. To a
-- stranger there is no `noun_`.
create or replace function judge(
    actors_ bigint[], paths_ text[], keys_ text[], hashes_ text[], firsts_ bigint[], whys_ text[], again_ text[], noun_ text,
    out statuses integer[], out answers text[], out replays boolean[], out sources bigint[], out going bigint[]
) language plpgsql as $$
begin
    if array_remove(keys_, null) = '{}' and array_remove(whys_, null) = '{}' then
        statuses := array_fill(null::integer, array[cardinality(whys_)]);
        answers := array_fill(null::text, array[cardinality(whys_)]);
        replays := array_fill(false, array[cardinality(whys_)]);
        going := array(select n.place from generate_series(1::bigint, cardinality(whys_)::bigint) n (place) order by n.place);
        sources := going;
        return;
    end if;
    select
        array_agg(v.status order by v.place), array_agg(v.answer order by v.place), array_agg(v.replay order by v.place),
        array_agg(v.source order by v.place), coalesce(array_agg(v.place order by v.place) filter (where v.goes), '{}')
    into statuses, answers, replays, sources, going
    from (
        select
            r.place,
            case when mine.is_first then refusal.status else coalesce(refusal.status, k.status) end as status,
            case when mine.is_first then refusal.answer else coalesce(refusal.answer, k.answer) end as answer,
            not mine.is_first and k.body_hash = r.hash and refusal.why is null as replay,
            case when not mine.is_first and k.status is null and refusal.why is null then r.leader else r.place end as source,
            mine.is_first and refusal.status is null as goes
        from (
            select a.*, min(a.place) over (partition by a.actor, a.path, a.key) as leader
            from unnest(actors_, keys_, paths_, hashes_, whys_, again_) with ordinality
            a (actor, key, path, hash, why, again, place)
        ) r
        cross join lateral (select r.key is null or r.place = any(firsts_) as is_first) mine
        left join lateral (
            -- `offset` keeps it apart: looked up by its key, also by a plan made while there were no keys.
            select i.body_hash, i.status, i.answer from idempotency_keys i
            where i.user_id = r.actor and i.path = r.path and i.key = r.key
            offset 0
        ) k on r.key is not null
        left join (
            values
            ('other_body', 422, '{"error":"this Idempotency-Key was used with another body","code":"idempotency_key_reused"}'),
            ('inactive', 401, '{"error":"the account is not active"}'),
            ('service', 403, '{"error":"a service account cannot do this"}'),
            ('stranger', 404, '{"error":"' || noun_ || ' not found"}'),
            ('below', 403, '{"error":"your role does not allow this"}'),
            ('archived', 422, '{"error":"the project is archived","code":"project_archived"}')
        ) refusal (why, status, answer)
            on refusal.why = case
                when mine.is_first then r.why
                when r.again is not null then r.again
                when k.body_hash <> r.hash then 'other_body'
            end
    ) v;
end
$$;

-- Answers twins as their sources: those with the same nonce first, then those with the same key, whose source may itself be a twin.
-- The keys that were free keep their answers, which are about what they show (`shown_`, each told on one of `channels_`) and what
-- that stands below; under a refusal a key is free again.
create or replace function answer_twins(
    actors_ bigint[], paths_ text[], keys_ text[], firsts_ bigint[], sources_ bigint[], channels_ text[], shown_ text[],
    inout statuses integer[], inout answers text[], inout replays boolean[]
) language plpgsql as $$
begin
    for n in 1 .. cardinality(statuses) loop
        if sources_[n] <> n and not replays[n] then
            statuses[n] := 200;
            answers[n] := answers[sources_[n]];
            shown_[n] := shown_[sources_[n]];
        end if;
    end loop;
    for n in 1 .. cardinality(statuses) loop
        if sources_[n] <> n and replays[n] then
            statuses[n] := statuses[sources_[n]];
            answers[n] := answers[sources_[n]];
            replays[n] := statuses[n] < 300;
        end if;
    end loop;
    if firsts_ <> '{}' then
        update idempotency_keys k set
            status = statuses[f], answer = answers[f],
            about = array(
                select channels_[f] || ' ' || array_to_string((string_to_array(shown_[f], '/'))[:s.nth], '/')
                from generate_series(1, cardinality(string_to_array(shown_[f], '/'))) s (nth)
            )
        from unnest(firsts_) f
        where statuses[f] < 300 and k.user_id = actors_[f] and k.path = paths_[f] and k.key = keys_[f];
        delete from idempotency_keys k using unnest(firsts_) f
        where statuses[f] >= 300 and k.user_id = actors_[f] and k.path = paths_[f] and k.key = keys_[f];
    end if;
end
$$;
